"""Tuning: the same budget for all, the defaults first, and no cell twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from aisle.data.dataset import Dataset
from aisle.data.split import Window
from aisle.errors import UsageError
from aisle.evaluate.horizon import choose_windows
from aisle.evaluate.protocol import Exam, headline
from aisle.evaluate.tune import Budget, MemoryStore, Selection, Trial, proposals, tune
from aisle.models.base import Model
from aisle.types import Doubles
from tests.evaluate import toys
from tests.evaluate.shops import random_shop

PLENTY = Budget(settings=20, cpu_seconds=1_000.0)


@pytest.fixture(scope="module")
def shop() -> Dataset:
    return random_shop(3, customers=60)


@pytest.fixture(scope="module")
def windows(shop: Dataset) -> tuple[Window, ...]:
    return choose_windows(shop, 30)[0]


def trial(name: str, *ndcg: float, settings: dict[str, Any] | None = None, error: str = "") -> Trial:
    return Trial(name, settings or {}, ndcg, 1.0, 10.0, error)


def climbed(scores: Callable[[dict[str, Any]], float], name: str = "sells") -> list[dict[str, Any]]:
    """All proposals for a model whose settings score so."""
    wishes = proposals(name, seed=4)
    asked = [next(wishes)]
    while True:
        try:
            asked.append(wishes.send(scores({"noise": 1.0, "shift": 0} | asked[-1])))
        except StopIteration:
            return asked


def test_defaults_come_first_then_one_setting_at_a_time_beside_the_best() -> None:
    found = climbed(lambda s: -abs(s["noise"] - 0.5) + s["shift"])
    assert found == [
        {"seed": 4},
        {"seed": 4, "noise": 0.5},
        {"seed": 4, "noise": 0.0},
        {"seed": 4, "noise": 0.5, "shift": 1},
        {"seed": 4, "noise": 1.0, "shift": 1},  # the second round
        {"seed": 4, "noise": 0.0, "shift": 1},
    ]


def test_points_come_once_and_rounds_end() -> None:
    found = climbed(lambda s: 0.0)
    assert found == [{"seed": 4}, {"seed": 4, "noise": 0.5}, {"seed": 4, "shift": 1}, {"seed": 4, "noise": 0.0}]
    assert climbed(lambda s: 0.0, "own") == [{}]


def test_a_setting_that_changes_nothing_waits() -> None:
    """A half-life where there are no dates must not use up the trials of settings that matter."""
    found = climbed(lambda s: float(s["shift"]))
    assert found == [
        {"seed": 4},
        {"seed": 4, "noise": 0.5},
        {"seed": 4, "shift": 1},
        {"seed": 4, "noise": 0.5, "shift": 1},
        {"seed": 4, "noise": 0.0, "shift": 1},  # when a round has found nothing better
    ]


def test_what_waited_may_still_be_the_best() -> None:
    found = climbed(lambda s: float(s["noise"] == 0.0))
    assert {"seed": 4, "noise": 0.0} in found
    assert found[-1] == {"seed": 4, "noise": 0.0, "shift": 1}  # rounds go on from there


def test_a_failure_is_no_tie() -> None:
    """Below 0 nothing could be fitted: another value of the same setting may be the one that can."""
    found = climbed(lambda s: -1.0)
    assert found[:3] == [{"seed": 4}, {"seed": 4, "noise": 0.5}, {"seed": 4, "noise": 0.0}]


def test_the_best_setting_is_found(shop: Dataset, windows: tuple[Window, ...]) -> None:
    found = tune(["sells", "own", "random"], shop, windows, budget=PLENTY)
    assert found.best["sells"].settings["noise"] == 0.0
    assert (found.tried("sells"), found.tried("own"), found.tried("random")) == (4, 1, 1)
    assert found.pick(["sells", "own"]) == "sells"
    assert len(toys.FITS) == 4 * len(windows)
    assert all(len(t.ndcg) == len(windows) and t.seconds > 0 and t.peak_mb > 0 for t in found.trials)


def test_budget_counts_settings_and_seconds_but_never_skips_the_defaults(
    shop: Dataset, windows: tuple[Window, ...]
) -> None:
    few = tune(["sells"], shop, windows, budget=Budget(settings=2))
    assert few.tried("sells") == 2
    short = tune(["sells"], shop, windows, budget=Budget(settings=6, cpu_seconds=1e-9))
    assert short.tried("sells") == 1
    assert short.trials[0].settings == {"seed": 0}
    assert not np.isnan(short.trials[0].ndcg).any()


def test_a_stopped_run_resumes(shop: Dataset, windows: tuple[Window, ...]) -> None:
    class Killed(Exception):
        pass

    class Store(MemoryStore):
        def put(self, key: str, value: dict[str, Any]) -> None:
            super().put(key, value)
            if len(self.cells) == 7:
                raise Killed

    store = Store()
    with pytest.raises(Killed):
        tune(["sells", "own"], shop, windows, budget=PLENTY, store=store)
    before = len(toys.FITS)
    resumed = tune(["sells", "own"], shop, windows, budget=PLENTY, store=store)
    assert len(toys.FITS) == 4 * len(windows)
    assert before == 7
    fresh = tune(["sells", "own"], shop, windows, budget=PLENTY)
    assert [(t.name, t.settings, t.ndcg) for t in resumed.trials] == [
        (t.name, t.settings, t.ndcg) for t in fresh.trials
    ]
    again = tune(["sells", "own"], shop, windows, budget=PLENTY, store=store)
    assert again == resumed
    assert len(toys.FITS) == 8 * len(windows)
    tune(["sells"], shop, windows, budget=PLENTY, seed=1, store=store)
    assert len(toys.FITS) == 12 * len(windows)


def test_a_model_that_cannot_be_fitted_is_set_aside(shop: Dataset, windows: tuple[Window, ...]) -> None:
    store = MemoryStore()
    found = tune(["greedy", "own"], shop, windows, budget=PLENTY, store=store)
    assert list(found.best) == ["own"]
    assert "greedy needs 1 TB" in found.failed["greedy"]
    assert not any(key.startswith("greedy") for key in store.cells)


def test_a_model_that_joins_others_comes_last_and_gets_them_as_tuned(
    shop: Dataset, windows: tuple[Window, ...]
) -> None:
    names = ["joined", "random", "sells", "greedy", "own", "popularity"]
    found = tune(names, shop, windows, budget=PLENTY)
    parts = found.best["joined"].settings["parts"]
    means = {name: found.best[name].mean for name in ("own", "sells", "popularity")}
    impersonal = max(("sells", "popularity"), key=lambda name: means[name])
    assert list(parts) == sorted(["own", impersonal], key=lambda name: -means[name])
    assert parts == {name: found.best[name].settings for name in parts}
    assert found.best["joined"].ndcg == found.best[next(iter(parts))].ndcg
    assert found.trials[-1].name == "joined"
    assert found.tried("joined") == 2
    assert found.best["joined"].settings["target_days"] == 30, "the windows of the shop"


def test_progress_rises_to_its_total(shop: Dataset, windows: tuple[Window, ...]) -> None:
    seen: list[tuple[int, int]] = []
    tune(["sells", "own"], shop, windows, budget=PLENTY, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (200, 200)


def test_ties_go_to_the_earlier_and_nothing_loses_to_something() -> None:
    trials = (
        trial("a", float("nan")),
        trial("b", 0.25, 0.5, settings={"x": 1}),
        trial("b", 0.5, 0.25, settings={"x": 2}),
        trial("c", 0.375),
        trial("d", error="no"),
    )
    found = Selection(trials, (), PLENTY)
    assert found.best["b"].settings == {"x": 1}
    assert found.pick(["a", "b", "c", "d"]) == "b"
    assert found.pick(["c", "b"]) == "c"
    assert found.pick(["a"]) == "a"
    assert found.pick(["d"]) is None
    assert found.trials[0].to_json()["mean"] is None


def test_large_windows_are_sampled(shop: Dataset, windows: tuple[Window, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def watched(model: Model, exam: Exam) -> Doubles:
        asked.append(len(exam.warm.customers))
        return headline(model, exam)

    monkeypatch.setattr("aisle.evaluate.tune.headline", watched)
    tune(["own"], shop, windows, budget=Budget(customers=17))
    assert asked == [17] * len(windows)


def test_budgets_must_allow_something() -> None:
    with pytest.raises(UsageError, match="at least 1 setting"):
        Budget(settings=0)
