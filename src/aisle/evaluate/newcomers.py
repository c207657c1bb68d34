"""Who answers customers without purchases: the model that ships, or the fallback chain of groups and what sells.

Both are asked on the last window. The model answers newcomers only where it beats the chain there beyond chance: it
was picked for customers with a history, and says nothing about its lists for others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from aisle.evaluate.compare import Interval, paired
from aisle.evaluate.protocol import HEADLINE, PLACES, Exam, Scores, fill
from aisle.kernels.topk import top_k
from aisle.models import model_class
from aisle.rank.fallback import Fallback
from aisle.types import Doubles

CHAIN = "fallback_chain"
"""The chain's name beside those of models; it is no model of the registry."""


@dataclass(frozen=True)
class Newcomers:
    """Who answers customers without purchases, and why."""

    by_model: bool
    """The shipped model answers; else the chain."""
    difference: Interval | None
    """Shipped model less chain, NDCG@10 of the cold customers; None where the model cannot answer without a history."""

    def to_json(self) -> dict[str, Any]:
        """The ``newcomers`` object of the verdict."""
        found = None if self.difference is None else {"metric": HEADLINE, **self.difference.to_json()}
        return {"by_model": self.by_model, "difference_to_chain": found}


def chain(exam: Exam, k: int = PLACES) -> dict[str, Doubles]:
    """What the fallback chain, learned at the cut, scores for the cold customers; the keys of ``Scores.cold``."""
    cutoffs = sorted({PLACES, k})
    lists = [np.zeros((0, cutoffs[-1]), dtype=np.int32)]
    fallback = Fallback.fit(exam.past)
    for batch in exam.cold_batches:
        scores = fallback.choose(batch, np.zeros(len(batch), dtype=bool)).scores()
        scores[:, ~exam.truth.known] = -np.inf
        lists.append(top_k(scores, cutoffs[-1], exam.past.tie_rank)[0])
    filled = fill(np.concatenate(lists), exam.truth.known, exam.past.tie_rank)
    values: dict[str, Doubles] = {}
    for cutoff in cutoffs:
        values |= exam.cold.measure(filled, cutoff)
    return values


def decide_newcomers(ship: str, scores: dict[str, Scores], chain: dict[str, Doubles], seed: int = 0) -> Newcomers:
    """The shipped model answers newcomers where it can and its lead over the chain is proven."""
    ours, theirs = scores[ship].cold.get(HEADLINE), chain[HEADLINE]
    if model_class(ship).needs_history or ours is None or len(ours) != len(theirs):  # where nobody could be asked
        return Newcomers(False, None)
    found = paired(ours, theirs, seed=seed)
    return Newcomers(found.above_zero, found)
