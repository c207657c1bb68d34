"""Training one model: its settings, where its training is kept and shown, and what is refused before any work."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import aisle
from aisle.bundle import Recommender
from aisle.config import RunConfig
from aisle.engine import Local
from aisle.errors import BundleError, UsageError
from aisle.jobs import run
from aisle.jobs.demo import demo
from aisle.jobs.train import Crew, Follow, fit, parse_settings, ticking, train
from aisle.models import create
from aisle.models.base import Model
from aisle.models.nn.train import Epoch
from tests.engine.test_learn import equal
from tests.world.test_hybrid import blocks

SMALL: dict[str, Any] = {"dim": 8, "epochs": 3, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train") / "shop"
    demo(folder, customers=120, products=60, days=300, seed=3)
    return folder


def lists(recommender: Recommender) -> pl.DataFrame:
    frame: pl.DataFrame = aisle.recommend(recommender, k=5)
    return frame


# --- settings ---------------------------------------------------------------------------------------------------------


def test_settings_are_json_or_plain_words() -> None:
    texts = [
        "dim=32",
        "learning_rate=1e-3",
        "attention=true",
        "target_days=null",
        "loss=wmrb",
        'rate="cosine"',
        "a=b=c",
    ]
    assert parse_settings(texts) == {
        "dim": 32,
        "learning_rate": 0.001,
        "attention": True,
        "target_days": None,
        "loss": "wmrb",
        "rate": "cosine",
        "a": "b=c",
    }
    assert parse_settings(["learning_rate=NaN"]) == {"learning_rate": "NaN"}, "text, which no number setting takes"
    assert parse_settings(["dim=8", "dim=16"]) == {"dim": 16}


@pytest.mark.parametrize("text", ["dim", "=8", " =8"])
def test_a_setting_without_a_name_or_a_value_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="NAME=VALUE"):
        parse_settings([text])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"learning_rat": 0.1}, r"'learning_rat' \(did you mean 'learning_rate'\?\)"),
        ({"dim": "big"}, "dim is 'big'; give a whole number"),
        ({"dim": 6.5}, "dim is 6.5; give a whole number"),
        ({"dim": True}, "dim is True; give a whole number"),
        ({"learning_rate": "NaN"}, "learning_rate is 'NaN'; give a number"),
        ({"attention": 1}, "attention is 1; give true or false"),
        ({"target_days": "week"}, "target_days is 'week'; give a whole number or null"),
        ({"loss": None}, "loss is None; give text"),
        ({"loss": "wmbr"}, "loss is 'wmbr'; allowed: auto, softmax"),
    ],
)
def test_settings_of_the_wrong_name_or_kind_are_refused_with_the_fix(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        create("hybrid_factorization", **settings)


def test_a_whole_number_is_a_number_and_null_may_be_one_of_the_kinds() -> None:
    assert create("ease", l2=300).params()["l2"] == 300
    assert create("hybrid_factorization", target_days=None).params()["target_days"] is None


def test_settings_reach_the_model_and_its_bundle(shop: Path, tmp_path: Path) -> None:
    made = train(shop, tmp_path / "model", "item_knn", settings={"neighbours": 7})
    assert made.model.params()["neighbours"] == 7
    assert aisle.load(tmp_path / "model").model.params() == made.model.params()


# --- following --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "follow", [{"checkpoint": Path("c")}, {"tensorboard": Path("t")}, {"mlflow": "run"}, {"engine": "ray"}]
)
def test_models_without_epochs_are_refused_before_any_work(follow: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ease does not learn in epochs.*models that do: hybrid_factorization"):
        train(tmp_path / "no such folder", tmp_path / "model", "ease", follow=Follow(**follow))
    assert list(tmp_path.iterdir()) == []


def test_a_ranker_is_kept_by_parts_and_the_same_command_finds_them(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"sources": {"popularity": {}, "item_knn": {}}, "trees": 5}
    follow = Follow(checkpoint=tmp_path / "parts")
    one = train(shop, tmp_path / "model", "ranker", settings=settings, follow=follow)
    assert len(list((tmp_path / "parts").glob("*/receipts/*.json"))) > 10
    monkeypatch.setattr(type(create("item_knn")), "fit", None)
    two = train(shop, tmp_path / "again", "ranker", settings=settings, follow=follow)
    assert lists(one).equals(lists(two))
    with pytest.raises(UsageError, match="ranker does not learn in epochs"):
        train(shop, tmp_path / "no", "ranker", follow=Follow(tensorboard=tmp_path / "curves"))


def test_a_ranker_that_ships_is_fitted_by_parts_that_outlive_a_kill(shop: Path, tmp_path: Path) -> None:
    model, data = create("ranker", sources={"popularity": {}, "item_knn": {}}, trees=5), aisle.read(shop)
    told: list[int] = []
    run._fit(model, data, tmp_path, RunConfig(), Local(), lambda done, total: told.append(done))
    assert len(told) > 10
    assert len(list(tmp_path.glob("*/*/receipts/*.json"))) > 10
    assert model.score(data.batch(np.arange(3, dtype=np.int32))).shape == (3, data.shape[1])


def test_whose_workers_is_checked_before_any_work() -> None:
    with pytest.raises(UsageError, match="engine is 'spark'; allowed: local, ray"):
        Follow(engine="spark")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="an address needs engine 'ray'"):
        Follow(address="10.0.0.1:6379")


@pytest.mark.parametrize(
    ("model", "workers", "said"),
    [
        ("ease", 2, "ease does not learn in epochs.*models that do: hybrid_factorization"),
        ("ease", 0, "workers is 0"),
        ("hybrid_factorization", True, "workers is True"),
    ],
)
def test_workers_are_for_models_with_epochs(model: str, workers: int, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        train(tmp_path / "no such folder", tmp_path / "model", model, follow=Follow(workers=workers))
    assert list(tmp_path.iterdir()) == []


def test_workers_that_are_to_make_lists_do_not_learn(shop: Path, tmp_path: Path) -> None:
    train(shop, tmp_path / "model", "ease", config=RunConfig(workers=4))
    assert (tmp_path / "model").is_dir()


def test_so_many_processes_learn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("aisle.jobs.train.fit_together", lambda *given, **rest: asked.append((*given, rest)))
    model, data = create("hybrid_factorization", **SMALL), blocks()
    crew = Crew(Local(3), 3, tmp_path / "place")
    assert fit(model, data, checkpoint=tmp_path, crew=crew) is model
    ((who, what, workers, rest),) = asked
    assert (who, what, workers, rest["checkpoint"]) == (model, data, 3, tmp_path)
    assert (rest["engine"], rest["place"]) == (crew.engine, crew.place)


def test_what_ships_is_learned_together_where_it_can_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr("aisle.jobs.run.fit", lambda model, data, **rest: asked.append(rest))
    engine, hybrid = Local(2), create("hybrid_factorization", **SMALL)
    by = (
        RunConfig(),
        RunConfig(workers=3),
        RunConfig(engine="ray"),
        *(RunConfig(engine="ray", workers=n) for n in (2, 3)),
    )
    for config in by:
        run._fit(hybrid, blocks(), tmp_path, config, engine, lambda done, total: None)
    assert [rest["crew"] and rest["crew"].size for rest in asked] == [None, None, None, 2, 3]
    assert all(rest["crew"].engine is engine for rest in asked[3:])
    assert len({rest["checkpoint"] for rest in asked}) == 3, "a training is gone on with by as many of the same"
    assert all(rest["checkpoint"].parent == tmp_path for rest in asked)
    run._fit(create("ease"), blocks(), tmp_path, by[-1], engine, lambda done, total: None)
    assert len(asked) == 5


def test_strips_are_shared_among_workers_and_kept_where_they_take_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fit_as(config: RunConfig) -> tuple[bool, Model]:
        model = create("item_knn")
        run._fit(model, blocks(), tmp_path / str(config.workers), config, Local(), lambda done, total: None)
        return (tmp_path / str(config.workers)).exists(), model

    (alone, one), (shared, other) = fit_as(RunConfig()), fit_as(RunConfig(workers=2))
    assert (alone, shared) == (False, True)
    monkeypatch.setattr(run, "LONG", 0.0)
    long, kept = fit_as(RunConfig())
    assert long
    assert equal(one, other)
    assert equal(one, kept)


def test_without_room_for_so_many_what_ships_is_learned_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: Any) -> None:
        raise UsageError("2 workers need a core each, Ray has 1; give fewer workers")

    engine, hybrid = Local(2), create("hybrid_factorization", **SMALL)
    monkeypatch.setattr(engine, "check_together", full)
    (tmp_path / "torn").mkdir()
    monkeypatch.setattr(run, "fingerprint", lambda _: "torn")
    for part in ("choose", "final"):
        (tmp_path / "torn" / part).mkdir()
        (tmp_path / "torn" / part / "training.safetensors").write_bytes(b"torn")
    run._fit(hybrid, blocks(), tmp_path, RunConfig(engine="ray", workers=2), engine, lambda done, total: None)
    hybrid.check_fitted()
    assert hybrid.params() == create("hybrid_factorization", **SMALL).params()


def test_the_python_face_refuses_them_too() -> None:
    with pytest.raises(UsageError, match="models that do: hybrid_factorization"):
        aisle.fit(blocks(), "ease", checkpoint="folder")


def test_a_stopped_training_goes_on_to_the_same_bundle(shop: Path, tmp_path: Path) -> None:
    whole = train(shop, tmp_path / "whole", "hybrid_factorization", settings=SMALL)
    data = aisle.read(shop)

    def stop(epoch: Epoch) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(create("hybrid_factorization", **SMALL), data, checkpoint=tmp_path / "kept", watches=[stop])
    assert list((tmp_path / "kept").rglob("*.safetensors"))
    seen: list[Epoch] = []
    rest = fit(create("hybrid_factorization", **SMALL), data, checkpoint=tmp_path / "kept", watches=[seen.append])
    assert seen[0].number == 2, "the first epoch is not learned again"
    for name, array in whole.model.state()[0].items():
        assert array.tobytes() == rest.state()[0][name].tobytes(), name
    follow = Follow(checkpoint=tmp_path / "kept")
    again = train(shop, tmp_path / "again", "hybrid_factorization", settings=SMALL, follow=follow)
    assert lists(again).equals(lists(whole))
    with pytest.raises(BundleError, match="another training"):
        train(shop, tmp_path / "x", "hybrid_factorization", settings=SMALL | {"seed": 1}, follow=follow)
    assert lists(aisle.fit(data, "hybrid_factorization", checkpoint=str(tmp_path / "kept"), **SMALL)).equals(
        lists(whole)
    )


def test_both_parts_of_a_training_are_one_curve() -> None:
    seen: list[Epoch] = []
    model = fit(create("hybrid_factorization", **SMALL), blocks(), watches=[seen.append])
    chosen = len(model.training_["loss"])  # type: ignore[attr-defined]
    kept = model.epochs_  # type: ignore[attr-defined]
    assert kept > 0
    assert [epoch.number for epoch in seen] == list(range(1, chosen + kept + 1))
    assert [epoch.validation is None for epoch in seen] == [False] * chosen + [True] * kept


def test_the_share_done_rises_to_all_of_it() -> None:
    told: list[tuple[int, int]] = []
    watch = ticking(lambda done, total: told.append((done, total)), 10)
    for number in range(1, 7):  # stopped after 4, of which 2 were kept
        watch(Epoch(number, 0.5, 0.1 if number <= 4 else None, 1.0))
    assert told == [(1, 20), (2, 20), (3, 20), (4, 20), (5, 8), (6, 8)]
    assert all(later > sooner for sooner, later in pairwise(done / total for done, total in told))
    blind: list[tuple[int, int]] = []
    watch = ticking(lambda done, total: blind.append((done, total)), 2)
    for number in range(1, 4):  # gone on from a checkpoint: the choice was over
        watch(Epoch(number, 0.5, None, 1.0))
    assert blind == [(1, 2), (2, 2), (3, 3)]


def test_all_places_hear_of_every_epoch(monkeypatch: pytest.MonkeyPatch, shop: Path, tmp_path: Path) -> None:
    heard: dict[str, list[int]] = {"tensorboard": [], "mlflow": []}

    def sink(name: str) -> Any:
        return lambda place: lambda epoch: heard[name].append(epoch.number)

    for name in heard:
        monkeypatch.setattr(f"aisle.models.nn.sinks.{name}", sink(name))
    follow = Follow(tensorboard=tmp_path / "curves", mlflow="a1b2")
    train(shop, tmp_path / "model", "hybrid_factorization", settings=SMALL, follow=follow)
    assert heard["tensorboard"] == heard["mlflow"]
    assert heard["mlflow"][:1] == [1]
