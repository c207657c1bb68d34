"""TensorRec's metrics on ranks, 1 = best; only the cells that matter are looked at, nothing is made dense.

Ranks are a dense (n_users, n_items) array as from ``predict_rank``, or a sparse matrix that holds the ranks of the
cells asked for. Bought items stay in the ranking, as in TensorRec: see docs/tensorrec.md before trusting a figure.
"""

from __future__ import annotations

from typing import Any, TypeAlias, cast

import numpy as np
import scipy.sparse as sp

from aisle.compat.tensorrec.inputs import single
from aisle.compat.tensorrec.tensorrec import TensorRec
from aisle.compat.tensorrec.util import generator
from aisle.errors import DataError
from aisle.types import Doubles, Ints, Sparse

Ranks: TypeAlias = Any
GRID = (2, 4, 8, 16, 32, 64, 128, 256)
BLOCK_CELLS = 4_000_000
"""Ranks held at once by ``fit_and_eval``."""


class Positives:
    """The cells of ``test_interactions`` above 0, with the ranks they were given."""

    def __init__(self, test_interactions: Any, predicted_ranks: Ranks) -> None:
        test = single(test_interactions, "test_interactions")
        given: Any = predicted_ranks
        ranks = sp.csr_array(given) if sp.issparse(predicted_ranks) else np.asarray(given)
        if ranks.shape != test.shape:
            raise DataError(f"ranks are {ranks.shape}, test_interactions {test.shape}; give the same shape")
        cells = test.tocoo()
        some = cells.data > 0
        self.size = test.shape[0]
        self.row: Ints = cells.row[some].astype(np.int64)
        """(P,) users, rising."""
        self.value: Doubles = cells.data[some].astype(np.float64)
        """(P,) interactions."""
        self.rank: Ints = _ranks_at(ranks, self.row, cells.col[some].astype(np.int64))
        """(P,) ranks."""
        if len(self.rank) and self.rank.min() < 1:
            raise DataError(f"a rank is {self.rank.min()}; ranks start at 1: give what predict_rank() returns")

    @property
    def count(self) -> Ints:
        """(U,) positives of each user."""
        return np.bincount(self.row, minlength=self.size)

    def total(self, values: Any) -> Doubles:
        """(U,) sum of values (P,) of each user."""
        found: Doubles = np.bincount(self.row, weights=values, minlength=self.size).astype(np.float64)
        return found

    def ratio(self, above: Doubles, below: Any, preserve_rows: bool) -> Doubles:
        """``above / below`` of users with positives; with ``preserve_rows`` of all, 0 for the others."""
        some = self.count > 0
        found: Doubles = np.divide(above, below, out=np.zeros(self.size), where=some)
        return found if preserve_rows else found[some]


def _ranks_at(ranks: Ranks, row: Ints, column: Ints) -> Ints:
    if len(row) == 0:
        return np.zeros(0, dtype=np.int64)
    found: Any = ranks[row, column]
    return np.asarray(found.toarray() if hasattr(found, "toarray") else found).ravel().astype(np.int64)


def precision_at_k(predicted_ranks: Ranks, test_interactions: Any, k: int = 10, preserve_rows: bool = False) -> Doubles:
    """Share of the first k that are positives, of each user with positives; see ``Positives.ratio``."""
    found = Positives(test_interactions, predicted_ranks)
    return found.ratio(found.total(found.rank <= k), np.full(found.size, float(k)), preserve_rows)


def recall_at_k(predicted_ranks: Ranks, test_interactions: Any, k: int = 10, preserve_rows: bool = False) -> Doubles:
    """Share of the positives that are among the first k, of each user with positives."""
    found = Positives(test_interactions, predicted_ranks)
    return found.ratio(found.total(found.rank <= k), found.count.astype(np.float64), preserve_rows)


