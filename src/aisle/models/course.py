"""What a model that joins others learns from the past: the windows it asks, who is asked, and what was known then.

A *side* is what is asked at once: all customers of a window, or one fold of them where a window is no moment. Each side
has a past of its own, on which its sources are fitted; ``dear`` ones are fitted once, before the earliest window.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from aisle.data.dataset import Dataset
from aisle.features.pairs import holds
from aisle.models import MODELS, holding
from aisle.models.candidates import Pool
from aisle.models.nn.windows import Question, bought_again
from aisle.types import NEVER, Bools, Doubles, Ints

NETWORKS = ("hybrid_factorization", "basket_transformer")
"""Sources fitted once, before the earliest window …"""
SOLVERS, MANY_PRODUCTS, MANY_PURCHASES = ("ease", "slim", "ials", "graph_filter"), 8_000, 2_000_000
"""… and so are these, where more products are sold, or more purchases were made."""
HUGE, LEFT_OUT = 5_000_000, ("tifu_knn", "up_cf", "graph_filter", "hybrid_factorization")
"""Beyond so many purchases these are no sources by default: they meet customers with customers, or take hours."""
SLOW = ("repeat_hazard",)
"""… and these are fitted once too."""
ALWAYS = ("popularity", "recent_popularity", "personal_frequency", "item_knn", "sequence_knn")
REPEATS = ("tifu_knn", "up_cf", "repeat_hazard")
SOLVED = 20_000
"""Closed-form regression up to so many products, graph filters beyond."""
MANY_LINES = 20_000
"""Purchases from which a network is worth its training."""


@dataclass(frozen=True, eq=False)
class Course:
    """All that is asked of the past."""

    data: Dataset
    """Everything that is learned from."""
    sources: holding.Settings
    asked: list[Question]
    """Windows, latest first."""
    ticks: int
    """Length of a window."""
    folds: int
    """Sides of a window, at most."""
    seed: int

    @cached_property
    def sides(self) -> list[Question]:
        """What is asked at once, window by window, latest first; small windows leave folds without anybody out."""
        if self.folds == 1:
            return self.asked
        parts = [(question, self._fold[question.customers]) for question in self.asked]
        return [some_of(asked, fold == number) for asked, fold in parts for number in np.unique(fold).tolist()]

    @cached_property
    def dear(self) -> holding.Settings:
        """Sources too costly to be fitted anew for every side."""
        names = once(self.data)
        return {name: settings for name, settings in self.sources.items() if name in names}

    def oldest(self) -> Dataset:
        """What was known before the earliest window."""
        return self.data.before(self.asked[-1].cut)

    def known(self, side: int) -> Dataset:
        """What is known when a side is asked: of other folds what they buy in the window, too."""
        question = self.sides[side]
        if self.folds == 1:
            return self.data.before(question.cut)
        number = int(self._fold[question.customers[0]])
        events = self.data.all_events
        theirs = (events.customer >= 0) & (self._fold[events.customer] == number)
        return without(self.data, theirs, question.cut).before(question.cut + self.ticks)

    @cached_property
    def _fold(self) -> Ints:
        """(U,) the fold of each customer."""
        return np.random.default_rng(self.seed).permutation(self.data.shape[0]) % self.folds


@dataclass(frozen=True, eq=False)
class Recall:
    """How much of what was bought in a window was proposed, summed over its customers."""

    sources: tuple[str, ...] = ()
    sums: Doubles = field(default_factory=lambda: np.zeros(0))
    """(2S + 2,) share proposed by each source, and by it alone; by any; and the number of candidates."""
    customers: int = 0
    """With a past and something bought."""

    def __add__(self, other: Recall) -> Recall:
        if not self.sources or not other.sources:
            return self if self.sources else other
        return Recall(self.sources, self.sums + other.sums, self.customers + other.customers)

    @classmethod
    def of(cls, pool: Pool, past: Dataset, question: Question) -> Recall:
        """What a pool proposes for a window."""
        batch, found = past.batch(question.customers), cls()
        for rows, piece in pool.parts(batch):
            wanted = np.diff(question.bought[rows].indptr)
            pairs = pool.pairs(piece)
            right = np.flatnonzero(holds(question.bought[rows], pairs.row, pairs.code))
            proposed = pairs.proposed[right]
            alone = proposed & (proposed.sum(axis=1) == 1)[:, None]
            weight = 1 / wanted[pairs.row[right]]
            sums = np.concatenate((weight @ proposed, weight @ alone, [weight.sum()], [len(pairs)]))
            found += cls(pairs.sources, sums, int(((wanted > 0) & ~piece.empty).sum()))
        return found

    def told(self) -> dict[str, Any]:
        """Means over the customers: overall, by source, and by it alone; empty where there is nobody."""
        if not self.customers:
            return {}
        mean, width = self.sums / self.customers, len(self.sources)
        return {
            "customers": self.customers,
            "candidates": round(float(mean[-1]), 2),
            "overall": round(float(mean[-2]), 5),
            "by_source": {name: round(float(mean[place]), 5) for place, name in enumerate(self.sources)},
            "alone": {name: round(float(mean[width + place]), 5) for place, name in enumerate(self.sources)},
        }


def chosen(data: Dataset) -> holding.Settings:
    """Sources worth their time for the size and the kind of the data, as far as they are installed."""
    sold, levels = int((data.popularity > 0).sum()), bool(data.products.features.levels)
    return {name: {} for name in sources_at(sold, len(data.purchases), again=bought_again(data), levels=levels)}


def sources_at(sold: int, lines: int, *, again: bool, levels: bool) -> tuple[str, ...]:
    """Sources for so many products and purchases, where people buy again or not, and products have levels or not."""
    wanted = [*ALWAYS, *(REPEATS if again else ()), "ease" if sold <= SOLVED else "graph_filter"]
    if levels:
        wanted += ["content_knn", "tree_shares", *(["hybrid_factorization"] if lines >= MANY_LINES else [])]
    return tuple(name for name in wanted if name in MODELS and not (lines > HUGE and name in LEFT_OUT))


def once(data: Dataset) -> tuple[str, ...]:
    """Sources too costly to be fitted anew for every window."""
    return costly(int((data.popularity > 0).sum()), len(data.purchases))


def costly(sold: int, lines: int) -> tuple[str, ...]:
    """Models that so many products and purchases make too costly for that."""
    many = sold > MANY_PRODUCTS or lines > MANY_PURCHASES
    return (*NETWORKS, *(SOLVERS if many else ()), *(SLOW if lines > HUGE else ()))


def some_of(question: Question, rows: slice | Bools) -> Question:
    """The same question to some of its customers."""
    customers, bought, returned = question.customers[rows], question.bought[rows], question.returned[rows]
    return replace(question, customers=customers, bought=bought, returned=returned)


def without(data: Dataset, lines: Bools, cut: int) -> Dataset:
    """The data as if nothing of these lines (E,) had happened from the cut on: no purchase, return or first sale."""
    events = data.all_events
    kept = ~(lines & (events.time >= cut))
    open_end = lines & (events.void_at >= cut)
    events = replace(events, void_at=np.where(open_end, NEVER, events.void_at)).take(kept)
    first, bought = np.full(data.shape[1], NEVER, dtype=np.int64), events.quantity > 0
    np.minimum.at(first, events.product[bought], events.time[bought])
    first = np.where(data.first_sale < cut, data.first_sale, first)
    return replace(data, all_events=events, first_sale=first)
