"""Learning on a cluster of three machines: what as many workers of one machine learn, whatever is lost meanwhile."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from aisle.bundle import load
from aisle.config import RunConfig
from aisle.data.dataset import Dataset
from aisle.engine import Engine, Local, learn, open_engine
from aisle.engine import ray as ray_engine
from aisle.engine.learn import Shared, fit_together
from aisle.errors import ResourceError, UsageError
from aisle.jobs.demo import demo
from aisle.jobs.train import Follow, train
from aisle.models import create
from aisle.models.base import Model
from aisle.models.nn.train import Epoch
from tests.contract.worlds import world
from tests.engine import crash
from tests.engine.conftest import needs_ray
from tests.engine.machines import add_machine, lose
from tests.engine.processes import alive, until
from tests.engine.test_learn import equal, retail

pytestmark = [needs_ray, pytest.mark.slow]
EPOCHS = 7
SMALL: dict[str, Any] = {"dim": 8, "epochs": EPOCHS, "learning_rate": 0.01, "patience": EPOCHS}
MODELS: dict[str, tuple[Callable[[], Dataset], int]] = {
    "hybrid_factorization": (world, 3),
    "basket_transformer": (retail, 5),
}
"""The shop, and the steps of its first epochs."""
BOTH = pytest.mark.parametrize("name", MODELS)
KILLS = 5


@dataclass
class Learnt:
    """A training by three workers, and what was told of it."""

    model: Model
    told: list[Epoch]
    shared: Shared

    @classmethod
    def by(cls, engine: Engine, name: str, checkpoint: Path, restarts: int = 0, watch: Any = None) -> Learnt:
        model, told = create(name, **SMALL), list[Epoch]()

        def watching(epoch: Epoch) -> None:
            told.append(epoch)
            if watch:
                watch(epoch)

        data = MODELS[name][0]()
        shared = fit_together(model, data, 3, engine=engine, checkpoint=checkpoint, watch=watching, restarts=restarts)
        return cls(model, told, shared)

    def same(self, other: Learnt) -> bool:
        mine, theirs = ([(e.number, e.loss, e.validation) for e in one.told] for one in (self, other))
        return equal(self.model, other.model) and mine == theirs


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Learnt]:
    """What three processes of this machine learn, with a thread each."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(os, "sched_getaffinity", lambda pid: {0})
        folder = tmp_path_factory.mktemp("local")
        return {name: Learnt.by(Local(3), name, folder / name) for name in MODELS}


@pytest.fixture
def engine(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The cluster, whose workers may be told to crash."""
    monkeypatch.setattr(learn, "TASK", crash.TASK)
    with open_engine(RunConfig(engine="ray", address=cluster.address, workers=3)) as opened:
        yield opened


@BOTH
def test_three_machines_learn_what_three_local_workers_do(
    name: str, engine: Engine, local: dict[str, Learnt], tmp_path: Path
) -> None:
    crash.plan(tmp_path / "kept", [])
    found = Learnt.by(engine, name, tmp_path / "kept")
    assert found.same(local[name])
    assert len(found.told) >= EPOCHS, "there was something to learn"
    assert len(crash.parents(tmp_path / "kept")) == 3, "a worker a machine"
    assert all(cost["bytes"] > 0 for cost in found.shared.costs)


def test_five_workers_killed_in_a_row_cost_nothing(engine: Engine, local: dict[str, Learnt], tmp_path: Path) -> None:
    """Each attempt ends an epoch, and loses a worker at a random step of the next."""
    name, random = "basket_transformer", Random(7)
    steps = MODELS[name][1]
    crashes = [(random.randrange(3), random.randrange(steps + 1, 2 * steps + 1)) for _ in range(KILLS)]
    crash.plan(tmp_path / "kept", crashes)
    found = Learnt.by(engine, name, tmp_path / "kept", restarts=KILLS)
    assert found.shared.lost == crash.crashed(tmp_path / "kept") == KILLS
    assert found.same(local[name])
    workers = [int(path.name.split("-")[3]) for path in tmp_path.glob("at-*")]
    assert len(workers) == 3 * (KILLS + 1)
    until(lambda: not any(map(alive, workers)))


def test_a_machine_lost_while_learning_costs_nothing(
    engine: Engine, local: dict[str, Learnt], cluster: Any, tmp_path: Path
) -> None:
    lost: list[set[int]] = []

    def lose_one(epoch: Epoch) -> None:
        if epoch.number == 3 and not lost:
            lost.append(lose(cluster))
            add_machine(cluster)

    crash.plan(tmp_path / "kept", [])
    found = Learnt.by(engine, "basket_transformer", tmp_path / "kept", restarts=1, watch=lose_one)
    assert found.shared.lost == 1
    workers = {int(path.name.split("-")[3]) for path in tmp_path.glob("at-*")}
    assert workers & lost[0], "the lost machine learned nothing"
    assert found.same(local["basket_transformer"])


def test_errors_of_the_fit_and_of_the_cluster_are_ours(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    crash.plan(tmp_path / "kept", [(1, 1)] * 9)
    with pytest.raises(ResourceError, match=r"lost 1 times, at last so: worker 1 was lost .*fewer workers"):
        Learnt.by(engine, "hybrid_factorization", tmp_path / "kept")
    monkeypatch.setattr(learn, "TASK", "aisle.engine.learn:learn_part")
    wild = create("hybrid_factorization", **{**SMALL, "learning_rate": 1e30})
    with pytest.raises(UsageError, match="use a smaller learning_rate"):
        fit_together(wild, world(), 3, engine=engine, place=tmp_path / "place")
    monkeypatch.setattr(ray_engine, "ROOM_SECONDS", 0.5)
    with pytest.raises(ResourceError, match=r"no room for 4 workers at once in 0 seconds, it has 3 cores"):
        fit_together(wild, world(), 4, engine=engine, place=tmp_path / "place")
    assert not (tmp_path / "place").exists()


def test_a_model_is_trained_by_the_cluster_and_watched(cluster: Any, tmp_path: Path) -> None:
    demo(tmp_path / "shop", customers=120, products=60, days=300, seed=3)
    settings = {"dim": 8, "epochs": 2}
    for out, follow in (
        ("local", Follow(workers=2)),
        ("ray", Follow(workers=2, engine="ray", address=cluster.address)),
    ):
        with pytest.MonkeyPatch.context() as changed:
            changed.setattr(os, "sched_getaffinity", lambda pid: {0})
            train(tmp_path / "shop", tmp_path / out, "hybrid_factorization", settings=settings, follow=follow)
    assert equal(load(tmp_path / "local").model, load(tmp_path / "ray").model)
    assert json.loads((tmp_path / "ray" / "products" / "manifest.json").read_text())
    assert {path.name for path in tmp_path.iterdir()} == {"shop", "local", "ray"}, "what was shared is gone"
