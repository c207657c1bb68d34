"""What two workers of one thread each spend on a training that one does, and how good they become.

The hybrid learns from Online Retail II (``benchmarks.online_retail_protocol``), the basket transformer from a generated
shop, where a few epochs are few seconds. CPU seconds are those of the fits alone. ``fixed`` is a fit of no epochs: what
every worker does in full, however many they are; what is beyond it is learning, half of which each of two workers
should be left with (0.5; above, what sharing costs: smaller batches, copies of gradients, and, for the first worker,
the judges). Bytes are what a worker puts up to be added or shared. Seconds on the clock are given, and mean little
where other programs have a share of the cores.

    OMP_NUM_THREADS=1 AISLE_DATA=… python -m benchmarks.learn_together
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import aisle
from aisle.data.split import Window, truth
from aisle.engine.learn import fit_together
from aisle.jobs.demo import demo
from aisle.models import create
from aisle.models.base import Model
from aisle.types import DAY
from benchmarks import online_retail_protocol
from benchmarks.anchors import Split, answers, means
from benchmarks.common import own_cpu_seconds, record

NAME = "learn_together"
WORKERS = 2
MODELS: dict[str, dict[str, Any]] = {
    "hybrid_factorization": {"epochs": 3},
    "basket_transformer": {"epochs": 3, "dim": 32},
}
SHOP: dict[str, Any] = {"customers": 1_500, "products": 300, "days": 400, "seed": 3}
DAYS = 60
"""The window that is foretold, at the end of the generated shop."""
BAR = 0.005
"""The NDCG of both may lie so far apart, as a share."""


def quality(model: Model, asked: Split) -> dict[str, Any]:
    """Figures of the lists, and the epochs behind them."""
    found = means(answers(model, asked))
    return {"ndcg@10": found["ndcg@10"], "recall@10": found["recall@10"], "epochs": getattr(model, "epochs_", 0)}


def alone(name: str, settings: dict[str, Any], asked: Split) -> tuple[Model, dict[str, Any]]:
    """One process, this one, with one thread."""
    begun, start = time.perf_counter(), own_cpu_seconds()
    model = create(name, **settings).fit(asked.data)
    cost = own_cpu_seconds() - start
    return model, {"cpu_seconds": round(cost, 1), "wall_seconds": round(time.perf_counter() - begun, 1)}


def generated() -> Split:
    """The last weeks of a generated shop, asked of those who bought before and in them."""
    with tempfile.TemporaryDirectory(prefix="aisle-together-") as folder:
        demo(Path(folder) / "shop", **SHOP)
        data = aisle.read(Path(folder) / "shop")
    window = Window(data.end - DAYS * DAY, data.end)
    answer = truth(data, window)
    return Split(data.before(window.cut), answer.bought, np.flatnonzero(answer.warm).astype(np.int32), repeats=True)


def compare(name: str, settings: dict[str, Any], asked: Split) -> dict[str, Any]:
    """One process, and several, on one fit."""
    _, fixed = alone(name, settings | {"epochs": 0}, asked)
    single, cost = alone(name, settings, asked)
    shared, begun = create(name, **settings), time.perf_counter()
    told = fit_together(shared, asked.data, WORKERS)
    wall = round(time.perf_counter() - begun, 1)
    learning = cost["cpu_seconds"] - fixed["cpu_seconds"]
    one, two = quality(single, asked), quality(shared, asked)
    apart = two["ndcg@10"] / one["ndcg@10"] - 1
    return {
        "settings": settings,
        "fixed_cpu_seconds": fixed["cpu_seconds"],
        "one": {**one, **cost},
        "two": {
            **two,
            "cpu_seconds_by_worker": [round(worker["cpu_seconds"], 1) for worker in told.costs],
            "share_of_the_learning_by_worker": [
                round((worker["cpu_seconds"] - fixed["cpu_seconds"]) / learning, 3) for worker in told.costs
            ],
            "megabytes_by_worker": [round(worker["bytes"] / 1e6, 1) for worker in told.costs],
            "wall_seconds_with_start": wall,
        },
        "ndcg_apart": round(apart, 5),
        "within_the_bar": abs(apart) <= BAR,
    }


def main() -> None:
    """Both models, and ``results/learn_together.json``."""
    torch.set_num_threads(1)
    data = {
        "hybrid_factorization": ("Online Retail II", online_retail_protocol.split),
        "basket_transformer": (f"generated: {SHOP}", generated),
    }
    found = {}
    for name, settings in MODELS.items():
        said, split = data[name]
        found[name] = {"data": said, **compare(name, settings, split())}
        sys.stderr.write(f"{name}: {found[name]}\n")
    load = round(os.getloadavg()[0], 1)
    record(NAME, {"workers": WORKERS, "bar": BAR, "load": load, "models": found}, f"python -m benchmarks.{NAME}")


if __name__ == "__main__":
    main()
