"""A small retailer with everything in it: groups, attributes, stores, returns, anonymous baskets, an opt-out.

Times run over 400 days; every product, customer, store and channel is listed in a table or occurs early, so that the
vocabularies do not depend on the future.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl

from aisle.data.dataset import Dataset
from aisle.data.schema import CleanTables
from aisle.types import DAY

START = datetime(2023, 1, 2)
DAYS = 400
CUSTOMERS, PRODUCTS, STORES = 60, 40, 3
CUT = int((START - datetime(1970, 1, 1)) / timedelta(microseconds=1)) + 330 * DAY
"""The moment most tests ask at: 330 days in, 70 days before the end."""


def tables(seed: int = 0) -> CleanTables:
    """Clean tables of the world."""
    rng = np.random.default_rng(seed)
    return CleanTables(transactions=_transactions(rng), customers=_customers(rng), products=_products(rng))


def world(seed: int = 0, moment: int = CUT) -> Dataset:
    """The world as of a moment."""
    return Dataset.of(tables(seed)).before(moment)


def shuffled(source: CleanTables, seed: int = 1) -> CleanTables:
    """The same tables with their rows in another order."""
    return CleanTables(
        transactions=source.transactions.sample(fraction=1, shuffle=True, seed=seed),
        customers=source.customers.sample(fraction=1, shuffle=True, seed=seed),
        products=source.products.sample(fraction=1, shuffle=True, seed=seed),
    )


def other_future(source: CleanTables, moment: int, seed: int = 2) -> CleanTables:
    """The same past, another future: who bought what, how much, when and what was returned later is scrambled."""
    cut = pl.lit(moment).cast(pl.Datetime("us"))
    lines = source.transactions.with_columns(
        void_at=pl.when(pl.col("void_at") >= cut).then(None).otherwise(pl.col("void_at"))
    )
    past, future = lines.filter(pl.col("timestamp") < cut), lines.filter(pl.col("timestamp") >= cut)
    rng = np.random.default_rng(seed)
    mixed = future.with_columns(
        customer_id=future["customer_id"].gather(rng.permutation(future.height)),
        product_id=future["product_id"].gather(rng.permutation(future.height)),
        timestamp=future["timestamp"].gather(rng.permutation(future.height)),
        quantity=pl.Series(rng.choice([-1.0, 1.0, 5.0], future.height)),
        amount=pl.Series(rng.normal(50, 20, future.height)),
        void_at=pl.lit(None, dtype=pl.Datetime("us")),
    )
    late = past.with_columns(  # any purchase of the past may be returned later
        void_at=pl.when(pl.col("void_at").is_null() & (pl.col("quantity") > 0) & (pl.int_range(pl.len()) % 3 == 0))
        .then(cut + pl.duration(days=3))
        .otherwise(pl.col("void_at"))
    )
    return CleanTables(
        transactions=pl.concat([late, mixed.head(mixed.height // 2)]),
        customers=source.customers,
        products=source.products,
    )


def _transactions(rng: np.random.Generator) -> pl.DataFrame:
    rows = []
    taste = rng.dirichlet(np.full(PRODUCTS, 0.15), CUSTOMERS + 1)
    for who in range(CUSTOMERS + 1):  # the last one stands for everybody without a card
        baskets = int(rng.integers(2, 14)) if who < CUSTOMERS else 60
        for number in range(baskets):
            when = START + timedelta(minutes=int(rng.integers(0, DAYS * 24 * 60)))
            size = int(rng.integers(1, 6))
            store, channel = int(rng.integers(STORES)), rng.choice(["shop", "web"])
            for product in rng.choice(PRODUCTS, size=size, p=0.9 * taste[who] + 0.1 / PRODUCTS):
                name = f"c{who:02}" if who < CUSTOMERS else None
                order = f"o{who}-{number}" if number % 4 else None
                rows.append((name, f"p{product:02}", when, float(rng.integers(1, 4)), order, f"s{store}", channel))
    names = ["customer_id", "product_id", "timestamp", "quantity", "order_id", "store_id", "channel"]
    sales = pl.DataFrame(rows, schema=names, orient="row").with_columns(
        pl.col("timestamp").cast(pl.Datetime("us")), amount=pl.col("quantity") * 2.5
    )
    returned = pl.Series(rng.random(sales.height) < 0.06)
    sales = sales.with_columns(wait=pl.Series(rng.integers(1, 40, sales.height)))
    after = pl.col("timestamp") + pl.duration(days="wait")
    sales = sales.with_columns(void_at=pl.when(returned).then(after).otherwise(None)).drop("wait")
    back = sales.filter(pl.col("void_at").is_not_null()).with_columns(
        timestamp="void_at", quantity=-pl.col("quantity"), amount=-pl.col("amount"), void_at=None
    )
    return pl.concat([sales, back.with_columns(pl.col("void_at").cast(pl.Datetime("us")))])


def _customers(rng: np.random.Generator) -> pl.DataFrame:
    region = rng.integers(0, 2, CUSTOMERS)
    city = rng.integers(0, 3, CUSTOMERS)
    return pl.DataFrame(
        {
            "customer_id": [f"c{i:02}" for i in range(CUSTOMERS)],
            "group_1": [f"r{r}" for r in region],
            "group_2": [f"r{r} > t{c}" if c else None for r, c in zip(region, city, strict=True)],
            "gender": [["F", "M", None][g] for g in rng.integers(0, 3, CUSTOMERS)],
            "age": rng.integers(18, 90, CUSTOMERS).astype(float),
            "no_profile": [i == 7 for i in range(CUSTOMERS)],
        }
    )


def _products(rng: np.random.Generator) -> pl.DataFrame:
    top = rng.integers(0, 3, PRODUCTS)
    return pl.DataFrame(
        {
            "product_id": [f"p{i:02}" for i in range(PRODUCTS)],
            "name": [f"Product {i}" for i in range(PRODUCTS)],
            "category_1": [f"d{t}" for t in top],
            "category_2": [f"d{t} > k{k}" for t, k in zip(top, rng.integers(0, 3, PRODUCTS), strict=True)],
            "brand": [f"b{b}" for b in rng.integers(0, 5, PRODUCTS)],
            "price": rng.uniform(1, 20, PRODUCTS).round(2),
        }
    )
