"""Models examined by several workers: the certificate is that of one process, and nothing is done twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aisle.config import RunConfig
from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.engine import Local
from aisle.errors import UsageError
from aisle.evaluate import in_parts
from aisle.evaluate.assess import Ground
from aisle.evaluate.in_parts import InParts
from aisle.evaluate.last import Asked, Cost, Shelf, ask_last
from aisle.evaluate.protocol import Exam, Scores, make_lists
from aisle.evaluate.tune import BUDGETS
from aisle.jobs import assess
from aisle.jobs.ahead import examine_ahead
from aisle.jobs.assess import assess_dataset
from aisle.models import create
from aisle.models.base import Model
from aisle.types import Codes
from tests.evaluate.shops import random_shop

CONFIG = RunConfig(models=("popularity", "personal_frequency", "item_knn", "stack"), horizon=20, budget="quick", k=5)


def comparable(certificate: dict[str, Any]) -> dict[str, Any]:
    """All of it but what was measured of time and memory."""
    blank = {"seconds": None, "peak_mb": None}
    trials = [trial | blank for trial in certificate["selection"]["trials"]]
    return certificate | {
        "models": {name: model | blank for name, model in certificate["models"].items()},
        "selection": certificate["selection"] | {"trials": trials},
        "protocol": certificate["protocol"] | {"tuning_seconds_by_model": None},
    }


def test_workers_come_to_the_certificate_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_shop(5)
    alone = assess_dataset(data, CONFIG)
    config = replace(CONFIG, workers=2)
    shared = assess_dataset(data, config, kept=tmp_path, engine=Local(2))
    assert comparable(shared.certificate) == comparable(alone.certificate)
    assert (shared.ship, shared.settings) == (alone.ship, alone.settings)
    assert not (tmp_path / "dataset").exists()

    def nothing(*_: Any, **__: Any) -> None:
        raise AssertionError("everything is kept")

    monkeypatch.setattr("aisle.evaluate.tune.headline", nothing)
    monkeypatch.setattr("aisle.evaluate.last.evaluate", nothing)
    again = assess_dataset(data, CONFIG, kept=tmp_path)
    assert again.certificate == shared.certificate


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Exam.of.__func__.__kwdefaults__, "block_bytes", 0)  # type: ignore[attr-defined]
    monkeypatch.setattr(in_parts, "ASKED_A_PART", 40)


def ahead(data: Dataset, kept: Path, *names: str) -> list[tuple[int, int]]:
    """Examined ahead in this process; what was told on the way."""
    told: list[tuple[int, int]] = []
    config = replace(CONFIG, models=names or CONFIG.models)
    examine_ahead(data, config.models, config, kept, Local(1), lambda *now: told.append(now))
    return told


def with_newcomers() -> Dataset:
    """A third of the customers buys nothing before the last window."""
    data = random_shop(5)
    events = data.all_events
    late = events.time >= data.as_of - 20 * data.unit
    return replace(data, all_events=events.take(late | (events.customer % 3 > 0)))


@pytest.mark.usefixtures("small_parts")
def test_a_large_last_window_is_asked_in_parts_and_none_is_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, item_knn = with_newcomers(), type(create("item_knn"))
    alone = assess_dataset(data, CONFIG)
    done, stop = list[int](), 7

    def making(model: Model, exam: Exam, batches: tuple[Batch, ...], k: int) -> Codes:
        if len(done) == stop:
            raise KeyboardInterrupt
        done.append(sum(map(len, batches)))
        return make_lists(model, exam, batches, k)

    monkeypatch.setattr(in_parts, "make_lists", making)
    with pytest.raises(KeyboardInterrupt):
        ahead(data, tmp_path)
    with monkeypatch.context() as kept:
        kept.setattr(item_knn, "fit", None)
        stop = -1
        told = ahead(data, tmp_path)
    assert sum(done) == 4 * sum(map(len, asked_last(data)))
    assert max(done) == 32
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    assert not (tmp_path / "parts").exists()
    monkeypatch.setattr("aisle.evaluate.last.evaluate", None)
    shared = assess_dataset(data, CONFIG, kept=tmp_path)
    assert comparable(shared.certificate) == comparable(alone.certificate)


def asked_last(data: Dataset) -> tuple[Codes, Codes]:
    """Warm and cold customers of the last window; some of both."""
    exam = Ground.of(data, k=5, horizon=20, budget=BUDGETS["quick"], seed=0).final
    assert min(len(exam.warm.customers), len(exam.cold.customers)) > 32
    return exam.warm.customers, exam.cold.customers


@pytest.mark.usefixtures("small_parts")
def test_of_other_settings_nothing_is_taken(tmp_path: Path) -> None:
    """As after a kill between two calls, with other settings chosen meanwhile."""
    exam, shelf = (
        Ground.of(random_shop(5), k=5, horizon=20, budget=BUDGETS["quick"], seed=0).final,
        Shelf(tmp_path / "l"),
    )
    for neighbours in (1, 40):
        settings = {"neighbours": neighbours}
        parts = InParts(tmp_path / "item_knn", "item_knn", settings, exam, 5)
        assert parts.fit()
        for rows in parts.rows:
            parts.ask(rows)
        for _ in range(2):  # the first worker may be lost after the answer is on the shelf
            parts.finish(shelf)
        asked, known = shelf.get(parts.key), ask_last("item_knn", settings, exam, 5)
        assert asked is not None
        assert isinstance(known, Asked)
        np.testing.assert_equal(vars(asked.scores), vars(known.scores))


@pytest.mark.usefixtures("small_parts")
def test_curves_of_a_model_asked_in_parts_are_kept(tmp_path: Path) -> None:
    exam = Ground.of(random_shop(5), k=5, horizon=20, budget=BUDGETS["quick"], seed=0).final
    settings = {"epochs": 2, "dim": 4}
    parts, shelf = InParts(tmp_path / "net", "hybrid_factorization", settings, exam, 5), Shelf(tmp_path)
    assert parts.fit()
    for rows in parts.rows:
        parts.ask(rows)
    parts.finish(shelf)
    asked, known = shelf.get(parts.key), ask_last("hybrid_factorization", settings, exam, 5)
    assert asked is not None
    assert isinstance(known, Asked)
    assert asked.training == known.training
    assert asked.training


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("where", ["fit", "few", "restore"])
def test_a_model_that_fails_is_left_to_the_examination(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, calls = random_shop(5), list[int]()

    def fail(*_: Any) -> None:
        calls.append(1)
        raise MemoryError

    names = ("popularity", "item_knn", "stack")
    if where == "fit":
        monkeypatch.setattr(type(create("item_knn")), where, fail)
        ahead(data, tmp_path, *names)
        assert len(calls) == 3, "once in each window: the models that join others do without it"
    else:
        ahead(data, tmp_path, *names)
        (tmp_path / "last").rename(tmp_path / "away")
        monkeypatch.setattr(type(create("item_knn")), where, fail)
        ahead(data, tmp_path, *names)
    if where == "restore":
        return
    found = assess_dataset(data, replace(CONFIG, models=names), kept=tmp_path)
    assert "item_knn" not in found.certificate["models"]
    assert "popularity" in found.certificate["models"]


def test_windows_are_examined_before_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    best_of = Ground.best_of

    def spied(self: Ground, *rest: Any) -> Any:
        left.append(len(list(tmp_path.glob("*.json"))))
        return best_of(self, *rest)

    monkeypatch.setattr(Ground, "best_of", spied)
    told = ahead(random_shop(5), tmp_path, "item_knn", "popularity")
    assert left[0] == 6, "two models in three windows"
    assert told[-1][0] == told[-1][1], "though nothing was asked in parts"


def test_joining_models_do_not_try_the_single_ones_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who fails with other settings than the defaults is in no store."""
    item_knn, calls = type(create("item_knn")), list[int]()
    fit = item_knn.fit

    def fail(self: Any, data: Dataset) -> Any:
        if self.params() != create("item_knn").params():
            calls.append(1)
            raise MemoryError
        return fit(self, data)

    monkeypatch.setattr(item_knn, "fit", fail)
    config = replace(CONFIG, models=("popularity", "item_knn", "stack"), budget="standard")
    examine_ahead(random_shop(5), config.models, config, tmp_path, Local(1), lambda *_: None)
    assert len(calls) == 5, "once for each setting"


