"""Learning by several processes: as good as by one, and a lost process costs nothing but time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aisle
from aisle.data.dataset import Dataset
from aisle.data.split import Window, truth
from aisle.engine import Local, learn
from aisle.engine.learn import fit_together, learn_worker
from aisle.errors import ResourceError, UsageError
from aisle.jobs.demo import demo
from aisle.kernels.topk import top_k
from aisle.models import create
from aisle.models.base import Model
from aisle.models.nn.checkpoint import NAME
from aisle.models.nn.train import Epoch
from aisle.types import DAY, Sparse
from tests.engine import crash
from tests.engine.processes import alive, until
from tests.world.hybrid_shops import pairs

SMALL: dict[str, Any] = {"dim": 8, "epochs": 3, "learning_rate": 0.01, "patience": 3}
BOTH = pytest.mark.parametrize("name", ["hybrid_factorization", "basket_transformer"])


def equal(one: Model, other: Model) -> bool:
    """Whether two models hold the same bytes, and have seen the same curves."""
    (arrays, values), (others, told) = one.state(), other.state()
    if arrays.keys() != others.keys():
        return False
    kinds = [(array.dtype, array.shape) == (others[name].dtype, others[name].shape) for name, array in arrays.items()]
    same = [array.tobytes() == others[name].tobytes() for name, array in arrays.items()]
    return all(same) and all(kinds) and json.dumps(values) == json.dumps(told)


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


def test_a_gpu_each_is_asked_for_where_the_device_may_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aisle.models.nn.together.gpus", lambda: 2)
    with pytest.raises(UsageError, match="3 workers need a GPU each, there are 2"):
        fit_together(create("basket_transformer"), retail(), 3)
    asked: list[bool] = []
    monkeypatch.setattr(Local, "check_together", lambda self, size, gpu: asked.append(gpu))
    monkeypatch.setattr(learn, "shared_place", None)
    for model in (create("basket_transformer", device="cpu"), create("hybrid_factorization")):
        with pytest.raises(TypeError):
            fit_together(model, retail(), 3)
    assert asked == [False, False]


def test_data_out_of_sight_are_told_and_not_tried_again(tmp_path: Path) -> None:
    job = {"data": str(tmp_path / "elsewhere"), "threads": 1}
    with pytest.raises(UsageError, match=rf"does not see {tmp_path}/elsewhere; let --checkpoint, or --out, lie on"):
        learn_worker(1, 2, "file:///nowhere", job)


def test_one_worker_learns_what_this_process_does(tmp_path: Path) -> None:
    told: list[Epoch] = []
    alone = create("hybrid_factorization", **SMALL).fit(retail(), watch=told.append)  # type: ignore[call-arg]
    model, seen = create("hybrid_factorization", **SMALL), list[Epoch]()
    shared = fit_together(model, retail(), 1, place=tmp_path / "place", watch=seen.append)
    assert equal(model, alone)
    assert [epoch.loss for epoch in seen] == [epoch.loss for epoch in told]
    assert [cost["bytes"] for cost in shared.costs] == [0]
    assert not (tmp_path / "place").exists()


# --- slow -------------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_bytes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, shared, told = learnt(name)
    assert shared.lost == 0
    monkeypatch.setattr(learn, "TASK", crash.TASK)
    step = {"hybrid_factorization": 25, "basket_transformer": 8}[name]  # in the second epoch of each attempt
    for crashes in ([(0, step)], [(1, step), (1, step)]):
        checkpoint = tmp_path / str(len(crashes)) / "kept"
        crash.plan(checkpoint, crashes)
        model, shared, seen = learnt(name, checkpoint)
        assert shared.lost == crash.crashed(checkpoint) == len(crashes)
        assert equal(model, undisturbed)
        assert [e.number for e in seen] == [e.number for e in told]
        assert [e.loss for e in seen] == [e.loss for e in told]


@pytest.mark.slow
def test_workers_that_are_always_lost_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn, "TASK", crash.TASK)
    crash.plan(tmp_path / "kept", [(1, 1)] * 9)
    model = create("hybrid_factorization", **SMALL)
    with pytest.raises(ResourceError, match=r"lost 2 times, at last so: worker 1 was ended by signal 9.*fewer workers"):
        fit_together(model, retail(), 2, checkpoint=tmp_path / "kept", restarts=1)
    assert not (tmp_path / "kept" / learn.WORK).exists()


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
from tests.engine.processes import descendants
from tests.engine.test_learn import SMALL, retail

def watch(epoch):
    Path(sys.argv[2] + ".workers").write_text(" ".join(map(str, descendants(os.getpid()))))
    os.kill(os.getpid(), signal.SIGKILL)

fit_together(create(sys.argv[1], **SMALL), retail(), 2, checkpoint=Path(sys.argv[2]), watch=watch)
"""


@BOTH
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_with_everything_killed_the_same_call_goes_on(name: str, tmp_path: Path) -> None:
    undisturbed, _, told = learnt(name)
    folder = tmp_path / "kept"
    done = subprocess.run([sys.executable, "-c", SCRIPT, name, str(folder)], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    workers = [int(pid) for pid in Path(f"{folder}.workers").read_text().split()]
    assert len(workers) == 2
    until(lambda: not any(map(alive, workers)))
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
    if name == "hybrid_factorization":
        settings |= {"learning_rate": 0.003}  # by default it keeps to its start here, which is as good
    demo(tmp_path / "shop", customers=1_500, products=300, days=400, seed=3)
    data, days = aisle.read(tmp_path / "shop"), 60
    window = Window(data.end - days * DAY, data.end)
    past, wanted = data.before(window.cut), truth(data, window).bought
    alone, both = create(name, **settings).fit(past), create(name, **settings)
    fit_together(both, past, 2)
    for model in (alone, both):
        assert model.epochs_ > 0  # type: ignore[attr-defined]
    assert not equal(alone, both)
    assert ndcg(both, past, wanted) == pytest.approx(ndcg(alone, past, wanted), rel=0.005)
