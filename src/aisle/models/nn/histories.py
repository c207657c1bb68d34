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

    def take(self, rows: Ints) -> Histories:
        """The histories of some rows."""
        starts, sizes = self.indptr[rows], np.diff(self.indptr)[rows]
        indptr = np.concatenate(([0], np.cumsum(sizes)))
        pairs = np.repeat(starts - indptr[:-1], sizes) + np.arange(int(indptr[-1]))
        return Histories(indptr, self.product[pairs], self.counts[pairs])

    def blank(self, empty: np.ndarray) -> Histories:
        """The same rows with those under the mask ``empty`` (N,) forgotten."""
        keep = ~empty[self.row]
        sizes = np.where(empty, 0, np.diff(self.indptr))
        return Histories(np.concatenate(([0], np.cumsum(sizes))), self.product[keep], self.counts[keep])

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

    @classmethod
    def join(cls, parts: list[Histories]) -> Histories:
        """The rows of all parts, one below the other."""
        sizes = np.concatenate([np.diff(part.indptr) for part in parts])
        return cls(
            np.concatenate(([0], np.cumsum(sizes))),
            np.concatenate([part.product for part in parts]),
            np.concatenate([part.counts for part in parts]),
        )
