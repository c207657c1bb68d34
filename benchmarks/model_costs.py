"""What every model costs by the size of the data: writes the constants that ``aisle run`` chooses its line-up by.

Each model with its defaults is fitted to generated shops of several sizes and asked for 1,000 customers, each time in a
process of its own. CPU seconds and the memory that came on top of the data are fitted to the drivers of
``aisle.jobs.line_up.Size`` by least squares of relative errors with weights of at least 0; the seconds of a model that
joins others without what its members took by themselves. One thread (OMP_NUM_THREADS=1). The shops teach no accuracy;
only time and memory count. The variable of the C library makes large arrays pages of their own: memory that a former
step has freed would hide what a model takes.

    export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE MALLOC_MMAP_THRESHOLD_=65536
    python -m benchmarks.model_costs [--only NAME …] [--memory]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

import aisle.jobs
from aisle.jobs.line_up import Size
from aisle.models import MODELS, create, model_class
from aisle.models.base import LearnsInEpochs
from benchmarks.common import commit, fresh_peak, machine, own_cpu_seconds, peak_mb
from benchmarks.planted_shop import shop

SHOPS = (
    *((10_000, 500), (40_000, 500), (40_000, 3_000), (200_000, 1_000), (200_000, 4_000), (100_000, 8_000)),
    (1_000_000, 2_000),
    (300_000, 30_000),
    (3_000_000, 2_000),
    (6_000_000, 2_000),
)
"""Purchases and products; a model may have been measured on the first of them alone."""
ASKED = 1_000
LARGE = 10_000
"""Products; of catalogues larger than this a model that costs their cube is not asked."""
LIMIT = 60.0
"""CPU seconds; a model that took longer is not asked for the larger shops."""
NETWORK = "hybrid_factorization"
ONLY: dict[str, set[str]] = {
    "customer_pairs": {"tifu_knn", "up_cf"},
    "products_cubed": {"ease"},
    "products": {NETWORK},
}
"""Drivers of seconds that only these models can have: few shops cannot tell all drivers apart."""
NEVER = {"scores": {NETWORK}}
"""Drivers that these models cannot have: it learns long and answers fast, and all shops are asked for as many."""
JOINED = {"start", "lines"}
"""Drivers of models that join others: beside their members they work on bounded tables, however many products."""
LEAST = 0.05
"""Share of the time of a model that joins others that is its own, at least: chance may take more from it."""
FILE = Path(aisle.jobs.__file__).with_name("costs.json")


MEMORY = ("start", "lines", "batch", "products", "product_pairs")
"""What memory may rise with."""
SECONDS = ("start", "lines", "products", "scores", "customer_pairs", "product_pairs", "products_cubed")
"""What seconds may rise with."""


def measure(name: str, place: int, *, brief: bool = False) -> tuple[float, float]:
    """CPU seconds of one fit and one asking, and the MB it took at most beyond the data, in a fresh process.

    ``brief``: a single epoch, which takes as much memory as many.
    """
    command = [sys.executable, "-m", "benchmarks.model_costs", "--job", name, str(place)]
    command += ["--memory"] if brief else []
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds, megabytes = json.loads(answer.stdout.splitlines()[-1])
    return seconds, megabytes


def job(name: str, place: int, *, brief: bool) -> tuple[float, float]:
    """The body of the fresh process."""
    data = shop(*SHOPS[place])
    # what every model asks of the data belongs to them
    _ = data.counts, data.popularity, data.tie_rank, data.known, data.lines
    customers = np.flatnonzero(np.diff(data.indptr) > 0)[:ASKED].astype(np.int32)
    joins = model_class(name).joins
    given: dict[str, Any] = {joins: {member: {} for member in members(name, Size.of(data, ASKED))}} if joins else {}
    if brief and issubclass(model_class(name), LearnsInEpochs):
        given = {"epochs": 1}
    before, cpu = fresh_peak(), own_cpu_seconds()
    model = create(name, **given).fit(data)
    for at in range(0, len(customers), 250):
        model.score(data.batch(customers[at : at + 250]))
    return round(own_cpu_seconds() - cpu, 3), round(peak_mb() - before, 1)


def fitted(name: str, sizes: list[Size], seconds: list[float]) -> dict[str, float]:
    """Driver -> CPU seconds a unit, those of 0 left out."""
    able = [d for d in SECONDS if name in ONLY.get(d, {name}) and name not in NEVER.get(d, ())]
    if model_class(name).joins:
        able = [driver for driver in able if driver in JOINED]
    return _rates([{driver: size.drivers()[driver] for driver in able} for size in sizes], seconds, 1e-3)


def _rates(drivers: list[dict[str, float]], found: list[float], least: float) -> dict[str, float]:
    table = np.array([list(one.values()) for one in drivers]) / np.maximum(found, least)[:, None]
    rates = nnls(table, np.ones(len(found)))[0]
    return {name: float(f"{rate:.3g}") for name, rate in zip(drivers[0], rates, strict=True) if rate > 0}


def memory(sizes: list[Size], megabytes: list[float]) -> dict[str, float]:
    """Driver -> MB a unit, those of 0 left out."""
    return _rates([{driver: size.drivers()[driver] for driver in MEMORY} for size in sizes], megabytes, 1.0)


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
    parser.add_argument(
        "--memory", action="store_true", help="memory alone; seconds, which a busy machine spoils, stay"
    )
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        sys.stdout.write(json.dumps(job(given.job[0], int(given.job[1]), brief=given.memory)) + "\n")
        return
    known = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"models": {}, "measured": {}}
    sizes = [Size.of(shop(*wanted), ASKED) for wanted in SHOPS]
    for name in given.only:
        costs: list[tuple[float, float]] = []
        for place in range(len(SHOPS)):
            if SHOPS[place][1] > LARGE and name in ONLY["products_cubed"]:
                break
            if max((cost[0] for cost in costs), default=0.0) < LIMIT:
                costs.append(measure(name, place, brief=given.memory))
        seconds, megabytes = [cost[0] for cost in costs], [cost[1] for cost in costs]
        if not model_class(name).joins:  # what those hold is that of their members, and bounded tables
            known.setdefault("measured_mb", {})[name] = megabytes
            known.setdefault("memory", {})[name] = memory(sizes[: len(megabytes)], megabytes)
        if not given.memory:
            known["measured"][name] = seconds
            alone = own(name, sizes, known["measured"])
            known["models"][name] = fitted(name, sizes[: len(alone)], alone)
        sys.stderr.write(f"{name} {seconds} {megabytes} {known['models'][name]} {known['memory'][name]}\n")
        known |= {"command": "OMP_NUM_THREADS=1 python -m benchmarks.model_costs", "shops": SHOPS, "asked": ASKED}
        known["commits"] = {**known.get("commits", {}), name: commit()}
        known["machine"] = machine()
        known["models"] = {name: known["models"][name] for name in MODELS if name in known["models"]}
        for part in ("measured", "measured_mb", "memory"):
            known[part] = {name: known[part][name] for name in known["models"] if name in known[part]}
        FILE.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
