"""The whole examination: choose on the rolling windows, refit at the last cut, ask once, decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aisle.data.dataset import Dataset
from aisle.data.split import Window
from aisle.errors import UsageError
from aisle.evaluate.horizon import choose_horizon, choose_windows
from aisle.evaluate.last import Asked, Cost, Shelf, ask_last
from aisle.evaluate.newcomers import Newcomers, chain, decide_newcomers
from aisle.evaluate.protocol import Exam, Scores
from aisle.evaluate.tune import (
    Budget,
    MemoryStore,
    Selection,
    Settings,
    Store,
    Tick,
    Trial,
    days_in,
    given_to,
    keep_default,
    ready,
    tune,
    tune_one,
)
from aisle.evaluate.verdict import Verdict, decide
from aisle.files import Receipts
from aisle.models import model_class
from aisle.types import Doubles

ASKED_LAST = 100_000
"""Customers asked in the last window, at most: more would cost hours and tell little, intervals are narrow by then."""
TUNE_UNITS, LAST_UNITS = 100, 30
"""Progress units a model takes in tuning and on the last window."""


@dataclass(frozen=True)
class Kept:
    """What an examination of one dataset has finished, so that a stopped one goes on, and workers may do it ahead."""

    cells: Store
    """Of the tuning windows."""
    answers: Shelf | None = None
    """Of the last window."""

    @classmethod
    def at(cls, folder: Path) -> Kept:
        """In a folder that belongs to this dataset."""
        return cls(Receipts(folder), cls.shelf(folder))

    @staticmethod
    def shelf(folder: Path) -> Shelf:
        """Where it keeps the answers of the last window."""
        return Shelf(folder / "last")


@dataclass(frozen=True, eq=False)
class Ground:
    """A dataset and the windows that all models are examined on; whoever examines some of them makes the same."""

    dataset: Dataset
    k: int
    seed: int
    budget: Budget
    horizon: int
    """Days; baskets under a sequence clock."""
    reason: str
    """Why so many."""
    windows: tuple[Window, ...]
    """For tuning."""
    last: Window

    @classmethod
    def of(cls, dataset: Dataset, *, k: int, horizon: int | None, budget: Budget, seed: int) -> Ground:
        """``horizon`` is chosen from the data where None. Raises UsageError for a k below 1."""
        if k < 1:
            raise UsageError(f"k is {k}; a list holds at least 1 product")
        days, reason = choose_horizon(dataset) if horizon is None else (horizon, f"{horizon}, as asked for")
        return cls(dataset, k, seed, budget, days, reason, *choose_windows(dataset, days))

    @property
    def exams(self) -> list[Exam]:
        """Of the tuning windows."""
        return [self.exam(place) for place in range(len(self.windows))]

    def exam(self, place: int) -> Exam:
        """Of one of them; made once."""
        if place not in self._made:
            self._made[place] = ready(self.dataset, self.windows[place : place + 1], self.budget, self.seed)[0]
        return self._made[place]

    def forget(self) -> None:
        """Let go of these exams."""
        self._made.clear()

    @cached_property
    def _made(self) -> dict[int, Exam]:
        return {}

    @cached_property
    def final(self) -> Exam:
        """Of the last window."""
        return Exam.of(self.dataset, self.last, limit=ASKED_LAST, seed=self.seed)

    def keep_default(self, name: str, place: int, given: Settings, store: Store) -> bool:
        """Put into the store what a model scores with its defaults in one tuning window; ``given`` is what it joins.

        False where it cannot be fitted.
        """
        return keep_default(name, self.exam(place), self.budget, seed=self.seed, given=given, store=store)

    def best_of(self, name: str, given: Settings, store: Store) -> Trial | None:
        """The best trial of one model, which is ``given`` what it joins; None where it cannot be fitted."""
        trials = tune_one(name, self.exams, budget=self.budget, seed=self.seed, given=given, store=store)
        return Selection(tuple(trials), self.windows, self.budget).best.get(name)

    def given_to(self, name: str, best: Sequence[Trial]) -> Settings:
        """What a model that joins others is given, from the best trials of these, in the order of the line-up."""
        found = Selection(tuple(best), self.windows, self.budget)
        return given_to(name, found, days_in(self.windows, self.dataset.unit))

    def choose(self, names: Sequence[str], store: Store | None = None, progress: Tick | None = None) -> Selection:
        """The models with the settings that the tuning windows speak for."""
        return tune(
            names,
            self.dataset,
            self.windows,
            budget=self.budget,
            seed=self.seed,
            progress=progress,
            store=store,
            exams=self.exams,
        )


@dataclass(frozen=True, eq=False)
class Assessment:
    """Everything the certificate is written from."""

    dataset: Dataset
    exam: Exam
    """The last window."""
    horizon: int
    """Days; baskets under a sequence clock."""
    horizon_reason: str
    k: int
    seed: int
    selection: Selection
    scores: dict[str, Scores]
    """What each model scored on the last window with its chosen settings."""
    costs: dict[str, Cost]
    training: dict[str, dict[str, Any]]
    """The curves of the models that learn in epochs, as ``training_`` of the model fitted on the last window."""
    failed: dict[str, str]
    """Models that could not be fitted, and why."""
    verdict: Verdict
    chain: dict[str, Doubles]
    """What the fallback chain scored for each cold customer of the last window."""
    newcomers: Newcomers

    @property
    def ship(self) -> str:
        """Registry name of the model to ship."""
        return self.verdict.ship

    @property
    def settings(self) -> Settings:
        """The chosen settings of the model to ship: ``create(assessment.ship, **assessment.settings)``."""
        return self.chosen(self.ship)

    def chosen(self, name: str) -> Settings:
        """The settings picked for a model on the rolling windows."""
        return self.selection.best[name].settings


def assess(
    dataset: Dataset,
    names: Sequence[str],
    *,
    k: int = 10,
    horizon: int | None = None,
    budget: Budget | None = None,
    seed: int = 0,
    kept: Kept | None = None,
    progress: Tick | None = None,
) -> Assessment:
    """Examine the models on ``dataset`` as of its moment and decide which one ships.

    ``horizon`` in days (baskets under a sequence clock) is chosen from the data where None. A model that cannot be
    fitted is set aside with its reason. What is kept is not done again. Raises UsageError where ``names`` holds no
    simple model or an unknown name.
    """
    need_simple(names)
    names = list(dict.fromkeys(names))
    ground = Ground.of(dataset, k=k, horizon=horizon, budget=budget or Budget(), seed=seed)
    tick, kept = _scaled(progress, len(names)), kept or Kept(MemoryStore())
    selection = ground.choose(names, kept.cells, tick and tick[0])
    ground.forget()  # three moments, which nobody asks again
    asked, failed = _last_window(selection, ground, kept.answers, tick and tick[1])
    scores = {name: one.scores for name, one in asked.items()}
    verdict, below = decide(selection, scores, seed), chain(ground.final, k)
    return Assessment(
        dataset,
        ground.final,
        ground.horizon,
        ground.reason,
        k,
        seed,
        selection,
        scores,
        costs={name: one.cost for name, one in asked.items()},
        training={name: one.training for name, one in asked.items() if one.training},
        failed=failed,
        verdict=verdict,
        chain=below,
        newcomers=decide_newcomers(verdict.ship, scores, below, seed),
    )


def need_simple(names: Sequence[str]) -> None:
    """Raise UsageError where no model is a simple one, which every verdict compares with, or one is unknown."""
    if not any(model_class(name).simple for name in names):
        raise UsageError(f"no simple model among {', '.join(names) or 'none'}; add popularity or personal_frequency")


def _last_window(
    selection: Selection, ground: Ground, shelf: Shelf | None, progress: Tick | None
) -> tuple[dict[str, Asked], dict[str, str]]:
    """Every model with its chosen settings, asked once, and why some could not be."""
    asked: dict[str, Asked] = {}
    failed = dict(selection.failed)
    for done, (name, trial) in enumerate(selection.best.items()):
        found = ask_last(name, trial.settings, ground.final, ground.k, shelf)
        if isinstance(found, Asked):
            asked[name] = found
        else:
            failed[name] = str(found) or type(found).__name__
        if progress is not None:
            progress(done + 1, len(selection.best))
    return asked, failed


def _scaled(progress: Tick | None, models: int) -> tuple[Tick, Tick] | None:
    """The two phases on one scale."""
    if progress is None:
        return None
    tell: Tick = progress
    first, total = TUNE_UNITS * models, (TUNE_UNITS + LAST_UNITS) * models

    def tuning(done: int, out_of: int) -> None:
        tell(first * done // max(out_of, 1), total)

    def last(done: int, out_of: int) -> None:
        tell(first + (total - first) * done // max(out_of, 1), total)

    return tuning, last
