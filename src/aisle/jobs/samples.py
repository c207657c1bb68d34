"""Material for the report: sales over time, and lists of sample customers under invented labels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl

from aisle.bundle import Recommender
from aisle.data.dataset import Dataset
from aisle.rank.rules import Rules
from aisle.report import SampleCustomer
from aisle.types import DAY

SHARES = (0.95, 0.75, 0.5, 0.25)
"""Sample customers stand at these quantiles of the number of baskets."""
HISTORY_ROWS = 12
BLOCK_LINES = 5_000_000
"""Lines that are counted at a time."""


def sales_by_period(dataset: Dataset) -> pl.DataFrame:
    """Columns period, lines, amount, customers: by week up to two years, by month beyond; empty without time."""
    if dataset.clock == "sequence":
        return pl.DataFrame(
            schema={"period": pl.Date, "lines": pl.UInt32, "amount": pl.Float64, "customers": pl.UInt32}
        )
    lines, time, customer = dataset.lines, dataset.lines.time, dataset.lines.customer
    span = (int(time.max()) - int(time.min())) / DAY if len(lines) else 0
    every = "1w" if span <= 2 * 365 else "1mo"
    edges = np.arange(BLOCK_LINES, len(lines), BLOCK_LINES)
    someone = customer[edges] >= 0  # a customer's lines stay together; those of nobody may be parted
    edges[someone] = np.searchsorted(customer, customer[edges[someone]])
    blocks = []
    for start, stop in pairwise([0, *np.unique(edges[edges > 0]).tolist(), len(lines)]):
        part = lines.take(slice(start, stop))
        frame = pl.DataFrame({"time": part.time, "amount": part.amount, "customer": part.customer})
        blocks.append(
            frame.group_by(period=pl.col("time").cast(pl.Datetime("us")).dt.truncate(every).dt.date()).agg(
                lines=pl.len(),
                amount=pl.col("amount").cast(pl.Float64).fill_nan(0.0).sum(),
                customers=pl.col("customer").filter(pl.col("customer") >= 0).n_unique(),
            )
        )
    return pl.concat(blocks).group_by("period").sum().sort("period")


def sample_customers(recommender: Recommender, k: int, rules: Rules) -> list[SampleCustomer]:
    """A heavy, a busy, a middling and a light customer, and one who never bought, each with history and list."""
    dataset = recommender.dataset
    sales = dataset.purchases
    first = np.unique(sales.basket, return_index=True)[1]
    owners = sales.customer[first]
    baskets = np.bincount(owners[owners >= 0], minlength=dataset.shape[0])
    order = np.lexsort((np.arange(len(baskets)), baskets))
    buyers = order[baskets[order] > 0]
    chosen = [int(buyers[int(share * (len(buyers) - 1))]) for share in SHARES] if len(buyers) else []
    never = np.flatnonzero((baskets == 0) & ~dataset.flag("no_profile"))
    chosen += [int(never[0])] if len(never) else []
    return [_sample(recommender, code, place, k, rules) for place, code in enumerate(dict.fromkeys(chosen))]


def _sample(recommender: Recommender, code: int, place: int, k: int, rules: Rules) -> SampleCustomer:
    dataset = recommender.dataset
    batch = dataset.batch(np.array([code], dtype=np.int32))
    frame = recommender.frame(batch, k, rules)
    codes = dataset.products.vocab.codes(frame["product_id"])
    listed = [
        (int(rank), dataset.products.label(int(product)), str(reason), str(source))
        for rank, product, reason, source in zip(frame["rank"], codes, frame["reason"], frame["source"], strict=True)
    ]
    history = []
    for line in range(len(batch.lines) - 1, -1, -1)[:HISTORY_ROWS]:
        when = dataset.moment(int(batch.lines.time[line])).split(" ")[0 if dataset.clock == "time" else -1]
        product = int(batch.lines.product[line])
        times = int(batch.history[[0]].toarray()[0, product])
        history.append((when, dataset.products.label(product), times))
    return SampleCustomer(label=f"Customer {chr(ord('A') + place)}", history=history, list=listed)
