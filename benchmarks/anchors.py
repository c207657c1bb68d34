"""What the anchor benchmarks share: a split, lists, figures of a list, and how two models compare."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aisle.data.dataset import Dataset
from aisle.jobs.bench import measure
from aisle.jobs.bench.measure import against, means
from aisle.jobs.bench.split import Split
from aisle.kernels.topk import top_k
from aisle.models.base import Model
from aisle.models.ease import EASE
from aisle.types import Codes, Doubles, Sparse
from benchmarks import common

__all__ = ["Split", "against", "answers", "figures", "lists", "means", "settings", "timed_fit", "tuned_ease", "write"]

BLOCK = 1_000
GRID = (30.0, 100.0, 200.0, 300.0, 500.0, 1_000.0, 2_000.0, 5_000.0)
"""Ridge penalties that the textbook EASE is tuned over."""


def data_folder(name: str) -> Path:
    """A folder of the real data that the variable AISLE_DATA points at."""
    return common.data_folder() / name


def settings(pairs: Iterable[str]) -> dict[str, Any]:
    """Settings of a model from ``setting=value``; a value that is no JSON is a word."""
    found: dict[str, Any] = {}
    for key, value in (pair.split("=", 1) for pair in pairs):
        try:
            found[key] = json.loads(value)
        except json.JSONDecodeError:
            found[key] = value
    return found


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


def answers(model: Model, split: Split, k: int = 10) -> dict[str, Doubles]:
    """NDCG, recall and hit rate at k, each (B,), of the customers of a split; NaN where nothing is wanted.

    Where repeats are allowed, ``new ndcg@10`` … say the same of lists and wishes without the products bought before.
    """
    names = [f"{rule}@{k}" for rule in ("ndcg", "recall", "hit")]
    return measure.answers(model, split, [*names, *(f"new {name}" for name in names if split.repeats)])


def textbook_ease(l2: float) -> EASE:
    """EASE as in the paper: bought or not, and no term for one's own products."""
    return EASE(l2=l2, half_life_days=None, own_weight=0)


def tuned_ease(split: Split, names: Sequence[str] = ("ndcg@10",)) -> tuple[dict[str, float], dict[str, Any]]:
    """The penalty of the textbook EASE that is best for each figure on the split inside the training data.

    Also the whole table, penalty by penalty.
    """
    if split.inner is None:
        raise ValueError("this split has none inside it to tune on")
    inside = split.inner()
    table = {l2: means(answers(textbook_ease(l2).fit(inside.data), inside)) for l2 in GRID}
    best = {name: max(GRID, key=lambda l2: table[l2][name]) for name in names}
    return best, {f"{l2:g}": {name: row[name] for name in names} for l2, row in table.items()}


def timed_fit(model: Model, data: Dataset) -> float:
    """Seconds to fit."""
    start = time.perf_counter()
    model.fit(data)
    return round(time.perf_counter() - start, 2)


def write(name: str, result: dict[str, Any]) -> None:
    """Put a result under ``benchmarks/results`` with command, machine and commit."""
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    common.record(name, {"threads": threads, **result}, f"python -m benchmarks.{name}")


def _row(matrix: Sparse, row: int) -> Codes:
    return matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]].astype(np.int32)
