"""Online Retail II, temporal: train before 2011-08-10, asked for the three months after it, repeats allowed.

The clean rows and the population of the published anchor: not a copy from the other sheet, customer known, quantity
and price above 0, stock code beginning with 5 digits; products with at least 5 training buyers; customers known in
training. Reference NDCG@10: popularity .1152, own counts then popularity .3710, EASE (l2 300) .2776; R@10 .0375,
.1589, .1108; products new to the customer alone: popularity .0414 / .0195, EASE .0907 / .0522.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from aisle.data.dataset import Dataset
from aisle.data.events import sparse_sum
from aisle.data.schema import CleanTables
from aisle.data.split import Window, truth
from aisle.kernels.topk import top_k
from aisle.models.base import Model
from aisle.models.ease import EASE
from aisle.models.item_knn import ItemKNN
from aisle.models.personal_frequency import PersonalFrequency
from aisle.models.popularity import GroupPopularity, Popularity, RecentPopularity, SeasonalPopularity
from aisle.models.random import Random
from aisle.models.tifu_knn import TIFUKNN
from benchmarks.anchors import data_folder, figures, lists, timed_fit, write

CUT, END = datetime(2011, 8, 10), datetime(2011, 11, 10)
MIN_BUYERS = 5


def dataset() -> Dataset:
    """The clean rows of the anchor, as of the cut."""
    raw = pl.read_parquet(data_folder("online_retail_ii") / "transactions.parquet")
    clean = raw.filter(
        ~pl.col("dup_of_other_sheet"),
        pl.col("customer_id").is_not_null(),
        pl.col("quantity") > 0,
        pl.col("unit_price") > 0,
        pl.col("stock_code").str.contains(r"^\d{5}"),
        pl.col("invoice_ts") < END,
    )
    lines = clean.select(
        customer_id=pl.col("customer_id").cast(pl.Int64).cast(pl.String),
        product_id="stock_code",
        timestamp=pl.col("invoice_ts").cast(pl.Datetime("us")),
        quantity=pl.col("quantity").cast(pl.Float64),
        amount=pl.col("quantity") * pl.col("unit_price"),
        order_id="invoice",
    )
    train = lines.filter(pl.col("timestamp") < CUT)
    buyers = train.group_by("product_id").agg(pl.col("customer_id").n_unique())
    products = buyers.filter(pl.col("customer_id") >= MIN_BUYERS).select(pl.col("product_id").sort())
    lines = lines.join(products, on="product_id", how="semi").join(train, on="customer_id", how="semi")
    customers = lines.select(pl.col("customer_id").unique().sort())
    cut = int(pl.Series([CUT]).cast(pl.Datetime("us")).cast(pl.Int64)[0])
    return Dataset.of(CleanTables(transactions=lines, customers=customers, products=products)).before(cut)


def measure(model: Model, data: Dataset) -> dict[str, Any]:
    """Figures of the lists, and of the lists of products new to the customer, over customers with truth."""
    fit_seconds = timed_fit(model, data)
    bought = truth(data, Window(data.as_of, data.end)).bought
    customers = np.flatnonzero(np.diff(bought.indptr)).astype(np.int32)
    start = time.perf_counter()
    found = lists(model, data, customers, 10)
    list_seconds = round(time.perf_counter() - start, 2)
    fresh = (bought - bought.multiply(data.counts.sign())).tocsr()
    fresh.eliminate_zeros()
    curious = np.flatnonzero(np.diff(fresh.indptr)).astype(np.int32)
    return {
        "params": model.params(),
        "customers": len(customers),
        "fit_seconds": fit_seconds,
        "list_seconds": list_seconds,
        **figures(found, bought[customers], 10),
        "new_products_only": figures(lists(model, data, curious, 10, new=True), fresh[curious], 10),
    }


def reference_rule(data: Dataset) -> dict[str, dict[str, float]]:
    """The anchor's own baselines: it counts invoice lines where we count baskets, and ranks popularity by buyers."""
    bought = truth(data, Window(data.as_of, data.end)).bought
    customers = np.flatnonzero(np.diff(bought.indptr)).astype(np.int32)
    purchases = data.purchases
    buyers = np.bincount(data.counts.indices, minlength=data.shape[1])
    tail = (0.5 * buyers / (buyers.max() + 1)).astype(np.float32)
    own = sparse_sum(purchases.customer, purchases.product, np.ones(len(purchases)), data.shape)[customers].toarray()
    wanted = bought[customers]
    return {
        "popularity": figures(top_k(0 * own + tail, 10, data.tie_rank)[0], wanted, 10),
        "own counts, then popularity": figures(top_k(own + tail, 10, data.tie_rank)[0], wanted, 10),
    }


def main() -> None:
    """Measure and write ``results/classics_online_retail.json``."""
    data = dataset()
    models: dict[str, Model] = {
        "random": Random(),
        "popularity": Popularity(),
        "recent_popularity": RecentPopularity(window_days=91),
        "seasonal_popularity": SeasonalPopularity(season_days=91, window_days=91),
        "group_popularity": GroupPopularity(by="segment"),
        "personal_frequency": PersonalFrequency(),
        "personal_frequency, half-life 182 days": PersonalFrequency(half_life_days=182),
        "item_knn, textbook": ItemKNN(shrink=0, half_life_days=None, own_weight=0),
        "item_knn": ItemKNN(),
        "ease, textbook": EASE(l2=300, half_life_days=None, own_weight=0),
        "ease": EASE(),
        "tifu_knn": TIFUKNN(),
    }
    result = {
        "data": "Online Retail II, temporal cut 2011-08-10",
        "shape": {"customers": int((np.diff(data.counts.indptr) > 0).sum()), "products": data.shape[1]},
        "pairs": data.counts.nnz,
        "reference_rule": reference_rule(data),
        "models": {name: measure(model, data) for name, model in models.items()},
    }
    write("classics_online_retail", result)


if __name__ == "__main__":
    main()
