"""What the anchor benchmarks share: lists, figures of a list, and where the figures come from."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from aisle.data.dataset import Dataset
from aisle.kernels.topk import top_k
from aisle.models.base import Model
from aisle.types import Codes, Doubles, Sparse

RESULTS = Path(__file__).parent / "results"
BLOCK = 1_000


def data_folder(name: str) -> Path:
    """A folder of the real data that the variable AISLE_DATA points at."""
    return Path(os.environ["AISLE_DATA"]) / name


def lists(model: Model, data: Dataset, customers: Codes, k: int, *, new: bool = False) -> Codes:
    """(B, k) best products of each customer, -1 where nothing could be scored; ``new`` leaves bought ones out."""
    out = []
    for start in range(0, len(customers), BLOCK):
        batch = data.batch(customers[start : start + BLOCK])
        scores = model.score(batch)
        if new:
            scores[batch.history.nonzero()] = -np.inf
        out.append(top_k(scores, k, data.tie_rank)[0])
    return np.concatenate(out)


def figures(lists: Codes, truth: Sparse, k: int, *, ideal_all: bool = False) -> dict[str, float]:
    """Mean recall, NDCG and hit rate at k over rows with truth (B, I).

    The ideal of NDCG runs over min(k, |truth|) products, over all of them with ``ideal_all``.
    """
    sizes = np.diff(truth.indptr)
    hits = np.stack([np.isin(lists[b, :k], _row(truth, b)) for b in range(len(lists))]).astype(np.float64)
    gains = 1 / np.log2(np.arange(2, max(k, int(sizes.max())) + 2))
    ideal = np.cumsum(gains)[(sizes if ideal_all else np.minimum(sizes, k)) - 1]
    some = sizes > 0
    ndcg: Doubles = (hits @ gains[:k])[some] / ideal[some]
    recall = hits.sum(axis=1)[some] / sizes[some]
    return {
        f"ndcg@{k}": round(float(ndcg.mean()), 5),
        f"recall@{k}": round(float(recall.mean()), 5),
        f"hit@{k}": round(float(hits[some].any(axis=1).mean()), 5),
    }


def timed_fit(model: Model, data: Dataset) -> float:
    """Seconds to fit."""
    start = time.perf_counter()
    model.fit(data)
    return round(time.perf_counter() - start, 2)


def write(name: str, result: dict[str, Any]) -> None:
    """Put a result under ``benchmarks/results`` with command, machine and commit."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    head = {
        "command": f"python -m benchmarks.{name}",
        "commit": commit,
        "machine": {"processor": platform.processor() or platform.machine(), "cpu_count": os.cpu_count()},
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({**head, **result}, indent=1) + "\n")


def _row(matrix: Sparse, row: int) -> Codes:
    return matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]].astype(np.int32)
