"""Approximate search beside exact search, in one run, by ratio: building, recall, customers a second, memory.

Worlds are generated and labelled so. In ``clustered`` products and customers lie about 2,000 centres, at 0.6 of a
centre's own length; in ``loose`` at 1.5, so that a cluster is wider than it is far from others; ``isotropic`` has no
centres at all, the worst case of any index. Recall is measured when the index is tuned, and again for customers who
had no part in it. CPU seconds count, with one thread on both sides.

``rivals`` at a tenth of the size: the same cells by faiss's own k-means, and a graph (HNSW) at the recall asked for.
``dearer`` is what ``aisle.kernels.approximate.DEARER`` rests on: how many products exact search meets in the time in
which the index meets one, where the processor multiplies bfloat16 and where it is kept from it.

    python -m benchmarks.approximate_speed [--products 1000000] [--dim 128] [--customers 4000] [--least 0.99]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar
from unittest.mock import patch

import faiss
import numpy as np
import torch

from aisle.kernels.approximate import DEARER, Index, Measured, recalls, tuned
from aisle.kernels.device import multiplies_bfloat16
from aisle.kernels.inner import Targets, top_inner
from aisle.kernels.targets import SPARE
from aisle.rank.search import MANY, SAMPLE
from aisle.types import Floats
from benchmarks.common import fresh_peak, peak_mb, record

K = 10
CENTRES = 2_000
SPREAD = {"clustered": 0.6, "loose": 1.5, "isotropic": None}
T = TypeVar("T")


def world(kind: str, rows: int, dim: int, seed: int) -> Floats:
    """(rows, dim) vectors; equal kinds have the same centres."""
    random, spread = np.random.default_rng(seed), SPREAD[kind]
    drawn = random.standard_normal((rows, dim), dtype=np.float32)
    if spread is None:
        return drawn
    centres = np.random.default_rng(99).standard_normal((CENTRES, dim), dtype=np.float32)
    drawn *= np.float32(spread)
    drawn += centres[random.integers(0, CENTRES, rows)]
    return drawn


def timed(work: Callable[[], T], turns: int = 1) -> tuple[T, float]:
    """What a call gives, and the least CPU seconds of some turns."""
    least = np.inf
    for _ in range(turns):
        start = time.process_time()
        found = work()
        least = min(least, time.process_time() - start)
    return found, least


def measured(kind: str, asked: argparse.Namespace) -> dict[str, Any]:
    """One world: the index against exact search."""
    vectors = world(kind, asked.products, asked.dim, 1)
    targets = Targets.of(vectors, np.arange(asked.products, dtype=np.int32))
    del vectors
    queries, others = (world(kind, rows, asked.dim, seed) for rows, seed in ((SAMPLE, 2), (asked.customers, 3)))
    before = fresh_peak()
    index, build = timed(lambda: Index.of(targets, threads=1))
    peak = peak_mb()
    held = fresh_peak()
    (found, told), tune = timed(lambda: tuned(index, queries, K, asked.least, threads=1))
    (exact, _), exact_seconds = timed(lambda: top_inner(others, targets, K, threads=1), turns=2)
    row = {
        "build_cpu_seconds": round(build, 2),
        "measuring_cpu_seconds": round(tune, 2),
        "file_megabytes": round(asked.products * (4 * asked.dim + 8) / 2**20),
        "megabytes_more": round(held - before),
        "megabytes_more_at_peak": round(peak - before),
        "asked": told.asked,
        "measured": round(told.recall, 5),
        "effort": told.effort,
        "cells": told.cells,
        "most_effort": index.most,
        "used": found is not None,
        "exact_customers_a_cpu_second": round(asked.customers / exact_seconds),
    }
    tried = replace(index, effort=told.effort)
    (codes, _), seconds = timed(lambda: tried.search(others, K, threads=1), turns=2)
    saved = exact_seconds - seconds
    return row | {
        "recall_of_others": round(float(recalls(codes, exact).mean()), 5),
        "customers_a_cpu_second": round(asked.customers / seconds),
        "times_as_fast": round(exact_seconds / seconds, 2),
        "pays_from_customers": round((build + tune) / saved * asked.customers) if found and saved > 0 else None,
    }


def rivals(asked: argparse.Namespace) -> dict[str, Any]:
    """Cells as we learn them, cells by faiss's k-means, and a graph, over a tenth of the clustered products."""
    size = asked.products // 10
    vectors, queries = world("clustered", size, asked.dim, 1), world("clustered", asked.customers, asked.dim, 3)
    targets = Targets.of(vectors, np.arange(size, dtype=np.int32))
    exact = top_inner(queries, targets, K, threads=1)[0]
    index, build = timed(lambda: Index.of(targets, threads=1))
    _, told = tuned(index, world("clustered", SAMPLE, asked.dim, 2), K, asked.least, threads=1)
    rows = {"products": size, "ours": _rival(replace(index, effort=told.effort), queries, exact, build, told)}
    cells = len(index.centres)
    theirs = faiss.Kmeans(asked.dim, cells, niter=8, spherical=True, seed=1, max_points_per_centroid=64)
    rows["faiss k-means"] = {"build_cpu_seconds": round(timed(lambda: theirs.train(vectors))[1], 2)}
    graph = faiss.IndexHNSWFlat(asked.dim, 16, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = 80
    _, build = timed(lambda: graph.add(vectors))
    for effort in (16, 32, 64, 128, 256, 512):
        graph.hnsw.efSearch = effort
        (_, codes), seconds = timed(lambda: graph.search(queries, K))
        recall = float(recalls(codes.astype(np.int32), exact).mean())
        if recall >= asked.least:
            break
    rows["HNSW 16"] = {
        "build_cpu_seconds": round(build, 2),
        "efSearch": effort,
        "recall_of_others": round(recall, 5),
        "customers_a_cpu_second": round(len(queries) / seconds),
    }
    return rows


def _rival(index: Index, queries: Floats, exact: Any, build: float, told: Measured) -> dict[str, Any]:
    (codes, _), seconds = timed(lambda: index.search(queries, K, threads=1))
    return {
        "build_cpu_seconds": round(build, 2),
        "effort": told.effort,
        "recall_of_others": round(float(recalls(codes, exact).mean()), 5),
        "customers_a_cpu_second": round(len(queries) / seconds),
    }


def dearer(asked: argparse.Namespace) -> dict[str, Any]:
    """Time of a product in the file over that in exact search, at a fifth of the size, an isotropic world."""
    size, customers = asked.products // 5, 1_000
    vectors, queries = (world("isotropic", rows, asked.dim, seed) for rows, seed in ((size, 1), (customers, 3)))
    out: dict[str, Any] = {"products": size, "used": {str(able): value for able, value in DEARER.items()}}
    for able in (True, False):
        if able and not multiplies_bfloat16():
            continue
        with patch("aisle.kernels.targets.multiplies_bfloat16", lambda able=able: able):
            targets = Targets.of(vectors, np.arange(size, dtype=np.int32))
        exact = timed(partial(top_inner, queries, targets, K, threads=1), turns=2)[1]
        out[f"exact_nanoseconds_a_product, bfloat16 {able}"] = round(exact / customers / size * 1e9, 3)
    index = replace(Index.of(targets, threads=1), effort=64)
    _, near = index._near(queries[:256])
    met = sum(index.file.invlists.list_size(int(cell)) for cell in near.ravel())
    faiss.omp_set_num_threads(1)
    index.file.nprobe = index.effort
    _, seconds = timed(lambda: index.file.search_preassigned(queries[:256], K + SPARE, near, None), turns=3)
    one = out["file_nanoseconds_a_product"] = round(seconds / met * 1e9, 3)
    for name in [name for name in out if name.startswith("exact_")]:
        out[name.replace("exact_nanoseconds_a_product", "times")] = round(one / out[name], 1)
    return out


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("products", 1_000_000), ("dim", 128), ("customers", 4_000)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--least", type=float, default=0.99)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    figures: dict[str, Any] = {**vars(asked), "k": K, "many": MANY, "dearer": dearer(asked), "rivals": rivals(asked)}
    figures |= {kind: measured(kind, asked) for kind in SPREAD}
    command = "python -m benchmarks.approximate_speed " + " ".join(
        f"--{name} {value}" for name, value in vars(asked).items()
    )
    record("approximate_speed", figures, command)


if __name__ == "__main__":
    main()
