"""A generated shop of any size with planted taste, for speed alone: no figure of accuracy is taken from it.

Customers buy 20 lines on average in 10 visits over two years; each prefers one of 50 groups of products and buys six of
ten lines from it; within a group, and over all, a few products sell most. The catalogue stays the same however many
customers there are. Built straight as arrays, so that what a fit needs can be told from what the data need.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from aisle.data.dataset import Dataset
from aisle.data.entities import Entities, Level
from aisle.data.events import Events, new_in, order_by
from aisle.data.vocab import Vocab
from aisle.types import DAY, NEVER, UNKNOWN, Codes

LINES, VISITS, DAYS = 20, 10, 730
TASTES, LOYAL = 50, 0.6
FIRST_DAY = 18_000
"""2019-04-14, in days since 1970."""


def shop(lines: int, products: int = 5_000, seed: int = 0) -> Dataset:
    """About ``lines`` purchases of ``lines / 20`` customers."""
    rng = np.random.default_rng(seed)
    people = max(lines // LINES, 1)
    customer = np.repeat(np.arange(people, dtype=np.int32), rng.poisson(LINES, people))
    size = len(customer)
    visits = rng.integers(0, DAYS, (people, VISITS), dtype=np.int32)
    day = visits[customer, rng.integers(0, VISITS, size, dtype=np.int32)]
    taste = rng.integers(0, TASTES, people, dtype=np.int32)[customer]
    elsewhere = rng.random(size, dtype=np.float32) >= LOYAL
    taste[elsewhere] = rng.integers(0, TASTES, int(elsewhere.sum()), dtype=np.int32)
    product = places(rng, size, products // TASTES) * TASTES + taste
    order = order_by(customer, day, product)
    customer, day, product = customer[order], day[order], product[order]
    same = np.arange(size)
    time = (day.astype(np.int64) + FIRST_DAY) * DAY
    blank = np.full(size, UNKNOWN, dtype=np.int32)
    events = Events(
        customer=customer,
        product=product,
        time=time,
        quantity=np.ones(size, dtype=np.float32),
        amount=np.full(size, np.nan, dtype=np.float32),
        basket=(np.cumsum(new_in(same, customer, day)) - 1).astype(np.int32),
        store=blank,
        channel=blank,
        void_at=np.full(size, NEVER, dtype=np.int64),
    )
    first_sale = np.full(products, NEVER, dtype=np.int64)
    np.minimum.at(first_sale, product, time)
    end = (FIRST_DAY + DAYS) * DAY
    goods = Entities(_ids("P", products), tree=(_groups(products),))
    nowhere = Vocab.of([])
    return Dataset(events, Entities(_ids("C", people)), goods, nowhere, nowhere, "time", end, first_sale, end)


def places(rng: np.random.Generator, size: int, ranks: int) -> Codes:
    """(size,) places within a group, the first one sold most: weights 1 / (place + 1)."""
    reach = np.cumsum(1 / np.arange(1, ranks + 1))
    return np.searchsorted(reach / reach[-1], rng.random(size, dtype=np.float32)).clip(0, ranks - 1).astype(np.int32)


def _groups(products: int) -> Level:
    names = Vocab(pl.Series("id", [f"G{group:02d}" for group in range(TASTES)]))
    return Level("category_1", names, (np.arange(products) % TASTES).astype(np.int32))


def _ids(letter: str, count: int) -> Vocab:
    return Vocab((pl.int_range(count, eager=True).cast(pl.String).str.zfill(9).alias("id")).str.replace("^", letter))
