"""Training questions that a model could have been asked, and what the answer was.

Where purchases have an order, a question is a customer at the start of a window and the answer what was bought in it;
windows lie before ``data.as_of``, back to back from the end, and the latest decides when to stop. Where there is no
order (one basket a customer), a question is a customer with a part of the purchases hidden, and that part the answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import scipy.sparse as sp

from aisle.data.dataset import Dataset
from aisle.data.events import Batch, Events, sparse_sum
from aisle.data.split import Window, sample
from aisle.features.customers import SAMPLE, usual_gap
from aisle.types import NEVER, Codes, Doubles, Floats, Ints, Sparse

SHARE = 4
"""A window is at most this part of the whole span, so that at least three windows have a past."""
SPANS = 3
JUDGED, MIN_JUDGED = 0.1, 5
"""Share of the purchases held out from those who decide when to stop; only customers with so many are asked."""
RETURNING = 0.25
"""Windows are of use where this share of their customers had bought before."""
AGAIN = 0.05
"""People buy again where this share of all (customer, product) pairs stands in two baskets or more."""
Weighing: TypeAlias = Literal["even", "quantity", "amount", "recency"]
"""What makes an answer weigh more: nothing · the logarithm of its quantity, of its amount · a later window."""
FADE = 0.8
"""``recency``: what a window weighs beside the one after it."""


@dataclass(frozen=True, eq=False)
class Question:
    """One window: who bought what in it."""

    cut: int
    customers: Codes
    """(N,) customers with a purchase in the window of a product that was sold before it."""
    bought: Sparse
    """(N, I) weight of what was bought, products first sold in the window left out."""
    returned: Sparse
    """(N, I) 1 for what was brought back in the window and not bought."""
    sold: Floats
    """(3, I) purchase lines of the product before the cut: of the last 1 and 4 windows, and all."""
    weight: float = 1.0
    """Of the whole window."""


def window_ticks(data: Dataset, target_days: int | None) -> int:
    """Length of the windows: as asked, else three usual gaps, between a week and a quarter of the span."""
    if (told := _told(data, target_days)) is not None:
        return told
    times = data.purchases.time
    span = int(times.max() - times.min()) if len(times) else data.unit
    wish = 3 * usual_gap(data) or span / SHARE
    return int(max(min(max(wish, 7 * data.unit), 91 * data.unit, span / SHARE), data.unit))


def gap_ticks(data: Dataset, target_days: int | None) -> int:
    """Length of the windows: as asked, else one usual gap, between a week and a quarter of the span."""
    if (told := _told(data, target_days)) is not None:
        return told
    times = data.purchases.time
    span = int(times.max() - times.min()) if len(times) else 0
    return int(max(min(max(usual_gap(data), 7 * data.unit), span / 4), data.unit))


def _told(data: Dataset, target_days: int | None) -> int | None:
    """Ticks of a window that is asked for; one basket where baskets have no times; None = the purchases must tell."""
    if target_days is not None:
        return target_days * data.unit
    return 1 if data.clock == "sequence" else None


def questions(data: Dataset, ticks: int, count: int, limit: int, seed: int, weighing: Weighing) -> list[Question]:
    """Up to ``count`` windows, latest first, of at most ``limit`` customers each; only those with an earlier sale."""
    random = np.random.default_rng(seed)
    found: list[Question] = []
    for step in range(count):
        window = Window(data.as_of - ticks * (step + 1), data.as_of - ticks * step)
        sold = sales_before(data, window.cut, ticks)
        if not sold[-1].any():
            break
        inside = _between(data.purchases, window)
        inside = inside.take(sold[-1][inside.product] > 0)
        customers = sample(np.unique(inside.customer), limit, random)
        if len(customers):
            back = _between(data.lines, window)
            back = back.take((back.quantity < 0) & (sold[-1][back.product] > 0))
            weight = FADE**step if weighing == "recency" else 1.0
            answers = _answers(inside, back, customers, weighing, data.shape)
            found.append(Question(window.cut, customers, *answers, sold, weight))
    return found


def unordered(data: Dataset, limit: int, seed: int, weighing: Weighing) -> list[Question]:
    """One question over everything bought, for customers with two products or more; none where there are none."""
    lines = data.purchases
    lines = lines.take(lines.customer >= 0)
    some = np.flatnonzero(np.diff(data.counts.indptr) > 1).astype(np.int32)
    customers = sample(some, limit, np.random.default_rng(seed))
    if not len(customers):
        return []
    back = data.lines.take((data.lines.quantity < 0) & (data.lines.customer >= 0))
    answers = _answers(lines, back, customers, weighing, data.shape)
    return [Question(data.as_of, customers, *answers, sales_before(data, data.as_of, 1))]


def hold_out(data: Dataset, limit: int, seed: int) -> tuple[Dataset, Question | None]:
    """The data without the latest part of what some customers bought, and the question for that part.

    Where purchases have no order, the part is drawn at random.
    """
    random = np.random.default_rng(seed)
    customers = np.flatnonzero(np.diff(data.counts.indptr) >= MIN_JUDGED).astype(np.int32)
    customers = sample(customers, limit, random)
    batch = data.batch(customers)
    _, place = np.unique(batch.row * np.int64(data.shape[1]) + batch.lines.product, return_inverse=True)
    order = np.lexsort((random.random(int(place.max(initial=-1)) + 1)[place], batch.lines.time, batch.row))
    late = np.empty(len(order), dtype=np.int64)
    late[order] = np.concatenate([np.arange(n)[::-1] for n in np.diff(batch.indptr)]) if len(order) else 0
    gone = late < JUDGED * np.diff(batch.indptr)[batch.row]
    held = sparse_sum(batch.row[gone], batch.lines.product[gone], np.ones(int(gone.sum())), batch.shape).sign()
    if not held.nnz:
        return data, None
    events, width = data.all_events, np.int64(data.shape[1])
    keys = np.repeat(customers.astype(np.int64), np.diff(held.indptr)) * width + held.indices
    past = replace(data, all_events=events.take(~np.isin(events.customer * width + events.product, keys)))
    sold = sales_before(past, data.as_of, 1)
    held = sp.csr_array(held.multiply(sold[-1] > 0))  # what nobody else bought cannot be foretold
    held.eliminate_zeros()
    nothing = sparse_sum(batch.row[:0], batch.lines.product[:0], np.ones(0), batch.shape)
    return past, Question(data.as_of, customers, held, nothing, sold)


def come_back(data: Dataset, asked: list[Question]) -> bool:
    """Whether enough of the customers asked had bought before, so that windows teach what follows from what."""
    first = np.full(data.shape[0], NEVER)
    some = np.diff(data.indptr) > 0
    first[some] = data.purchases.time[data.indptr[:-1][some]]  # lines of a customer rise in time
    old = sum(int((first[question.customers] < question.cut).sum()) for question in asked)
    return old >= RETURNING * sum(len(question.customers) for question in asked) > 0


def bought_again(data: Dataset) -> bool:
    """Whether people buy the same product again, as far as whole histories tell, in order or not."""
    baskets = data.counts.data
    return len(baskets) > 0 and float((baskets > 1).mean()) >= AGAIN


def batch_before(data: Dataset, customers: Codes, cut: int) -> Batch:
    """``data.before(cut).batch(customers)`` for known customers, without a copy of everybody's purchases."""
    events = data.all_events
    starts = np.searchsorted(events.customer, customers)
    sizes = np.searchsorted(events.customer, customers, side="right") - starts
    ends = np.cumsum(sizes)
    rows = np.repeat(starts - ends + sizes, sizes) + np.arange(int(sizes.sum()))
    seen = (events.time[rows] < cut) & (events.quantity[rows] > 0) & (events.void_at[rows] >= cut)
    kept = np.bincount(np.repeat(np.arange(len(customers)), sizes)[seen], minlength=len(customers))
    return Batch(
        customers=customers,
        indptr=np.concatenate(([0], np.cumsum(kept))).astype(np.int64),
        lines=replace(events.take(rows[seen]), void_at=np.full(int(seen.sum()), NEVER)),
        features=data.customers.take(customers),
        at=cut,
        n_products=data.shape[1],
        clock=data.clock,
    )


