"""Recommenders of the contract world, and a model with two tastes whose vectors are plain to see."""

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
    return Recommender.prepare(TwoTastes().fit(data) if name == TwoTastes.name else create(name).fit(data), data)


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
