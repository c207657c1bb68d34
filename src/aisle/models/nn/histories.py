"""A customer's purchases as network input: one row a (customer, product) pair with decayed counts of baskets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aisle.data.events import Batch, first_of_basket
from aisle.types import Clock, Floats, Ints

HALF_LIVES: dict[Clock, tuple[float, ...]] = {
    "time": (7.0, 30.0, 90.0, 365.0, np.inf),
    "sequence": (1.0, 3.0, 9.0, 27.0, np.inf),
}
"""Days, or baskets, after which a purchase counts half; the last counts every basket as 1."""


@dataclass(frozen=True, eq=False)
class Histories:
    """N histories in rows: the pairs of row n are ``[indptr[n]:indptr[n + 1]]``, products rising."""

    indptr: Ints
    """(N + 1,)."""
    product: Ints
    """(P,)."""
    counts: Floats
    """(P, T) number of baskets with the product, decayed at each of the T half-lives."""

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def row(self) -> Ints:
        """(P,) row of each pair."""
        return np.repeat(np.arange(len(self)), np.diff(self.indptr))

    @classmethod
    def of(cls, batch: Batch, limit: int) -> Histories:
        """The histories of a batch; of longer ones the ``limit`` products that were bought most and latest."""
        first = first_of_basket(batch.lines, batch.row)
        key = batch.row[first] * np.int64(batch.n_products) + batch.lines.product[first]
        pairs, place = np.unique(key, return_inverse=True)
        age = batch.age_days[first]
        counts = np.stack(
            [np.bincount(place, weights=0.5 ** (age / half), minlength=len(pairs)) for half in HALF_LIVES[batch.clock]],
            axis=1,
        ).astype(np.float32)
        row, product = pairs // batch.n_products, pairs % batch.n_products
        if len(pairs) and np.bincount(row).max() > limit:
            order = np.lexsort((product, -counts[:, -2], row))
            starts = np.searchsorted(row, np.arange(len(batch)))
            rank = np.empty(len(order), dtype=np.int64)
            rank[order] = np.arange(len(order)) - starts[row]
            kept = rank < limit
            row, product, counts = row[kept], product[kept], counts[kept]
        indptr = np.concatenate(([0], np.cumsum(np.bincount(row, minlength=len(batch)))))
        return cls(indptr.astype(np.int64), product, counts)
