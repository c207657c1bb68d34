"""Choosing models and their settings on rolling windows, with the same budget for every model.

Every model is first scored with its defaults on all windows, then climbs: one setting of its ``space`` after another,
the best value so far kept, until the number of settings or the model's CPU seconds are spent. Models that join others
come last and are given the others with the settings found for them. Each (model, settings, window) cell goes through a
store, so that a run that was stopped resumes where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeAlias

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.split import Window
from aisle.errors import AisleError, UsageError
from aisle.evaluate.meter import Meter
from aisle.evaluate.protocol import Exam, headline, mean
from aisle.models import create, model_class

REFERENCE = frozenset({"random"})
"""Models that are scored beside the others but never ship."""
MEMBERS = 8
"""Personal models that a model joins at most: more of them cost time and say little that is new."""
Tick: TypeAlias = Callable[[int, int], None]
"""Called with (done, total)."""
Settings: TypeAlias = dict[str, Any]


class Store(Protocol):
    """Where the results of cells survive a stopped run; keys are short file-safe texts, values plain JSON."""

    def get(self, key: str) -> dict[str, Any] | None:
        """The value put under the key, None where there is none."""

    def put(self, key: str, value: dict[str, Any]) -> None:
        """Keep the value under the key."""


class MemoryStore:
    """A store for one process."""

    def __init__(self) -> None:
        self.cells: dict[str, dict[str, Any]] = {}

    def get(self, key: str) -> dict[str, Any] | None:
        """The value put under the key, None where there is none."""
        return self.cells.get(key)

    def put(self, key: str, value: dict[str, Any]) -> None:
        """Keep the value under the key."""
        self.cells[key] = value


@dataclass(frozen=True)
class Budget:
    """What each model may spend on tuning; the same for all."""

    settings: int = 6
    """Settings tried at most, the defaults included."""
    cpu_seconds: float = 60.0
    """No further settings are tried once this is spent; the defaults are always scored on all windows."""
    customers: int = 10_000
    """Customers asked in a tuning window; of more a random sample."""

    def __post_init__(self) -> None:
        if self.settings < 1 or self.cpu_seconds <= 0 or self.customers < 1:
            raise UsageError(f"a budget needs at least 1 setting, 1 customer and some CPU seconds, got {self}")


BUDGETS: dict[str, Budget] = {
    "quick": Budget(settings=1, cpu_seconds=5.0, customers=5_000),
    "standard": Budget(settings=6, cpu_seconds=15.0, customers=10_000),
    "full": Budget(settings=24, cpu_seconds=1_200.0, customers=50_000),
}
"""Budgets of the command line."""


@dataclass(frozen=True)
class Trial:
    """One model with one choice of settings, over all tuning windows."""

    name: str
    settings: Settings
    ndcg: tuple[float, ...]
    """NDCG@10 by window, oldest first; NaN where a window has no customer."""
    seconds: float
    """CPU seconds of fitting and scoring all windows."""
    peak_mb: float
    error: str = ""
    """Why the model could not be fitted; its scores are then NaN."""

    @property
    def mean(self) -> float:
        """Mean NDCG@10 over the windows; NaN where there is none."""
        return mean(np.array(self.ndcg, dtype=np.float64))

    def to_json(self) -> dict[str, Any]:
        """Plain values for the certificate."""
        scores = [None if np.isnan(v) else round(v, 6) for v in (*self.ndcg, self.mean)]
        out = {"model": self.name, "settings": self.settings, "ndcg@10": scores[:-1], "mean": scores[-1]}
        out |= {"seconds": round(self.seconds, 3), "peak_mb": round(self.peak_mb, 1)}
        return out | ({"error": self.error} if self.error else {})


@dataclass(frozen=True)
class Selection:
    """All trials, and what they say."""

    trials: tuple[Trial, ...]
    windows: tuple[Window, ...]
    budget: Budget
    best: dict[str, Trial] = field(init=False)
    """The best trial of each model that could be fitted; ties go to the earlier one."""

    def __post_init__(self) -> None:
        best: dict[str, Trial] = {}
        for trial in self.trials:
            if not trial.error and (trial.name not in best or _order(trial) > _order(best[trial.name])):
                best[trial.name] = trial
        object.__setattr__(self, "best", best)

    def pick(self, names: Sequence[str]) -> str | None:
        """The best of these models; ties go to the earlier name, None where none could be fitted."""
        there = [name for name in names if name in self.best]
        return max(there, key=lambda name: _order(self.best[name])) if there else None

    @property
    def failed(self) -> dict[str, str]:
        """Models that could not be fitted at all, and why."""
        return {trial.name: trial.error for trial in self.trials if trial.error and trial.name not in self.best}

    def tried(self, name: str) -> int:
        """Settings of the model that were scored on all windows."""
        return sum(trial.name == name and not trial.error for trial in self.trials)


def tune(
    names: Sequence[str],
    dataset: Dataset,
    windows: Sequence[Window],
    *,
    budget: Budget,
    seed: int = 0,
    progress: Tick | None = None,
    store: Store | None = None,
    exams: Sequence[Exam] | None = None,
) -> Selection:
    """Score every model on every tuning window, within the budget; ``exams`` are those of ``ready``, if made before.

    The store must belong to this dataset: keys name model, settings, window, sample and seed, not the data.
    """
    exams = ready(dataset, windows, budget, seed) if exams is None else exams
    store = MemoryStore() if store is None else store
    trials: list[Trial] = []
    days = days_in(windows, dataset.unit)
    for done, name in enumerate(sorted(names, key=lambda name: bool(model_class(name).joins))):
        given = given_to(name, Selection(tuple(trials), tuple(windows), budget), days)
        tell = partial(_report, progress, len(names), done)
        trials += tune_one(name, exams, budget=budget, seed=seed, given=given, store=store, report=tell)
        _report(progress, len(names), done + 1)
    return Selection(tuple(trials), tuple(windows), budget)


def tune_one(
    name: str,
    exams: Sequence[Exam],
    *,
    budget: Budget,
    seed: int,
    given: Settings,
    store: Store,
    report: Callable[[float], None] = lambda share: None,
) -> list[Trial]:
    """The trials of one model, which is ``given`` what it joins."""
    attempt = partial(_trial, name, _Cells(exams, budget, seed, store))
    return climb(name, attempt, budget, seed=seed, given=given, report=report)


def keep_default(name: str, exam: Exam, budget: Budget, *, seed: int, given: Settings, store: Store) -> bool:
    """Put into the store what a model scores with its defaults in one window, for ``tune``; False where it cannot be
    fitted.
    """
    settings = next(proposals(name, seed, given))
    return not _Cells([exam], budget, seed, store).run(name, settings, exam)["error"]


def ready(dataset: Dataset, windows: Sequence[Window], budget: Budget, seed: int) -> list[Exam]:
    """The exams of the tuning windows."""
    return [Exam.of(dataset, window, limit=budget.customers, seed=seed) for window in windows]


def given_to(name: str, found: Selection, days: int | None) -> Settings:
    """What a model that joins others is given: those found, and the length of the windows it is asked about."""
    cls = model_class(name)
    if not cls.joins:
        return {}
    length: Settings = {"target_days": days} if days is not None and "target_days" in cls.settings() else {}
    return {cls.joins: members(found)} | length


def days_in(windows: Sequence[Window], unit: int) -> int | None:
    """Length of the windows, ``unit`` clock ticks being a day (a basket, under a sequence clock)."""
    return round((windows[-1].end - windows[-1].cut) / unit) if windows else None


def members(found: Selection) -> dict[str, Settings]:
    """What a model that joins others is given: the best ``MEMBERS`` single models with their best settings, best first.

    Of the models that show everybody the same only the best is among them, and that one always: they hardly differ.
    """
    names = [n for n in found.best if n not in REFERENCE and not model_class(n).joins]
    popular = found.pick([n for n in names if not model_class(n).personal])
    personal = sorted((n for n in names if model_class(n).personal), key=lambda n: -_order(found.best[n]))
    kept = [*personal[:MEMBERS], *([popular] if popular else [])]
    return {n: found.best[n].settings for n in sorted(kept, key=lambda n: -_order(found.best[n]))}


def climb(
    name: str,
    attempt: Callable[[Settings], Trial],
    budget: Budget,
    *,
    seed: int = 0,
    given: Settings | None = None,
    report: Callable[[float], None] = lambda share: None,
) -> list[Trial]:
    """The trials of one model: its defaults, then what ``proposals`` asks for, until the budget is spent."""
    trials: list[Trial] = []
    count = 1 if name in REFERENCE else budget.settings
    wishes = proposals(name, seed, given)
    settings = next(wishes)
    while True:
        trials.append(attempt(settings))
        report(len(trials) / count)
        if len(trials) >= count or sum(trial.seconds for trial in trials) >= budget.cpu_seconds:
            break
        try:
            settings = wishes.send(_order(trials[-1]))
        except StopIteration:  # nothing next to the best is better
            break
    report(1.0)
    return trials


def proposals(name: str, seed: int = 0, given: Settings | None = None) -> Generator[Settings, float, None]:
    """Settings to try next, given what the last ones scored: one setting of the model's space at a time.

    First the defaults; then for each setting, in the order of the space, every other value beside the best so far of
    the others. Rounds go on until one finds nothing better. All hold the settings ``given``, and no point comes twice.
    A setting whose first other value scores exactly the same says nothing about these data (a half-life where there are
    no dates): its other values wait until a round finds nothing better, and then have their turn.
    """
    cls = model_class(name)
    best: Settings = ({"seed": seed} if "seed" in cls.settings() else {}) | (given or {})
    default = create(name, **best).params()
    seen, top, found, patient = [default], (yield best), True, False
    while found or not patient:
        patient, found = not found, False
        for setting, values in cls.space.items():
            start, first = best, True
            for value in values:
                point = start | {setting: value}
                if default | point in seen:
                    continue
                seen.append(default | point)
                score = yield point
                if first and not patient and score == top >= 0:  # below 0 nothing could be fitted
                    break
                first = False
                if score > top:
                    best, top, found = point, score, True


@dataclass(frozen=True)
class _Cells:
    """Fits and scores one cell, or takes it from the store."""

    exams: Sequence[Exam]
    budget: Budget
    seed: int
    store: Store

    def run(self, name: str, settings: Settings, exam: Exam) -> dict[str, Any]:
        """``{ndcg, seconds, peak_mb, error}`` of one model, one choice of settings, one window."""
        key = self._key(name, settings, exam.truth.window)
        known = self.store.get(key)
        if known is not None:
            return known
        cell: dict[str, Any] = {"ndcg": None, "error": ""}
        with Meter() as meter:
            if len(exam.warm.customers):
                try:
                    cell["ndcg"] = mean(headline(create(name, **settings).fit(exam.past), exam))
                except (AisleError, MemoryError) as error:  # one model must not stop the others; bugs still do
                    cell["error"] = str(error) or type(error).__name__
        cell |= {"seconds": meter.seconds, "peak_mb": meter.peak_mb}
        if not cell["error"]:  # what failed is tried again next time
            self.store.put(key, cell)
        return cell

    def _key(self, name: str, settings: Settings, window: Window) -> str:
        facts = json.dumps([settings, window.cut, window.end, self.budget.customers, self.seed], sort_keys=True)
        return f"{name}-{hashlib.sha256(facts.encode()).hexdigest()[:16]}"


def _trial(name: str, cells: _Cells, settings: Settings) -> Trial:
    """One choice of settings over all windows; the first error ends it."""
    results: list[dict[str, Any]] = []
    for exam in cells.exams:
        results.append(cells.run(name, settings, exam))
        if results[-1]["error"]:
            break
    error = results[-1]["error"] if results else ""
    scores = tuple(float("nan") if error or r["ndcg"] is None else float(r["ndcg"]) for r in results)
    seconds = sum(float(r["seconds"]) for r in results)
    return Trial(name, settings, scores, seconds, max((float(r["peak_mb"]) for r in results), default=0.0), error)


def _order(trial: Trial) -> float:
    return -1.0 if np.isnan(trial.mean) else trial.mean


def _report(progress: Tick | None, models: int, done: int, share: float = 0.0) -> None:
    if progress is not None:
        progress(round(100 * (done + share)), 100 * models)
