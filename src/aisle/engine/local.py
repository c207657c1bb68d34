"""The engine of one machine: parts in this process, or in worker processes beside it.

Workers are started afresh, never forked (torch and Polars do not survive a fork), with the caller's import path, and
share the cores evenly. They stand in a process group of their own: Ctrl-C reaches the caller alone, who ends them.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import wait
from typing import cast

from aisle.engine.base import RETRIES, Answers, Engine, found, receipt_of
from aisle.engine.process import environment
from aisle.errors import ResourceError, UsageError


class Local(Engine):
    """``workers`` processes, or this one where one is enough."""

    def __init__(self, workers: int = 1) -> None:
        if workers < 1:
            raise UsageError(f"workers is {workers}; give a whole number of at least 1")
        self.workers = workers

    def answers(self, task: str, parts: Mapping[int, str], shared: str) -> Answers:
        """See ``Engine.answers``."""
        workers = min(self.workers, len(parts))
        if workers > 1:
            crew = _Crew(workers, task, parts, shared)
            try:
                yield from crew.answers()
            finally:
                crew.dismiss()
            return
        for place, part in parts.items():
            yield place, json.loads(json.dumps(found(task)(json.loads(part), json.loads(shared)), allow_nan=False))


class _Crew:
    """Worker processes and the parts that wait for one."""

    def __init__(self, size: int, task: str, parts: Mapping[int, str], shared: str) -> None:
        self.size, self.task, self.parts, self.shared = size, task, parts, shared
        self.waiting, self.losses = deque(parts), Counter[int]()
        self.busy: dict[int, _Worker] = {}
        self.environment = environment(size)

    def answers(self) -> Answers:
        while self.waiting or self.busy:
            while self.waiting and len(self.busy) < self.size:
                worker = _Worker(self.environment)
                self.busy[worker.answers.fileno()] = worker
                self._occupy(worker)
            for pipe in wait(list(self.busy)):
                worker = self.busy[cast(int, pipe)]
                place, line = worker.place, worker.answers.readline()
                if line.endswith("\n"):
                    self._occupy(worker)
                    yield place, receipt_of(line)
                else:  # it died, before the answer or in the middle of it
                    self._replace(worker)

    def _occupy(self, worker: _Worker) -> None:
        """Give a worker its next part; let it go where none waits."""
        if not self.waiting:
            self.busy.pop(worker.answers.fileno()).stop()
            return
        place = self.waiting.popleft()
        worker.give(place, json.dumps([self.task, self.parts[place], self.shared]))

    def _replace(self, worker: _Worker) -> None:
        """Put the part of a lost worker back; raises ResourceError where it has cost too many."""
        code = self.busy.pop(worker.answers.fileno()).stop()
        self.waiting.appendleft(worker.place)
        self.losses[worker.place] += 1
        if self.losses[worker.place] > RETRIES:
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise ResourceError(
                f"{RETRIES + 1} worker processes were lost at one part, the last by {how}: {self.parts[worker.place]}; "
                "where memory is short, give fewer --workers or a smaller --memory; the same command goes on from here"
            )

    def dismiss(self) -> None:
        for worker in self.busy.values():
            worker.stop()


class _Worker:
    """A process that runs ``aisle.engine.worker``, and the part that it is at."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.place = -1
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "aisle.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=environment,
            process_group=0,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.orders, self.answers = self.process.stdin, self.process.stdout

    def give(self, place: int, order: str) -> None:
        self.place = place
        with suppress(BrokenPipeError):  # a lost worker is noticed where its answer is awaited
            self.orders.write(order + "\n")
            self.orders.flush()

    def stop(self) -> int:
        """End the process, whatever it does; the exit code that it had, or gets."""
        self.process.kill()
        code = self.process.wait()
        self.answers.close()
        with suppress(BrokenPipeError):
            self.orders.close()
        return code
