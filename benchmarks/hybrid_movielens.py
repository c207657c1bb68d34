"""HybridFactorization and a tuned EASE on MovieLens, under ``benchmarks.movielens_protocol``; seen films excluded.

The textbook EASE gets the penalty that was best on a split inside the training cells of each split, then all of them.
The interval of hybrid minus EASE takes each customer once, with the mean over the splits that asked about them:
five random splits ask the same people, who must not count five times.

    AISLE_DATA=… python -m benchmarks.hybrid_movielens 100k-random [setting=value …] [--seeds 0 1 2 3 4]
        [--clock time|sequence] [--genres flags|text] [--inner] [--write]

``--inner`` measures on the splits inside the training cells instead, to choose settings without seeing the test.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from typing import Any

import numpy as np

from aisle.models.hybrid_factorization import HybridFactorization
from aisle.models.popularity import Popularity
from aisle.types import Doubles
from benchmarks.anchors import Split, against, answers, means, settings, textbook_ease, tuned_ease
from benchmarks.common import own_cpu_seconds, record
from benchmarks.movielens_protocol import split

SEEDS = {"100k-random": [0, 1, 2, 3, 4], "100k-chronological": [0], "1m-random": [0]}
DIM = 64
OURS, RIVAL = "hybrid_factorization", "textbook ease, tuned"
PUBLISHED = {
    "100k-random": {
        "popularity": {"ndcg@10": 0.1516, "recall@10": 0.1062},
        "ease, l2 200": {"ndcg@10": 0.3143, "recall@10": 0.2460},
        "TensorRec, ids and content, 100 epochs": {"ndcg@10": 0.2827, "recall@10": 0.2150},
    },
    "100k-chronological": {
        "popularity": {"ndcg@10": 0.0797, "recall@10": 0.0598},
        "ease, l2 200": {"ndcg@10": 0.1494, "recall@10": 0.1300},
        "TensorRec, ids and content": {"ndcg@10": 0.1461, "recall@10": 0.1243},
    },
    "1m-random": {
        "popularity": {"ndcg@10": 0.2017, "recall@10": 0.0662},
        "ease, l2 300": {"ndcg@10": 0.4281, "recall@10": 0.1776},
        "TensorRec, 20 epochs": {"ndcg@10": 0.3169, "recall@10": 0.1159},
    },
}
"""Measured elsewhere under the same protocol, on the random split of seed 0; TensorRec with WMRB and width 64."""

Found = dict[str, dict[str, Doubles]]


def measure(asked: Split, given: dict[str, Any], seed: int) -> tuple[Found, dict[str, Any]]:
    """Figures (U,) of each model on one split, NaN for customers who are not asked; and what the fits did."""
    start, wall = own_cpu_seconds(), time.perf_counter()
    model = HybridFactorization(**{"dim": DIM, "seed": seed, **given}).fit(asked.data)
    cost = {"fit_cpu_seconds": own_cpu_seconds() - start, "fit_wall_seconds": time.perf_counter() - wall}
    found = {OURS: answers(model, asked)}
    start = own_cpu_seconds()
    best, table = tuned_ease(asked)
    tuning = own_cpu_seconds() - start
    ease = textbook_ease(best["ndcg@10"]).fit(asked.data)
    found |= {RIVAL: answers(ease, asked), "popularity": answers(Popularity().fit(asked.data), asked)}
    about = {
        **{name: means(values) for name, values in found.items()},
        "customers": len(asked.customers),
        "pairs": asked.data.counts.nnz,
        **{name: round(value, 2) for name, value in cost.items()},
        "epochs": getattr(model, "epochs_", None),
        "curve": (getattr(model, "training_", None) or {}).get("validation"),
        "ease_l2": best["ndcg@10"],
        "ease_tuning": table,
        "ease_tuning_cpu_seconds": round(tuning, 2),
    }
    return {name: spread(values, asked) for name, values in found.items()}, about


def spread(values: dict[str, Doubles], asked: Split) -> dict[str, Doubles]:
    """Figures of the customers asked, at the places of all customers (U,), NaN elsewhere."""
    out = {name: np.full(asked.data.shape[0], np.nan) for name in values}
    for name, column in values.items():
        out[name][asked.customers] = column
    return out


def pooled(runs: list[Found], model: str) -> dict[str, Doubles]:
    """Figures (U,) of a model, each customer's mean over the splits that asked about them."""
    stacked = {name: np.stack([found[model][name] for found in runs]) for name in runs[0][model]}
    some = {name: ~np.isnan(values).all(axis=0) for name, values in stacked.items()}
    return {name: np.nanmean(values[:, some[name]], axis=0) for name, values in stacked.items()}


def main() -> None:
    """Measure every split, print and (with ``--write``) keep the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("split", choices=tuple(SEEDS))
    parser.add_argument("settings", nargs="*", help="setting=value of HybridFactorization")
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--clock", choices=("time", "sequence"), default="time")
    parser.add_argument("--genres", choices=("flags", "text"), default="flags")
    parser.add_argument("--inner", action="store_true")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    given, runs, about = settings(args.settings), [], []
    for seed in args.seeds or SEEDS[args.split]:
        asked = split(args.split, seed, clock=args.clock, genres=args.genres)
        if args.inner and asked.inner:
            asked = asked.inner()
        found, said = measure(asked, given, seed)
        runs.append(found)
        about.append({"seed": seed, **said})
        line = {name: said[name]["ndcg@10"] for name in found}
        sys.stderr.write(f"seed {seed}: {line} fit {said['fit_cpu_seconds']} s, epochs {said['epochs']}\n")
    ours, rival = pooled(runs, OURS), pooled(runs, RIVAL)
    each = {model: {n: [run[model][n] for run in about] for n in ours} for model in runs[0]}
    result = {
        "data": f"MovieLens {args.split}{', inside the training cells' if args.inner else ''}",
        "settings": {"dim": DIM, **given},
        "clock": "sequence" if args.split.endswith("random") else args.clock,
        "mean": {model: {n: round(float(np.mean(v)), 5) for n, v in rows.items()} for model, rows in each.items()},
        f"{OURS} against {RIVAL}": {name: against(ours[name], rival[name]) for name in ours},
        "splits": about,
        "process_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "published, measured elsewhere": PUBLISHED[args.split],
    }
    if args.write:
        command = " ".join(["python -m benchmarks.hybrid_movielens", *sys.argv[1:]])
        record(f"hybrid_movielens_{args.split.replace('-', '_')}", result, command)
    else:
        json.dump(result, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
