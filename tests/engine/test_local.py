"""Processes of one machine: killed, interrupted, left alone; and what surrounds their work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aisle.engine import Local
from aisle.engine.process import THREADS, cores, environment
from aisle.errors import UsageError
from aisle.files import Receipts
from tests.engine import tasks
from tests.engine.conftest import Job
from tests.engine.processes import alive, at_work, until

CALLER = """
import sys
from pathlib import Path
from aisle.engine import Local
from aisle.files import Receipts
from tests.engine import tasks
from tests.engine.conftest import Job
job = Job(Path(sys.argv[1]))
shared = job.shared | {"go": str(job.folder / "go")}
Local(2).map(tasks.patient, job.parts, shared, receipts=Receipts(job.folder / "receipts"))
"""


def caller(folder: Path) -> subprocess.Popen[str]:
    """A process that maps with two workers, which stay at work until told to go."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    command = [sys.executable, "-c", CALLER, str(folder)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, process_group=0)
    until(lambda: len(at_work(folder / "traces")) == 2)
    return process


def test_a_worker_killed_from_outside_is_replaced(job: Job) -> None:
    shared = job.shared | {"go": str(job.folder / "go")}
    killed: list[int] = []

    def kill() -> None:
        until(lambda: len(at_work(job.traces)) == 2)
        killed.append(min(at_work(job.traces)))
        os.kill(killed[0], signal.SIGKILL)
        until(lambda: len(at_work(job.traces)) == 3)
        (job.folder / "go").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    found = Local(2).map(tasks.patient, job.parts, shared)
    killer.join()
    assert [receipt["value"] for receipt in found] == [30, 33, 36, 39, 42]
    assert not any(alive(pid) for pid in at_work(job.traces)), "workers go when the work is done"
    assert os.getpid() not in at_work(job.traces)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_go_with_their_caller_and_the_same_call_does_the_rest(how: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    process = caller(folder)
    workers = at_work(folder / "traces")
    os.killpg(process.pid, how)  # as a terminal does: to the whole group
    _, told = process.communicate(timeout=60)
    until(lambda: not any(alive(pid) for pid in workers))
    assert process.returncode == -how
    assert told.count("Traceback") == (how == signal.SIGINT), told
    assert not any(folder.glob("out/*.txt"))
    (folder / "go").touch()
    job, kept = Job(folder), Receipts(folder / "receipts")
    Local(2).map(tasks.patient, job.parts, job.shared | {"go": str(folder / "go")}, receipts=kept)
    assert job.results() == [f"{n * 3}\n" for n in range(10, 15)]


def test_workers_share_the_cores_and_see_what_the_caller_sees(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(7)))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("POLARS_MAX_THREADS", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = Local(2).map(tasks.surroundings, [0, 1])
    assert [f["OMP_NUM_THREADS"] for f in found] == ["2", "2"], "no more than the caller has"
    assert [f["POLARS_MAX_THREADS"] for f in found] == ["3", "3"]
    for one in found:
        assert str(tmp_path) in one["path"]
        assert one["pid"] != os.getpid()
        assert one["group"] == one["pid"], "Ctrl-C of the terminal must not reach it"
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    assert {f["POLARS_MAX_THREADS"] for f in Local(2).map(tasks.surroundings, [0, 1])} == {"1"}


def test_without_affinity_the_machines_cores_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    given = environment(3)
    assert cores() == 8
    assert {given[name] for name in THREADS} == {"2"}
    assert given["OMP_WAIT_POLICY"] == "PASSIVE"
    assert given["PYTHONPATH"].split(os.pathsep) == [part or os.getcwd() for part in sys.path]


def test_one_worker_or_one_part_is_this_process(job: Job) -> None:
    for engine, parts in ((Local(), [0, 1]), (Local(3), [0])):
        assert {found["pid"] for found in engine.map(tasks.surroundings, parts)} == {os.getpid()}
    with pytest.raises(UsageError, match="workers is 0"):
        Local(0)
