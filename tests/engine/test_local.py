"""Processes of one machine: killed, interrupted, left alone; and what surrounds their work."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aisle.engine import Local, process
from aisle.engine.process import THREADS, cores, environment, on_network
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


def test_workers_run_the_callers_code_and_not_that_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "found"):
        (tmp_path / name).mkdir()
    (tmp_path / "here" / "json.py").write_text("raise SystemExit('executed')")
    (tmp_path / "found" / "of_the_caller.py").write_text("def task(part, shared):\n    return {'rank': part['rank']}\n")
    monkeypatch.syspath_prepend(str(tmp_path / "found"))
    monkeypatch.chdir(tmp_path / "here")
    assert Local(2).together("of_the_caller:task", 2, {}) == [{"rank": 0}, {"rank": 1}]


def test_workers_that_cannot_start_say_why(job: Job) -> None:
    with pytest.raises(RuntimeError, match="worker 1 ended with exit code 3"):
        Local(2).together(tasks.peer, 2, job.shared | {"does": {"1": "exit"}})


def test_workers_without_a_gpu_each_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aisle.models.nn.together.gpus", lambda: 2)
    with pytest.raises(UsageError, match="3 workers need a GPU each, there are 2"):
        Local(3).together(tasks.peer, 3, {}, gpu=True)
    Local(3).check_together(3, gpu=False)
    Local(3).check_together(2, gpu=True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone tells the addresses of networks")
def test_networks_are_known_by_their_address(monkeypatch: pytest.MonkeyPatch) -> None:
    own: dict[str, str] = {}
    on_network(own, "203.0.113.7")
    assert own == {}, "an address of nobody here"
    on_network(own, "127.0.0.1")
    assert own == {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    asked = {"GLOO_SOCKET_IFNAME": "eth7"}
    on_network(asked)
    assert asked == {"GLOO_SOCKET_IFNAME": "eth7", "NCCL_SOCKET_IFNAME": "lo"}, "who says it himself is right"
    assert process._address("lo") == "127.0.0.1"
    monkeypatch.setattr(process, "_address", {"lo": "127.0.0.1", "eth0": "10.0.0.7"}.get)
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth0")])
    found: dict[str, str] = {}
    on_network(found, "10.0.0.7")
    assert set(found.values()) == {"eth0"}