def some_before(data: Dataset, cut: int) -> Batch:
    """``some_customers`` with purchases before a cut, without a copy of everybody's purchases."""
    customers = np.flatnonzero(np.diff(data.indptr) > 0).astype(np.int32)
    batch = batch_before(data, customers[:: -(-len(customers) // SAMPLE)] if len(customers) else customers, cut)
    return batch_before(data, batch.customers[~batch.empty], cut) if batch.empty.any() else batch


def sales_before(data: Dataset, moment: int, ticks: int) -> Floats:
    """(3, I) purchase lines of each product before ``moment``: of the last 1 and 4 windows, and all."""
    lines = data.purchases
    spans = (ticks, 4 * ticks, None)
    out = np.zeros((SPANS, data.shape[1]), dtype=np.float32)
    before = lines.time < moment
    for place, span in enumerate(spans):
        seen = before if span is None else before & (lines.time >= moment - span)
        out[place] = np.bincount(lines.product[seen], minlength=data.shape[1])
    return out


def spread(targets: Sparse, busy: float) -> tuple[Ints, Ints, Floats]:
    """Row, product and weight (P,) of all targets; a row of n targets weighs n ** busy in all, the mean row 1."""
    sizes = np.diff(targets.indptr)
    row = np.repeat(np.arange(targets.shape[0]), sizes)
    total = np.bincount(row, weights=targets.data, minlength=len(sizes))
    mass = np.where(sizes > 0, np.maximum(sizes, 1) ** busy, 0.0)
    mass = mass * (len(sizes) / max(float(mass.sum()), 1e-12)) / np.maximum(total, 1e-12)
    return row, targets.indices.astype(np.int64), (targets.data * mass[row]).astype(np.float32)


def _between(lines: Events, window: Window) -> Events:
    return lines.take((lines.time >= window.cut) & (lines.time < window.end) & (lines.customer >= 0))


def _answers(
    lines: Events, back: Events, customers: Codes, weighing: Weighing, shape: tuple[int, int]
) -> tuple[Sparse, Sparse]:
    """(N, I) weight of what was bought, and 1 for what was brought back and not bought."""
    bought = _cells(lines, customers, _weights(lines, weighing), shape)
    if weighing in ("even", "recency"):
        bought = bought.sign()  # split lines of one product are one purchase
    returned = _cells(back, customers, np.ones(len(back)), shape).sign()
    returned = (returned - returned.multiply(bought.sign())).tocsr()
    returned.eliminate_zeros()
    return bought, returned


def _weights(lines: Events, weighing: Weighing) -> Doubles:
    """(E,) what each line adds to the weight of its product."""
    if weighing == "quantity":
        return np.log1p(np.maximum(lines.quantity, 0.0)).astype(np.float64)
    if weighing == "amount":
        return 0.1 + np.log1p(np.maximum(np.nan_to_num(lines.amount), 0.0)).astype(np.float64)
    return np.ones(len(lines))


def _cells(lines: Events, customers: Codes, values: Doubles, shape: tuple[int, int]) -> Sparse:
    """(N, I) sums of values by customer, of those ``customers`` (N,) alone, and product."""
    place = np.full(shape[0], -1, dtype=np.int64)
    place[customers] = np.arange(len(customers))
    row = place[lines.customer]
    some = row >= 0
    return sparse_sum(row[some], lines.product[some], values[some], (len(customers), shape[1]))
