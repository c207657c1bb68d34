"""Models of what products say of each other: learned a strip of the catalogue at a time, by one process or by many."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from aisle.data.dataset import Dataset
from aisle.data.events import slices, stacked
from aisle.features.links import Rows
from aisle.models.base import ByParts, Model
from aisle.types import Sparse

STRIP = 500
"""Products."""


@dataclass(kw_only=True, eq=False)
class InStrips(Model):
    """A model that learns one sparse matrix over products, its rows from all customers, each for itself."""

    by_parts: ClassVar[ByParts | None] = "strips"

    @abstractmethod
    def links(self, data: Dataset) -> Rows:
        """What the strips are worked out from, laid out once for all of them."""

    @abstractmethod
    def learn(self, rows: Sparse) -> Self:
        """Learn from the rows (I, I) of all products."""

    def fit(self, data: Dataset) -> Self:
        """Learn the strips one by one."""
        links = self.links(data)
        return self.learn(stacked([links.rows(strip) for strip in strips(data.shape[1])]))


def strips(products: int) -> list[slice]:
    """The strips of a catalogue; one, empty, where that is."""
    return slices(products, STRIP) or [slice(0, 0)]
