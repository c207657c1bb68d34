"""Customers without purchases: the history of 15 % of the customers is hidden, in five seeded draws.

They are asked with an empty history; attributes and groups stay. Products known at the cut may be listed.

* Sort-of-Real: truth are their purchases in the last four weeks; their lines before are gone.
* MovieLens-1M (no dates): truth are all their films; everybody else is learned from.

Inside, to tune on: the same with other customers. What is hidden from what is in ``cold.py``.
"""

from __future__ import annotations

import numpy as np

from aisle.data.dataset import Dataset
from aisle.jobs.bench.protocols import movielens_1m, sort_of_real
from aisle.jobs.bench.protocols.cold import DRAWS, draws
from aisle.jobs.bench.protocols.read import without
from aisle.jobs.bench.split import Beat, Protocol, Split
from aisle.types import Bools, Codes, Sparse

SHARE = 0.15
MODELS = (
    *("popularity", "recent_popularity", "seasonal_popularity", "group_popularity"),
    *("tree_shares", "hybrid_factorization", "basket_transformer"),
)
"""The line-up: models that answer without a history."""


def draw(data: Dataset, seed: int) -> Bools:
    """(U,) the customers of a draw, of those with purchases."""
    known = np.flatnonzero(np.diff(data.indptr))
    hidden = np.zeros(data.shape[0], dtype=bool)
    hidden[np.random.default_rng(seed).choice(known, max(1, round(SHARE * len(known))), replace=False)] = True
    return hidden


def hide(past: Dataset, bought: Sparse, seed: int) -> Split:
    """The split of a draw: its customers have no history, and alone are asked."""
    hidden = draw(past, seed)
    left = without(past, _lines(past, hidden))
    return Split(left, bought, _asked(bought, hidden), repeats=True, candidates=left.known)


def _lines(data: Dataset, hidden: Bools) -> Bools:
    """(E,) lines of hidden customers; anonymous ones stay."""
    return np.asarray(np.append(hidden, False)[data.all_events.customer])


def _asked(wanted: Sparse, hidden: Bools) -> Codes:
    return np.flatnonzero(hidden & (np.diff(wanted.indptr) > 0)).astype(np.int32)


RECIPES = ("popularity", "recent_popularity", "group_popularity:plain", "group_popularity", "S")

SORT_OF_REAL = Protocol(
    name="cold_customers_sort_of_real",
    title="Cold customers, Sort-of-Real",
    load=sort_of_real.load,
    split=draws(hide, sort_of_real.DAYS),
    parts=DRAWS,
    metrics=("ndcg@10", "recall@10"),
    tuned_on="ndcg@10",
    settings={"group_popularity": {"by": "seg_2"}},
    beats=(
        Beat(
            label="not below segment popularity",
            recipe="S",
            metric="ndcg@10",
            rival="group_popularity:plain",
            level=True,
        ),
        Beat(label="not below recent popularity", recipe="S", metric="ndcg@10", rival="recent_popularity", level=True),
    ),
    recipes=RECIPES,
    models=MODELS,
)
MOVIELENS = Protocol(
    name="cold_customers_movielens",
    title="Cold customers, MovieLens-1M",
    load=movielens_1m.load,
    split=draws(hide),
    parts=DRAWS,
    metrics=("ndcg@10", "recall@10"),
    tuned_on="ndcg@10",
    settings={"group_popularity": {"by": "group_2"}},
    beats=(
        Beat(label="above segment popularity", recipe="S", metric="ndcg@10", rival="group_popularity:plain"),
        Beat(label="above recent popularity", recipe="S", metric="ndcg@10", rival="recent_popularity"),
    ),
    recipes=RECIPES,
    models=MODELS,
)
