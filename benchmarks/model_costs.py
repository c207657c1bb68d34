"""What every model costs by the size of the data: writes the constants that ``aisle run`` chooses its line-up by.

Each model with its defaults is fitted to generated shops of several sizes and asked for 1,000 customers. Its cost is
fitted to the drivers of ``aisle.jobs.line_up.Size`` by least squares of relative errors with weights of at least 0; a
model that joins others is fitted without what its members took by themselves. One thread (OMP_NUM_THREADS=1), CPU
seconds. The shops teach no accuracy; only the time counts.

    OMP_NUM_THREADS=1 python -m benchmarks.model_costs [--only NAME …]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

import aisle.jobs
from aisle.data.dataset import Dataset
from aisle.evaluate.meter import Meter
from aisle.jobs.line_up import Size
from aisle.models import MODELS, create, model_class
from benchmarks.common import commit, machine
from benchmarks.planted_shop import shop

SHOPS = (
    *((10_000, 500), (40_000, 500), (40_000, 3_000), (200_000, 1_000), (200_000, 4_000), (100_000, 8_000)),
    (1_000_000, 2_000),
)
"""Purchases and products; a model may have been measured on the first of them alone."""
ASKED = 1_000
LIMIT = 60.0
"""CPU seconds; a model that took longer is not asked for the larger shops."""
NETWORK = "hybrid_factorization"
ONLY = {"customer_pairs": {"tifu_knn", "up_cf"}, "products_cubed": {"ease"}, "products": {NETWORK}}
"""Drivers that only these models can have: few shops cannot tell all drivers apart."""
NEVER = {"scores": {NETWORK}}
"""Drivers that these models cannot have: it learns long and answers fast, and all shops are asked for as many."""
JOINED = {"start", "lines"}
"""Drivers of models that join others: beside their members they work on bounded tables, however many products."""
LEAST = 0.05
"""Share of the time of a model that joins others that is its own, at least: chance may take more from it."""
FILE = Path(aisle.jobs.__file__).with_name("costs.json")


def measure(name: str, data: Dataset) -> float:
    """CPU seconds of one fit and one asking."""
    customers = np.flatnonzero(np.diff(data.indptr) > 0)[:ASKED].astype(np.int32)
    joins = model_class(name).joins
    given: dict[str, Any] = {joins: {member: {} for member in members(name, Size.of(data, ASKED))}} if joins else {}
    with Meter() as meter:
        model = create(name, **given).fit(data)
        for at in range(0, len(customers), 250):
            model.score(data.batch(customers[at : at + 250]))
    return meter.seconds


def fitted(name: str, sizes: list[Size], seconds: list[float]) -> dict[str, float]:
    """Driver -> CPU seconds a unit, those of 0 left out."""
    able = [d for d in sizes[0].drivers() if name in ONLY.get(d, {name}) and name not in NEVER.get(d, ())]
    if model_class(name).joins:
        able = [driver for driver in able if driver in JOINED]
    drivers = [{driver: size.drivers()[driver] for driver in able} for size in sizes]
    table = np.array([list(found.values()) for found in drivers]) / np.maximum(seconds, 1e-3)[:, None]
    rates = nnls(table, np.ones(len(seconds)))[0]
    return {name: float(f"{rate:.3g}") for name, rate in zip(drivers[0], rates, strict=True) if rate > 0}


def own(name: str, sizes: list[Size], measured: dict[str, list[float]]) -> list[float]:
    """CPU seconds of a model on each shop, without those of its members."""
    found = []
    for place, (size, total) in enumerate(zip(sizes, measured[name], strict=False)):
        past = members(name, size)
        if any(len(measured.get(member, ())) <= place for member in past):
            break  # what a member took here is not known
        taken = sum((times + 1) * measured[member][place] for member, times in past.items())
        found.append(max(total - taken, LEAST * total) if past else total)
    return found


def members(name: str, size: Size) -> dict[str, int]:
    """Single models that a model fits by default, and how often on past windows; none where it joins no others."""
    past = model_class(name).past_fits(size.customers, size.products, size.lines, size.clock)
    return {member: fits.times for member, fits in past.items() if not model_class(member).joins}


def main() -> None:
    """Measure and write ``src/aisle/jobs/costs.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(MODELS), help="registry names; the others stay as they are")
    only = parser.parse_args().only
    known = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"models": {}, "measured": {}}
    shops = [shop(*wanted) for wanted in SHOPS]
    sizes = [Size.of(data, ASKED) for data in shops]
    for name in only:
        seconds: list[float] = []
        for data in shops:
            if max(seconds, default=0.0) < LIMIT:
                seconds.append(round(measure(name, data), 3))
        known["measured"][name] = seconds
        alone = own(name, sizes, known["measured"])
        known["models"][name] = fitted(name, sizes[: len(alone)], alone)
        sys.stderr.write(f"{name} {seconds} {known['models'][name]}\n")
        known |= {"command": "OMP_NUM_THREADS=1 python -m benchmarks.model_costs", "shops": SHOPS, "asked": ASKED}
        known["commits"] = {**known.get("commits", {}), name: commit()}
        known["machine"] = machine()
        known["models"] = {name: known["models"][name] for name in MODELS if name in known["models"]}
        known["measured"] = {name: known["measured"][name] for name in known["models"]}
        FILE.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
