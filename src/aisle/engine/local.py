"""The engine of one machine: parts in this process, or in worker processes beside it.

Workers are started afresh, never forked (torch and Polars do not survive a fork), with the caller's import path, and
share the cores evenly. They stand in a process group of their own: Ctrl-C reaches the caller alone, who ends them.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import cast

from aisle.engine.base import POLL, RETRIES, Answers, Ends, Engine, found, gone, receipt_of
from aisle.engine.process import NETWORKS, cores, environment, on_network
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

    def check_together(self, size: int, gpu: bool) -> None:
        """See ``Engine.check_together``."""
        if not gpu:
            return
        from aisle.models.nn.together import gpus

        if 0 < gpus() < size:
            raise UsageError(f"{size} workers need a GPU each, there are {gpus()}; give fewer workers, or device=cpu")

    def ends(self, task: str, size: int, shared: str, gpu: bool) -> Ends:
        """See ``Engine.ends``; nobody outside this machine is let in."""
        own, started = environment(size), list[_Worker]()
        for name in NETWORKS:
            own.pop(name, None)
        on_network(own)
        with tempfile.TemporaryDirectory(prefix="aisle-meeting-") as folder:
            logs = [Path(folder) / f"worker-{rank}.log" for rank in range(size)]
            meeting = {"size": size, "meeting": f"file://{folder}/meeting", "threads": max(cores() // size, 1)}
            try:
                for rank, log in enumerate(logs):
                    started.append(_Worker(own, log))
                    started[-1].give(rank, json.dumps([task, json.dumps({"rank": rank} | meeting), shared]))
                busy = {worker.answers.fileno(): worker for worker in started}
                while busy:
                    for pipe in (ended := wait(list(busy), POLL)):
                        worker = busy.pop(cast(int, pipe))
                        line = worker.answers.readline()
                        yield worker.place, line if line.endswith("\n") else _how(worker, logs[worker.place])
                    if not ended:
                        yield None
            finally:
                for worker in started:
                    worker.stop()


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

    def __init__(self, environment: Mapping[str, str], log: Path | None = None) -> None:
        """What it says beside its answers goes to the file ``log``, or to the caller's standard error."""
        self.place = -1
        with nullcontext() if log is None else log.open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "aisle.engine.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
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


def _how(worker: _Worker, log: Path) -> str:
    """Why a worker gave no answer, as an answer; by a signal it is lost, otherwise it could not even start."""
    code, said = worker.stop(), log.read_text(encoding="utf-8", errors="replace").strip()
    if code < 0:
        last = [f": {line}" for line in said.splitlines()[-1:]]
        return gone("".join([f"worker {worker.place} was ended by signal {-code}", *last]))
    return gone(f"worker {worker.place} ended with exit code {code}:\n{said[-4_000:]}", lost=False)