@pytest.mark.usefixtures("small_parts")
def test_what_is_damaged_is_made_again(tmp_path: Path) -> None:
    exam = Ground.of(random_shop(5), k=5, horizon=20, budget=BUDGETS["quick"], seed=0).final
    parts = InParts(tmp_path, "popularity", {}, exam, 5)
    assert parts.fit()
    parts.ask(parts.rows[0])
    for name in ("fitted.safetensors", "warm-0-32.safetensors"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert parts._kept(tmp_path / name) is None
        parts.fit()
        parts.ask(parts.rows[0])
        assert parts._kept(tmp_path / name) is not None


def test_one_worker_needs_no_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assess, "examine_ahead", None)
    assess_dataset(random_shop(5), replace(CONFIG, models=("popularity",)), kept=tmp_path, engine=Local(1))
    assert len(list((tmp_path / "last").iterdir())) == 1


def test_two_shops_in_one_process_are_not_mixed_up(tmp_path: Path) -> None:
    """A single model needs no second process: what this one has open of the first shop must not answer for the next."""
    config = replace(CONFIG, models=("popularity",), workers=2)
    for seed in (5, 6):
        shared = assess_dataset(random_shop(seed), config, kept=tmp_path / str(seed), engine=Local(2))
        assert comparable(shared.certificate) == comparable(assess_dataset(random_shop(seed), config).certificate)


def test_what_cannot_be_judged_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assess, "examine_ahead", None)
    with pytest.raises(UsageError, match="no simple model"):
        assess_dataset(random_shop(5), replace(CONFIG, models=("ease",), workers=2), kept=tmp_path, engine=Local(2))


def test_an_answer_is_kept_to_the_last_bit_or_not_at_all(tmp_path: Path) -> None:
    shelf, key = Shelf(tmp_path), ["ease", {"l2": 0.1}, 3]
    scores = Scores(
        customers=np.array([3, 5], dtype=np.int32),
        values={"ndcg@10": np.array([0.1 + 0.2, np.nan])},
        lists=np.array([[1, -1], [2, 0]], dtype=np.int32),
        whole={"coverage@10": 1 / 3, "novelty@10": float("nan")},
        cold={"ndcg@10": np.zeros(0)},
        same_for_all=False,
    )
    asked = Asked(scores, Cost(1.25, 300.5), {"loss": [0.1, None], "epochs": 1})
    assert shelf.get(key) is None
    shelf.put(key, asked)
    found = shelf.get(key)
    assert found is not None
    assert vars(found.cost) == vars(asked.cost)
    assert found.training == asked.training
    np.testing.assert_equal(vars(found.scores), vars(scores))
    assert shelf.get(["ease", {"l2": 0.1}, 4]) is None
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for harmed in (whole[:-7], whole[:-7] + bytes([whole[-7] ^ 1]) + whole[-6:]):
        file.write_bytes(harmed)
        assert shelf.get(key) is None
    file.write_bytes(whole)
    assert shelf.get(key) is not None
