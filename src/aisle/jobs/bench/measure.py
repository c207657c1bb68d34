"""What a fitted model scores on a split: one value a customer and figure, and how two columns compare."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from aisle.data.events import Batch
from aisle.errors import UsageError
from aisle.evaluate import metrics
from aisle.evaluate.compare import intervals
from aisle.jobs.bench.split import Split
from aisle.kernels.topk import top_k
from aisle.models.base import Model
from aisle.types import Bools, Codes, Doubles, Floats, Ints, Sparse

BLOCK = 1_000
CELLS = 20_000_000
"""Scores held at a time."""
RULES = {"recall": metrics.recall, "hit": metrics.hit_rate, "ndcg": metrics.ndcg}


@dataclass(frozen=True)
class Metric:
    """A figure by its name: ``ndcg@10``, ``new recall@20``."""

    rule: str
    k: int
    new: bool
    """Lists and wishes without what the customer bought before."""

    @classmethod
    def of(cls, name: str) -> Self:
        """From a name; raises UsageError for one that is not understood."""
        found = re.fullmatch(r"(new )?(ndcg|recall|hit)@(\d+)", name)
        if found is None:
            raise UsageError(f"no figure {name!r}; write ndcg@K, recall@K or hit@K, for new products 'new ndcg@K'")
        return cls(found[2], int(found[3]), bool(found[1]))


def answers(model: Model, split: Split, names: Sequence[str]) -> dict[str, Doubles]:
    """Each figure (N,) of the customers of a split; NaN where nothing is wanted.

    Where repeats are not allowed, what was bought before is never listed. Places that the model leaves empty stay so.
    """
    wanted = {name: Metric.of(name) for name in names}
    k = max(one.k for one in wanted.values())
    found: dict[str, list[Doubles]] = {name: [np.zeros(0)] for name in names}
    for batch, truth in _blocks(split):
        scores = model.score(batch)
        if split.candidates is not None:
            scores[:, ~split.candidates] = -np.inf
        for new in sorted({one.new for one in wanted.values()}):
            asked, hits = _hits(scores, batch, truth, split, new, k)
            sizes = np.diff(asked.indptr).astype(np.int64)
            for name, one in wanted.items():
                if one.new == new:
                    found[name].append(_value(one, hits[:, : one.k], sizes, split.ideal_all))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def means(values: dict[str, Doubles]) -> dict[str, float]:
    """The mean of each figure over the customers who have it."""
    return {name: round(float(np.nanmean(column)), 5) for name, column in values.items()}


def against(ours: Doubles, rival: Doubles, bars: Sequence[float] = (), customer: Codes | None = None) -> dict[str, Any]:
    """How two figures (B,) of the same customers compare: ratio of means, and paired intervals of the difference.

    Each bar asks for more: is ``ours`` above ``bar`` times the rival, beyond chance? Where a customer has several rows,
    ``customer`` (B,) says whose each is.
    """
    both = ~np.isnan(ours) & ~np.isnan(rival)
    ours, rival = ours[both], rival[both]
    whose = np.arange(len(ours), dtype=np.int32) if customer is None else customer[both]
    gaps = intervals(np.stack([ours - bar * rival for bar in (1.0, *bars)], axis=1), customer=whose)
    return {
        "customers": len(np.unique(whose)),
        "ratio": round(float(ours.mean() / rival.mean()), 4) if rival.any() else None,
        "difference": gaps[0].to_json(),
        **{f"difference to {bar} times the rival": gap.to_json() for bar, gap in zip(bars, gaps[1:], strict=True)},
    }


def _blocks(split: Split) -> Iterator[tuple[Batch, Sparse]]:
    some = max(1, min(BLOCK, CELLS // max(split.data.shape[1], 1)))
    for start in range(0, len(split.customers), some):
        customers = split.customers[start : start + some]
        yield split.histories.batch(customers), split.wanted[customers]


def _hits(scores: Floats, batch: Batch, truth: Sparse, split: Split, new: bool, k: int) -> tuple[Sparse, Bools]:
    """What is wanted (B, I) and where the lists (B, k) hold it; bought products leave ``scores`` where asked to."""
    if new:
        truth = (truth - truth.multiply(batch.history.sign())).tocsr()
        truth.eliminate_zeros()
    if new or not split.repeats:
        scores[batch.history.nonzero()] = -np.inf
    truth.sort_indices()
    return truth, metrics.hit_matrix(top_k(scores, k, split.data.tie_rank)[0], truth)


def _value(metric: Metric, hits: Bools, sizes: Ints, ideal_all: bool) -> Doubles:
    if metric.rule == "ndcg" and ideal_all:
        longest = max(metric.k, int(sizes.max(initial=0)))
        return np.asarray(hits @ metrics.discounts(metric.k) / metrics.ideal_gain(sizes, longest))
    return RULES[metric.rule](hits, sizes)
