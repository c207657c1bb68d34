"""Training questions that a model could have been asked: history before a cut, purchases of the days after it.

All windows lie before ``data.as_of``, back to back from the end; the latest one is kept for early stopping.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.events import sparse_sum
from aisle.data.split import Window
from aisle.features.customers import usual_gap
from aisle.types import Codes, Floats, Ints, Sparse

SHARE = 4
"""A window is at most this part of the whole span, so that at least three windows have a past."""


@dataclass(frozen=True, eq=False)
class Question:
    """One window: who bought what in it."""

    window: Window
    customers: Codes
    """(N,) customers with a purchase in the window of a product that was sold before it."""
    bought: Sparse
    """(N, I) number of purchase lines in the window, products first sold in it left out."""
    sold: Floats
    """(3, I) purchase lines of the product before the cut: of the last 1 and 4 windows, and all."""


def window_ticks(data: Dataset, target_days: int | None) -> int:
    """Length of the windows: as asked, else three usual gaps, between a week and a quarter of the span."""
    if target_days is not None:
        return target_days * data.unit
    if data.clock == "sequence":
        return 1
    times = data.purchases.time
    span = int(times.max() - times.min()) if len(times) else data.unit
    wish = 3 * usual_gap(data) or span / SHARE
    return int(max(min(max(wish, 7 * data.unit), 91 * data.unit, span / SHARE), data.unit))


def questions(data: Dataset, ticks: int, count: int, limit: int, seed: int) -> list[Question]:
    """Up to ``count`` windows, latest first, of at most ``limit`` customers each; only those with an earlier sale."""
    random = np.random.default_rng(seed)
    lines = data.purchases
    found: list[Question] = []
    for step in range(count):
        window = Window(data.as_of - ticks * (step + 1), data.as_of - ticks * step)
        sold = sales_before(data, window.cut, ticks)
        if not sold[-1].any():
            break
        inside = (lines.time >= window.cut) & (lines.time < window.end) & (lines.customer >= 0)
        inside &= sold[-1][lines.product] > 0
        customers = np.unique(lines.customer[inside])
        if len(customers) > limit:
            customers = np.sort(random.choice(customers, limit, replace=False))
        place = np.full(data.shape[0], -1, dtype=np.int64)
        place[customers] = np.arange(len(customers))
        inside &= place[np.maximum(lines.customer, 0)] >= 0
        rows, ones = place[lines.customer[inside]], np.ones(int(inside.sum()), dtype=np.float32)
        bought = sparse_sum(rows, lines.product[inside], ones, (len(customers), data.shape[1]))
        if len(customers):
            found.append(Question(window, customers, bought, sold))
    return found


def sales_before(data: Dataset, moment: int, ticks: int) -> Floats:
    """(3, I) purchase lines of each product before ``moment``: of the last 1 and 4 windows, and all."""
    lines = data.purchases
    spans = (ticks, 4 * ticks, None)
    out = np.zeros((len(spans), data.shape[1]), dtype=np.float32)
    before = lines.time < moment
    for place, span in enumerate(spans):
        seen = before if span is None else before & (lines.time >= moment - span)
        out[place] = np.bincount(lines.product[seen], minlength=data.shape[1])
    return out


def spread(targets: Sparse) -> tuple[Ints, Ints, Floats]:
    """Row, product and weight (P,) of all targets; a row's targets share the weight 1."""
    sizes = np.diff(targets.indptr)
    row = np.repeat(np.arange(targets.shape[0]), sizes)
    return row, targets.indices.astype(np.int64), (1.0 / sizes[row]).astype(np.float32)
