"""Recommenders of the contract world, and models whose answers are plain to see."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import ClassVar, Self

import numpy as np

from aisle.bundle import Recommender
from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.models import MODELS, create
from aisle.models.base import Model
from aisle.types import Floats
from tests.contract.worlds import world

NAMES = [name for name, place in MODELS.items() if find_spec(place.split(":")[0])]


@cache
def recommender(name: str) -> Recommender:
    data = world()
    own = {model.name: model for model in (TwoTastes, OwnAlone, AllAlike)}
    return Recommender.prepare((own[name]() if name in own else create(name)).fit(data), data)


@dataclass(kw_only=True, eq=False)
class TwoTastes(Model):
    """Products lie on the axes; a customer's tastes are what was bought of the even and of the odd products."""

    name: ClassVar[str] = "two_tastes"

    n_products_: int = field(init=False, repr=False)

    def fit(self, data: Dataset) -> Self:
        self.n_products_ = data.shape[1]
        return self

    def score(self, batch: Batch) -> Floats:
        taste = np.einsum("btd,id->bti", self.customer_vectors(batch), self.product_vectors())
        return np.asarray(taste.max(axis=1), dtype=np.float32)

    def product_vectors(self) -> Floats:
        return np.eye(self.n_products_, dtype=np.float32)

    def customer_vectors(self, batch: Batch) -> Floats:
        own = batch.history.toarray()
        even = np.arange(self.n_products_) % 2 == 0
        return np.stack([own * even, own * ~even], axis=1).astype(np.float32)


@dataclass(kw_only=True, eq=False)
class OwnAlone(TwoTastes):
    """Scores what was bought and nothing else, so that the fallback chain fills the rest of each list."""

    name: ClassVar[str] = "own_alone"

    def score(self, batch: Batch) -> Floats:
        own = batch.history.toarray()
        return np.where(own > 0, own, -np.inf).astype(np.float32)


@dataclass(kw_only=True, eq=False)
class AllAlike(TwoTastes):
    """One vector for all products and all customers: every answer is a tie."""

    name: ClassVar[str] = "all_alike"

    def product_vectors(self) -> Floats:
        return np.ones((self.n_products_, 3), dtype=np.float32)

    def customer_vectors(self, batch: Batch) -> Floats:
        return np.ones((len(batch), 1, 3), dtype=np.float32)
