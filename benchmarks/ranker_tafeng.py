"""Ta-Feng next basket, Reality-Check preparation: the ranker on the published splits of users.

The ranker learns from the future baskets of training customers and from the histories of all (they are inputs); it is
asked for the future basket of test customers. Validation customers are not used for their future baskets. Figures as
in ``classics_tafeng``: all products are candidates, the ideal of NDCG runs over all products of the truth.
Reference (LightGBM over 23 features of baskets and three sources), mean of partitions 0, 1, 2: R@10 .1757, N@10 .1551,
R@20 .2249; partition 0 alone about .166, .151, .213.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from aisle.data.dataset import Dataset
from aisle.models.ranker import Ranker
from aisle.types import Codes
from benchmarks.anchors import data_folder, write
from benchmarks.anchors import settings as read_settings
from benchmarks.classics_tafeng import dataset, measure


def split(data: Dataset, fold: int) -> tuple[Dataset, Codes]:
    """What may be learnt from, as of after the future baskets, and the test customers, of a published split."""
    folds = pl.read_parquet(data_folder("tafeng_nbr") / "folds.parquet").filter(pl.col("fold") == fold)
    codes = {
        part: np.sort(data.customers.vocab.codes(folds.filter(pl.col("part") == part)["user_id"].cast(pl.String)))
        for part in ("train", "test")
    }
    events = data.all_events
    known = (events.time < 0) | np.isin(events.customer, codes["train"])
    return replace(data, all_events=events.take(known)).before(1), codes["test"]


def main(settings: list[str]) -> None:
    """Measure and write ``results/ranker_tafeng.json``."""
    data = dataset()
    result: dict[str, Any] = {"data": "Ta-Feng, Reality-Check preparation"}
    for fold in (0, 1, 2):
        learn, test = split(data, fold)
        model = Ranker(**{"folds": 4, "windows": 1, **read_settings(settings)})
        result[f"partition_{fold}"] = measure(model, learn, data, test) | {"recall": model.recall_}
    write("ranker_tafeng", result)


if __name__ == "__main__":
    main(sys.argv[1:])
