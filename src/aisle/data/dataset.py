"""Dataset: clean events, customers and products, *as of* a moment.

``before(t)`` moves the moment and copies nothing; everything a model may use (``purchases``, ``lines``, ``counts``,
``known``, ``batch``) is cut at it. Only the evaluator may look past it, through ``data.split.truth``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, pairwise
from typing import Any

import numpy as np
import polars as pl

from aisle.data.build import Assortment, build_entities, build_events
from aisle.data.entities import ALWAYS, Entities
from aisle.data.events import Batch, Events, Picked, first_of_basket, slices, sparse_sum, stacked
from aisle.data.schema import CleanTables
from aisle.data.vocab import Vocab
from aisle.types import DAY, NEVER, Bools, Clock, Codes, Floats, Ints, Sparse, Times

BATCH_LINES = 2_000_000
"""What a pass over all customers works on at once: some 200 MB."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A retailer as it was known at ``as_of``."""

    all_events: Events
    """Every line of the source, the future of ``as_of`` included: for the evaluator alone."""
    customers: Entities
    products: Entities
    stores: Vocab
    channels: Vocab
    clock: Clock
    as_of: int
    """Lines with ``time < as_of`` are visible."""
    first_sale: Times
    """(I,) first purchase of each product over the whole source, ``NEVER`` where there is none."""
    end: int
    """Just after the last line of the source."""
    assortment: Assortment | None = None
    currency: str = field(default="")

    @classmethod
    def of(cls, tables: CleanTables, *, consume: bool = False) -> Dataset:
        """Build from clean tables; ``as_of`` is the end of the last day (of the last basket).

        ``consume`` empties the transactions on the way, which halves the memory that is needed.
        """
        lines = tables.transactions if consume else tables.transactions.clone()
        clock: Clock = "time" if "timestamp" in lines.columns else "sequence"
        customers = build_entities(tables.customers, "customer_id", "group_", lines["customer_id"])
        products = build_entities(tables.products, "product_id", "category_", lines["product_id"])
        stores, channels = _vocab(lines, "store_id"), _vocab(lines, "channel")
        events = build_events(lines, clock, customers, products, stores, channels)
        return cls.holding(events, (customers, products), stores, channels, clock, tables.availability)

    @classmethod
    def holding(
        cls,
        events: Events,
        entities: tuple[Entities, Entities],
        stores: Vocab,
        channels: Vocab,
        clock: Clock,
        availability: pl.DataFrame | None,
    ) -> Dataset:
        """A Dataset of these lines and these (customers, products); ``as_of`` as for ``of``."""
        customers, products = entities
        last = int(events.time.max()) if len(events) else 0
        end = (last // DAY + 1) * DAY if clock == "time" else last + 1
        first_sale = np.full(len(products), NEVER, dtype=np.int64)
        for part in slices(len(events), BATCH_LINES):  # copies of all lines would need memory that is new
            bought = events.quantity[part] > 0
            np.minimum.at(first_sale, events.product[part][bought], events.time[part][bought])
        assortment = None
        if availability is not None:
            assortment = Assortment.of(availability, stores, products.vocab)
        return cls(events, customers, products, stores, channels, clock, end, first_sale, end, assortment)

    def before(self, moment: int) -> Dataset:
        """The same retailer seen at an earlier (or later) moment."""
        return replace(self, as_of=moment)

    def until(self, moment: int) -> Dataset:
        """Forget every line at or after ``moment`` for good (``--at``)."""
        events = self.all_events.take(self.all_events.time < moment)
        return replace(self, all_events=events, as_of=moment, end=moment)

    def drawn(self, purchases: int, seed: int) -> Dataset:
        """The same retailer with all that randomly drawn customers bought so far, about so many ``purchases``.

        Itself where it has no more. Anonymous baskets are drawn with the same chance; products stay as they are.
        """
        if len(self.purchases) <= purchases:
            return self
        share, lines = purchases / len(self.purchases), self.lines
        random = np.random.default_rng((seed, 1))  # a stream of its own: others draw customers by the same seed
        customer, mine = lines.customer, random.random(self.shape[0]) < share
        nobody = int(np.searchsorted(customer, 0))
        _, basket = np.unique(lines.take(slice(0, nobody)).basket, return_inverse=True)
        kept = random.random(int(basket.max(initial=-1)) + 1)[basket] < share
        return replace(self, all_events=lines.take(np.concatenate((kept, mine[customer[nobody:]]))))

    @property
    def unit(self) -> int:
        """Clock ticks in a day (in a basket, under a sequence clock)."""
        return DAY if self.clock == "time" else 1

    @property
    def shape(self) -> tuple[int, int]:
        """(U, I): customers and products, known or not at ``as_of``."""
        return len(self.customers), len(self.products)

    @cached_property
    def lines(self) -> Events:
        """Purchases and returns before ``as_of``, anonymous ones included; ``void_at`` knows of no later return."""
        return _visible(self.all_events, self.all_events.time < self.as_of, self.as_of)

    @cached_property
    def purchases(self) -> Events:
        """Purchases before ``as_of`` that no return before ``as_of`` has undone, anonymous ones included."""
        events = self.all_events
        seen = (events.time < self.as_of) & (events.quantity > 0) & (events.void_at >= self.as_of)
        return _visible(events, seen, self.as_of)

    @cached_property
    def indptr(self) -> Ints:
        """(U + 1,): purchases of customer u are ``purchases[indptr[u]:indptr[u + 1]]``; anonymous ones lie before."""
        return np.searchsorted(self.purchases.customer, np.arange(self.shape[0] + 1)).astype(np.int64)

    @cached_property
    def counts(self) -> Sparse:
        """(U, I) number of baskets of the customer that hold the product."""
        return stacked([batch.history for batch in self.batches()])

    @cached_property
    def popularity(self) -> Floats:
        """(I,) number of baskets that hold the product, anonymous ones included."""
        nobody = self.purchases.take(slice(0, int(self.indptr[0])))
        number = np.zeros(self.shape[1], dtype=np.int64)
        for lines in chain([nobody], (batch.lines for batch in self.batches())):
            number += np.bincount(lines.product[first_of_basket(lines, lines.customer)], minlength=self.shape[1])
        return number.astype(np.float32)

    @cached_property
    def tie_rank(self) -> Codes:
        """(I,) place of each product when scores tie: by popularity, then by product id; 0 comes first."""
        ids = self.products.vocab.ids.arg_sort().to_numpy()
        by_id = np.empty(len(ids), dtype=np.int64)
        by_id[ids] = np.arange(len(ids))
        order = np.lexsort((by_id, -self.popularity))
        rank = np.empty(len(order), dtype=np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        return rank

    @cached_property
    def known(self) -> Bools:
        """(I,) products known at ``as_of``: sold or valid from before.

        At the end of the data also those listed but never sold, unless they are valid from later.
        """
        known = np.asarray(self.first_sale < self.as_of)
        start = self.products.valid_from if self.clock == "time" else None
        start = np.full(len(known), ALWAYS) if start is None else start
        known |= (start < self.as_of) & (start > ALWAYS)
        if self.as_of >= self.end:
            known |= (self.first_sale == NEVER) & (start < self.as_of)
        return known

    def batches(self) -> Iterator[Batch]:
        """All customers in their order, in batches of neighbours with about ``BATCH_LINES`` purchases; at least one."""
        edges = np.arange(1, int(self.indptr[-1] - self.indptr[0]) // BATCH_LINES + 1) * BATCH_LINES
        starts = np.unique(np.searchsorted(self.indptr[:-1] - self.indptr[0], edges))
        for start, stop in pairwise([0, *starts[(starts > 0) & (starts < self.shape[0])].tolist(), self.shape[0]]):
            yield self.batch(np.arange(start, stop, dtype=np.int32))

    def ask(self, what: Callable[[Batch], Any]) -> Any:
        """(U, …) what a function says of a batch, an array (B, …), for all customers, a batch at a time."""
        return np.concatenate([what(batch) for batch in self.batches()])

    def batch(self, customers: Codes) -> Batch:
        """The inputs of a score for these customers (B,), -1 giving a blank one, as of ``as_of``."""
        known = customers >= 0
        starts, sizes = np.zeros((2, len(customers)), dtype=np.int64)
        starts[known] = self.indptr[customers[known]]
        sizes[known] = self.indptr[customers[known] + 1] - starts[known]
        indptr = np.concatenate(([0], np.cumsum(sizes)))
        rows: Ints | slice
        if len(customers) and known.all() and (np.diff(customers) == 1).all():
            rows = slice(int(starts[0]), int(starts[0] + indptr[-1]))  # neighbours lie together: nothing is copied
        else:
            rows = np.repeat(starts - indptr[:-1], sizes) + np.arange(int(indptr[-1]))
        return Batch(
            customers=customers,
            indptr=indptr,
            lines=self.purchases.take(rows),
            features=self.customers.take(customers),
            at=self.as_of,
            n_products=self.shape[1],
            clock=self.clock,
        )

    def flag(self, name: str) -> Bools:
        """(U,) a customer flag such as ``no_profile``; all False where the source does not say."""
        return self.customers.flags.get(name, np.zeros(self.shape[0], dtype=bool))

    def moment(self, ticks: int) -> str:
        """A moment in words: an ISO date, or the basket counted from the end."""
        if self.clock == "sequence":
            return f"basket {ticks}"
        return str(pl.Series([ticks]).cast(pl.Datetime("us")).dt.strftime("%Y-%m-%d %H:%M").item()).removesuffix(
            " 00:00"
        )


def _visible(events: Events, seen: Bools, as_of: int) -> Events:
    """The lines that are seen, without a trace of returns to come; the same arrays where nothing is left out."""
    if not seen.all():
        return Picked(events, seen, as_of)
    later = (events.void_at >= as_of) & (events.void_at != NEVER)
    return replace(events, void_at=np.where(later, NEVER, events.void_at)) if later.any() else events


def _vocab(lines: pl.DataFrame, column: str) -> Vocab:
    if column not in lines.columns:
        return Vocab.of([])
    return Vocab.of(lines[column].unique().cast(pl.String).sort())


__all__ = ["Batch", "Dataset", "Events", "sparse_sum"]
