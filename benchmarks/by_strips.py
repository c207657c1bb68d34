"""What workers of one thread each spend on links between products that one process learns, to the same bytes.

The retailer is that of ``aisle bench speed`` (50 lines a customer): for speed alone. One process has the lines at hand;
the clock of the workers counts their start, the copy of the lines that they open, and the strips put together.
``laid_out_cpu_seconds`` are those that every worker spends on open lines before its first strip, ``share`` is the clock
of the workers over that of one process: one over their number is the least, where each has a core of its own.

    OMP_NUM_THREADS=1 python -m benchmarks.by_strips [--rows 10000000] [--products 100000] [--workers 2]
        [--models item_knn,slim]
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aisle
from aisle.config import RunConfig
from aisle.data.dataset import Dataset
from aisle.engine import open_engine
from aisle.engine.parts import fit_by_parts
from aisle.models import create
from aisle.models.base import Model
from aisle.models.strips import InStrips, strips
from benchmarks.common import own_cpu_seconds, record
from benchmarks.large_run import generate

NAME = "by_strips"


def same(one: Model, other: Model) -> bool:
    """Whether two models hold the same bytes."""
    arrays, others = one.state()[0], other.state()[0]
    return arrays.keys() == others.keys() and all(arrays[name].tobytes() == others[name].tobytes() for name in arrays)


def compare(name: str, data: Dataset, workers: int) -> dict[str, Any]:
    """One process, and several, on one fit."""
    model = create(name)
    assert isinstance(model, InStrips)
    cpu = own_cpu_seconds()
    model.links(data)
    laid_out = own_cpu_seconds() - cpu
    wall, cpu = time.perf_counter(), own_cpu_seconds()
    model.fit(data)
    one = {"cpu_seconds": own_cpu_seconds() - cpu, "wall_seconds": time.perf_counter() - wall}
    shared, before, wall = create(name), resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with open_engine(RunConfig(workers=workers)) as engine:
        fit_by_parts(shared, data, engine)
    seconds, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = {
        "strips": len(strips(data.shape[1])),
        "laid_out_cpu_seconds": round(laid_out, 1),
        "one_process": {what: round(cost, 1) for what, cost in one.items()},
        "workers": {"cpu_seconds": round(spent, 1), "wall_seconds": round(seconds, 1)},
        "share": round(seconds / one["wall_seconds"], 2),
        "same_bytes": same(model, shared),
    }
    print(name, found, file=sys.stderr)
    return found


def main() -> None:
    """Generate, read, compare, record."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rows", type=int, default=10_000_000)
    options.add_argument("--products", type=int, default=100_000)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--models", default="item_knn,slim")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="aisle-strips-") as folder:
        generate(Path(folder) / "retailer", asked.rows, asked.products)
        data = aisle.read(Path(folder) / "retailer")
    _ = data.purchases, data.indptr, data.counts  # what every model asks of the data belongs to them
    figures = {name: compare(name, data, asked.workers) for name in asked.models.split(",")}
    size = {"lines": len(data.purchases), "customers": data.shape[0], "products": data.shape[1]}
    command = " ".join(["python -m", f"benchmarks.{NAME}", *sys.argv[1:]])
    record(NAME, {"data": size, "workers": asked.workers, "models": figures}, command)


if __name__ == "__main__":
    main()
