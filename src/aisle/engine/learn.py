"""A model that learns in epochs, learned by several workers at once, each with its part of every batch.

Any engine can do it (``Engine.together``): what a worker does (``learn_worker``) hangs on plain arguments and folders
alone. The data lie in a folder that all workers open, worker 0 leaves the result there. A worker that is lost ends the
others; all of them start again and go on after the last whole epoch. ``models/nn/together`` says what they tell each
other.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aisle.data.dataset import Dataset
from aisle.data.stored import open_dataset, save_dataset
from aisle.engine.base import Engine, LostError, Receipt
from aisle.engine.local import Local
from aisle.errors import ResourceError, UsageError
from aisle.files import read_arrays, sha256, write_arrays
from aisle.models import create, learner
from aisle.models.base import Model

if TYPE_CHECKING:
    from aisle.models.nn.train import Epoch, Watch

RESTARTS = 3
"""So often the workers are started again after one was lost."""
LEARNT, EPOCHS = "learnt.safetensors", "epochs.jsonl"
WORK = ".work"
"""Folder of what the workers share, in that of the checkpoint."""
TASK = "aisle.engine.learn:learn_part"


def learn_worker(rank: int, size: int, meeting_point: str, job: dict[str, Any]) -> Receipt:
    """Learn as worker ``rank`` of ``size``; what it cost. Worker 0 leaves the result in the folder ``job["out"]``.

    ``meeting_point`` is ``tcp://host:port`` at worker 0, or ``file:///path`` of a new file that all workers see. The
    ``job`` holds ``data`` (folder of ``save_dataset``), ``model`` and ``settings``, ``checkpoint`` and ``out`` (folders
    that all workers see), and ``threads``. Raises ConnectionError where another worker is lost: start all of them again
    with a new meeting point, and learning goes on after the last whole epoch. Raises UsageError for data out of sight.
    """
    from aisle.models.nn.together import Group, joined

    data, out = open_shared(job["data"]), Path(job["out"])
    model = create(job["model"], **job["settings"])
    start = time.process_time()
    alone: AbstractContextManager[Group] = nullcontext(Group(rank, size))
    with alone if size == 1 else joined(rank, size, meeting_point, threads=job["threads"]) as group:
        watch = _telling(out / EPOCHS) if rank == 0 else None
        learner(model).fit(data, checkpoint=Path(job["checkpoint"]), watch=watch)
        cost: Receipt = {"cpu_seconds": time.process_time() - start, "bytes": float(group.sent)}
    if rank == 0:
        arrays, values = model.state()
        write_arrays(out / LEARNT, arrays, values)
        cost["files"] = {LEARNT: sha256(out / LEARNT)}
    return cost


def open_shared(folder: str) -> Dataset:
    """The data that workers share; raises UsageError on a machine that does not see them."""
    if not Path(folder).is_dir():
        raise UsageError(
            f"{socket.gethostname()}, where a worker runs, does not see {folder}; let --checkpoint, or --out, lie on "
            f"storage that all machines share, under one path"
        )
    return open_dataset(Path(folder))


def learn_part(part: dict[str, Any], shared: dict[str, Any]) -> Receipt:
    """``learn_worker`` as a task of ``Engine.together``."""
    return learn_worker(part["rank"], part["size"], part["meeting"], shared | {"threads": part["threads"]})


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What a training by several workers did."""

    costs: list[dict[str, float]] = field(default_factory=list)
    """By worker: CPU seconds of the fit, and bytes put up to be added or shared."""
    lost: int = 0
    """How often workers had to be started again."""
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 of what the first worker left."""


def fit_together(
    model: Model,
    data: Dataset,
    workers: int,
    *,
    engine: Engine | None = None,
    checkpoint: Path | None = None,
    place: Path | None = None,
    watch: Watch | None = None,
    restarts: int = RESTARTS,
) -> Shared:
    """Fit in place, by so many workers of ``engine``; None = processes of this machine.

    ``checkpoint``, a folder, keeps the training after each epoch: a stopped one goes on when it is called again, with
    as many workers. Without it, ``place`` is a folder for what the workers share, gone in the end; None = among the
    temporary files of this machine. Workers on other machines must see the one or the other. ``watch`` is told of every
    epoch. Raises UsageError for a model that does not learn in epochs, and where workers outnumber the cores or GPUs
    they need; ResourceError where workers are lost more than ``restarts`` times; the errors of the fit itself.
    """
    learner(model)
    if workers < 1:
        raise UsageError(f"{workers} workers cannot learn; give 1 or more")
    engine, gpu = engine or Local(workers), model.params().get("device", "cpu") != "cpu"
    engine.check_together(workers, gpu)
    with shared_place(checkpoint, place) as folder:
        save_dataset(data, folder / "data")
        out = folder / "out"
        out.mkdir()
        (out / EPOCHS).touch()  # a network file system remembers for a while what was absent
        job = {
            "data": str(folder / "data"),
            "model": model.name,
            "settings": model.params(),
            "checkpoint": str(checkpoint.absolute() if checkpoint else folder / "checkpoint"),
            "out": str(out),
        }
        tell = _Teller(out / EPOCHS, watch)
        found = _until_learned(partial(engine.together, TASK, workers, job, gpu=gpu, tick=tell), restarts)
        try:
            same = all(sha256(out / name) == mark for name, mark in found.files.items())
        except FileNotFoundError:
            same = False
        if not same:
            raise UsageError(f"another command learns in {folder.parent}, too; give each a folder of its own")
        model.restore(*read_arrays(out / LEARNT))
    return found


def _until_learned(learn: Callable[[], list[Receipt]], restarts: int) -> Shared:
    """Let all workers learn, again where one is lost; raises ResourceError where too many are."""
    lost = 0
    while True:
        try:
            receipts = learn()
            files = receipts[0].pop("files")
            return Shared(costs=receipts, lost=lost, files=files)
        except LostError as error:
            lost += 1
            if lost > restarts:
                raise ResourceError(
                    f"workers were lost {lost} times, at last so: {error}; each holds the whole model and the data: "
                    f"give fewer workers, or free memory"
                ) from error


@contextmanager
def shared_place(checkpoint: Path | None, place: Path | None) -> Iterator[Path]:
    """A folder for what the workers share, a copy of the data among it, gone in the end.

    After ``kill -9`` of the caller it stays: the next run with the same checkpoint or place removes it; without either
    it is a ``aisle-learn-…`` among the temporary files, which nobody removes.
    """
    wanted = checkpoint.absolute() / WORK if checkpoint else place and place.absolute()
    if wanted is None:
        with tempfile.TemporaryDirectory(prefix="aisle-learn-") as folder:
            yield Path(folder)
        return
    shutil.rmtree(wanted, ignore_errors=True)
    wanted.mkdir(parents=True)
    try:
        yield wanted
    finally:
        shutil.rmtree(wanted, ignore_errors=True)


def _telling(path: Path) -> Watch:
    """A watch that leaves epochs where another process reads them."""

    def watch(epoch: Epoch) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(epoch)) + "\n")
            file.flush()
            os.fsync(file.fileno())

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
                self.watch(Epoch(**json.loads(line)))
                self.read += len(line)
