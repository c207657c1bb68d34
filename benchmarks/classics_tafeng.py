"""Ta-Feng next basket, Reality-Check preparation: GP-TopFreq and TIFU-KNN on all customers and on published splits.

Published protocol: the future basket is asked from the history, all products are candidates, the ideal of NDCG runs
over all products of the truth. In a partition (of users) the neighbours of TIFU-KNN are training customers alone;
popularity counts every history, those of test customers included, since they are inputs.
Reference: G-TopFreq R@10 .0803, GP-TopFreq R@10 .1350, N@10 .1163 (all); partitions 0, 1, 2: G .0787, .0866, .0850,
GP .1292, .1425, .1404; TIFU-KNN mean of the partitions R@10 .1257, N@10 .1020, R@20 .1825.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from aisle.data.dataset import Dataset
from aisle.data.schema import CleanTables
from aisle.data.split import Window, truth
from aisle.models.base import Model
from aisle.models.personal_frequency import PersonalFrequency
from aisle.models.popularity import Popularity
from aisle.models.tifu_knn import TIFUKNN
from aisle.types import Codes
from benchmarks.anchors import data_folder, figures, lists, timed_fit, write

LAST = Window(cut=0, end=1)
"""Under a sequence clock the last basket of every customer lies at 0."""


def dataset() -> Dataset:
    """All baskets, the future ones last."""
    baskets = pl.read_parquet(data_folder("tafeng_nbr") / "baskets.parquet")
    text = pl.col("user_id", "item_id").cast(pl.String)
    baskets = baskets.with_columns(text)
    lines = baskets.select(
        customer_id="user_id",
        product_id="item_id",
        sequence=pl.col("order_number").cast(pl.Int64),
        quantity=pl.lit(1.0),
    )
    customers = lines.select(pl.col("customer_id").unique().sort())
    products = lines.select(pl.col("product_id").unique().sort())
    return Dataset.of(CleanTables(transactions=lines, customers=customers, products=products)).before(0)


def partition(data: Dataset, fold: int) -> tuple[Dataset, Codes]:
    """The data with training customers alone, and the test customers, of a published user split."""
    folds = pl.read_parquet(data_folder("tafeng_nbr") / "folds.parquet").filter(pl.col("fold") == fold)
    codes = {
        part: np.sort(data.customers.vocab.codes(folds.filter(pl.col("part") == part)["user_id"].cast(pl.String)))
        for part in ("train", "test")
    }
    events = data.all_events
    return replace(data, all_events=events.take(np.isin(events.customer, codes["train"]))), codes["test"]


def measure(model: Model, learn: Dataset, ask: Dataset, customers: Codes) -> dict[str, Any]:
    """Figures at 10 and 20 for some customers of ``ask`` by a model fitted to ``learn``."""
    seconds = timed_fit(model, learn)
    found = lists(model, ask, customers, 20)
    wanted = truth(ask, LAST).bought[customers]
    at = {k: figures(found, wanted, k, ideal_all=True) for k in (10, 20)}
    return {"params": model.params(), "customers": len(customers), "fit_seconds": seconds, **at[10], **at[20]}


def main() -> None:
    """Measure and write ``results/classics_tafeng.json``."""
    data = dataset()
    everyone = np.arange(data.shape[0], dtype=np.int32)
    counting = (Popularity(), PersonalFrequency())
    result: dict[str, Any] = {
        "data": "Ta-Feng, Reality-Check preparation",
        "all": {m.name: measure(m, data, data, everyone) for m in counting},
    }
    for fold in (0, 1, 2):
        learn, test = partition(data, fold)
        found = {m.name: measure(m, data, data, test) for m in counting}
        result[f"partition_{fold}"] = found | {"tifu_knn": measure(TIFUKNN(), learn, data, test)}
    write("classics_tafeng", result)


if __name__ == "__main__":
    main()
