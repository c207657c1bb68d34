"""The main job on the synthetic retailer, judged by its planted truth.

With signal: how much of the way from the best popularity to the oracle (the best list there can be, in closed form) the
shipped model goes, in NDCG@10 on the run's own last window. The bar is 0.6. Without signal: how many certificates claim
a personal signal that is not there. The bar is 2 of 20.

    python -m benchmarks.demo_oracle [--seeds 0-4] [--budget standard]
    python -m benchmarks.demo_oracle --no-signal [--seeds 0-19] [--budget standard] [--without hybrid_factorization]

Everything runs through the command line, seed by seed; seeds that the result file holds for the same budget and
line-up are skipped, so that a stopped benchmark goes on where it was (``--again`` redoes them).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from aisle.config import RunConfig
from aisle.data.split import Window
from aisle.data.synthetic import oracle
from aisle.evaluate.protocol import PLACES, Exam, Population, fill, mean
from aisle.jobs.ingest import build_dataset, clean_source, ticks
from aisle.models import MODELS
from aisle.progress import Progress
from aisle.types import UNKNOWN, Codes
from benchmarks.common import RESULTS, commit, measure, record

BAR, FALSE_CLAIMS = 0.6, 2
METRICS = ("ndcg@10", "recall@10", "repeat_recall@10", "explore_recall@10")


def oracle_figures(shop: Path, certificate: dict[str, Any]) -> dict[str, float]:
    """What the oracle's lists score on the last window of a run: same customers, candidates and metrics."""
    last = certificate["protocol"]["last_window"]
    dataset = build_dataset(clean_source(shop, RunConfig(), Progress()), RunConfig())
    window = Window(*(ticks(datetime.fromisoformat(last[key])) for key in ("cut", "end")))
    exam = Exam.of(dataset, window)
    best = oracle(shop, certificate["protocol"]["horizon_days"]).sort("customer_id", "rank")
    customer = dataset.customers.vocab.codes(best["customer_id"])
    product = dataset.products.vocab.codes(best["product_id"])
    keep = (customer >= 0) & (product >= 0) & exam.truth.known[product]
    lists = _lists(exam.warm, customer[keep], product[keep])
    values = exam.warm.measure(fill(lists, exam.truth.known, exam.past.tie_rank), PLACES)
    asked = certificate["protocol"]["customers_scored"]
    if len(exam.warm.customers) != asked:
        raise ValueError(f"the run asked {asked} customers, this benchmark {len(exam.warm.customers)}")
    return {name: mean(values[name]) for name in METRICS}


def _lists(asked: Population, customer: Codes, product: Codes) -> Codes:
    """(N, 10) the first products of each asked customer; rows come ordered by customer, then rank."""
    order = np.argsort(customer, kind="stable")
    customer, product = customer[order], product[order]
    place = np.arange(len(customer)) - np.searchsorted(customer, customer)
    row = np.full(int(max(customer.max(), asked.customers.max())) + 1, UNKNOWN)
    row[asked.customers] = np.arange(len(asked.customers))
    here = (place < PLACES) & (row[customer] >= 0)
    lists = np.full((len(asked.customers), PLACES), UNKNOWN, dtype=np.int32)
    lists[row[customer[here]], place[here]] = product[here]
    return lists


def one_seed(seed: int, budget: str, without: str, signal: bool) -> dict[str, Any]:
    """Write a retailer, run the main job on it, and take what the two figures need from the certificate."""
    aisle = [sys.executable, "-m", "aisle"]
    with tempfile.TemporaryDirectory(prefix="aisle-demo-oracle-") as name:
        shop, out = Path(name) / "shop", Path(name) / "out"
        flags = [] if signal else ["--no-signal"]
        line_up = ["--models", ",".join(m for m in MODELS if m != without)] if without else []
        steps = [
            measure([*aisle, "demo", str(shop), "--seed", str(seed), "--quiet", *flags]),
            measure([*aisle, "run", str(shop), "--out", str(out), "--budget", budget, "--quiet", *line_up]),
        ]
        if any(step["exit_code"] for step in steps):
            raise RuntimeError(f"seed {seed}: {steps}")
        certificate = json.loads((out / "certificate.json").read_text(encoding="utf-8"))
        truth = oracle_figures(shop, certificate)
    cost = {"cpu_seconds": round(sum(step["cpu_seconds"] for step in steps), 1), "peak_mb": steps[1]["peak_mb"]}
    what = {"seed": seed, "budget": budget, "without": without, "commit": commit()}
    figures = _figures(certificate, truth)
    if not signal:
        del figures["ratio"]  # there is no way to go
    return {**what, **figures, **cost}


