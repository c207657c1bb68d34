"""Products that were never sold: all sales of a tenth of the products are hidden, in five seeded draws.

Hidden are 10 % of the sold products outside the top 2 % by sales. Ranked are the hidden products alone; asked are
customers who bought one of them. What is left to know of them: place in the tree, attributes, text, price.

* Sort-of-Real: truth are purchases in the last four weeks; all lines of the hidden products are gone.
* MovieLens-1M (no dates): truth are all hidden films of a customer; what is left of the histories is learned from.

Inside, to tune on: the same with other products, hidden from what is left; with dates in the window before. A customer
asked in several draws counts once in the pooled intervals.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.split import Window, truth
from aisle.jobs.bench.protocols import movielens_1m, sort_of_real
from aisle.jobs.bench.protocols.read import without
from aisle.jobs.bench.split import Beat, Protocol, Split
from aisle.types import DAY, Bools, Codes, Sparse

SHARE, TOP = 0.10, 0.02
INNER = 1_000
"""Added to the seed of a draw for the one inside it."""
DRAWS = ("0", "1", "2", "3", "4")
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


def split_dated(data: Dataset, part: str) -> Split:
    """A draw of a shop with dates: the last four weeks."""
    return _dated(data, data.end, int(part), inside=True)


def split_undated(data: Dataset, part: str) -> Split:
    """A draw of data without dates: everything hidden."""
    return _undated(data, int(part), inside=True)


def _dated(data: Dataset, end: int, seed: int, inside: bool = False) -> Split:
    cut = end - sort_of_real.DAYS * DAY
    hidden = draw(data.before(cut), seed)
    wanted = _of(truth(data, Window(cut, end)).bought, hidden)
    left = without(data, hidden[data.all_events.product])
    inner = (lambda: _dated(left, cut, seed + INNER)) if inside else None
    past = replace(left.before(cut), end=cut)  # so that products never sold are known, as in a run of that day
    return Split(past, wanted, _some(wanted), repeats=True, candidates=hidden, inner=inner)


def _undated(data: Dataset, seed: int, inside: bool = False) -> Split:
    hidden = draw(data, seed)
    wanted = _of(data.counts.sign().tocsr(), hidden)
    left = without(data, hidden[data.all_events.product])
    inner = (lambda: _undated(left, seed + INNER)) if inside else None
    return Split(left, wanted, _some(wanted), repeats=True, candidates=hidden, inner=inner)


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
    split=split_dated,
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
    split=split_undated,
    parts=DRAWS,
    metrics=("ndcg@10", "recall@10"),
    tuned_on="ndcg@10",
    settings=SETTINGS,
    beats=(Beat(label="above category popularity", recipe="S", metric="ndcg@10", rival="tree_shares:plain"),),
    recipes=("tree_shares:plain", "tree_shares", "S"),
    models=MODELS,
)
