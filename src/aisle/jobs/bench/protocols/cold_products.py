"""Products that were never sold: all sales of a tenth of the products are hidden, in five seeded draws.

Hidden are 10 % of the sold products outside the top 2 % by sales. Ranked are the hidden products alone; asked are
customers who bought one of them. What is left to know of them: place in the tree, attributes, text, price.

* Sort-of-Real: truth are purchases in the last four weeks; all lines of the hidden products are gone.
* MovieLens-1M (no dates): truth are all hidden films of a customer; what is left of the histories is learned from.

Inside, to tune on: the same with other products. What is hidden from what is in ``cold.py``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aisle.data.dataset import Dataset
from aisle.jobs.bench.protocols import movielens_1m, sort_of_real
from aisle.jobs.bench.protocols.cold import DRAWS, draws
from aisle.jobs.bench.protocols.read import without
from aisle.jobs.bench.split import Beat, Protocol, Split
from aisle.types import Bools, Codes, Sparse

SHARE, TOP = 0.10, 0.02
MODELS = ("popularity", "tree_shares", "hybrid_factorization", "basket_transformer", "content_knn")
"""The line-up: models that know more of a product than its sales."""


def draw(data: Dataset, seed: int) -> Bools:
    """(I,) the hidden products of a draw."""
    sales = data.popularity
    order = np.lexsort((data.tie_rank, -sales))
    sold = order[sales[order] > 0]
    tail = sold[int(np.ceil(TOP * len(sold))) :]
    count = min(max(1, round(SHARE * len(sold))), len(tail))
    hidden = np.zeros(data.shape[1], dtype=bool)
    hidden[np.random.default_rng(seed).choice(tail, count, replace=False)] = True
    return hidden


def hide(past: Dataset, bought: Sparse, seed: int) -> Split:
    """The split of a draw: its products were never sold, and alone are ranked."""
    hidden = draw(past, seed)
    wanted = _of(bought, hidden)
    left = without(past, hidden[past.all_events.product])
    left = replace(left, end=left.as_of)  # so that products never sold are known, as in a run of that day
    return Split(left, wanted, _some(wanted), repeats=True, candidates=hidden)


def _of(bought: Sparse, hidden: Bools) -> Sparse:
    """The cells of hidden products alone."""
    found = bought.multiply(hidden.astype(np.float32)[None, :]).tocsr()
    found.eliminate_zeros()
    found.sort_indices()
    return found


def _some(wanted: Sparse) -> Codes:
    return np.flatnonzero(np.diff(wanted.indptr)).astype(np.int32)


SETTINGS = {"tree_shares": {"customer": False, "groups": False}}
"""Plain category popularity."""

SORT_OF_REAL = Protocol(
    name="cold_products_sort_of_real",
    title="Cold products, Sort-of-Real",
    load=sort_of_real.load,
    split=draws(hide, sort_of_real.DAYS),
    parts=DRAWS,
    metrics=("ndcg@10", "recall@10"),
    tuned_on="ndcg@10",
    settings=SETTINGS,
    beats=(
        Beat(
            label="not below category popularity",
            recipe="S",
            metric="ndcg@10",
            rival="tree_shares:plain",
            level=True,
        ),
    ),
    recipes=("tree_shares:plain", "tree_shares", "S"),
    models=MODELS,
)
MOVIELENS = Protocol(
    name="cold_products_movielens",
    title="Cold products, MovieLens-1M",
    load=movielens_1m.load,
    split=draws(hide),
    parts=DRAWS,
    metrics=("ndcg@10", "recall@10"),
    tuned_on="ndcg@10",
    settings=SETTINGS,
    beats=(Beat(label="above category popularity", recipe="S", metric="ndcg@10", rival="tree_shares:plain"),),
    recipes=("tree_shares:plain", "tree_shares", "S"),
    models=MODELS,
)
