"""Learning by several processes: as good as by one, and a lost process costs nothing but time."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aisle
from aisle.data.dataset import Dataset
from aisle.data.split import Window, truth
from aisle.engine import learn
from aisle.engine.learn import fit_together
from aisle.errors import ResourceError, UsageError
from aisle.jobs.demo import demo
from aisle.kernels.topk import top_k
from aisle.models import create
from aisle.models.base import Model
from aisle.models.nn.checkpoint import NAME
from aisle.models.nn.train import Epoch
from aisle.types import DAY, Sparse
from tests.engine import crash
from tests.world.hybrid_shops import pairs

SMALL: dict[str, Any] = {"dim": 8, "epochs": 3, "learning_rate": 0.01, "patience": 3}
LOOPBACK = next(name for _, name in socket.if_nameindex() if name in ("lo", "lo0"))
BOTH = pytest.mark.parametrize("name", ["hybrid_factorization", "basket_transformer"])


def equal(one: Model, other: Model) -> bool:
    """Whether two models hold the same bytes, and have seen the same curves."""
    (arrays, values), (others, told) = one.state(), other.state()
    same = [array.tobytes() == others[name].tobytes() for name, array in arrays.items()]
    return all(same) and arrays.keys() == others.keys() and json.dumps(values) == json.dumps(told)


def retail() -> Dataset:
    """A small shop in which both models learn for some epochs."""
    return pairs(lambda product, day: 1.0)


def learnt(name: str, checkpoint: Path | None = None, **settings: Any) -> tuple[Model, learn.Shared, list[Epoch]]:
    model, told = create(name, **SMALL, **settings), list[Epoch]()
    return model, fit_together(model, retail(), 2, checkpoint=checkpoint, watch=told.append), told


# --- fast -------------------------------------------------------------------------------------------------------------


def test_two_workers_learn_what_one_does(tmp_path: Path) -> None:
    """The hybrid has no dropout inside layers: two workers end where one does, but for a number added to all scores."""
    told: list[Epoch] = []
    alone = create("hybrid_factorization", **SMALL).fit(retail(), watch=told.append)  # type: ignore[call-arg]
    model, shared, seen = learnt("hybrid_factorization", tmp_path)
    assert shared.lost == 0
    assert len(shared.costs) == 2
    assert all(cost["bytes"] > 0 and cost["cpu_seconds"] > 0 for cost in shared.costs)
    assert [epoch.number for epoch in seen] == [epoch.number for epoch in told]
    assert [epoch.loss for epoch in seen] == pytest.approx([epoch.loss for epoch in told], rel=1e-3)
    batch = retail().batch(np.arange(20, dtype=np.int32))
    one, two = (each.score(batch) for each in (alone, model))
    assert one.std(axis=1).min() > 0.1
    np.testing.assert_allclose(two - two.mean(axis=1)[:, None], one - one.mean(axis=1)[:, None], atol=1e-3)
    kept = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert kept == {f"choose/{NAME}", f"final/{NAME}"}, "what the workers shared is gone"


def test_models_without_epochs_and_too_few_workers_are_refused() -> None:
    with pytest.raises(UsageError, match=r"ease does not learn in epochs.*models that do: hybrid_factorization"):
        fit_together(create("ease"), retail(), 2)
    with pytest.raises(UsageError, match="0 workers cannot learn"):
        fit_together(create("hybrid_factorization"), retail(), 0)


def test_workers_without_a_gpu_each_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aisle.models.nn.together.gpus", lambda: 2)
    with pytest.raises(UsageError, match="3 workers need a GPU each, there are 2"):
        fit_together(create("basket_transformer"), retail(), 3)
    learn._check_gpus(create("basket_transformer"), 2)
    learn._check_gpus(create("basket_transformer", device="cpu"), 3)
    learn._check_gpus(create("hybrid_factorization"), 3)


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ([0, 0], None),
        ([-9, 75], "worker 0 was ended by signal 9"),
        ([-9, -9], "worker 0 was ended by signal 9, worker 1 was ended by signal 9"),
        ([75, 75], "the workers lost sight of each other"),
    ],
)
def test_what_exit_codes_say(codes: list[int], said: str | None, tmp_path: Path) -> None:
    assert learn._outcome(tmp_path, codes) == said


def test_where_all_are_lost_the_first_ones_log_says_why(tmp_path: Path) -> None:
    (tmp_path / "worker-0.log").write_text("Traceback\nrefused by the network\n\n")
    assert learn._outcome(tmp_path, [75, 75]) == "the workers lost sight of each other: refused by the network"


def test_workers_run_the_callers_code_and_not_that_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "found"):
        (tmp_path / name).mkdir()
    (tmp_path / "here" / "json.py").write_text("raise SystemExit('executed')")
    (tmp_path / "found" / "of_the_caller.py").touch()
    code = "import json, os, of_the_caller; print(os.getpgrp() == os.getpid(), os.environ['NCCL_SOCKET_IFNAME'])"
    monkeypatch.setattr(learn, "COMMAND", code)
    monkeypatch.syspath_prepend(str(tmp_path / "found"))
    monkeypatch.chdir(tmp_path / "here")
    worker = learn._start(tmp_path, 0, 2, "file:///nowhere")
    worker.communicate(timeout=60)
    assert (tmp_path / "worker-0.log").read_text().split() == ["True", LOOPBACK]


def test_errors_of_workers_are_told_and_not_tried_again(tmp_path: Path) -> None:
    told = {"error": "UsageError", "message": "use a smaller learning_rate"}
    (tmp_path / "error-1.json").write_text(json.dumps(told))
    with pytest.raises(UsageError, match="smaller learning_rate"):
        learn._outcome(tmp_path, [75, 76])
    (tmp_path / "worker-1.log").write_text("Traceback: a bug")
    with pytest.raises(RuntimeError, match="worker 1 of 2 failed:\nTraceback: a bug"):
        learn._outcome(tmp_path, [-9, 1])


# --- slow -------------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_bytes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, shared, told = learnt(name)
    assert shared.lost == 0
    monkeypatch.setattr(learn, "COMMAND", crash.COMMAND)
    steps = {"hybrid_factorization": 25, "basket_transformer": 8}[name]  # in the second epoch of each attempt
    for worker, times in ((0, 1), (1, 2)):
        monkeypatch.setenv(crash.CRASH, f"{worker}:{steps}:{times}")
        model, shared, seen = learnt(name, tmp_path / str(worker))
        assert shared.lost == times
        assert equal(model, undisturbed)
        assert [e.number for e in seen] == [e.number for e in told]
        assert [e.loss for e in seen] == [e.loss for e in told]


@pytest.mark.slow
def test_workers_that_are_always_lost_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn, "COMMAND", crash.COMMAND)
    monkeypatch.setenv(crash.CRASH, "1:1:9")
    with pytest.raises(ResourceError, match=r"lost 2 times, at last so: worker 1 was ended by signal 9.*fewer workers"):
        fit_together(create("hybrid_factorization", **SMALL), retail(), 2, restarts=1)


@pytest.mark.slow
def test_an_error_of_the_fit_reaches_the_caller() -> None:
    wild = create("hybrid_factorization", **{**SMALL, "learning_rate": 1e30})
    with pytest.raises(UsageError, match="use a smaller learning_rate"):
        fit_together(wild, retail(), 2)


SCRIPT = """
import os, signal, sys
from pathlib import Path
from aisle.engine.learn import fit_together
from aisle.models import create
from tests.engine.test_learn import SMALL, retail

