"""Models examined ahead by several workers: each fits and asks one, and leaves what it finds for the examination.

The examination itself stays in one place and finds everything done: whoever did it, the certificate is the same.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from aisle.config import RunConfig
from aisle.data.dataset import Dataset
from aisle.data.stored import open_dataset, save_dataset
from aisle.engine import Engine, Receipt
from aisle.evaluate.assess import Ground, Kept
from aisle.evaluate.last import ask_last
from aisle.evaluate.tune import BUDGETS
from aisle.files import remove
from aisle.jobs.line_up import Size, seconds
from aisle.models import model_class
from aisle.progress import Tick


def examine_ahead(
    dataset: Dataset, names: tuple[str, ...], config: RunConfig, kept: Path, engine: Engine, tick: Tick
) -> None:
    """Fill ``kept``, the folder of ``Kept.at``, for these models; single ones first, then those that join them.

    What is there already is not done again. ``tick`` counts models. Workers open a copy of the dataset that they share.
    """
    copy = (kept / "dataset").resolve()
    save_dataset(dataset, copy)
    settings = {name: getattr(config, name) for name in ("k", "horizon", "budget", "seed")}
    shared = {"dataset": str(copy), "kept": str(kept.resolve()), "settings": settings, "call": secrets.token_hex(8)}
    size = Size.of(dataset, BUDGETS[config.budget].customers)
    names = tuple(dict.fromkeys(names))
    single = [name for name in names if not model_class(name).joins]
    joins = [name for name in names if model_class(name).joins]
    longest_first = sorted(single, key=lambda name: -seconds(name, size))
    try:
        parts = [{"names": [name]} for name in longest_first]
        engine.map(examine_one, parts, shared, tick=lambda done, _: tick(done, len(names)))
        parts = [{"names": [*single, name]} for name in joins]
        engine.map(examine_one, parts, shared, tick=lambda done, _: tick(len(single) + done, len(names)))
    finally:
        _opened.clear()
        remove(copy)


def examine_one(part: dict[str, Any], shared: dict[str, Any]) -> Receipt:
    """The last of some models, by whichever worker; those before it are what it may join."""
    ground, kept = _ground(shared), Kept.at(Path(shared["kept"]))
    name = part["names"][-1]
    chosen = ground.choose(part["names"], kept.cells)
    if name in chosen.best:
        ask_last(name, chosen.best[name].settings, ground.final, ground.k, kept.answers)
    return {"model": name}


_opened: dict[str, Ground] = {}
"""By call; one at most. A worker makes its exams for its first model and has them at hand for the others."""


def _ground(shared: dict[str, Any]) -> Ground:
    if shared["call"] not in _opened:
        _opened.clear()
        told = shared["settings"]
        _opened[shared["call"]] = Ground.of(
            open_dataset(Path(shared["dataset"])),
            k=told["k"],
            horizon=told["horizon"],
            budget=BUDGETS[told["budget"]],
            seed=told["seed"],
        )
    return _opened[shared["call"]]