def ndcg_at_k(predicted_ranks: Ranks, test_interactions: Any, k: int = 10, preserve_rows: bool = False) -> Doubles:
    """Discounted gain of the first k over the best possible one: gain ``2^r - 1``, discount ``log2(rank + 1)``.

    Gains are taken relative to the user's largest ``2^r``, which leaves the ratio as it is and cannot overflow.
    """
    found = Positives(test_interactions, predicted_ranks)
    most = np.zeros(found.size)
    np.maximum.at(most, found.row, found.value)
    gain = -np.expm1(-found.value * np.log(2)) * np.exp2(found.value - most[found.row])
    discounted = np.where(found.rank <= k, gain / np.log2(np.maximum(found.rank, 1) + 1), 0.0)
    order = np.lexsort((-gain, found.row))
    starts = np.cumsum(found.count) - found.count
    place = np.arange(len(order)) - starts[found.row[order]]
    best = np.where(place < k, gain[order] / np.log2(place + 2), 0.0)
    ideal = np.bincount(found.row[order], weights=best, minlength=found.size)
    return found.ratio(found.total(discounted), ideal, preserve_rows)


def f1_score_at_k(predicted_ranks: Ranks, test_interactions: Any, k: int = 10, preserve_rows: bool = False) -> float:
    """Harmonic mean of mean precision and mean recall; 0 where both are 0."""
    precision = mean(precision_at_k(predicted_ranks, test_interactions, k, preserve_rows))
    recall = mean(recall_at_k(predicted_ranks, test_interactions, k, preserve_rows))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def mean(values: Doubles) -> float:
    """The mean, 0 of nothing."""
    return float(np.mean(values)) if len(values) else 0.0


def fit_and_eval(
    model: TensorRec,
    user_features: Any,
    item_features: Any,
    train_interactions: Any,
    test_interactions: Any,
    fit_kwargs: dict[str, Any],
    recall_k: int = 30,
    precision_k: int = 5,
    ndcg_k: int = 30,
) -> tuple[float, float, float, float, float, float]:
    """Fit, then mean recall, precision and NDCG on test, and the same on train."""
    model.fit(user_features=user_features, item_features=item_features, interactions=train_interactions, **fit_kwargs)
    parts = [single(part, name) for part, name in ((test_interactions, "test"), (train_interactions, "train"))]
    ranks = _ranks_of(model, user_features, item_features, abs(parts[0]) + abs(parts[1]))
    scores = [
        (
            mean(recall_at_k(ranks, part, k=recall_k)),
            mean(precision_at_k(ranks, part, k=precision_k)),
            mean(ndcg_at_k(ranks, part, k=ndcg_k)),
        )
        for part in parts
    ]
    return (*scores[0], *scores[1])


def _ranks_of(model: TensorRec, user_features: Any, item_features: Any, asked: Sparse) -> Sparse:
    """The model's ranks of the stored cells alone, block after block of users."""
    users = single(user_features, "user_features")
    step = max(1, BLOCK_CELLS // max(asked.shape[1], 1))
    found = []
    for at in range(0, asked.shape[0], step):
        some = asked[at : at + step].tocoo()
        ranks = model.predict_rank(users[at : at + step], item_features)[some.row, some.col]
        found.append(sp.csr_array((ranks, (some.row, some.col)), shape=some.shape))
    return cast(Sparse, sp.vstack(found, format="csr"))


def grid_check_model_on_dataset(
    train_interactions: Any, test_interactions: Any, user_features: Any, item_features: Any
) -> None:
    """Print the scores of ``fit_and_eval`` for 64 settings: powers of 2 up to 256 for n_components and for epochs."""
    for n_components in GRID:
        for epochs in GRID:
            model = TensorRec(n_components=n_components)
            scores = fit_and_eval(
                model, user_features, item_features, train_interactions, test_interactions, {"epochs": epochs}
            )
            print(n_components, epochs, scores)


def eval_random_ranks_on_dataset(
    interactions: Any, recall_k: int = 30, precision_k: int = 5, ndcg_k: int = 30
) -> tuple[float, float, float]:
    """Mean recall, precision and NDCG of a random order for each user, the floor of every figure."""
    test, random = single(interactions, "interactions"), generator()
    n_items = test.shape[1]
    drawn = [random.choice(n_items, size, replace=False) + 1 for size in np.diff(test.indptr)]
    ranks = sp.csr_array((np.concatenate([np.zeros(0, int), *drawn]), test.indices, test.indptr), shape=test.shape)
    return (
        mean(recall_at_k(ranks, test, k=recall_k)),
        mean(precision_at_k(ranks, test, k=precision_k)),
        mean(ndcg_at_k(ranks, test, k=ndcg_k)),
    )
