"""Histories as rows of baskets, and what was known of a customer's own products at any point of them.

``Journeys`` are flat arrays: customers point at baskets, baskets at products. A *moment* is a point of one journey: so
many baskets seen, a time at which the next one is asked for. The same code serves training moments (as of then, never
later) and the one moment of a request.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aisle.data.events import Batch, first_of_basket, new_in, order_by
from aisle.models.nn.histories import HALF_LIVES
from aisle.types import DAY, Bools, Clock, Codes, Doubles, Floats, Ints, Times

SHORTEST = 0.5
"""Days (baskets): no gap counts as shorter."""
LENGTHS = (50, 200)
"""Least and most baskets that are looked at, where the data decide."""
FRESH = 3
"""A product stood in one of the latest baskets, this many of them."""


@dataclass(frozen=True, eq=False)
class Journeys:
    """N journeys of K baskets in all: those of row n are ``[indptr[n]:indptr[n + 1]]``, oldest first."""

    indptr: Ints
    """(N + 1,)."""
    time: Times
    """(K,) first line of each basket."""
    start: Ints
    """(K + 1,): products of basket k are ``product[start[k]:start[k + 1]]``, each once."""
    product: Codes
    """(P,)."""
    at: int
    clock: Clock
    n_products: int

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @classmethod
    def of(cls, batch: Batch) -> Journeys:
        """The journeys of a batch; lines of one product in one basket are one purchase."""
        first = np.flatnonzero(first_of_basket(batch.lines, batch.row))
        row, basket = batch.row[first], batch.lines.basket[first]
        order = order_by(row, basket, batch.lines.product[first])
        new = new_in(order, row, basket)
        head = np.flatnonzero(new)
        times = batch.lines.time[first][order]
        time = np.minimum.reduceat(times, head) if len(head) else times
        sizes = np.bincount(row[order[head]], minlength=len(batch))
        return cls(
            indptr=_starts(sizes),
            time=time.astype(np.int64),
            start=np.append(head, len(order)).astype(np.int64),
            product=batch.lines.product[first][order],
            at=batch.at,
            clock=batch.clock,
            n_products=batch.n_products,
        )

    @property
    def unit(self) -> int:
        """Clock ticks in a day (in a basket, under a sequence clock)."""
        return DAY if self.clock == "time" else 1

    @property
    def baskets(self) -> Ints:
        """(N,) baskets of each journey."""
        return np.diff(self.indptr)

    @property
    def row(self) -> Ints:
        """(K,) journey of each basket."""
        return np.repeat(np.arange(len(self)), self.baskets)

    def again(self) -> Bools:
        """(P,) whether the purchase repeats one of an earlier basket of the same journey."""
        basket = np.repeat(np.arange(len(self.time)), np.diff(self.start))
        row = self.row[basket]
        order = order_by(row, self.product, basket)
        out = np.zeros(len(self.product), dtype=bool)
        out[order] = ~new_in(order, row, self.product)
        return out

    def ends(self) -> Moments:
        """The moment of the request: everything seen."""
        rows = np.arange(len(self))
        return Moments(rows, self.indptr[1:], np.full(len(self), self.at, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Moments:
    """Q points of journeys: what comes next?"""

    row: Ints
    """(Q,) journey."""
    basket: Ints
    """(Q,) place among all K baskets of the first basket that is not seen; the journey's end for the latest moment."""
    time: Times
    """(Q,) when the question is asked; everything seen is older."""

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: Ints | Bools) -> Moments:
        """Some of them."""
        return Moments(self.row[rows], self.basket[rows], self.time[rows])


def asked(journeys: Journeys, horizon: int, seed: int) -> Moments:
    """A moment before every basket, in the order of the baskets.

    Nobody who asks for a list knows when the next visit will be: under a time clock the moment is drawn between the
    last visit and the next one, at most ``horizon`` ticks ahead of it. Under a sequence clock it is the next basket.
    """
    time = journeys.time.copy()
    row = journeys.row
    if journeys.clock == "time" and len(time):
        gap = np.diff(time, prepend=time[:1])
        gap[np.diff(row, prepend=-1) != 0] = horizon
        early = np.random.default_rng(seed).random(len(time)) * np.minimum(gap, horizon)
        time = time - early.astype(np.int64)
    return Moments(row, np.arange(len(time)), time)


@dataclass(frozen=True, eq=False)
class Own:
    """P pairs of a moment and a product seen before it, by moment, then product."""

    indptr: Ints
    """(Q + 1,)."""
    product: Codes
    """(P,)."""
    facts: Floats
    """(P, F) in the order of ``FACTS``."""

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def row(self) -> Ints:
        """(P,) moment of each pair."""
        return np.repeat(np.arange(len(self)), np.diff(self.indptr))

    def take(self, rows: Ints) -> Own:
        """The pairs of some moments, in the order asked for."""
        cells, sizes = spans(self.indptr[rows], self.indptr[rows + 1])
        return Own(_starts(sizes), self.product[cells], self.facts[cells])


