"""Ray: a cluster of its own, one that is there already, and machines that are lost while they work."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aisle.bundle import Recommender, save
from aisle.config import RunConfig
from aisle.engine import open_engine
from aisle.errors import UsageError
from aisle.jobs import lists
from aisle.jobs.lists import Policy, write_lists
from aisle.models import create
from tests.contract.worlds import world
from tests.engine import tasks
from tests.engine.conftest import Job, needs_ray
from tests.engine.machines import add_machine, lose
from tests.engine.processes import alive, descendants, until

pytestmark = pytest.mark.usefixtures("token")


def test_ray_is_imported_when_asked_for_alone() -> None:
    code = "import sys, aisle.engine, aisle.jobs.run, aisle.cli; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout == "False\n"


def test_without_ray_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'aisle\[ray\]'"):
        open_engine(RunConfig(engine="ray"))


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@needs_ray
@pytest.mark.slow
def test_a_wrong_address_is_told_at_once(silent_port: int) -> None:
    for address, told in (
        (f"127.0.0.1:{silent_port}", "nothing answers"),
        (f"ray://127.0.0.1:{silent_port}", "nothing answers"),
        ("nonsense", "HOST:PORT"),
        ("host:", "HOST:PORT"),
        ("host.invalid:6379", "nothing answers"),
    ):
        with pytest.raises(UsageError, match=told):
            open_engine(RunConfig(engine="ray", address=address))


def environment(**changes: str) -> dict[str, str]:
    """That of a user who has no token."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return plain | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)} | changes


OWN = """
import os, sys
from pathlib import Path
from aisle.config import RunConfig
from aisle.engine import open_engine
from tests.engine import tasks
from tests.engine.conftest import Job
job = Job(Path(sys.argv[1]))
with open_engine(RunConfig(engine="ray", workers=2)) as engine:
    first = engine.map(tasks.surroundings, [0, 1, 2])
    (job.folder / "folder").write_text(engine.folder)
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64 and os.environ["RAY_AUTH_MODE"] == "token"
    assert {(f["OMP_NUM_THREADS"], f["POLARS_MAX_THREADS"]) for f in first} == {("1", "1")}
    engine.map(tasks.patient, job.parts, job.shared | {"go": str(job.folder / "go")})
assert not Path(engine.folder or job.folder / "folder2").exists()
"""


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("how", [None, signal.SIGINT, signal.SIGKILL])
def test_a_cluster_of_its_own_is_quiet_and_goes_with_its_caller(how: signal.Signals | None, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWN, str(tmp_path)]
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
    )
    until(lambda: len(list((tmp_path / "traces").glob("at-*"))) == 2 or process.poll() is not None, 120)
    started = descendants(process.pid)
    assert len(started) > 3
    if how is None:
        (tmp_path / "go").touch()
    else:
        os.killpg(process.pid, how)
    told, _ = process.communicate(timeout=120)
    assert process.returncode == (0 if how is None else -how), told
    until(lambda: not any(map(alive, started)))
    assert how == signal.SIGINT or told == "", "Ray is to keep quiet"
    assert how == signal.SIGKILL or not Path((tmp_path / "folder").read_text()).exists()


# --- three machines ---------------------------------------------------------------------------------------------------


@needs_ray
@pytest.mark.slow
def test_a_cluster_that_is_there_is_used_and_left(cluster: Any, job: Job) -> None:
    for _ in range(2):
        with open_engine(RunConfig(engine="ray", address=cluster.address, workers=2)) as engine:
            assert [found["value"] for found in engine.map(tasks.times, job.parts, job.shared)] == [30, 33, 36, 39, 42]
    assert len(cluster.list_all_nodes()) == 3


@needs_ray
@pytest.mark.slow
def test_nobody_gets_in_without_the_token(cluster: Any, tmp_path: Path) -> None:
    call = f"open_engine(RunConfig(engine='ray', address={cluster.address!r}))"
    code = f"from aisle.engine import open_engine\nfrom aisle.config import RunConfig\n{call}"
    for changes in ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}, {"HOME": str(tmp_path)}):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment(**changes), capture_output=True, text=True, check=False)
        assert "UsageError: Ray did not connect" in done.stderr
        assert "RAY_AUTH_TOKEN" in done.stderr.splitlines()[-1]


@needs_ray
@pytest.mark.slow
def test_five_machines_lost_while_scoring_cost_nothing(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = world()
    made = Recommender.prepare(create("personal_frequency").fit(data), data)
    save(made, tmp_path / "model")
    monkeypatch.setattr(lists, "CUSTOMERS_A_PART", 5)
    ids = data.customers.vocab.ids
    want = [p.read_bytes() for p in write_lists(made, tmp_path / "model", ids, Policy(), tmp_path / "want")]
    assert len(want) == 12
    monkeypatch.setattr(lists, "make_lists", tasks.slow_lists)
    for turn in range(5):
        folder = tmp_path / str(turn)
        (folder / "traces").mkdir(parents=True)
        lost = threading.Thread(target=lose_one, args=(cluster, folder))
        lost.start()
        with open_engine(RunConfig(engine="ray", address=cluster.address)) as engine:
            found = write_lists(made, tmp_path / "model", ids, Policy(), folder / "work", engine=engine)
        lost.join()
        add_machine(cluster)
        assert [path.read_bytes() for path in found] == want
        assert len(list((folder / "traces").iterdir())) > 12, "the lost machine was at no part"


def lose_one(cluster: Any, folder: Path) -> None:
    """Kill a machine when all three are at work, then let the others go on."""
    until(lambda: len({path.name.split("-")[1] for path in (folder / "traces").iterdir()}) == 3, 120)
    lose(cluster)
    (folder / "go").touch()
