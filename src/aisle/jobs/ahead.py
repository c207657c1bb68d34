"""Models examined ahead by several workers, who leave what they find for the examination.

A part is a model with its defaults in one tuning window; or the rest of what one model is asked; or, where the last
window has many customers, some of them. The examination itself stays in one place and finds everything done: whoever
did it, the certificate is the same.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aisle.config import RunConfig
from aisle.data.dataset import Dataset
from aisle.data.stored import open_dataset, save_dataset
from aisle.engine import Engine, Receipt
from aisle.engine.base import Task
from aisle.evaluate import in_parts
from aisle.evaluate.assess import Ground, Kept
from aisle.evaluate.in_parts import InParts
from aisle.evaluate.last import Shelf, ask_last, key_of
from aisle.evaluate.tune import BUDGETS, keep_default
from aisle.files import remove
from aisle.jobs.line_up import Size, seconds
from aisle.models import model_class
from aisle.progress import Tick

STAGES = 4
"""Of the progress of a model: defaults, the rest, the last window asked, and judged."""


def examine_ahead(
    dataset: Dataset, names: tuple[str, ...], config: RunConfig, kept: Path, engine: Engine, tick: Tick
) -> None:
    """Fill ``kept``, the folder of ``Kept.at``, for these models; single ones first, then those that join them.

    What is there already is not done again. Workers open a copy of the dataset that they share.
    """
    copy = (kept / "dataset").resolve()
    save_dataset(dataset, copy)
    settings = {name: getattr(config, name) for name in ("k", "horizon", "budget", "seed")}
    shared = {"dataset": str(copy), "kept": str(kept.resolve()), "settings": settings, "call": secrets.token_hex(8)}
    size = Size.of(dataset, BUDGETS[config.budget].customers)
    names = tuple(dict.fromkeys(names))
    single = [name for name in names if not model_class(name).joins]
    longest_first = sorted(single, key=lambda name: -seconds(name, size))
    joins = [name for name in names if model_class(name).joins]
    windows = range(len(_ground_of(dataset, settings).windows))
    done, total = 0, STAGES * len(names)

    def do(task: Task, parts: Sequence[dict[str, Any]], units: int) -> list[Receipt]:
        """All parts of a stage that counts so many units."""
        nonlocal done
        told = engine.map(task, parts, shared, tick=partial(_told, tick, done, units, total))
        done += units
        return told

    try:
        found: list[Receipt] = []
        for some, others in ((longest_first, []), (joins, single)):
            asked = [{"names": [*others, name]} for name in some]
            do(examine_window, [{**one, "window": window} for one in asked for window in windows], len(some))
            found += do(examine_one, asked, len(some))
        large = [one for one in found if one["rows"]]
        told = [{"model": one["model"], "settings": one["settings"]} for one in large]
        asks = [{**one, "rows": rows} for one, whole in zip(told, large, strict=True) for rows in whole["rows"]]
        do(ask_some, asks, len(names))
        do(judge_one, told, len(names))
    finally:
        _opened.clear()
        remove(copy)


def examine_window(part: dict[str, Any], shared: dict[str, Any]) -> Receipt:
    """The last of some models with its defaults in one tuning window; those before it are what it may join."""
    open_ = _open(shared)
    ground = open_.ground
    keep_default(part["names"], ground.exams, part["window"], ground.budget, ground.seed, open_.kept.cells)
    return {}


def examine_one(part: dict[str, Any], shared: dict[str, Any]) -> Receipt:
    """All that is left of the last of some models; of a large last window the fit alone: ``rows`` are to be asked."""
    open_, name = _open(shared), part["names"][-1]
    ground, shelf = open_.ground, open_.shelf
    nothing: Receipt = {"model": name, "rows": []}
    best = ground.choose(part["names"], open_.kept.cells).best
    if name not in best:
        return nothing
    exam, settings = ground.final, best[name].settings
    if len(exam.warm.customers) <= in_parts.ASKED_A_PART:
        ask_last(name, settings, exam, ground.k, shelf)
        return nothing
    if shelf.get(key_of(name, settings, exam, ground.k)) is not None:
        return nothing
    wanted = open_.in_parts(name, settings)
    return nothing if wanted.fit() is not None else {"model": name, "settings": settings, "rows": wanted.rows}


def ask_some(part: dict[str, Any], shared: dict[str, Any]) -> Receipt:
    """The lists of some customers of the last window."""
    _open(shared).in_parts(part["model"], part["settings"]).ask(tuple(part["rows"]))
    return {}


def judge_one(part: dict[str, Any], shared: dict[str, Any]) -> Receipt:
    """What the lists of all of them score."""
    open_ = _open(shared)
    open_.in_parts(part["model"], part["settings"]).finish(open_.shelf)
    return {}


@dataclass(eq=False)
class _Open:
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
        if self.latest is None or (self.latest.name, self.latest.settings) != (name, settings):
            self.latest = None
            self.latest = InParts(self.folder / "parts" / name, name, settings, self.ground.final, self.ground.k)
        return self.latest


_opened: dict[str, _Open] = {}
"""By call; one at most."""


def _open(shared: dict[str, Any]) -> _Open:
    if shared["call"] not in _opened:
        _opened.clear()
        ground = _ground_of(open_dataset(Path(shared["dataset"])), shared["settings"])
        _opened[shared["call"]] = _Open(ground, Path(shared["kept"]))
    return _opened[shared["call"]]


def _ground_of(dataset: Dataset, told: dict[str, Any]) -> Ground:
    budget = BUDGETS[told["budget"]]
    return Ground.of(dataset, k=told["k"], horizon=told["horizon"], budget=budget, seed=told["seed"])


def _told(tick: Tick, before: int, units: int, total: int, done: int, parts: int) -> None:
    """A stage on the scale of all."""
    tick(round(100 * (before + units * done / max(parts, 1))), 100 * total)
