"""Lists for customers a model cannot tell apart, and for the places a model leaves empty.

The chain goes from near to far: the customer's RFMV segment, then groups from leaf to top, then attributes, then what
sells everywhere. Within a group products are ranked by recent purchases, shrunk towards the whole, so that a small
group does not rank by noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.entities import Features, leaf
from aisle.data.events import Batch, Events, first_of_basket
from aisle.features.customers import Segments
from aisle.types import UNKNOWN, Bools, Codes, Doubles, Floats, Ints

POPULARITY = "popularity"
HALF_LIFE_DAYS = 60.0
SHRINKAGE = 100.0
"""Purchases of the whole shop mixed into every group."""
MIN_BASKETS = 30
"""A group with fewer baskets of evidence is skipped."""
MAX_CELLS = 20_000_000
"""Groupings with more (group, product) cells than this are skipped."""


@dataclass(frozen=True, eq=False)
class Grouping:
    """One way to group customers, with the taste of each group."""

    source: str
    """``segment``, ``group`` or ``attribute``."""
    column: str
    names: tuple[str, ...]
    """(G,) readable names of the groups."""
    tastes: Floats
    """(G, I) shrunk decayed purchases; rows of groups without enough evidence are NaN."""


@dataclass(frozen=True, eq=False)
class Fallback:
    """The whole chain, nearest grouping first."""

    groupings: tuple[Grouping, ...]
    everybody: Floats
    """(I,) decayed purchases of the whole shop."""
    segments: Segments | None = None

    @classmethod
    def fit(cls, data: Dataset, seed: int = 0) -> Fallback:
        """Learn the tastes of every group that customers carry, from purchases visible at ``data.as_of``."""
        sales = data.purchases
        age = (data.as_of - sales.time) / data.unit
        half_life = HALF_LIFE_DAYS if data.clock == "time" else 5.0
        weight = np.exp2(-age / half_life) * first_of_basket(sales, sales.customer).astype(np.float64)
        everybody = np.bincount(sales.product, weights=weight, minlength=data.shape[1]).astype(np.float64)
        segments = Segments.fit(data, seed=seed)
        groupings = []
        own = None if segments is None else data.ask(segments.predict)
        for source, column, names, codes in _columns(data.customers.features, segments, own):
            if 0 < len(names) * data.shape[1] <= MAX_CELLS:
                tastes = _tastes(sales, weight, codes, len(names), everybody)
                groupings.append(Grouping(source, column, names, tastes))
        return cls(tuple(groupings), everybody.astype(np.float32), segments)

    def choose(self, batch: Batch, plain: Bools) -> Choice:
        """The nearest grouping with evidence for each row; ``plain`` (B,) rows get what sells everywhere."""
        own = None if self.segments is None else self.segments.predict(batch)
        columns = {(s, c): codes for s, c, _, codes in _columns(batch.features, self.segments, own)}
        which = np.full(len(batch), UNKNOWN, dtype=np.int32)
        group = np.full(len(batch), UNKNOWN, dtype=np.int32)
        for index, grouping in enumerate(self.groupings):
            codes = columns.get((grouping.source, grouping.column))
            if codes is None:
                continue
            codes = np.where(codes < len(grouping.names), codes, UNKNOWN)
            usable = (codes >= 0) & ~np.isnan(grouping.tastes[np.maximum(codes, 0), 0]) & (which < 0) & ~plain
            which[usable], group[usable] = index, codes[usable]
        return Choice(self, which, group)

    def state(self) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
        """Arrays and JSON values that ``restore`` needs."""
        arrays: dict[str, np.ndarray[Any, Any]] = {"everybody": self.everybody}
        arrays |= {f"tastes.{i}": g.tastes for i, g in enumerate(self.groupings)}
        values: dict[str, Any] = {
            "groupings": [{"source": g.source, "column": g.column, "names": list(g.names)} for g in self.groupings]
        }
        if self.segments is not None:
            arrays |= {f"segments.{part}": getattr(self.segments, part) for part in ("centers", "mean", "scale")}
            values["segments"] = list(self.segments.names)
        return arrays, values

    @classmethod
    def restore(cls, arrays: dict[str, np.ndarray[Any, Any]], values: dict[str, Any]) -> Fallback:
        """Undo ``state``."""
        groupings = tuple(
            Grouping(g["source"], g["column"], tuple(g["names"]), arrays[f"tastes.{i}"])
            for i, g in enumerate(values["groupings"])
        )
        segments = None
        if "segments" in values:
            centers, mean, scale = (arrays[f"segments.{part}"] for part in ("centers", "mean", "scale"))
            segments = Segments(centers, mean, scale, tuple(values["segments"]))
        return cls(groupings, arrays["everybody"], segments)


@dataclass(frozen=True, eq=False)
class Choice:
    """Which fallback answers each row of a batch."""

    fallback: Fallback
    which: Codes
    """(B,) index of the grouping, -1 = everybody."""
    group: Codes
    """(B,) group within the grouping."""

    def scores(self, rows: Ints | None = None) -> Floats:
        """(B, I) tastes of the chosen groups, or (R, I) those of some ``rows``; products nobody bought score 0."""
        which, group = (self.which, self.group) if rows is None else (self.which[rows], self.group[rows])
        out = np.broadcast_to(self.fallback.everybody, (len(which), len(self.fallback.everybody))).copy()
        for index, grouping in enumerate(self.fallback.groupings):
            mine = which == index
            out[mine] = grouping.tastes[group[mine]]
        return out

    def sources(self) -> list[str]:
        """(B,) ``segment``, ``group``, ``attribute`` or ``popularity``."""
        return [self.fallback.groupings[i].source if i >= 0 else POPULARITY for i in self.which.tolist()]

    def names(self) -> list[str]:
        """(B,) readable name of the chosen group, empty for everybody."""
        chosen = zip(self.which.tolist(), self.group.tolist(), strict=True)
        return [self.fallback.groupings[i].names[g] if i >= 0 else "" for i, g in chosen]


def _columns(
    features: Features, segments: Segments | None, own: Codes | None
) -> list[tuple[str, str, tuple[str, ...], Codes]]:
    """(source, column, group names, codes (B,)) of every grouping, nearest first; ``own`` (B,) are the segments."""
    found: list[tuple[str, str, tuple[str, ...], Codes]] = []
    if segments is not None and own is not None:
        found.append(("segment", "segment", segments.names, own))
    for level in reversed(features.tree):
        names = tuple(leaf(name) for name in level.vocab.ids.to_list())
        found.append(("group", level.name, names, level.codes))
    for level in features.categories:
        names = tuple(f"{level.name} {name}" for name in level.vocab.ids.to_list())
        found.append(("attribute", level.name, names, level.codes))
    return found


def _tastes(sales: Events, weight: Doubles, codes: Codes, n_groups: int, everybody: Doubles) -> Floats:
    """(G, I) decayed purchases of each group plus its share of SHRINKAGE purchases of everybody."""
    member = np.full(len(sales), UNKNOWN, dtype=np.int64)
    named = sales.customer >= 0
    member[named] = codes[sales.customer[named]]
    inside = member >= 0
    n_products = len(everybody)
    cell = member[inside] * n_products + sales.product[inside]
    counts = np.bincount(cell, weights=weight[inside], minlength=n_groups * n_products)
    tastes: Doubles = counts.astype(np.float64).reshape(n_groups, n_products)
    tastes += SHRINKAGE * everybody / max(float(everybody.sum()), 1e-12)
    basket = sales.basket
    whose = np.full(int(basket.max(initial=-1)) + 1, UNKNOWN, dtype=np.int64)  # a basket is one customer's
    whose[basket[inside]] = member[inside]
    tastes[np.bincount(whose[whose >= 0], minlength=n_groups) < MIN_BASKETS] = np.nan
    return tastes.astype(np.float32)
