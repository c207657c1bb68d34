"""The popularity family: what sells, in all, of late, at this time of the year, or among people alike.

Every count is of baskets that hold the product, anonymous ones included; purchases undone by a return are left out.
These models are the floor a personal model must beat: recent popularity alone has beaten published sequential models
on temporal splits. Cost: one pass over the purchases to fit, O(B x I) to score.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.events import Batch, Events, first_of_basket, sparse_sum
from aisle.errors import UsageError
from aisle.features.customers import Segments
from aisle.features.groups import EVERY, customer_groups, every, line_groups, resolve
from aisle.models.base import Few, Model
from aisle.types import Doubles, Floats, Ints, Sparse

YEAR_DAYS = 364
"""52 weeks, so that a Saturday a year ago is a Saturday."""


@dataclass(kw_only=True, eq=False)
class _Fixed(Model):
    """One score a product, the same for every customer."""

    simple: ClassVar[bool] = True
    personal: ClassVar[bool] = False
    needs_history: ClassVar[bool] = False

    scores_: Floats = field(init=False, repr=False)
    """(I,)"""

    def score(self, batch: Batch) -> Floats:
        """(B, I) the same row for every customer."""
        return self.few(batch).dense()

    def few(self, batch: Batch) -> Few:
        """The same scores, without any cell."""
        self.check_fitted()
        nothing = sparse_sum(batch.row[:0], batch.lines.product[:0], np.zeros(0), batch.shape)
        return Few(nothing, self.scores_, np.zeros(len(batch), dtype=bool))


@dataclass(kw_only=True, eq=False)
class Popularity(_Fixed):
    """Number of baskets that ever held the product."""

    name: ClassVar[str] = "popularity"

    def fit(self, data: Dataset) -> Self:
        """Count the baskets."""
        self.scores_ = data.popularity.copy()
        return self


@dataclass(kw_only=True, eq=False)
class RecentPopularity(_Fixed):
    """Number of baskets with the product in the last days before the moment of fitting."""

    name: ClassVar[str] = "recent_popularity"
    space: ClassVar[dict[str, tuple[Any, ...]]] = {"window_days": (28.0, 91.0, 7.0, 14.0)}

    window_days: float = 28.0
    """Length of the window in days (in each customer's last baskets, under a sequence clock)."""

    def __post_init__(self) -> None:
        _positive("window_days", self.window_days)

    def fit(self, data: Dataset) -> Self:
        """Count the baskets of the window."""
        self.scores_ = baskets_with_product(data, self.window_days, 0.0).astype(np.float32)
        return self


@dataclass(kw_only=True, eq=False)
class SeasonalPopularity(_Fixed):
    """Share of sales in the coming weeks of last year, blended with the share of late.

    Where the data does not reach back a year, or has no calendar (sequence clock), it is recent popularity.
    """

    name: ClassVar[str] = "seasonal_popularity"
    space: ClassVar[dict[str, tuple[Any, ...]]] = {"season_days": (28.0, 91.0), "share": (0.5, 0.25, 0.75)}

    season_days: float = 28.0
    """Days from the same moment 52 weeks ago that are counted."""
    share: float = 0.5
    """Weight of last year, 0 … 1; the rest goes to the recent window."""
    window_days: float = 28.0
    """Days before the moment of fitting that are counted as recent."""

    def __post_init__(self) -> None:
        _positive("season_days", self.season_days)
        _positive("window_days", self.window_days)
        if not 0 <= self.share <= 1:
            raise UsageError(f"share must lie in 0 … 1, got {self.share}")

    def fit(self, data: Dataset) -> Self:
        """Count both windows and blend their shares."""
        recent = _shares(baskets_with_product(data, self.window_days, 0.0))
        season = _shares(baskets_with_product(data, YEAR_DAYS, YEAR_DAYS - self.season_days))
        oldest = int(data.purchases.time.min(initial=data.as_of))
        reaches_back = data.clock == "time" and oldest <= data.as_of - YEAR_DAYS * data.unit
        share = self.share if reaches_back and season.any() else 0.0
        self.scores_ = ((1 - share) * recent + share * season).astype(np.float32)
        return self


@dataclass(kw_only=True, eq=False)
class GroupPopularity(Model):
    """Popularity within the customer's group, shrunk towards popularity in all.

    With n_gi baskets of group g that hold product i, N_g their sum over products, and p_i the share of product i in
    all sales, the score is the mean of a Dirichlet posterior, ``q_gi = (n_gi + shrinkage * p_i) / (N_g + shrinkage)``;
    customers without a group get p_i. Of K groupings together it is ``p_i * prod_k (q_ki / p_i) ** (1 / sqrt(K))``,
    scaled to a sum of 1: naive Bayes, tempered since groupings overlap.
    """

    name: ClassVar[str] = "group_popularity"
    simple: ClassVar[bool] = True
    personal: ClassVar[bool] = False
    needs_history: ClassVar[bool] = False
    space: ClassVar[dict[str, tuple[Any, ...]]] = {
        "by": ("auto", "segment", "every"),
        "shrinkage": (1000.0, 100.0),
        "window_days": (None, 91.0),
    }

    by: str = "auto"
    """``segment``, ``store``, ``channel``, a tree level (``group_1`` …), an attribute, ``all``; ``auto`` takes the
    deepest tree level, else store, channel, segment; ``every`` joins all but segments. Too few customers for segments:
    everybody is in one group."""
    shrinkage: float = 1000.0
    """Purchases borrowed from all; groups with fewer are mostly ranked like all."""
    window_days: float | None = None
    """Count the last days only; None = all."""

    names_: list[str] = field(init=False, repr=False)
    """The K groupings in use."""
    first_: Ints = field(init=False, repr=False)
    """(K + 1,) first row of each grouping in ``counts_``."""
    counts_: Sparse = field(init=False, repr=False)
    """(G, I) n_gi"""
    totals_: Floats = field(init=False, repr=False)
    """(G,) N_g"""
    shares_: Floats = field(init=False, repr=False)
    """(I,) p_i"""
    segment_centers_: Doubles | None = field(init=False, repr=False)
    """(S, 4) of ``Segments``, for ``by="segment"`` alone."""
    segment_scaling_: Doubles | None = field(init=False, repr=False)
    """(2, 4) mean and scale of ``Segments``."""

    def __post_init__(self) -> None:
        _positive("shrinkage", self.shrinkage)
        if self.window_days is not None:
            _positive("window_days", self.window_days)

    def fit(self, data: Dataset) -> Self:
        """Count per group; raises UsageError where the data has no such grouping."""
        by = resolve(self.by, data)
        self.names_ = list(every(data)) if by == EVERY else [by]
        segments = Segments.fit(data) if by == "segment" else None
        self.segment_centers_ = segments.centers if segments else None
        self.segment_scaling_ = np.stack((segments.mean, segments.scale)) if segments else None
        lines = data.purchases
        counted = _window(data, self.window_days, 0.0) & first_of_basket(lines, lines.customer)
        product = lines.product[counted]
        groups = [line_groups(name, data, segments)[counted].astype(np.int64) for name in self.names_]
        self.first_ = np.cumsum([0, *(int(group.max(initial=-1)) + 1 for group in groups)])
        inside = [group >= 0 for group in groups]
        rows = [group[some] + first for group, some, first in zip(groups, inside, self.first_[:-1], strict=True)]
        row = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
        column = np.concatenate([product[some] for some in inside]) if inside else np.zeros(0, dtype=np.int32)
        self.counts_ = sparse_sum(row, column, np.ones(len(row)), (int(self.first_[-1]), data.shape[1]))
        self.totals_ = np.bincount(row, minlength=int(self.first_[-1])).astype(np.float32)
        self.shares_ = _shares(np.bincount(product, minlength=data.shape[1])).astype(np.float32)
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I) shrunk shares; each row sums to 1."""
        self.check_fitted()
        if len(self.names_) == 1:
            return self._shrunk(0, batch)
        scores = np.tile(self.shares_, (len(batch), 1))
        sold = self.shares_ > 0
        for place in range(len(self.names_)):
            ratio = self._shrunk(place, batch)[:, sold] / self.shares_[sold]
            scores[:, sold] *= ratio ** np.float32(len(self.names_) ** -0.5)
        scores /= np.maximum(scores.sum(axis=1, keepdims=True), np.float32(1e-30))
        return scores

    def _shrunk(self, place: int, batch: Batch) -> Floats:
        """(B, I) q of the customers' groups in one grouping."""
        group = customer_groups(self.names_[place], batch, self._segments())
        first, last = int(self.first_[place]), int(self.first_[place + 1])
        some = (group >= 0) & (group < last - first)
        scores = np.zeros(batch.shape, dtype=np.float32)
        total = np.full(len(batch), self.shrinkage, dtype=np.float32)
        if some.any():
            scores[some] = self.counts_[group[some] + first].toarray()
            total[some] += self.totals_[group[some] + first]
        scores += np.float32(self.shrinkage) * self.shares_
        scores /= total[:, None]
        return scores

    def _segments(self) -> Segments | None:
        if self.segment_centers_ is None or self.segment_scaling_ is None:
            return None
        mean, scale = self.segment_scaling_
        return Segments(self.segment_centers_, mean, scale, ())


def baskets_with_product(data: Dataset, oldest_days: float, newest_days: float) -> Doubles:
    """(I,) baskets that hold the product, from ``oldest_days`` until just before ``newest_days`` before ``as_of``."""
    lines: Events = data.purchases.take(_window(data, oldest_days, newest_days))
    first = first_of_basket(lines, lines.customer)
    return np.bincount(lines.product[first], minlength=data.shape[1]).astype(np.float64)


def _window(data: Dataset, oldest_days: float | None, newest_days: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(E,) purchases with ``as_of - oldest_days <= time < as_of - newest_days``; None = since ever."""
    time = data.purchases.time
    inside = time < data.as_of - newest_days * data.unit
    return inside if oldest_days is None else inside & (time >= data.as_of - oldest_days * data.unit)


def _shares(counts: np.ndarray[Any, np.dtype[Any]]) -> Doubles:
    return np.asarray(counts / max(counts.sum(), 1), dtype=np.float64)


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise UsageError(f"{name} must be > 0, got {value}")
