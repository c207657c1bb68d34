"""The whole examination: choose on the rolling windows, refit at the last cut, ask once, decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from aisle.data.dataset import Dataset
from aisle.errors import AisleError, UsageError
from aisle.evaluate.horizon import choose_horizon, choose_windows
from aisle.evaluate.meter import Meter
from aisle.evaluate.newcomers import Newcomers, chain, decide_newcomers
from aisle.evaluate.protocol import Exam, Scores, evaluate
from aisle.evaluate.tune import Budget, Selection, Settings, Store, Tick, tune
from aisle.evaluate.verdict import Verdict, decide
from aisle.models import create, model_class
from aisle.types import Doubles

ASKED_LAST = 100_000
"""Customers asked in the last window, at most: more would cost hours and tell little, intervals are narrow by then."""
TUNE_UNITS, LAST_UNITS = 100, 30
"""Progress units a model takes in tuning and on the last window."""


@dataclass(frozen=True, eq=False)
class Cost:
    """What fitting and scoring on the last window took."""

    seconds: float
    """CPU seconds."""
    peak_mb: float


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
    store: Store | None = None,
    progress: Tick | None = None,
) -> Assessment:
    """Examine the models on ``dataset`` as of its moment and decide which one ships.

    ``horizon`` in days (baskets under a sequence clock) is chosen from the data where None. A model that cannot be
    fitted is set aside with its reason. Raises UsageError where ``names`` holds no simple model or an unknown name.
    """
    if k < 1:
        raise UsageError(f"k is {k}; a list holds at least 1 product")
    if not any(model_class(name).simple for name in names):
        raise UsageError(f"no simple model among {', '.join(names) or 'none'}; add popularity or personal_frequency")
    names = list(dict.fromkeys(names))
    days, reason = choose_horizon(dataset) if horizon is None else (horizon, f"{horizon}, as asked for")
    windows, last = choose_windows(dataset, days)
    tick = _scaled(progress, len(names))
    selection = tune(
        names, dataset, windows, budget=budget or Budget(), seed=seed, progress=tick and tick[0], store=store
    )
    exam = Exam.of(dataset, last, limit=ASKED_LAST, seed=seed)
    scores, costs, training, failed = _last_window(selection, exam, k, tick and tick[1])
    verdict, below = decide(selection, scores, seed), chain(exam, k)
    newcomers = decide_newcomers(verdict.ship, scores, below, seed)
    return Assessment(
        dataset, exam, days, reason, k, seed, selection, scores, costs, training, failed, verdict, below, newcomers
    )


def _last_window(
    selection: Selection, exam: Exam, k: int, progress: Tick | None
) -> tuple[dict[str, Scores], dict[str, Cost], dict[str, dict[str, Any]], dict[str, str]]:
    """Every model with its chosen settings, fitted at the last cut and scored once."""
    scores: dict[str, Scores] = {}
    costs: dict[str, Cost] = {}
    training: dict[str, dict[str, Any]] = {}
    failed = dict(selection.failed)
    asked = len(exam.warm.customers) > 0
    exam = exam if asked else replace(exam, cold=exam.warm)  # nobody to ask: nothing to fit either
    for done, (name, trial) in enumerate(selection.best.items()):
        try:
            with Meter() as meter:
                model = create(name, **trial.settings)
                scores[name] = evaluate(model.fit(exam.past) if asked else model, exam, k)
            costs[name] = Cost(meter.seconds, meter.peak_mb)
            if left := getattr(model, "training_", None):
                training[name] = left
        except (AisleError, MemoryError) as error:  # one model must not stop the others; bugs still do
            failed[name] = str(error) or type(error).__name__
        if progress is not None:
            progress(done + 1, len(selection.best))
    return scores, costs, training, failed


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