def _figures(certificate: dict[str, Any], truth: dict[str, float]) -> dict[str, Any]:
    """The cell of a seed."""
    models, verdict = certificate["models"], certificate["verdict"]
    scores = {name: model["ndcg@10"]["mean"] for name, model in models.items()}
    popularity = max((n for n, m in models.items() if m["simple"] and not m["personal"]), key=lambda name: scores[name])
    best, shipped, top = scores[popularity], scores[verdict["ship"]], truth["ndcg@10"]
    return {
        "horizon_days": certificate["protocol"]["horizon_days"],
        "customers": certificate["protocol"]["customers_scored"],
        "best_popularity": {"model": popularity, "ndcg@10": best},
        "personal_frequency": scores.get("personal_frequency"),
        "shipped": {"model": verdict["ship"], "ndcg@10": shipped, "settings": models[verdict["ship"]]["settings"]},
        "champion": verdict["champion"],
        "lift": verdict["lift"],
        "personal_signal": verdict["personal_signal"],
        "signal": verdict["personal"],
        "oracle": {name: round(value, 6) for name, value in truth.items()},
        "oracle_over_popularity": round(top / best, 3),
        "ratio": round((shipped - best) / (top - best), 4),
        "ndcg@10": scores,
    }


def summary(cells: list[dict[str, Any]], signal: bool) -> dict[str, Any]:
    """The pass figures over the seeds."""
    if not signal:
        claims = [cell["seed"] for cell in cells if cell["personal_signal"]]
        return {"seeds": len(cells), "claims": len(claims), "claimed_by": claims, "bar": FALSE_CLAIMS}
    ratios = [cell["ratio"] for cell in cells]
    mean_ratio, lowest = float(np.mean(ratios)), min(ratios)
    wide = min(cell["oracle_over_popularity"] for cell in cells)
    return {
        "seeds": len(cells),
        "mean_ratio": round(mean_ratio, 4),
        "lowest_ratio": lowest,
        "bar": BAR,
        "lowest_oracle_over_popularity": wide,
    }


def table(cells: list[dict[str, Any]]) -> pl.DataFrame:
    """One line a seed, for the eye."""
    return pl.DataFrame(
        {
            "seed": [cell["seed"] for cell in cells],
            "popularity": [cell["best_popularity"]["ndcg@10"] for cell in cells],
            "own": [cell["personal_frequency"] for cell in cells],
            "shipped": [cell["shipped"]["ndcg@10"] for cell in cells],
            "model": [cell["shipped"]["model"] for cell in cells],
            "oracle": [cell["oracle"]["ndcg@10"] for cell in cells],
            "ratio": [cell.get("ratio") for cell in cells],
            "signal": [cell["personal_signal"] for cell in cells],
        }
    )


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def main() -> None:
    """Do the seeds that are missing and write ``results/demo_oracle.json`` or ``results/demo_no_signal.json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo_oracle")
    parser.add_argument("--seeds", help="such as 0-4")
    parser.add_argument("--budget", default="standard", choices=("quick", "standard", "full"))
    parser.add_argument("--without", default="", choices=("", *MODELS), help="a model to leave out")
    parser.add_argument("--no-signal", action="store_true")
    parser.add_argument("--again", action="store_true", help="redo the seeds that are there")
    chosen = parser.parse_args()
    signal = not chosen.no_signal
    name = "demo_oracle" if signal else "demo_no_signal"
    path = RESULTS / f"{name}.json"
    cells: dict[tuple[str, str, int], dict[str, Any]] = {}
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))["cells"]
        cells = {(cell["budget"], cell["without"], cell["seed"]): cell for cell in found}
    for seed in _seeds(chosen.seeds or ("0-4" if signal else "0-19")):
        key = (chosen.budget, chosen.without, seed)
        if chosen.again or key not in cells:
            cells[key] = one_seed(seed, chosen.budget, chosen.without, signal)
            _record(name, [cells[k] for k in sorted(cells)], signal)


def _record(name: str, cells: list[dict[str, Any]], signal: bool) -> None:
    """Write the cells and what they say, budget by budget and line-up by line-up."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        groups.setdefault(f"{cell['budget']}{' without ' * bool(cell['without'])}{cell['without']}", []).append(cell)
    flag = "" if signal else " --no-signal"
    figures = {
        "steps": f"aisle demo SHOP --seed N{flag} && aisle run SHOP --out OUT --budget BUDGET",
        "summary": {group: summary(members, signal) for group, members in groups.items()},
        "cells": cells,
    }
    record(name, figures, f"python -m benchmarks.demo_oracle{flag}")
    with pl.Config(tbl_rows=50, tbl_cols=20, tbl_width_chars=140):
        sys.stdout.write(f"{table(cells)}\n")


if __name__ == "__main__":
    main()
