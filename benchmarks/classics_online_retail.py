"""The classical models on Online Retail II, under the protocol of ``benchmarks.online_retail_protocol``.

Reference NDCG@10: popularity .1152, own counts then popularity .3710, EASE (l2 300) .2776; R@10 .0375, .1589, .1108;
products new to the customer alone: popularity .0414 / .0195, EASE .0907 / .0522.

    python -m benchmarks.classics_online_retail [--only NAME …]
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.split import Window, truth
from aisle.models.base import Model
from aisle.models.ease import EASE
from aisle.models.graph_filter import GraphFilter
from aisle.models.ials import IALS
from aisle.models.item_knn import ItemKNN
from aisle.models.personal_frequency import PersonalFrequency
from aisle.models.popularity import GroupPopularity, Popularity, RecentPopularity, SeasonalPopularity
from aisle.models.random import Random
from aisle.models.rp3beta import RP3beta
from aisle.models.slim import SLIM
from aisle.models.tifu_knn import TIFUKNN
from benchmarks.anchors import figures, lists, timed_fit, write
from benchmarks.common import RESULTS, commit
from benchmarks.online_retail_protocol import BuyersFirst, dataset


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
    """The anchor's own baselines."""
    bought = truth(data, Window(data.as_of, data.end)).bought
    customers = np.flatnonzero(np.diff(bought.indptr)).astype(np.int32)
    models = {"popularity": BuyersFirst(own=False), "own counts, then popularity": BuyersFirst()}
    return {
        name: figures(lists(model.fit(data), data, customers, 10), bought[customers], 10)
        for name, model in models.items()
    }


def main() -> None:
    """Measure and write ``results/classics_online_retail.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="names of rows; the others stay as they are, with their commits")
    only = parser.parse_args().only
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
        "rp3beta, textbook": RP3beta(half_life_days=None, own_weight=0),
        "rp3beta": RP3beta(),
        "graph_filter, textbook": GraphFilter(half_life_days=None, own_weight=0),
        "graph_filter, sharpened textbook": GraphFilter(sharpen=2.5, low_pass=0.2, half_life_days=None, own_weight=0),
        "graph_filter": GraphFilter(),
        "slim, textbook": SLIM(half_life_days=None, own_weight=0),
        "slim": SLIM(),
        "ials, textbook": IALS(half_life_days=None, own_weight=0),
        "ials": IALS(),
        "tifu_knn": TIFUKNN(),
    }
    file = RESULTS / "classics_online_retail.json"
    known = json.loads(file.read_text(encoding="utf-8")) if only else {"models": {}}
    rows = {name: {"commit": known["commit"]} | row for name, row in known["models"].items()}
    rows |= {name: measure(models[name], data) | {"commit": commit()} for name in only or models}
    result = {
        "data": "Online Retail II, temporal cut 2011-08-10",
        "shape": {"customers": int((np.diff(data.counts.indptr) > 0).sum()), "products": data.shape[1]},
        "pairs": data.counts.nnz,
        "reference_rule": reference_rule(data),
        "models": {name: rows[name] for name in models},
    }
    write("classics_online_retail", result)


if __name__ == "__main__":
    main()
