"""What Ray takes over the processes of one machine: the same workers learn a model, then make the lists of everybody.

A generated shop, for speed alone. First the local engine with so many workers, then Ray with as many on the same cores,
a thread each; a cluster of its own, whose start is told and not counted. CPU seconds are those of the caller and of all
processes below it, looked at five times a second: Ray's own among them. Both must come to the same bytes. Other load of
the machine slows both, not always alike: ratios of CPU seconds mean more there.

    OMP_NUM_THREADS=1 python -m benchmarks.ray_overhead [--customers 6000] [--products 1000] [--days 300] [--epochs 7]
        [--dim 32] [--part 1000] [--workers 2]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aisle
from aisle.bundle import Recommender, save
from aisle.config import RunConfig
from aisle.data.dataset import Dataset
from aisle.engine import Engine, open_engine
from aisle.engine.learn import fit_together
from aisle.files import fingerprint, sha256
from aisle.jobs import lists
from aisle.jobs.demo import demo
from aisle.jobs.lists import Policy, write_lists
from aisle.models import create
from benchmarks.common import record

NAME = "ray_overhead"
MODEL = "basket_transformer"
BAR = 1.6
"""Ray may take so many times as long as the local engine."""
MINUTES = 5
"""So long the local engine must have worked for the ratio to mean anything."""
LOOK = 0.2
TICKS = os.sysconf("SC_CLK_TCK")


class Family:
    """CPU seconds of this process and all below it; what one spends in its last moments is missed."""

    def __init__(self) -> None:
        self.spent: dict[tuple[str, str], float] = {}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while not self.over.wait(LOOK):
            self.look()

    def look(self) -> None:
        """Note what each has spent so far."""
        found = dict(_processes())
        family, size = {str(os.getpid())}, 0
        while len(family) > size:
            size = len(family)
            family |= {pid for pid, (parent, _, _) in found.items() if parent in family}
        self.spent |= {(pid, found[pid][1]): found[pid][2] for pid in family if pid in found}

    def seconds(self) -> float:
        """What all have spent so far, those that have ended among them."""
        self.look()
        return sum(list(self.spent.values()))


def _processes() -> Iterator[tuple[str, tuple[str, str, float]]]:
    """Process id -> parent, moment of its start, CPU seconds of its own."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                told = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:  # it has just ended
                continue
            yield entry.name, (told[1], told[19], (int(told[11]) + int(told[12])) / TICKS)


@contextmanager
def measured(family: Family, into: dict[str, Any]) -> Iterator[None]:
    """Wall and CPU seconds of the block."""
    wall, cpu = time.perf_counter(), family.seconds()
    yield
    into |= {
        "wall_seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(family.seconds() - cpu, 1),
        "load": round(os.getloadavg()[0], 1),
    }


def work(data: Dataset, engine: Engine, given: argparse.Namespace, folder: Path, family: Family) -> dict[str, Any]:
    """Cost of the two steps, and a hash of what came of them."""
    found: dict[str, Any] = {"learn": {}, "lists": {}}
    model = create(MODEL, epochs=given.epochs, patience=given.epochs, dim=given.dim, device="cpu")
    with measured(family, found["learn"]):
        told = fit_together(model, data, given.workers, engine=engine, place=folder / "training")
    found["learn"]["cpu_seconds_of_the_fits"] = round(sum(cost["cpu_seconds"] for cost in told.costs), 1)
    recommender = Recommender.prepare(model, data)
    save(recommender, folder / "model")
    with measured(family, found["lists"]):
        ids = data.customers.vocab.ids
        parts = write_lists(recommender, folder / "model", ids, Policy(), folder / "lists", engine=engine)
    found["epochs"] = len(getattr(model, "training_", {}).get("loss", []))
    weights = sha256(folder / "model" / "products" / "weights.safetensors")
    found["content"] = fingerprint([weights, *map(sha256, parts)])
    return found


def compare(given: argparse.Namespace) -> dict[str, Any]:
    """Both engines, one after the other."""
    family, found = Family(), dict[str, Any]()
    lists.CUSTOMERS_A_PART = given.part
    with tempfile.TemporaryDirectory(prefix="aisle-overhead-") as name:
        folder = Path(name)
        demo(folder / "shop", customers=given.customers, products=given.products, days=given.days, seed=3)
        data = aisle.read(folder / "shop")
        shop = {"lines": len(data.all_events.time), "customers": data.shape[0], "products": data.shape[1]}
        for kind in ("local", "ray"):
            begun = time.perf_counter()
            with open_engine(RunConfig(engine=kind, workers=given.workers)) as engine:
                engine.check_together(given.workers, gpu=False)  # Ray's cluster starts here
                start = round(time.perf_counter() - begun, 1)
                found[kind] = {"start_seconds": start, **work(data, engine, given, folder / kind, family)}
            sys.stderr.write(f"{kind}: {found[kind]}\n")
    family.over.set()
    return {"shop": shop, **found, "ratio": ratios(found), "same_bytes": _same(found)}


def _same(found: dict[str, Any]) -> bool:
    return bool(found["local"].pop("content") == found["ray"].pop("content"))


def ratios(found: dict[str, Any]) -> dict[str, Any]:
    """Ray over local, by step and in all."""
    told: dict[str, Any] = {}
    for unit in ("wall_seconds", "cpu_seconds"):
        both = [[found[kind][step][unit] for kind in ("ray", "local")] for step in ("learn", "lists")]
        whole = [sum(column) for column in zip(*both, strict=True)]
        for step, (ray, local) in zip(("learn", "lists", "all"), [*both, whole], strict=True):
            told.setdefault(step, {})[unit] = round(ray / max(local, 0.1), 3)
    local = sum(found["local"][step]["wall_seconds"] for step in ("learn", "lists"))
    return told | {"within_the_bar": told["all"]["wall_seconds"] <= BAR, "long_enough": local >= 60 * MINUTES}


def main() -> None:
    """Measure, and ``results/ray_overhead.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"customers": 6_000, "products": 1_000, "days": 300, "epochs": 7, "dim": 32, "part": 1_000, "workers": 2}
    for size, usual in sizes.items():
        parser.add_argument(f"--{size}", type=int, default=usual)
    given = parser.parse_args()
    found = {"model": MODEL, "bar": BAR, "sizes": vars(given), **compare(given)}
    options = " ".join(f"--{size} {value}" for size, value in vars(given).items())
    record(NAME, found, f"python -m benchmarks.{NAME} {options}")


if __name__ == "__main__":
    main()
