"""``aisle run`` on a generated retailer larger than any data set here: what each step takes, and the most it holds.

The retailer is that of ``aisle bench speed`` (50 lines a customer, a fixed catalogue): for speed alone, no figure of
accuracy is taken from it. A run that was stopped goes on when the command is given again; what is recorded then is the
last stretch, and says so.

    python -m benchmarks.large_run --rows 10000000 --folder DIR [--products 100000] [--memory 16GB]
        [--budget quick] [--models popularity,personal_frequency,item_knn] [--train ranker]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from aisle.bundle import load
from aisle.jobs.bench.speed.retailer import write_products, write_sales
from aisle.jobs.bench.speed.task import Size
from benchmarks.common import measure, record

STEP = re.compile(r"([^\r\n]+?)\s+done in (?:(\d+):)?(\d+):(\d+)")


def generate(folder: Path, rows: int, products: int) -> dict[str, Any]:
    """The retailer in ``folder``, unless it is there, and how fast it was written."""
    if (folder / "transactions.csv").exists():
        return {"there": True}
    folder.mkdir(parents=True, exist_ok=True)
    wall, cpu = time.perf_counter(), time.process_time()
    write_products(folder / "products.csv", products)
    write_sales(folder / "transactions.csv", Size(rows=rows, products=products, threads=1))
    seconds = time.perf_counter() - wall
    return {"rows_per_second": round(rows / seconds), "cpu_seconds": round(time.process_time() - cpu, 1)}


def aisle(command: list[str], told: Path) -> dict[str, Any]:
    """Cost of a command, and of its steps by the clock."""
    cost = measure([str(Path(sys.executable).parent / "aisle"), *command], told=told)
    done = STEP.findall(told.read_text(encoding="utf-8"))
    steps = {name.strip(): int(h or 0) * 3600 + int(m) * 60 + int(s) for name, h, m, s in done}
    return {**cost, "wall_seconds_by_step": steps}


def train(source: Path, out: Path, model: str, memory: str) -> dict[str, Any]:
    """Cost of fitting one model on everything, the tables read before; and what its ranker found, if it is one."""
    folder = out.with_name(f"{out.name}_{model}")
    options = ["--model", model, "--memory", memory]
    command = ["train", str(source), "--out", str(folder), "--cache", str(out / ".cache"), *options]
    cost = {**aisle(command, folder.with_suffix(".log")), "command": f"aisle train RETAILER {' '.join(options)}"}
    if cost["exit_code"]:
        return cost
    learnt = load(folder).model
    return cost | {name: getattr(learnt, f"{name}_") for name in ("recall", "gains") if hasattr(learnt, f"{name}_")}


def run(source: Path, out: Path, options: list[str]) -> dict[str, Any]:
    """Cost of the run, of its steps by the clock, and what it wrote."""
    went_on = (out / ".work").exists()
    cost = aisle(["run", str(source), "--out", str(out), *options], out.with_suffix(".log"))
    if cost["exit_code"]:
        return cost
    certificate = json.loads((out / "certificate.json").read_text(encoding="utf-8"))
    return {
        **cost,
        "command": f"aisle run RETAILER --out OUT {' '.join(options)}",
        "went_on": went_on,
        "rows_read": certificate["data"]["rows_read"],
        "recommendations": certificate["lists"]["rows"],
        "ships": certificate["verdict"]["ship"],
        "left_out_because": certificate["protocol"]["left_out_because"],
    }


def main() -> None:
    """Generate, run, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, required=True, help="where the retailer and the results lie, and stay")
    parser.add_argument("--memory", default="16GB")
    parser.add_argument("--budget", default="quick")
    parser.add_argument("--models")
    parser.add_argument("--train", help="a model to fit after the run")
    given = parser.parse_args()
    source = given.folder / f"retailer_{given.rows}_{given.products}"
    options = ["--memory", given.memory, "--budget", given.budget]
    options += ["--models", given.models] if given.models else []
    found = {"rows": given.rows, "products": given.products, "options": options}
    found["generated"] = generate(source, given.rows, given.products)
    found["run"] = run(source, given.folder / f"{source.name}_out", options)
    if given.train:
        found["train"] = train(source, given.folder / f"{source.name}_out", given.train, given.memory)
    rest = " ".join(
        f"--{name} {value}" for name, value in vars(given).items() if name != "folder" and value is not None
    )
    record(f"large_run_{given.rows}", found, f"python -m benchmarks.large_run {rest} --folder DIR")


if __name__ == "__main__":
    main()
