"""Amazon Beauty and Sports, leave one out: what item-to-item counts reach where sequence models are compared.

The preparation of S3-Rec: one product a basket, the last of every customer is asked for, the one before it chose the
settings. All products are candidates but those the customer had; NDCG and recall at 10. Two figures each: learnt from
everything before the last product, and, as most published models are, without the second last one, which is then an
input alone. Published (recall, NDCG): SASRec .0921, .0531 and eSASRec .0928, .0523 on Beauty, .0569, .0314 and .0560,
.0323 on Sports (blondered/transformer_benchmark).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from aisle.data.dataset import Dataset
from aisle.data.schema import CleanTables
from aisle.data.split import Window, truth
from aisle.models import create
from benchmarks.anchors import data_folder, figures, lists, timed_fit, write

RECENT = {"own_weight": 0.0, "shrink": 0.0}
TUNED: dict[str, dict[str, dict[str, Any]]] = {
    "Beauty": {
        "item_knn": RECENT | {"place_decay": 0.8},
        "sequence_knn": {"own_weight": 0.0, "place_decay": 0.6, "source_power": 0.6, "shrink": 5.0},
    },
    "Sports_and_Outdoors": {
        "item_knn": RECENT | {"place_decay": 0.8},
        "sequence_knn": {"own_weight": 0.0, "place_decay": 0.8, "source_power": 0.5, "shrink": 10.0},
    },
}
"""Settings chosen on the second last product."""


def dataset(name: str) -> Dataset:
    """One basket a product; under the sequence clock the last lies at 0, the one before it at -1."""
    rows = pl.read_parquet(data_folder("amazon_s3rec") / f"{name}.parquet")
    lines = rows.select(
        customer_id=pl.col("user_id").cast(pl.String),
        product_id=pl.col("item_id").cast(pl.String),
        sequence=pl.col("position").cast(pl.Int64),
        quantity=pl.lit(1.0),
    )
    customers, products = (lines.select(pl.col(key).unique().sort()) for key in ("customer_id", "product_id"))
    return Dataset.of(CleanTables(transactions=lines, customers=customers, products=products))


def measure(data: Dataset, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Figures of one model for the last product of everybody."""
    everyone = np.arange(data.shape[0], dtype=np.int32)
    wanted = truth(data.before(0), Window(cut=0, end=1)).bought
    found: dict[str, Any] = {"params": settings}
    for label, moment in (("learnt from all before", 0), ("learnt without the one before", -1)):
        model = create(name, **settings)
        seconds = timed_fit(model, data.before(moment))
        listed = lists(model, data.before(0), everyone, 10, new=True)
        found[label] = {"fit_seconds": seconds, **figures(listed, wanted, 10)}
    return found


def main() -> None:
    """Measure and write ``results/neighbours_leave_one_out.json``."""
    result: dict[str, Any] = {"data": "Amazon, S3-Rec preparation"}
    for name, models in TUNED.items():
        data = dataset(name)
        result[name] = {model: measure(data, model, settings) for model, settings in models.items()}
    write("neighbours_leave_one_out", result)


if __name__ == "__main__":
    main()
