"""SequenceKNN: products bought after, with and near those of the latest baskets.

Item-to-item counts that know the order of baskets, as in "sequential rules" (Kamehkhosh, Jannach, Ludewig, "A
Comparison of Frequent Pattern Techniques and a Deep Learning Method for Session-Based Recommendation", 2017) and in
STAN (Garg et al., SIGIR 2019), brought together with the shrunk cosine. With g the number of baskets from one purchase
of product i to one of product j by the same customer (g < 0: j came first), over all such pairs of baskets,

    c(i, j) = sum of gap_decay^(|g| - 1), times ``backward`` where g < 0, and of ``together`` where g = 0
    s(i, j) = c(i, j) / (n_i^a n_j^b + shrink),   score_j = sum over i in the history of place_decay^(age of i) s(i, j)
                                                           (+ own_weight * own decayed counts of j)

n_i is the number of baskets with product i, the age of i the baskets since its latest purchase. Products are not
neighbours of themselves; repeats come in through ``own_weight``.
Cost: ``fit`` multiplies sparse matrices block by block, (2 ``reach`` + 1) times the work of ItemKNN within baskets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp

from aisle.data.dataset import Dataset
from aisle.data.events import Batch, sparse_sum, stacked
from aisle.errors import UsageError
from aisle.features.links import Links, linked
from aisle.features.pairs import basket_places, decayed_counts, decayed_presence
from aisle.models.base import Few, few_with_own
from aisle.models.strips import InStrips
from aisle.types import Doubles, Floats, Ints, Sparse


@dataclass(kw_only=True, eq=False)
class SequenceKNN(InStrips):
    """What is bought next after what: the item-to-item model for histories whose order matters."""

    name: ClassVar[str] = "sequence_knn"
    space: ClassVar[dict[str, tuple[Any, ...]]] = {
        "place_decay": (0.8, 0.6, 0.95),
        "backward": (0.3, 1.0, 0.0),
        "gap_decay": (0.9, 0.7),
        "shrink": (10.0, 3.0, 30.0),
        "target_power": (0.2, 0.1, 0.4),
        "own_weight": (100.0, 10.0, 0.0),
        "together": (1.0, 0.0, 3.0),
    }

    neighbours: int = 500
    """Products kept for each product."""
    shrink: float = 10.0
    """Added below the fraction; larger trusts pairs seen a few times less."""
    place_decay: float = 0.8
    """Weight in the history of the products of a basket, relative to those of the next one; in (0, 1]."""
    gap_decay: float = 0.9
    """Weight of a pair of baskets, relative to a pair that lies one basket closer; in (0, 1]."""
    backward: float = 0.3
    """Weight of pairs in which the scored product came first; 1 = order does not matter, 0 = only what followed."""
    together: float = 1.0
    """Weight of pairs within one basket."""
    reach: int = 20
    """Baskets between which pairs are counted."""
    latest: int = 100
    """Baskets a customer that are learned from, at most."""
    source_power: float = 0.5
    """a, 0 … 1: how much the number of baskets of a product of the history is taken away."""
    target_power: float = 0.2
    """b, 0 … 1: how much the number of baskets of the scored product is taken away."""
    own_weight: float = 100.0
    """Weight of the customer's own (decayed) purchase counts."""

    similar_: Sparse = field(init=False, repr=False)
    """(I, I) row: product in the history; column: product to score."""

    def __post_init__(self) -> None:
        for setting in ("neighbours", "reach", "latest"):
            if getattr(self, setting) < 1:
                raise UsageError(f"{setting} must be >= 1, got {getattr(self, setting)}")
        for setting in ("shrink", "backward", "together", "own_weight"):
            if not getattr(self, setting) >= 0:
                raise UsageError(f"{setting} must be >= 0, got {getattr(self, setting)}")
        for setting in ("place_decay", "gap_decay"):
            if not 0 < getattr(self, setting) <= 1:
                raise UsageError(f"{setting} must lie in (0, 1], got {getattr(self, setting)}")
        for setting in ("source_power", "target_power"):
            if not 0 <= getattr(self, setting) <= 1:
                raise UsageError(f"{setting} must lie in 0 … 1, got {getattr(self, setting)}")

    def links(self, data: Dataset) -> Links:
        """What follows what."""
        blocks = [latest_baskets(batch, self.latest) for batch in data.batches()]
        contents, owner = stacked([block for block, _ in blocks]), np.concatenate([whose for _, whose in blocks])
        near = self._pairs_of_baskets(owner)
        sizes = np.bincount(contents.indices, minlength=data.shape[1]).astype(np.float64)
        powers = (self.source_power, self.target_power)
        return linked(contents, sizes, self.neighbours, self.shrink, powers, through=near)

    def learn(self, rows: Sparse) -> Self:
        """Keep the neighbours."""
        self.similar_ = rows
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I) summed nearness to the history; rows without purchases are -inf."""
        return self.few(batch).dense()

    def few(self, batch: Batch) -> Few:
        """The same scores, as few cells."""
        self.check_fitted()
        taste = decayed_presence(batch, None, self.place_decay) @ self.similar_
        return few_with_own(taste, batch, decayed_counts(batch, None, self.place_decay), self.own_weight)

    def _pairs_of_baskets(self, owner: Ints) -> Pairs:
        """(N, N) weight of the column's basket for the row's; baskets lie in order by ``owner`` (N,)."""
        gap = np.arange(-self.reach, self.reach + 1)
        weights = self.gap_decay ** (np.abs(gap) - 1.0) * np.where(gap < 0, self.backward, 1.0)
        return Pairs(owner, np.where(gap == 0, self.together, weights))


class Pairs:
    """(N, N) weights of pairs of baskets of one customer by how far apart they lie; whole, hundreds of bytes a line."""

    def __init__(self, owner: Ints, weights: Doubles) -> None:
        """Baskets lie in order by ``owner`` (N,); ``weights`` are those of gaps -reach … reach."""
        self.weights, self.reach = weights, len(weights) // 2
        place, new = np.arange(len(owner)), np.append(True, owner[1:] != owner[:-1])[: len(owner)]
        start = np.flatnonzero(new)
        which, stop = np.cumsum(new) - 1, np.append(start[1:], len(owner))
        self.low = np.maximum(start[which], place - self.reach)
        self.high = np.minimum(stop[which], place + self.reach + 1)

    @property
    def widths(self) -> Ints:
        """(N,) baskets near each one, itself included."""
        return np.asarray(self.high - self.low)

    def rows(self, places: Ints) -> Sparse:
        """(R, N) the weights of those near some baskets (R,)."""
        widths = self.high[places] - self.low[places]
        ends = np.concatenate(([0], np.cumsum(widths)))
        near = np.repeat(self.low[places] - ends[:-1], widths) + np.arange(ends[-1])
        weights = self.weights[near - np.repeat(places, widths) + self.reach]
        found: Sparse = sp.csr_array((weights, near, ends), shape=(len(places), len(self.low)))
        found.eliminate_zeros()
        return found


def latest_baskets(batch: Batch, latest: int) -> tuple[Sparse, Ints]:
    """(N, I) 1 where a basket holds the product, for the latest baskets of every row, in order; and the customer
    of each.
    """
    place, number = basket_places(batch)
    kept = place >= number[batch.row] - latest
    held = np.minimum(number, latest)
    start = np.cumsum(held) - held
    row = batch.row[kept]
    basket = start[row] + place[kept] - (number - held)[row]
    total = int(held.sum())
    contents = sparse_sum(basket, batch.lines.product[kept], np.ones(len(basket)), (total, batch.n_products))
    return contents.sign(), np.repeat(batch.customers, held)
