"""Shops written by hand: a customer is a list of baskets, oldest first, a basket a text of one-letter products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import polars as pl

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.data.schema import CleanTables

Baskets = Mapping[str, Sequence[str]]
NOBODY = "?"
"""The customer whose baskets are anonymous."""


def shop(held: Baskets, *, like: Baskets | None = None, days: int = 1, sequence: bool = False) -> Dataset:
    """A dataset in which the last basket of everybody lies ``days`` / 2 before the end, the others ``days`` apart.

    With ``sequence`` baskets are in order and have no time. ``like`` names the customers and products of the shop where
    they are more than those in ``held``.
    """
    start, rows = datetime(2024, 1, 1), []
    longest = max(map(len, held.values()))
    for who, baskets in held.items():
        for place, basket in enumerate(baskets, start=longest - len(baskets)):
            stamp = start + timedelta(days=days * place, hours=12)
            rows += [(None if who == NOBODY else who, product, stamp, 1.0, f"{who}{place}") for product in basket]
    names = ["customer_id", "product_id", "timestamp", "quantity", "order_id"]
    lines = pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col("timestamp").cast(pl.Datetime("us")))
    if sequence:
        lines = lines.with_columns(sequence=pl.col("timestamp").rank("dense").cast(pl.Int64)).drop("timestamp")
    everything = held if like is None else {**like, **held}
    products = sorted({product for baskets in (*held.values(), *everything.values(), *(like or {}).values())
                       for basket in baskets for product in basket})  # fmt: skip
    customers = sorted(who for who in everything if who != NOBODY)
    return Dataset.of(
        CleanTables(lines, pl.DataFrame({"product_id": products}), pl.DataFrame({"customer_id": customers}))
    )


def asked(dataset: Dataset, ids: str) -> Batch:
    """The batch of customers with one-letter names."""
    return dataset.batch(dataset.customers.vocab.codes(list(ids)))
