"""A generated retailer of any size over one catalogue, for speed alone: no figure of accuracy is taken from it.

Customers buy 50 lines, four to an order, spread over two years; each prefers one of 50 groups of products and buys six
of ten lines from it, and within a group a few products sell most. One line in a hundred is a return, one in 2,000 has a
cell that is no value. Lines come in the order of time, as a till writes them, so that later ones make a further file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from aisle.files import atomic
from aisle.jobs.bench.speed.task import ROWS_A_CUSTOMER, Size
from aisle.types import Ints

BLOCK = 500_000
START = np.datetime64("2023-01-01T00:00:00", "s")
DAYS, TASTES, LOYAL, LINES_AN_ORDER = 700, 50, 0.6, 4
PRIME = 2_654_435_761
"""Multiplied with the number of an order, it scatters customers without a table of them (Knuth)."""
BAD_CELLS = {"quantity": "two", "price": "n/a?", "timestamp": "31-02-2023", "customer_id": "2.7E+05"}
SPOILT = 2_000


def write_sales(path: Path, size: Size, first: int = 0, rows: int | None = None, seed: int = 7) -> None:
    """Write lines of a retailer as CSV, about 75 bytes each: ``rows``, None = all of them, from number ``first`` on."""
    rows = size.rows if rows is None else rows
    with atomic(path) as temporary, temporary.open("wb") as file:
        for at in range(first, first + rows, BLOCK):
            block = _sales(np.random.default_rng([seed, at]), at, min(BLOCK, first + rows - at), size)
            block.write_csv(file, include_header=at == first, datetime_format="%Y-%m-%d %H:%M:%S")


def write_products(path: Path, products: int) -> None:
    """Write the catalogue as CSV."""
    ids = np.arange(products)
    table = pl.DataFrame({"product_id": ids + 100_000, "category_1": ids % 20, "category_2": ids % 400}).with_columns(
        pl.format("department {}", "category_1").alias("category_1")
    )
    with atomic(path) as temporary:
        table.write_csv(temporary)


def _sales(rng: np.random.Generator, first: int, count: int, size: Size) -> pl.DataFrame:
    """Lines number ``first`` and following."""
    order = (first + np.arange(count)) // LINES_AN_ORDER
    orders = size.customers * ROWS_A_CUSTOMER / LINES_AN_ORDER
    when = START + (order * (DAYS * 86_400 / orders)).astype("timedelta64[s]")
    customer = order * PRIME % 2**32 % size.customers  # a customer and a moment belong to an order
    product = _products(rng, customer, size.products)
    price = (product % 97 + 1) * 1.25
    quantity = rng.integers(1, 4, count) * np.where(rng.random(count) < 0.01, -1, 1)
    frame = pl.DataFrame(
        {
            "order_id": order + 10_000_000,
            "customer_id": customer + 200_000,
            "product_id": product + 100_000,
            "timestamp": pl.Series(when.astype("datetime64[ms]")),
            "quantity": quantity,
            "price": price,
            "amount": (quantity * price).round(2),
            "store_id": order % 50,
        }
    )
    column = list(BAD_CELLS)[first // BLOCK % len(BAD_CELLS)]
    bad = pl.int_range(pl.len()) % SPOILT == SPOILT - 1
    shown = pl.col(column).dt.strftime("%Y-%m-%d %H:%M:%S") if column == "timestamp" else pl.col(column).cast(pl.String)
    return frame.with_columns(pl.when(bad).then(pl.lit(BAD_CELLS[column])).otherwise(shown).alias(column))


def _products(rng: np.random.Generator, customer: Ints, products: int) -> Ints:
    """(N,) products bought: the place in a group by weights 1 / (place + 1), the group by taste."""
    taste = customer * PRIME % 2**32 // 7 % TASTES
    elsewhere = rng.random(len(customer)) >= LOYAL
    taste[elsewhere] = rng.integers(0, TASTES, int(elsewhere.sum()))
    reach = np.cumsum(1 / np.arange(1, max(products // TASTES, 1) + 1))
    place = np.searchsorted(reach / reach[-1], rng.random(len(customer))).clip(0, len(reach) - 1)
    return np.minimum(place * TASTES + taste, products - 1)
