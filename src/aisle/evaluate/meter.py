"""What a piece of work cost: CPU seconds and peak memory."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

STATM = Path("/proc/self/statm")
EVERY = 0.02


class Meter:
    """Measures the work inside a ``with`` block.

    Memory is that of the whole process, libraries and data included. On Linux a thread looks 50 times a second; a
    block that sets a new high of the process is measured exactly. Elsewhere only the high of the process is known.
    """

    seconds: float = 0.0
    """CPU seconds of all threads."""
    peak_mb: float = 0.0

    def __enter__(self) -> Self:
        self._high, self._cpu, self._seen = _high_bytes(), time.process_time(), _resident_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.seconds = time.process_time() - self._cpu
        high = _high_bytes()
        seen = max(self._seen, _resident_bytes())
        self.peak_mb = (high if high > self._high or not seen else seen) / 1e6

    def _watch(self) -> None:
        while not self._stop.wait(EVERY):
            self._seen = max(self._seen, _resident_bytes())


def _resident_bytes() -> int:
    """Memory of the process now; 0 where the system does not say."""
    if not STATM.exists():
        return 0
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _high_bytes() -> int:
    """The most memory the process ever held; 0 where the system does not say."""
    if sys.platform == "win32":
        return 0
    import resource  # not on Windows

    high = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return high if sys.platform == "darwin" else high * 1024
