"""Tree shares on Let's Get Sort-of-Real, last four weeks: products without sales, customers without purchases, and all.

AISLE_DATA=… python -m benchmarks.tree_shares

*Cold products*: 10 % of the products outside the top 2 % by sales lose all their lines; only these are ranked, for the
customers who bought one of them in the window. *Cold customers*: 15 % of the customers lose all theirs. Five seeded
draws each, pooled; intervals of the paired difference. *Warm*: 2,000 customers with purchases, nothing hidden.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

import aisle
from aisle.data.dataset import Dataset
from aisle.data.split import Window
from aisle.evaluate import metrics
from aisle.evaluate.protocol import Exam, headline
from aisle.kernels.topk import top_k
from aisle.models import create
from aisle.types import DAY, NEVER, Bools, Codes, Doubles, Sparse
from benchmarks.anchors import against, write
from benchmarks.common import data_folder

DRAWS = 5
BASE = {"customer": False, "groups": False}
COLD_PRODUCTS: dict[str, tuple[str, dict[str, Any]]] = {
    "category popularity": ("tree_shares", BASE),
    "segment popularity": ("tree_shares", {"customer": False}),
    "own category shares": ("tree_shares", {"groups": False}),
    "tree_shares": ("tree_shares", {}),
    "popularity": ("popularity", {}),
}
COLD_CUSTOMERS: dict[str, tuple[str, dict[str, Any]]] = {
    "recent_popularity 28": ("recent_popularity", {}),
    "recent_popularity 91": ("recent_popularity", {"window_days": 91.0}),
    "group_popularity seg_1": ("group_popularity", {"by": "seg_1"}),
    "group_popularity seg_2": ("group_popularity", {"by": "seg_2"}),
    "tree_shares": ("tree_shares", {}),
}
WARM: dict[str, tuple[str, dict[str, Any]]] = {
    "recent_popularity": ("recent_popularity", {}),
    "personal_frequency": ("personal_frequency", {}),
    "tree_shares": ("tree_shares", {}),
}
Question = tuple[Dataset, Codes, Sparse, Bools]
"""The past, who is asked (N,), what they bought (N, I), and what may be listed (I,)."""


def bought_later(data: Dataset, cut: int) -> Sparse:
    """(U, I) baskets of the window, by customer and product."""
    after = replace(data, all_events=data.all_events.take(data.all_events.time >= cut))
    return after.counts.sign()


def cold_products(data: Dataset, cut: int) -> Iterator[Question]:
    """Products are hidden; they alone are listed."""
    order = np.argsort(data.tie_rank)
    tail, later = np.sort(order[len(order) // 50 :]), bought_later(data, cut)
    for seed in range(DRAWS):
        hidden = np.zeros(data.shape[1], dtype=bool)
        hidden[np.random.default_rng(seed).choice(tail, len(order) // 10, replace=False)] = True
        kept = data.all_events.take(~hidden[data.all_events.product] & (data.all_events.time < cut))
        first = np.where(hidden, NEVER, data.first_sale)
        truth = later.multiply(hidden.astype(np.float32)).tocsr()
        truth.eliminate_zeros()
        who = np.flatnonzero(np.diff(truth.indptr)).astype(np.int32)
        yield replace(data, all_events=kept, as_of=cut, end=cut, first_sale=first), who, truth[who], hidden


def cold_customers(data: Dataset, cut: int) -> Iterator[Question]:
    """Customers are hidden; they alone are asked."""
    later = bought_later(data, cut)
    for seed in range(DRAWS):
        hidden = np.zeros(data.shape[0] + 1, dtype=bool)  # the last one answers anonymous lines
        hidden[np.random.default_rng(seed).choice(data.shape[0], data.shape[0] * 15 // 100, replace=False)] = True
        kept = data.all_events.take(~hidden[data.all_events.customer] & (data.all_events.time < cut))
        who = np.flatnonzero(hidden[:-1] & (np.diff(later.indptr) > 0)).astype(np.int32)
        past = replace(data, all_events=kept, as_of=cut)
        yield past, who, later[who], past.known


def ndcg(name: str, settings: dict[str, Any], question: Question) -> tuple[Doubles, float]:
    """NDCG@10 (N,) of a model, and the seconds of its fit."""
    past, who, truth, listed = question
    start = time.perf_counter()
    model = create(name, **settings).fit(past)
    seconds = time.perf_counter() - start
    values = []
    for at in range(0, len(who), 512):
        scores = np.where(listed, model.score(past.batch(who[at : at + 512])), np.float32(-np.inf))
        part = truth[at : at + 512]
        hits = metrics.hit_matrix(top_k(scores, 10, past.tie_rank)[0], part)
        values.append(metrics.ndcg(hits, np.diff(part.indptr).astype(np.int64)))
    return np.concatenate(values), seconds


def pooled(
    questions: Callable[[Dataset, int], Iterator[Question]],
    models: dict[str, tuple[str, dict[str, Any]]],
    data: Dataset,
    cut: int,
) -> dict[str, Any]:
    """Figures of all draws together; differences are those to the first model."""
    values: dict[str, list[Doubles]] = {label: [] for label in models}
    seconds: dict[str, list[float]] = {label: [] for label in models}
    asked: list[Codes] = []
    for question in questions(data, cut):
        asked.append(question[1])
        for label, (name, settings) in models.items():
            found, took = ndcg(name, settings, question)
            values[label].append(found)
            seconds[label].append(took)
    whole = {label: np.concatenate(parts) for label, parts in values.items()}
    first, customer = whole[next(iter(models))], np.concatenate(asked)  # who is asked in several draws counts once
    return {
        label: {
            "ndcg@10": round(float(found.mean()), 4),
            "draws": [round(float(part.mean()), 4) for part in values[label]],
            "rows": len(found),
            "fit_seconds": round(float(np.mean(seconds[label])), 2),
            "difference": against(found, first, customer=customer),
        }
        for label, found in whole.items()
    }


def main() -> None:
    """Measure and write ``results/tree_shares.json``."""
    data = aisle.read(data_folder() / "dunnhumby_sort_of_real")
    cut = data.as_of - 28 * DAY
    exam = Exam.of(data, Window(cut, data.as_of), limit=2_000)
    warm = {
        label: round(float(headline(create(name, **settings).fit(exam.past), exam).mean()), 4)
        for label, (name, settings) in WARM.items()
    }
    result = {
        "cold_products": pooled(cold_products, COLD_PRODUCTS, data, cut),
        "cold_customers": pooled(cold_customers, COLD_CUSTOMERS, data, cut),
        "warm_ndcg@10": warm,
    }
    write("tree_shares", result)


if __name__ == "__main__":
    main()
