"""Tiny models with a known behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.errors import ResourceError, UsageError
from aisle.models import create
from aisle.models.base import Model
from aisle.types import Floats

FITS: list[dict[str, Any]] = []
"""Settings, and the moment of the data, of every toy that was fitted, in order."""


@dataclass(kw_only=True, eq=False)
class Sells(Model):
    """What sells; ``noise`` spoils it. The best setting is not the default."""

    name: ClassVar[str] = "sells"
    simple: ClassVar[bool] = True
    personal: ClassVar[bool] = False
    needs_history: ClassVar[bool] = False
    space: ClassVar[dict[str, tuple[Any, ...]]] = {"noise": (1.0, 0.5, 0.0), "shift": (0, 1)}

    noise: float = 1.0
    shift: int = 0
    seed: int = 0

    scores_: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.noise < 0:
            raise UsageError("noise must be >= 0")

    def fit(self, data: Dataset) -> Self:
        FITS.append(self.params() | {"as_of": data.as_of})
        rng = np.random.default_rng(self.seed)
        spread = float(data.popularity.std()) * 10
        self.scores_ = data.popularity + rng.normal(0, 1, data.shape[1]).astype(np.float32) * self.noise * spread
        return self

    def score(self, batch: Batch) -> Floats:
        return np.tile(self.scores_, (len(batch), 1)).astype(np.float32)


@dataclass(kw_only=True, eq=False)
class Own(Model):
    """Own purchase counts alone; everything else cannot be scored."""

    name: ClassVar[str] = "own"

    fitted_: int = field(init=False, default=0)

    def fit(self, data: Dataset) -> Self:
        self.fitted_ = 1
        return self

    def score(self, batch: Batch) -> Floats:
        counts = batch.history.toarray()
        return np.where(counts > 0, counts, -np.inf).astype(np.float32)


@dataclass(kw_only=True, eq=False)
class Greedy(Model):
    """Never fits into memory."""

    name: ClassVar[str] = "greedy"

    def fit(self, data: Dataset) -> Self:
        raise ResourceError("greedy needs 1 TB, 4 GB are allowed; use a smaller model")

    def score(self, batch: Batch) -> Floats:
        raise AssertionError("never fitted")


@dataclass(kw_only=True, eq=False)
class Stuck(Model):
    """Learns in epochs, calls itself personal, and shows everybody what sells; ``upside_down`` what does not."""

    name: ClassVar[str] = "stuck"

    upside_down: bool = False

    scores_: Floats = field(init=False, repr=False)
    training_: dict[str, Any] = field(init=False, repr=False)

    def fit(self, data: Dataset) -> Self:
        self.scores_ = data.popularity.astype(np.float32) * (-1 if self.upside_down else 1)
        self.training_ = {"loss": [2.0, float("inf"), 1.0], "validation": [0.1, 0.3, 0.2], "epochs": 1}
        return self

    def score(self, batch: Batch) -> Floats:
        return np.tile(self.scores_, (len(batch), 1))


@dataclass(kw_only=True, eq=False)
class Backward(Stuck):
    """The worst of all lists."""

    name: ClassVar[str] = "backward"

    upside_down: bool = True


@dataclass(kw_only=True, eq=False)
class Joined(Model):
    """Joins others: scores like the best of them."""

    name: ClassVar[str] = "joined"
    joins: ClassVar[str] = "parts"
    space: ClassVar[dict[str, tuple[Any, ...]]] = {"depth": (1, 2)}

    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    depth: int = 1
    target_days: int | None = None

    best_: Model = field(init=False, repr=False)

    def fit(self, data: Dataset) -> Self:
        FITS.append(self.params() | {"as_of": data.as_of})
        name, settings = next(iter(self.parts.items()))
        self.best_ = create(name, **settings).fit(data)
        return self

    def score(self, batch: Batch) -> Floats:
        return self.best_.score(batch)


TOYS = {cls.name: f"tests.evaluate.toys:{cls.__name__}" for cls in (Sells, Own, Greedy, Stuck, Backward, Joined)}
