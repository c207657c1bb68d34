"""``aisle run`` on a generated retailer larger than any data set here: what each step takes, and the most it holds.

The retailer is that of ``aisle bench speed`` (50 lines a customer, a fixed catalogue): for speed alone, no figure of
accuracy is taken from it. A run that was stopped goes on when the command is given again; what is recorded then is the
last stretch, and says so. A step that is not asked for keeps its figures of before.

    python -m benchmarks.large_run --rows 10000000 --folder DIR [--products 100000] [--memory 16GB]
        [--steps run,train,evaluate] [--models popularity,personal_frequency,item_knn] [--train ranker]

``run`` makes the lists with these models and budget ``quick``; ``train`` fits one model by parts; ``evaluate`` examines
what budget ``standard`` and the memory leave of the line-up, and says why the others are left out.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from aisle.bundle import load
from aisle.jobs.bench.speed.retailer import write_products, write_sales
from aisle.jobs.bench.speed.task import Size
from benchmarks.common import RESULTS, commit, machine, measure, record

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
    """Cost of fitting one model on everything, the tables read before; its parts, and what a ranker found."""
    folder, parts = (out.with_name(f"{out.name}_{what}") for what in (model, "parts"))
    options = ["--model", model, "--memory", memory]
    command = ["train", str(source), "--out", str(folder), "--cache", str(out / ".cache"), "--checkpoint", str(parts)]
    cost = {
        **aisle([*command, *options], folder.with_suffix(".log")),
        "command": f"aisle train RETAILER --checkpoint DIR {' '.join(options)}",
    }
    if cost["exit_code"]:
        return cost
    ends = sorted(path.stat().st_mtime for path in parts.glob("*/receipts/*.json"))
    longest = max((b - a for a, b in pairwise(ends)), default=0.0)
    cost |= {"parts": len(ends), "longest_part_seconds": round(longest, 1)}
    learnt = load(folder).model
    return cost | {name: getattr(learnt, f"{name}_") for name in ("recall", "gains") if hasattr(learnt, f"{name}_")}


def evaluate(source: Path, out: Path, memory: str) -> dict[str, Any]:
    """Cost of examining the line-up, the tables read before; what each model scored, and why others were left out."""
    certificate = out.with_name(f"{out.name}_certificate.json")
    options = ["--budget", "standard", "--memory", memory]
    command = ["evaluate", str(source), "--out", str(certificate), "--cache", str(out / ".cache"), *options]
    cost = {
        **aisle(command, certificate.with_suffix(".log")),
        "command": f"aisle evaluate RETAILER {' '.join(options)}",
    }
    if cost["exit_code"]:
        return cost
    found = json.loads(certificate.read_text(encoding="utf-8"))
    return {
        **cost,
        "ndcg@10": {name: model["ndcg@10"]["mean"] for name, model in found["models"].items()},
        "seconds": {name: model["seconds"] for name, model in found["models"].items()},
        "ships": found["verdict"]["ship"],
        "left_out_because": found["protocol"]["left_out_because"],
    }


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
    parser.add_argument("--models", default="popularity,recent_popularity,personal_frequency,item_knn")
    parser.add_argument("--train", default="ranker", help="the model that step train fits")
    parser.add_argument("--steps", default="run,train", help="some of run, train, evaluate")
    given = parser.parse_args()
    source, name = given.folder / f"retailer_{given.rows}_{given.products}", f"large_run_{given.rows}"
    out = given.folder / f"{source.name}_out"
    options = ["--memory", given.memory, "--budget", "quick", "--models", given.models]
    steps: dict[str, Callable[[], dict[str, Any]]] = {
        "run": lambda: run(source, out, options),
        "train": lambda: train(source, out, given.train, given.memory),
        "evaluate": lambda: evaluate(source, out, given.memory),
    }
    kept = RESULTS / f"{name}.json"
    before: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    same = before.get("products") == given.products
    found = {step: before[step] for step in ("generated", *steps) if same and step in before}
    found |= {"rows": given.rows, "products": given.products}
    if not (made := generate(source, given.rows, given.products)).get("there"):
        found["generated"] = made
    command = f"python -m benchmarks.large_run --rows {given.rows} --products {given.products} --folder DIR"
    for step in given.steps.split(","):
        found[step] = steps[step]() | {"commit": commit(), "machine": machine()}
        record(name, found, command)


if __name__ == "__main__":
    main()
