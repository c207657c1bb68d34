"""How fast everybody's ten best of inner products are found: ours beside implicit, faiss and what the machine can do.

Vectors are drawn normal, the worst case for any bound: nothing is far ahead. Each rival answers the same customers in
one run, in turns, with as many threads; CPU seconds count, as other work on the machine does not add to them much.
implicit and faiss are measured where they are installed (``pip install implicit faiss-cpu``).

    python -m benchmarks.topk_speed [--customers 200000] [--products 50000] [--dim 128] [--threads 2] [--turns 3]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from aisle.kernels.inner import Targets, top_inner
from aisle.types import Codes, Floats
from benchmarks.common import record

K = 10
PEAK_SIZE = 4_096

Search = Callable[[Floats], Codes]
"""Queries (N, D) -> codes (N, K)."""


def rivals(vectors: Floats, threads: int) -> dict[str, Search]:
    """Name -> search, of those that are installed."""
    found: dict[str, Search] = {}
    try:
        from implicit.cpu.topk import topk

        found["implicit"] = lambda queries: topk(vectors, queries, K, num_threads=threads)[0]
    except ImportError:
        pass
    try:
        import faiss

        faiss.omp_set_num_threads(threads)
        flat = faiss.IndexFlatIP(vectors.shape[1])
        flat.add(vectors)
        found["faiss flat"] = lambda queries: flat.search(queries, K)[1]
    except ImportError:
        pass
    return found


def peak(kind: torch.dtype) -> float:
    """GFLOP a CPU second of a large square matrix product."""
    one = torch.randn(PEAK_SIZE, PEAK_SIZE).to(kind)
    best = 0.0
    for _ in range(4):
        start = time.process_time()
        torch.mm(one, one)
        best = max(best, 2 * PEAK_SIZE**3 / (time.process_time() - start) / 1e9)
    return best


def measured(search: Search, queries: Floats, turns: int) -> tuple[dict[str, float], Codes]:
    """The least CPU and wall seconds of some turns, and the answer."""
    cpu, wall, codes = np.inf, np.inf, np.zeros((0, K), np.int32)
    for _ in range(turns):
        start, begun = time.process_time(), time.perf_counter()
        codes = search(queries)
        cpu, wall = min(cpu, time.process_time() - start), min(wall, time.perf_counter() - begun)
    return {"cpu_seconds": round(cpu, 2), "wall_seconds": round(wall, 2)}, codes


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("customers", 200_000), ("products", 50_000), ("dim", 128), ("threads", 2), ("turns", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(asked.threads)
    torch.set_num_threads(asked.threads)
    random = np.random.default_rng(0)
    queries, vectors = (
        random.normal(size=(rows, asked.dim)).astype(np.float32) for rows in (asked.customers, asked.products)
    )
    targets = Targets.of(vectors, np.arange(asked.products, dtype=np.int32))
    searches: dict[str, Search] = {"aisle": lambda part: top_inner(part, targets, K, threads=asked.threads)[0]}
    searches |= rivals(vectors, asked.threads)
    rows: dict[str, dict[str, Any]] = {}
    answers: dict[str, Codes] = {}
    for name, search in searches.items():
        search(queries[: 4 * K])  # nobody pays for the first call
        rows[name], answers[name] = measured(search, queries, asked.turns)
    ours = rows["aisle"]
    for name, row in rows.items():
        row["ours_over_this_cpu"] = round(ours["cpu_seconds"] / row["cpu_seconds"], 3)
        row["ours_over_this_wall"] = round(ours["wall_seconds"] / row["wall_seconds"], 3)
        row["places_as_ours"] = round(float((answers[name] == answers["aisle"]).mean()), 6)
    work = 2.0 * asked.customers * asked.products * asked.dim / 1e9
    limits = {kind: round(peak(getattr(torch, kind)), 1) for kind in ("float32", "bfloat16")}
    share = {f"share of the {kind} peak": round(work / ours["cpu_seconds"] / rate, 3) for kind, rate in limits.items()}
    sizes = {name: getattr(asked, name) for name in ("customers", "products", "dim", "threads", "turns")}
    command = "python -m benchmarks.topk_speed " + " ".join(f"--{name} {value}" for name, value in sizes.items())
    record("topk_speed", {**sizes, "rows": rows, "peak_gflops_a_cpu_second": limits, "ours": share}, command)


if __name__ == "__main__":
    main()
