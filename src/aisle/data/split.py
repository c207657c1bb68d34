"""Temporal cuts: what is known before, what is asked after. A model sees ``dataset.before(window.cut)`` and no more."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.events import sparse_sum
from aisle.types import Bools, Codes, Sparse

NOTHING = 1e-4
"""A net quantity up to this is zero: weights such as 0.3 + 0.2 - 0.5 do not cancel exactly."""


@dataclass(frozen=True)
class Window:
    """The span ``[cut, end)`` whose purchases are to be foretold from all before ``cut``."""

    cut: int
    end: int


def rolling_windows(end: int, horizon: int, count: int) -> tuple[Window, ...]:
    """``count`` windows of one horizon (in clock ticks), back to back, oldest first; the last one stops at ``end``."""
    return tuple(Window(end - horizon * (i + 1), end - horizon * i) for i in reversed(range(count)))


def sample(customers: Codes, limit: int | None, random: np.random.Generator) -> Codes:
    """(M,) at most ``limit`` of the customers (N,), drawn at random, in their order; all of them where it is None."""
    if limit is None or len(customers) <= limit:
        return customers
    return np.sort(random.choice(customers, limit, replace=False))


@dataclass(frozen=True, eq=False)
class Truth:
    """What happened in a window, for customers with at least one product of positive net quantity."""

    window: Window
    bought: Sparse
    """(U, I) 1 where the net quantity in the window is positive."""
    revenue: Sparse
    """(U, I) net amount of those cells, 0 where amounts are unknown."""
    warm: Bools
    """(U,) with truth and a purchase before the cut: the population of every headline figure."""
    cold: Bools
    """(U,) with truth and no purchase before the cut."""
    known: Bools
    """(I,) products known at the cut: the candidates."""


def truth(dataset: Dataset, window: Window) -> Truth:
    """The truth of a window (metric contract: distinct products with positive net quantity per customer)."""
    events = dataset.all_events
    inside = (events.time >= window.cut) & (events.time < window.end) & (events.customer >= 0)
    lines = events.take(inside)
    net = sparse_sum(lines.customer, lines.product, lines.quantity, dataset.shape)
    amount = np.nan_to_num(lines.amount)
    revenue = sparse_sum(lines.customer, lines.product, amount, dataset.shape)
    bought = net.copy()
    bought.data = (net.data > NOTHING).astype(np.float32)
    bought.eliminate_zeros()
    past = dataset.before(window.cut)
    some = np.diff(bought.indptr) > 0
    before = np.diff(past.indptr) > 0
    return Truth(window, bought, revenue.multiply(bought).tocsr(), some & before, some & ~before, past.known)
