"""Progress with time left on stderr: a live bar in a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeAlias

Tick: TypeAlias = Callable[[int, int], None]
"""Called with (done, total) as often as work is done."""


class Progress:
    """Silent progress; the base of the real one and the default of every job."""

    @contextmanager
    def step(self, name: str) -> Iterator[Tick]:
        """A named step of a job; the tick it gives may be called at any rate."""
        yield lambda done, total: None


class TextProgress(Progress):
    """Progress as text: ``name  42 %  00:12 left``, rewritten in place in a terminal."""

    def __init__(self, stream: TextIO | None = None, every: float = 5.0) -> None:
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.every = 0.2 if self.live else every

    @contextmanager
    def step(self, name: str) -> Iterator[Tick]:
        """Show the name, the share done and the time left; at the end the time it took."""
        start = time.monotonic()
        shown = start

        def tick(done: int, total: int) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown < self.every or not done or total <= 0:
                return
            shown = now
            left = (now - start) * (total - done) / done
            self._write(f"{name}  {done / total:4.0%}  {_clock(left)} left")

        if self.live:
            self._write(name)
        try:
            yield tick
        except BaseException:
            self._write(f"{name}  stopped", end="\n")
            raise
        self._write(f"{name}  done in {_clock(time.monotonic() - start)}", end="\n")

    def _write(self, text: str, end: str = "") -> None:
        self.stream.write(f"\r\x1b[K{text}{end}" if self.live else f"{text}\n")
        self.stream.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
