"""A model that learns in epochs, learned by several processes at once, each with its part of every batch.

The processes are started, not forked, and told by JSON what to do; the data lie in a folder that all of them open. What
a worker does (``learn_worker``) hangs on plain arguments alone, so that others can start it elsewhere: each worker then
sees the same folders, and worker 0 is reached at the meeting point. A worker that is lost ends the others; all of them
start again and go on after the last whole epoch. ``models/nn/together`` says what the workers tell each other.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from safetensors.numpy import load_file, save_file

from aisle import errors
from aisle.data.dataset import Dataset
from aisle.data.stored import open_dataset, save_dataset
from aisle.engine.process import cores, environment
from aisle.errors import AisleError, ResourceError, UsageError
from aisle.files import atomic, write_json
from aisle.models import create, learner
from aisle.models.base import Model

if TYPE_CHECKING:
    from aisle.models.nn.train import Epoch, Watch

RESTARTS = 3
"""So often the workers are started again after one was lost."""
LOST, REFUSED = 75, 76
"""Exit codes of a worker: another one was lost; an error of ours, told in a file."""
GRACE = 10.0
"""Seconds in which the workers end by themselves after one has failed."""
POLL = 0.05
WEIGHTS, VALUES, EPOCHS = "weights.safetensors", "values.json", "epochs.jsonl"
WORK = ".work"
"""Folder of what the workers share, in that of the checkpoint."""
COMMAND = "import sys; from aisle.engine.learn import main; main(sys.argv[1:])"


def learn_worker(rank: int, size: int, meeting_point: str, job: dict[str, Any]) -> None:
    """Learn as worker ``rank`` of ``size``; worker 0 leaves the result in the folder ``job["out"]``.

    ``meeting_point`` is ``tcp://host:port`` at worker 0, or ``file:///path`` of a new file that all workers see. The
    ``job`` holds ``data`` (folder of ``save_dataset``), ``model`` and ``settings``, ``checkpoint`` and ``out`` (folders
    that all workers see), and ``threads``. Raises ConnectionError where another worker is lost: start all of them again
    with a new meeting point, and learning goes on after the last whole epoch.
    """
    from aisle.models.nn.together import joined

    out = Path(job["out"])
    data = open_dataset(Path(job["data"]))
    model = create(job["model"], **job["settings"])
    start = time.process_time()
    with joined(rank, size, meeting_point, threads=job["threads"]) as group:
        watch = _telling(out / EPOCHS) if rank == 0 else None
        learner(model).fit(data, checkpoint=Path(job["checkpoint"]), watch=watch)
        cost = {"cpu_seconds": time.process_time() - start, "bytes": group.sent}
    if rank == 0:
        arrays, values = model.state()
        with atomic(out / WEIGHTS) as temporary:
            save_file({name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}, temporary)
        write_json(out / VALUES, values)
    write_json(out / f"cost-{rank}.json", cost)


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What a training by several workers did."""

    costs: list[dict[str, float]] = field(default_factory=list)
    """By worker: CPU seconds of the fit, and bytes put up to be added or shared."""
    lost: int = 0
    """How often workers had to be started again."""


