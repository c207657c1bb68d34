"""Which products are bought together: counts of pairs, and association rules, sparse and block by block.

Agrawal, Imieliński, Swami, SIGMOD 1993 (support, confidence); Brin et al., SIGMOD 1997 (lift); Piatetsky-Shapiro, 1991
(leverage). Of N baskets let n_i hold product i and n_ij both i and j. The rule i → j has

    support    n_ij / N               how many baskets it speaks of
    confidence n_ij / n_i             how many baskets with i also hold j
    lift       N n_ij / (n_i n_j)     how much oftener than if i and j had nothing to do with each other; 1 = as often
    leverage   n_ij/N - n_i n_j/N²    the same as a difference of shares of all baskets; 0 = as often
    cosine     n_ij / √(n_i n_j)      between the baskets of both, 0 … 1
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Literal, Self, TypeAlias, get_args

import numpy as np

from aisle.errors import UsageError
from aisle.features.pairs import blocks_of_work
from aisle.types import Bools, Codes, Doubles, Ints, Sparse

MAX_WORK = 4_000_000
"""Pairs of purchases met by one block of the co-purchase product; bounds its memory (about 100 bytes each)."""
Measure: TypeAlias = Literal["confidence", "lift", "leverage", "cosine", "support"]
MEASURES: tuple[Measure, ...] = get_args(Measure)


@dataclass(frozen=True, eq=False)
class Associations:
    """R rules between two products, by the first, then best first."""

    first: Codes
    """(R,) the product in the basket."""
    second: Codes
    """(R,) the product that goes with it."""
    baskets: Ints
    """(R,) baskets that hold both."""
    support: Doubles
    confidence: Doubles
    lift: Doubles
    leverage: Doubles
    cosine: Doubles

    def __len__(self) -> int:
        return len(self.first)

    def take(self, rows: Bools | Ints) -> Associations:
        """The rules that a mask or an index picks."""
        return Associations(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Which rules are kept."""

    min_support: int = 2
    """Baskets with both."""
    min_confidence: float = 0.0
    min_lift: float = 0.0

    def __post_init__(self) -> None:
        if self.min_support < 1:
            raise UsageError(f"min_support is {self.min_support}; it counts baskets and must be at least 1")
        if not 0 <= self.min_confidence <= 1:
            raise UsageError(f"min_confidence is {self.min_confidence}; it must lie in 0 … 1")
        if not self.min_lift >= 0:
            raise UsageError(f"min_lift is {self.min_lift}; it must be at least 0")


@dataclass(frozen=True, eq=False)
class Contents:
    """Binary x (N, I), laid out to be asked which columns share rows, some columns at a time."""

    rows: Sparse
    """(N, I) x: of baskets, 1 where one holds the product."""
    across: Sparse
    """(I, N) xᵀ."""

    @classmethod
    def of(cls, x: Sparse) -> Self:
        """Lay x out."""
        return cls(x, x.T.tocsr())

    @cached_property
    def widths(self) -> Doubles:
        """(N,) columns that the row holds."""
        return np.diff(self.rows.indptr).astype(np.float64)

    @cached_property
    def sizes(self) -> Doubles:
        """(I,) rows that hold the column."""
        return np.diff(self.across.indptr).astype(np.float64)

    def shared(self, asked: Ints, min_support: int) -> Iterator[tuple[Ints, Ints, Ints]]:
        """Ordered pairs of columns, i among those ``asked`` and rising, and the rows that hold both.

        Pairs of a product with itself and those of fewer than ``min_support`` rows are left out. In blocks whose work
        is bounded, all pairs of one i in one block.
        """
        across = self.across if len(asked) == self.across.shape[0] else self.across[asked]
        work = np.asarray(across @ self.widths, dtype=np.float64)
        for start, stop in blocks_of_work(work, MAX_WORK):
            both = (across[start:stop] @ self.rows).tocoo()
            i, j, count = asked[start + both.row], both.col.astype(np.int64), both.data.astype(np.int64)
            keep = (i != j) & (count >= min_support)
            yield i[keep], j[keep], count[keep]


def associations(
    contents: Contents,
    tie_rank: Codes,
    limits: Limits,
    *,
    by: Measure = "lift",
    k: int | None = None,
    first: Codes | None = None,
    second: Bools | None = None,
) -> Associations:
    """Rules within the limits, of each product the k with the largest measure ``by``; ties go to ``tie_rank`` (I,).

    ``contents`` are those of N baskets; ``first`` (Q,) limits the products asked about, in any order, ``second`` (I,)
    those that may go with them. Raises UsageError for an unknown measure and for k below 1.
    """
    if by not in MEASURES:
        raise UsageError(f"by is {by!r}; allowed: {', '.join(MEASURES)}")
    if k is not None and k < 1:
        raise UsageError(f"k is {k}; give a whole number of at least 1")
    total, products = contents.rows.shape
    sizes = contents.sizes
    asked: Ints = np.arange(products) if first is None else np.unique(first).astype(np.int64)
    found = [_measured(*(np.zeros(0, dtype=np.int64),) * 3, sizes, total)]
    for i, j, both in contents.shared(asked, limits.min_support):
        rules = _measured(i, j, both, sizes, total)
        keep = (rules.confidence >= limits.min_confidence) & (rules.lift >= limits.min_lift)
        rules = rules.take(keep if second is None else keep & second[rules.second])
        value = getattr(rules, by).astype(np.float32)  # what is equal but for rounding is a tie
        order = np.lexsort((tie_rank[rules.second], -value, rules.first))
        rules = rules.take(order)
        place = np.arange(len(rules)) - np.searchsorted(rules.first, rules.first)
        found.append(rules if k is None else rules.take(place < k))
    return Associations(*(np.concatenate([getattr(part, f.name) for part in found]) for f in fields(Associations)))


def _measured(i: Ints, j: Ints, both: Ints, sizes: Doubles, total: int) -> Associations:
    share, expected = both / max(total, 1), sizes[i] * sizes[j]
    return Associations(
        first=i.astype(np.int32),
        second=j.astype(np.int32),
        baskets=both,
        support=share,
        confidence=both / sizes[i],
        lift=both * float(total) / expected,
        leverage=share - expected / max(total, 1) ** 2,
        cosine=both / np.sqrt(expected),
    )
