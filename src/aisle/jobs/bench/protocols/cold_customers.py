"""Customers without purchases: the history of 15 % of the customers is hidden, in five seeded draws.

They are asked with an empty history; attributes and groups stay. Products known at the cut may be listed.

* Sort-of-Real: truth are their purchases in the last four weeks; their lines before are gone.
* MovieLens-1M (no dates): truth are all their films; everybody else is learned from.

Inside, to tune on: the same with other customers, hidden from what is left; with dates in the window before. A customer
asked in several draws counts once in the pooled intervals.
"""

from __future__ import annotations

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.split import Window, truth
from aisle.jobs.bench.protocols import movielens_1m, sort_of_real
from aisle.jobs.bench.protocols.cold_products import DRAWS, INNER
from aisle.jobs.bench.protocols.read import without
from aisle.jobs.bench.split import Beat, Protocol, Split
from aisle.types import DAY, Bools, Codes, Sparse

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


def split_dated(data: Dataset, part: str) -> Split:
    """A draw of a shop with dates: the last four weeks."""
    return _dated(data, data.end, int(part), inside=True)


def split_undated(data: Dataset, part: str) -> Split:
    """A draw of data without dates: everything hidden."""
    return _undated(data, int(part), inside=True)


def _dated(data: Dataset, end: int, seed: int, inside: bool = False) -> Split:
    cut = end - sort_of_real.DAYS * DAY
    hidden = draw(data.before(cut), seed)
    wanted = truth(data, Window(cut, end)).bought
    left = without(data, _lines(data, hidden)).before(cut)
    inner = (lambda: _dated(left, cut, seed + INNER)) if inside else None
    return Split(left, wanted, _asked(wanted, hidden), repeats=True, candidates=left.known, inner=inner)


def _undated(data: Dataset, seed: int, inside: bool = False) -> Split:
    hidden = draw(data, seed)
    left = without(data, _lines(data, hidden))
    wanted: Sparse = data.counts.sign().tocsr()
    inner = (lambda: _undated(left, seed + INNER)) if inside else None
    return Split(left, wanted, _asked(wanted, hidden), repeats=True, candidates=left.known, inner=inner)


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
    split=split_dated,
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
    split=split_undated,
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