def watch(epoch):
    os.kill(os.getpid(), signal.SIGKILL)

fit_together(create(sys.argv[1], **SMALL), retail(), 2, checkpoint=Path(sys.argv[2]), watch=watch)
"""


def alive(mark: str) -> list[str]:
    """Processes whose command line speaks of a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [path.parent.name] if mark in path.read_text() else []
        except OSError:  # it has just ended
            continue
    return found


@BOTH
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_with_everything_killed_the_same_call_goes_on(name: str, tmp_path: Path) -> None:
    undisturbed, _, told = learnt(name)
    folder = tmp_path / "kept"
    done = subprocess.run([sys.executable, "-c", SCRIPT, name, str(folder)], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    until = time.monotonic() + 60
    while alive(str(folder)):
        assert time.monotonic() < until, "workers outlive the process that started them"
        time.sleep(0.1)
    model, _, seen = learnt(name, folder)
    assert equal(model, undisturbed)
    assert 1 < seen[0].number <= told[-1].number, "what was learnt is not learned again"
    assert not (folder / learn.WORK).exists()


def ndcg(model: Model, past: Dataset, wanted: Sparse) -> float:
    """Mean NDCG@10 over the customers who bought before and after."""
    customers = np.flatnonzero((np.diff(wanted.indptr) > 0) & (np.diff(past.indptr) > 0)).astype(np.int32)
    assert len(customers) > 50
    found = top_k(model.score(past.batch(customers)), 10, past.tie_rank)[0]
    discount = 1 / np.log2(np.arange(2, 12))
    hits = np.stack([np.isin(row, wanted[[u]].indices) for u, row in zip(customers, found, strict=True)]) @ discount
    ideal = np.cumsum(discount)[np.minimum(np.diff(wanted.indptr)[customers], 10) - 1]
    return float((hits / ideal).mean())


@BOTH
@pytest.mark.slow
def test_two_workers_are_as_good_as_one(name: str, tmp_path: Path) -> None:
    """Within 0.5 % of the NDCG@10 of one process, where both have learned for epochs."""
    settings: dict[str, Any] = {"dim": 32, "epochs": 6}
    if name == "basket_transformer":
        demo(tmp_path / "shop", customers=1_500, products=300, days=400, seed=3)
        data, days = aisle.read(tmp_path / "shop"), 60
    else:
        data, days = retail(), 20
        settings |= {"learning_rate": 0.003}
    window = Window(data.end - days * DAY, data.end)
    past, wanted = data.before(window.cut), truth(data, window).bought
    alone, both = create(name, **settings).fit(past), create(name, **settings)
    fit_together(both, past, 2)
    for model in (alone, both):
        assert model.epochs_ > 0  # type: ignore[attr-defined]
    assert not equal(alone, both)
    assert ndcg(both, past, wanted) == pytest.approx(ndcg(alone, past, wanted), rel=0.005)