FACTS = (
    *(f"log count, half-life {place}" for place in range(len(HALF_LIVES["time"]))),
    "share of baskets",
    "share of the latest",
    "log baskets since",
    "log age",
    "log gap",
    "overdue",
    "has a gap",
    "log baskets",
    "others come back",
)
"""What is known of a pair. ``overdue`` is the age in usual gaps, a logarithm; ``others come back`` is the smoothed
share of other buyers of the product who bought it twice, in all that is learned from."""


def own(journeys: Journeys, moments: Moments, comers: Comers, final: Ints | None = None) -> Own:
    """What is known at each moment of the products seen before it; one sort of all (moment, earlier purchase) pairs.

    ``final`` (P,) is how often each purchase's pair stands in the data behind ``comers``: where that is more than is
    seen at the moment, the customer's own later purchases must not tell. None = as often as is seen.
    """
    first = journeys.indptr[moments.row]
    cells, sizes = spans(journeys.start[first], journeys.start[moments.basket])
    moment = np.repeat(np.arange(len(moments)), sizes)
    basket = np.searchsorted(journeys.start, cells, side="right") - 1
    product = journeys.product[cells]
    order = order_by(moment, product)  # stable: baskets stay in order
    head = np.flatnonzero(new_in(order, moment, product))
    of, code = moment[order[head]], product[order[head]]
    age = np.maximum((moments.time[moment] - journeys.time[basket]) / journeys.unit, SHORTEST)[order]
    since = (moments.basket[moment] - basket)[order].astype(np.float64)
    seen = (moments.basket - first)[of].astype(np.float64)
    times = np.diff(np.append(head, len(order))).astype(np.float64)
    tail = np.append(head[1:], len(order)) - 1
    oldest, newest = (age[head], age[tail]) if len(head) else (age, age)
    gap = np.maximum((oldest - newest) / np.maximum(times - 1, 1), SHORTEST)
    rhythm = times > 1
    halves = (np.log1p(_sums(np.exp2(-age / half), head)) for half in HALF_LIVES[journeys.clock])
    held = times if final is None else final[cells][order[head]]
    columns = (
        *halves,
        times / np.maximum(seen, 1),
        _sums((since <= FRESH).astype(np.float64), head) / FRESH,
        np.log1p(since[tail] if len(head) else since),
        np.log1p(newest),
        np.where(rhythm, np.log1p(gap), 0.0),
        np.where(rhythm, np.clip(np.log(newest / gap), -3.0, 3.0), 0.0),
        rhythm.astype(np.float64),
        np.log1p(seen),
        comers.without(code, held > 1),
    )
    facts = np.stack(columns, axis=1).astype(np.float32) if len(head) else np.zeros((0, len(FACTS)), np.float32)
    return Own(_starts(np.bincount(of, minlength=len(moments))), code, facts)


@dataclass(frozen=True, eq=False)
class Comers:
    """How many customers bought each product, and how many of them twice or more."""

    buyers: Floats
    """(I,)."""
    twice: Floats
    """(I,)."""

    @classmethod
    def of(cls, journeys: Journeys) -> tuple[Comers, Ints]:
        """Counted over journeys; also how often the pair of each purchase (P,) stands in them."""
        row = np.repeat(journeys.row, np.diff(journeys.start))
        order = order_by(row, journeys.product)
        head = np.flatnonzero(new_in(order, row, journeys.product))
        times = np.diff(np.append(head, len(order)))
        code = journeys.product[order[head]]
        final = np.zeros(len(order), dtype=np.int64)
        final[order] = np.repeat(times, times)
        buyers, twice = (
            np.bincount(part, minlength=journeys.n_products).astype(np.float32) for part in (code, code[times > 1])
        )
        return cls(buyers, twice), final

    def without(self, product: Codes, again: Bools) -> Doubles:
        """(P,) log of the smoothed share of *other* buyers who came back; each pair takes itself out."""
        others = np.maximum(self.twice[product] - again, 0.0)
        buyers = np.maximum(self.buyers[product] - 1.0, 0.0)
        return np.asarray(np.log((others + 1.0) / (buyers + 10.0)), dtype=np.float64)


def spans(start: Ints, end: Ints) -> tuple[Ints, Ints]:
    """All places of half-open spans, one after the other, and (N,) how many each has."""
    sizes = end - start
    ahead = np.cumsum(sizes) - sizes
    return np.repeat(start - ahead, sizes) + np.arange(int(sizes.sum())), sizes


def _starts(sizes: Ints) -> Ints:
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)


def _sums(values: Doubles, head: Ints) -> Doubles:
    return np.add.reduceat(values, head) if len(head) else values


def usual_length(baskets: Ints) -> int:
    """How many latest baskets hold the whole journey of nine in ten customers with purchases, within ``LENGTHS``.

    ``baskets`` (U,) of each customer.
    """
    some = baskets[baskets > 0]
    return int(np.clip(np.quantile(some, 0.9, method="inverted_cdf"), *LENGTHS)) if len(some) else LENGTHS[0]
