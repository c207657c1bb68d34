"""Online Retail II, temporal: train before 2011-08-10, asked for the three months after it, repeats allowed.

The clean rows and the population of the published anchor: not a copy from the other sheet, customer known, quantity
and price above 0, stock code beginning with 5 digits; products with at least 5 training buyers; customers known in
training. Content is what was known at the cut: the latest description and the usual price of a product, and the
country of a customer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, Self

import numpy as np
import polars as pl

from aisle.data.dataset import Dataset
from aisle.data.events import Batch, sparse_sum
from aisle.data.schema import CleanTables
from aisle.data.split import Window, truth
from aisle.models.base import Model
from aisle.types import Bools, Floats
from benchmarks.anchors import Split, data_folder

EARLIER, CUT, END = datetime(2011, 5, 10), datetime(2011, 8, 10), datetime(2011, 11, 10)
"""Settings are tuned on the three months before the cut."""
MIN_BUYERS = 5
NUMBERS = ("invoice_ts", "quantity", "unit_price")


def dataset() -> Dataset:
    """The clean rows of the anchor, as of the cut."""
    raw = pl.scan_parquet(data_folder("online_retail_ii") / "transactions.parquet")
    kept = raw.filter(
        ~pl.col("dup_of_other_sheet"),
        pl.col("customer_id").is_not_null(),
        pl.col("quantity") > 0,
        pl.col("unit_price") > 0,
        pl.col("stock_code").str.contains(r"^\d{5}"),
        pl.col("invoice_ts") < END,
    ).with_columns(pl.col("customer_id").cast(pl.Int64).cast(pl.String))
    rows = kept.select("customer_id", "stock_code", "description", "country", *NUMBERS, "invoice").collect()
    train = rows.filter(pl.col("invoice_ts") < CUT)
    buyers = train.group_by("stock_code").agg(pl.col("customer_id").n_unique().alias("buyers"))
    rows = rows.join(buyers.filter(pl.col("buyers") >= MIN_BUYERS), on="stock_code", how="semi")
    rows = rows.join(train, on="customer_id", how="semi")
    lines = rows.select(
        "customer_id",
        product_id="stock_code",
        timestamp=pl.col("invoice_ts").cast(pl.Datetime("us")),
        quantity=pl.col("quantity").cast(pl.Float64),
        amount=pl.col("quantity") * pl.col("unit_price"),
        order_id="invoice",
    )
    seen = rows.filter(pl.col("invoice_ts") < CUT).sort("invoice_ts", maintain_order=True)
    tables = CleanTables(transactions=lines, products=_products(seen), customers=_customers(seen))
    return Dataset.of(tables).before(ticks(CUT))


def split(data: Dataset | None = None) -> Split:
    """The three months after the cut; those before it lie inside, to tune on."""
    return _split(data if data is not None else dataset(), CUT, END)


def ticks(moment: datetime) -> int:
    """A moment on the clock of the data."""
    return int(moment.replace(tzinfo=UTC).timestamp() * 1_000_000)


def _split(data: Dataset, cut: datetime, end: datetime) -> Split:
    answer = truth(data, Window(ticks(cut), ticks(end)))
    who: Bools = answer.warm
    inner = (lambda: _split(data, EARLIER, CUT)) if cut == CUT else None
    past = data.before(ticks(cut))
    return Split(past, answer.bought, np.flatnonzero(who).astype(np.int32), repeats=True, inner=inner)


def _products(seen: pl.DataFrame) -> pl.DataFrame:
    """Latest description that is not empty, and the logarithm of the median price, since prices span decades."""
    text = pl.col("description").str.strip_chars()
    named = seen.with_columns(text).filter(text.str.len_chars() > 0)
    names = named.group_by("stock_code").agg(pl.col("description").last().alias("name"))
    prices = seen.group_by("stock_code").agg(pl.col("unit_price").median().log1p().alias("price"))
    return prices.join(names, on="stock_code", how="left").rename({"stock_code": "product_id"}).sort("product_id")


def _customers(seen: pl.DataFrame) -> pl.DataFrame:
    return seen.group_by("customer_id").agg(pl.col("country").last()).sort("customer_id")


@dataclass(kw_only=True, eq=False)
class BuyersFirst(Model):
    """The reference's own baselines: it ranks by buyers where we count baskets, and own lines where we count visits."""

    name: ClassVar[str] = "reference"
    needs_history: ClassVar[bool] = False

    own: bool = True
    """The customer's own purchase lines come first."""

    tail_: Floats = field(init=False, repr=False)
    """(I,) score of a product by the number of its buyers, 0 … 0.5."""

    def fit(self, data: Dataset) -> Self:
        """Count the buyers."""
        buyers = np.bincount(data.counts.indices, minlength=data.shape[1])
        self.tail_ = (0.5 * buyers / (buyers.max() + 1)).astype(np.float32)
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I) own lines and below them the tail."""
        scores = np.tile(self.tail_, (len(batch), 1))
        if self.own:
            ones = np.ones(len(batch.lines))
            scores += sparse_sum(batch.row, batch.lines.product, ones, batch.shape).toarray()
        return scores
