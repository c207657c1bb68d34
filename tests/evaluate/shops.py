"""Small shops with a known answer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import polars as pl

from aisle.data.dataset import Dataset
from aisle.data.schema import CleanTables

START = datetime(2023, 1, 2)
DAYS = 240


def shop_of(lines: pl.DataFrame, products: list[str] | None = None) -> Dataset:
    """A dataset from transaction lines; ``products`` may list some that never sell."""
    ids = products or lines["product_id"].unique().sort().to_list()
    customers = lines["customer_id"].drop_nulls().unique().sort().to_frame()
    return Dataset.of(CleanTables(lines, pl.DataFrame({"product_id": ids}), customers))


def lines_of(rows: list[tuple[str, str, int, float]]) -> pl.DataFrame:
    """Transactions from (customer, product, day, quantity); a unit costs 2."""
    frame = pl.DataFrame(rows, schema=["customer_id", "product_id", "day", "quantity"], orient="row")
    moment = pl.lit(START).cast(pl.Datetime("us")) + pl.duration(days=pl.col("day"))
    return frame.with_columns(timestamp=moment, amount=2.0 * pl.col("quantity")).drop("day")


def random_shop(
    seed: int,
    *,
    taste: Literal["none", "repeat"] = "none",
    customers: int = 150,
    products: int = 60,
    clock: Literal["time", "sequence"] = "time",
) -> Dataset:
    """Customers who buy about every 8 days; products sell unequally.

    With taste "none" every basket is drawn from the same popularity: nothing about a customer can help. With
    "repeat" nine in ten purchases come from the customer's own five products.
    """
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.full(products, 0.7))
    who = np.repeat(np.arange(customers), 30)
    day = rng.uniform(0, DAYS, len(who))
    basket = np.arange(len(who))
    what = np.array([rng.choice(products, 2, replace=False, p=share) for _ in basket])
    if taste == "repeat":
        own = np.array([rng.choice(products, 5, replace=False) for _ in range(customers)])
        faithful = rng.random(what.shape) < 0.9
        what = np.where(faithful, own[who[:, None], rng.integers(0, 5, what.shape)], what)
    lines = pl.DataFrame(
        {
            "customer_id": [f"c{i:03}" for i in np.repeat(who, 2)],
            "product_id": [f"p{i:02}" for i in what.ravel()],
            "timestamp": [START + timedelta(days=float(d)) for d in np.repeat(day, 2)],
            "quantity": np.ones(2 * len(who)),
            "amount": np.full(2 * len(who), 3.0),
            "order_id": [f"o{b}" for b in np.repeat(basket, 2)],
        }
    ).with_columns(pl.col("timestamp").cast(pl.Datetime("us")))
    if clock == "sequence":
        lines = lines.sort("timestamp").with_columns(
            sequence=pl.col("timestamp").rank("dense").over("customer_id").cast(pl.Int64)
        )
        lines = lines.drop("timestamp")
    return shop_of(lines)
