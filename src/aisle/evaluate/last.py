"""The last window: a model with its chosen settings, fitted at the cut and asked once; kept, since it may take long."""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from aisle.errors import AisleError
from aisle.evaluate.meter import Meter
from aisle.evaluate.protocol import Exam, Scores, evaluate
from aisle.files import fingerprint, read_sealed, write_sealed
from aisle.models import create

PARTS = ("values", "cold")


@dataclass(frozen=True, eq=False)
class Cost:
    """What fitting and scoring on the last window took."""

    seconds: float
    """CPU seconds."""
    peak_mb: float


@dataclass(frozen=True, eq=False)
class Asked:
    """What one model scored, and what that took."""

    scores: Scores
    cost: Cost
    training: dict[str, Any] | None
    """Curves of a model that learns in epochs, as its ``training_``."""


class Shelf:
    """Answers of the last window in a folder: what a stopped run, or a worker, had finished."""

    def __init__(self, folder: Path) -> None:
        """``folder`` must belong to one dataset: keys say nothing of the data."""
        self.folder = folder

    def get(self, key: Any) -> Asked | None:
        """What is kept under a key; None where nothing is, or not whole."""
        found = read_sealed(self._path(key), key)
        if found is None:
            return None
        arrays, facts = found
        parts = {part: {name: arrays[f"{part}:{name}"] for name in facts[part]} for part in PARTS}
        whole, same = facts["whole"], facts["same_for_all"]
        scores = Scores(arrays["customers"], parts["values"], arrays["lists"], whole, parts["cold"], same)
        return Asked(scores, Cost(**facts["cost"]), facts["training"])

    def put(self, key: Any, asked: Asked) -> None:
        """Keep an answer; it is on disk when this returns."""
        scores = asked.scores
        arrays = {"customers": scores.customers, "lists": scores.lists}
        arrays |= {f"{part}:{name}": column for part in PARTS for name, column in getattr(scores, part).items()}
        facts = {
            **{part: list(getattr(scores, part)) for part in PARTS},
            "whole": scores.whole,
            "same_for_all": scores.same_for_all,
            "cost": asdict(asked.cost),
            "training": asked.training,
        }
        write_sealed(self._path(key), key, arrays, facts)

    def _path(self, key: Any) -> Path:
        return self.folder / f"{fingerprint(key)}.safetensors"


def key_of(name: str, settings: dict[str, Any], exam: Exam, k: int) -> list[Any]:
    """Of an answer on the shelf."""
    window = exam.truth.window
    people = [zlib.crc32(some.customers.tobytes()) for some in (exam.warm, exam.cold)]
    return [name, settings, window.cut, window.end, k, *people]


def ask_last(
    name: str, settings: dict[str, Any], exam: Exam, k: int, shelf: Shelf | None = None
) -> Asked | AisleError | MemoryError:
    """What a model scores, taken from the shelf where it is kept; the error of one that cannot be fitted.

    One model must not stop the others; bugs still do.
    """
    key = key_of(name, settings, exam, k)
    if shelf is not None and (kept := shelf.get(key)) is not None:
        return kept
    there = len(exam.warm.customers) > 0
    if not there:  # nobody to ask: nothing to fit either
        exam = replace(exam, cold=exam.warm)
    try:
        with Meter() as meter:
            model = create(name, **settings)
            scores = evaluate(model.fit(exam.past) if there else model, exam, k)
    except (AisleError, MemoryError) as error:
        return error
    asked = Asked(scores, Cost(meter.seconds, meter.peak_mb), getattr(model, "training_", None) or None)
    if shelf is not None:
        shelf.put(key, asked)
    return asked