def fit_together(
    model: Model,
    data: Dataset,
    workers: int,
    *,
    checkpoint: Path | None = None,
    watch: Watch | None = None,
    restarts: int = RESTARTS,
) -> Shared:
    """Fit in place, by so many processes of this machine with an even share of its cores.

    ``checkpoint``, a folder, keeps the training after each epoch: a stopped one goes on when it is called again, with
    as many workers. ``watch`` is told of every epoch. Raises UsageError for a model that does not learn in epochs, and
    where workers outnumber the GPUs they need; ResourceError where workers are lost more than ``restarts`` times; the
    errors of the fit itself.
    """
    learner(model)
    if workers < 1:
        raise UsageError(f"{workers} workers cannot learn; give 1 or more")
    _check_gpus(model, workers)
    with _place(checkpoint) as folder:
        save_dataset(data, folder / "data")
        out = folder / "out"
        out.mkdir(exist_ok=True)
        job = {
            "data": str(folder / "data"),
            "model": model.name,
            "settings": model.params(),
            "checkpoint": str(checkpoint.absolute() if checkpoint else folder / "checkpoint"),
            "out": str(out),
            "threads": max(cores() // workers, 1),
        }
        write_json(folder / "job.json", job)
        lost, tell = 0, _Teller(out / EPOCHS, watch)
        while (said := _learn(folder, workers, lost, tell)) is not None:
            lost += 1
            if lost > restarts:
                raise ResourceError(
                    f"workers were lost {lost} times, at last so: {said}; each holds the whole model and the data: "
                    f"give fewer workers, or free memory"
                )
        values = json.loads((out / VALUES).read_text(encoding="utf-8"))
        model.restore(dict(load_file(out / WEIGHTS)), values)
        costs = [json.loads((out / f"cost-{rank}.json").read_text(encoding="utf-8")) for rank in range(workers)]
    return Shared(costs=costs, lost=lost)


def _check_gpus(model: Model, workers: int) -> None:
    from aisle.models.nn.together import gpus

    if model.params().get("device", "cpu") != "cpu" and 0 < gpus() < workers:
        raise UsageError(f"{workers} workers need a GPU each, there are {gpus()}; give fewer workers, or device=cpu")


@contextmanager
def _place(checkpoint: Path | None) -> Iterator[Path]:
    """A folder for what the workers share, a copy of the data among it, gone in the end.

    After ``kill -9`` of the caller it stays: in the checkpoint's folder the next run removes it; without a checkpoint
    it is a ``aisle-learn-…`` among the temporary files, which nobody removes.
    """
    if checkpoint is None:
        with tempfile.TemporaryDirectory(prefix="aisle-learn-") as folder:
            yield Path(folder)
        return
    place = checkpoint.absolute() / WORK
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _learn(folder: Path, workers: int, attempt: int, tell: _Teller) -> str | None:
    """Start all workers and wait; None when they have learned, else how one was lost. Raises the errors of the fit."""
    started, meeting = list[subprocess.Popen[bytes]](), tempfile.mkdtemp(prefix="aisle-meeting-")
    try:
        for rank in range(workers):
            started.append(_start(folder, rank, workers, f"file://{meeting}/meeting-{attempt}"))
        while all(worker.poll() in (None, 0) for worker in started) and any(w.poll() is None for w in started):
            tell()
            time.sleep(POLL)
        until = time.monotonic() + GRACE
        while any(worker.poll() is None for worker in started) and time.monotonic() < until:
            time.sleep(POLL)
    finally:
        for worker in started:
            worker.kill()
            worker.wait()
            cast(Any, worker.stdin).close()
        shutil.rmtree(meeting, ignore_errors=True)
    tell()
    return _outcome(folder, [worker.returncode for worker in started])


def _outcome(folder: Path, codes: list[int]) -> str | None:
    """What the exit codes of the workers say: see ``_learn``."""
    if not any(codes):
        return None
    for rank, code in enumerate(codes):
        if code == REFUSED:
            told = json.loads((folder / f"error-{rank}.json").read_text(encoding="utf-8"))
            raise getattr(errors, told["error"])(told["message"])
    for rank, code in enumerate(codes):
        if code > 0 and code != LOST:
            log = (folder / f"worker-{rank}.log").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"worker {rank} of {len(codes)} failed:\n{log[-4_000:]}")
    ended = [f"worker {rank} was ended by signal {-code}" for rank, code in enumerate(codes) if code < 0]
    first = folder / "worker-0.log"
    lines = first.read_text(encoding="utf-8", errors="replace").split("\n") if first.exists() else []
    said = [line.strip() for line in lines if line.strip()][-1:]
    return ", ".join(ended) or ": ".join(["the workers lost sight of each other", *said])


def _start(folder: Path, rank: int, workers: int, meeting: str) -> subprocess.Popen[bytes]:
    """One worker; it ends with this process, whose end it sees by the end of its standard input.

    Ctrl-C reaches this process alone, which ends the workers.
    """
    own = environment(workers)
    loopback = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME") if loopback else ():
        own[name] = loopback[0]  # nobody outside this machine is let in
    with (folder / f"worker-{rank}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", COMMAND, str(rank), str(workers), meeting, str(folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=own,
            process_group=0,
        )


def main(arguments: list[str]) -> None:
    """A worker as its own process: rank, size, meeting point, folder."""
    rank, size, meeting_point, folder = int(arguments[0]), int(arguments[1]), arguments[2], Path(arguments[3])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        learn_worker(rank, size, meeting_point, json.loads((folder / "job.json").read_text(encoding="utf-8")))
    except ConnectionError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(LOST)
    except AisleError as error:
        write_json(folder / f"error-{rank}.json", {"error": type(error).__name__, "message": str(error)})
        sys.exit(REFUSED)


def _end_with_parent() -> None:
    while os.read(0, 1):  # not by sys.stdin, whose lock a thread that waits would hold when Python ends
        pass
    os._exit(LOST)


def _telling(path: Path) -> Watch:
    """A watch that leaves epochs where another process reads them."""

    def watch(epoch: Epoch) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(epoch)) + "\n")

    return watch


@dataclass(eq=False)
class _Teller:
    """Passes epochs on as they appear in a file."""

    path: Path
    watch: Watch | None
    read: int = 0

    def __call__(self) -> None:
        if self.watch is None or not self.path.exists():
            return
        from aisle.models.nn.train import Epoch

        with self.path.open("rb") as file:
            file.seek(self.read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self.read += len(line)
                self.watch(Epoch(**json.loads(line)))
