"""Models examined ahead by several workers, who leave what they find for the examination.

A part is a model with its defaults in one tuning window; or the rest of what one model is asked; or, where the last
window has many customers, some of them. The examination itself stays in one place and finds everything done: whoever
did it, the certificate is the same.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from math import isnan, nan
from pathlib import Path
from typing import Any

from aisle.config import RunConfig
from aisle.data.dataset import Dataset
from aisle.data.stored import open_dataset, save_dataset
from aisle.engine import Engine, Receipt
from aisle.engine.base import Task, at_hand, let_go
from aisle.evaluate import in_parts
from aisle.evaluate.assess import Ground, Kept
from aisle.evaluate.in_parts import InParts
from aisle.evaluate.last import Shelf, ask_last
from aisle.evaluate.tune import BUDGETS, Trial
from aisle.files import remove
from aisle.jobs.line_up import Size, seconds
from aisle.models import model_class
from aisle.progress import Tick

PARTS = "parts"
"""Folder of models that are asked in parts, in that of what is kept."""
STAGES = 4
"""Of a model: its defaults, the rest, the last window asked, and judged."""


def examine_ahead(
    dataset: Dataset, names: tuple[str, ...], config: RunConfig, kept: Path, engine: Engine, tick: Tick
) -> None:
    """Fill ``kept``, the folder of ``Kept.at``, for these models; single ones first, then those that join them.

    What is there already is not done again. Workers open a copy of the dataset that they share. ``tick`` counts the
    stages of the models, in hundredths.
    """
    copy, names = (kept / "dataset").resolve(), tuple(dict.fromkeys(names))
    settings = {name: getattr(config, name) for name in ("k", "horizon", "budget", "seed")}
    shared = {"dataset": str(copy), "kept": str(kept.resolve()), "settings": settings, "call": secrets.token_hex(8)}
    size = Size.of(dataset, BUDGETS[config.budget].customers)
    single = sorted((n for n in names if not model_class(n).joins), key=lambda name: -seconds(name, size))
    done = 0

    def do(task: Task, parts: Sequence[dict[str, Any]], models: int) -> list[Receipt]:
        """All parts of a stage of so many models."""
        nonlocal done
        told = engine.map(task, parts, shared, tick=partial(_told, tick, done, models, STAGES * len(names)))
        done += models
        return told

    def examine(some: Sequence[dict[str, Any]]) -> list[Receipt]:
        """The first two stages; whoever fails with the defaults is left to the examination, which says why."""
        asked: list[dict[str, Any]] = [one | {"window": window} for window in windows for one in some]
        good = do(examine_window, asked, len(some))
        failed = {part["model"] for part, receipt in zip(asked, good, strict=True) if not receipt["fitted"]}
        return do(examine_one, [one for one in some if one["model"] not in failed], len(some))

    save_dataset(dataset, copy)
    try:
        ground = _ground_of(dataset, settings)
        windows = range(len(ground.windows))
        found = examine([{"model": name, "given": {}} for name in single])
        best = {one["model"]: _trial(one["best"]) for one in found if one["best"]}
        joined = [best[name] for name in names if name in best]
        joins = [name for name in names if model_class(name).joins]
        found += examine([{"model": name, "given": ground.given_to(name, joined)} for name in joins])
        large = [one for one in found if one["rows"]]
        told = [{"model": one["model"], "settings": one["best"]["settings"]} for one in large]
        asks = [part | {"rows": rows} for part, one in zip(told, large, strict=True) for rows in one["rows"]]
        do(ask_some, asks, len(names))
        do(judge_one, told, len(names))
        shutil.rmtree(kept / PARTS, ignore_errors=True)
    finally:
        let_go()
        remove(copy)


def examine_window(part: dict[str, Any], shared: dict[str, Any]) -> Receipt:
    """A model with its defaults, and what it joins, in one tuning window."""
    opened = _opened(shared)
    kept = opened.ground.keep_default(part["model"], part["window"], part["given"], opened.kept.cells)
    return {"fitted": kept}


def examine_one(part: dict[str, Any], shared: dict[str, Any]) -> Receipt:
    """All that is left of a model; of a large last window the fit alone: ``rows`` are to be asked."""
    opened, name = _opened(shared), part["model"]
    ground, shelf = opened.ground, opened.shelf
    best = ground.best_of(name, part["given"], opened.kept.cells)
    if best is None:
        return {"model": name, "best": None, "rows": []}
    told: Receipt = {"model": name, "best": _packed(best), "rows": []}
    exam, settings = ground.final, best.settings
    warm, cold = len(exam.warm.customers), len(exam.cold.customers)
    if not warm or max(warm, cold) <= in_parts.ASKED_A_PART:
        ask_last(name, settings, exam, ground.k, shelf)
        return told
    wanted = opened.in_parts(name, settings)
    known = shelf.get(wanted.key) is not None
    return told if known or not wanted.fit() else told | {"rows": wanted.rows}


def ask_some(part: dict[str, Any], shared: dict[str, Any]) -> Receipt:
    """The lists of some customers of the last window."""
    _opened(shared).in_parts(part["model"], part["settings"]).ask(tuple(part["rows"]))
    return {}


def judge_one(part: dict[str, Any], shared: dict[str, Any]) -> Receipt:
    """What the lists of all of them score."""
    opened = _opened(shared)
    opened.in_parts(part["model"], part["settings"]).finish(opened.shelf)
    return {}


@dataclass(eq=False)
class _Opened:
    """What a worker makes for its first part and has at hand for the others."""

    ground: Ground
    folder: Path
    latest: InParts | None = None
    """The model that was fitted, or asked, last."""

    @property
    def kept(self) -> Kept:
        return Kept.at(self.folder)

    @property
    def shelf(self) -> Shelf:
        return Kept.shelf(self.folder)

    def in_parts(self, name: str, settings: dict[str, Any]) -> InParts:
        if self.latest is None or self.latest.name != name:  # which has one choice of settings in a call
            self.latest = None
            self.latest = InParts(self.folder / PARTS / name, name, settings, self.ground.final, self.ground.k)
        return self.latest


def _opened(shared: dict[str, Any]) -> _Opened:
    def make() -> _Opened:
        return _Opened(_ground_of(open_dataset(Path(shared["dataset"])), shared["settings"]), Path(shared["kept"]))

    return at_hand(shared["call"], make)


def _ground_of(dataset: Dataset, told: dict[str, Any]) -> Ground:
    budget = BUDGETS[told["budget"]]
    return Ground.of(dataset, k=told["k"], horizon=told["horizon"], budget=budget, seed=told["seed"])


def _packed(trial: Trial) -> dict[str, Any]:
    """As JSON, which knows no NaN: where a window has no customer there is None."""
    return asdict(trial) | {"ndcg": [None if isnan(value) else value for value in trial.ndcg]}


def _trial(packed: dict[str, Any]) -> Trial:
    """Undo ``_packed``."""
    return Trial(**packed | {"ndcg": tuple(nan if value is None else value for value in packed["ndcg"])})


def _told(tick: Tick, before: int, models: int, total: int, done: int, parts: int) -> None:
    """A stage on the scale of all."""
    tick(round(100 * (before + models * (done / parts if parts else 1))), 100 * total)
