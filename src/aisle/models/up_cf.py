"""UP-CF@r: what customers with overlapping histories bought of late, the customer among them.

Faggioli, Polato, Aiolli, "Recency Aware Collaborative Filtering for Next Basket Recommendation", UMAP 2020. With I_u
the products customer u ever bought, n_v the baskets of v, and RC_v(i) the share of v's last min(r, n_v) baskets that
hold product i:

    sim(u, v) = |I_u ∩ I_v| / (|I_u|^a |I_v|^(1-a) + shrink),   score_u(i) = RC_u(i) + sum over v of sim(u, v)^q RC_v(i)

Everybody is a neighbour of themselves, with similarity 1. Whoever asks is the batch row as it is now; of the training
customers with the very same purchases one is taken to be that customer and left out, so that a customer who was part
of the training counts once, a stranger counts too, and the answer depends on the purchases alone.
Cost: ``fit`` one pass; ``score`` sparse products with the training customers, block by block.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from aisle.data.dataset import Dataset
from aisle.data.events import Batch, first_of_basket, sparse_sum, stacked
from aisle.errors import UsageError
from aisle.features.pairs import BLOCK_CELLS, basket_places, of_everyone
from aisle.kernels.topk import top_k
from aisle.models.base import Few, Model, few_with_own
from aisle.types import Doubles, Floats, Ints, Sparse


@dataclass(kw_only=True, eq=False)
class UPCF(Model):
    """Own recent shares of baskets plus those of customers whose histories overlap most."""

    name: ClassVar[str] = "up_cf"
    space: ClassVar[dict[str, tuple[Any, ...]]] = {
        "locality": (10.0, 1.0, 3.0, 30.0),
        "recency": (10, 3, 30, 100),
        "asymmetry": (0.75, 0.25, 0.5),
    }

    recency: int = 10
    """r, latest baskets of a customer that speak."""
    locality: float = 10.0
    """q, power of the similarity; larger listens to the closest alone."""
    asymmetry: float = 0.75
    """a, 0 … 1: 1 asks how much of the customer's history the neighbour shares, 0 how much of the neighbour's."""
    neighbours: int | None = None
    """Closest training customers heard beside oneself; None = all."""
    shrink: float = 0.0
    """Added below the fraction; larger trusts small overlaps less."""

    sets_: Sparse = field(init=False, repr=False)
    """(N, I) 1 where one of the N training customers with purchases ever bought the product."""
    recent_: Sparse = field(init=False, repr=False)
    """(N, I) RC_v."""

    def __post_init__(self) -> None:
        if self.recency < 1 or (self.neighbours is not None and self.neighbours < 1):
            raise UsageError(f"recency and neighbours must be >= 1, got {self.recency} and {self.neighbours}")
        if not 0 <= self.asymmetry <= 1:
            raise UsageError(f"asymmetry must lie in 0 … 1, got {self.asymmetry}")
        if not self.locality > 0 or self.shrink < 0:
            raise UsageError(f"locality must be > 0 and shrink >= 0, got {self.locality} and {self.shrink}")

    def fit(self, data: Dataset) -> Self:
        """Keep what every customer bought, ever and of late."""
        some = np.diff(data.indptr) > 0
        self.sets_ = data.counts.sign()[some]
        self.recent_ = of_everyone(data, lambda batch: recent_shares(batch, self.recency))[some]
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I) own shares plus those of the neighbours; rows without purchases are -inf."""
        return self.few(batch).dense()

    def few(self, batch: Batch) -> Few:
        """The same scores, as few cells."""
        self.check_fitted()
        sets, recent = batch.history.sign(), recent_shares(batch, self.recency)
        across = self.sets_.T.tocsr()
        sizes = np.diff(self.sets_.indptr).astype(np.float64) ** (1 - self.asymmetry)
        twin = twins(sets, recent, self.sets_, self.recent_)
        step, found = max(1, BLOCK_CELLS // max(self.sets_.shape[0], 1)), list[Sparse]()
        for start in range(0, max(len(batch), 1), step):
            part = slice(start, start + step)
            near = self._similar(sets[part], across, sizes, twin[part])
            found.append(near @ self.recent_)
        return few_with_own(stacked(found), batch, recent, 1.0)

    def _similar(self, sets: Sparse, across: Sparse, sizes: Doubles, twin: Ints) -> Sparse:
        """(R, N) powers of the similarity of each row to the training customers heard, 0 to its own ``twin`` (R,)."""
        near: Sparse = sp.csr_array(sets @ across)
        row = np.repeat(np.arange(near.shape[0]), np.diff(near.indptr))
        own = np.diff(sets.indptr).astype(np.float64) ** self.asymmetry
        overlap = near.data.astype(np.float64)
        power = (overlap / (own[row] * sizes[near.indices] + self.shrink)) ** self.locality
        near.data = np.where(near.indices == twin[row], 0.0, power).astype(np.float32)
        return near if self.neighbours is None else _closest(near, self.neighbours)


def recent_shares(batch: Batch, recency: int) -> Sparse:
    """(B, I) share of the customer's latest ``recency`` baskets (of all, where there are fewer) with the product."""
    place, number = basket_places(batch)
    kept = first_of_basket(batch.lines, batch.row) & (place >= number[batch.row] - recency)
    share = 1 / np.minimum(number, recency)[batch.row[kept]]
    return sparse_sum(batch.row[kept], batch.lines.product[kept], share, batch.shape)


def twins(sets: Sparse, recent: Sparse, other_sets: Sparse, other_recent: Sparse) -> Ints:
    """(B,) the first of the N others with the very same products, ever and of late; -1 = none."""
    mine, others = (fingerprints(*pair) for pair in ((sets, recent), (other_sets, other_recent)))
    known, first = np.unique(others, return_index=True)
    if not len(known):
        return np.full(len(mine), -1, dtype=np.int64)
    place = np.minimum(np.searchsorted(known, mine), len(known) - 1)
    return np.where(known[place] == mine, first[place], -1)


def fingerprints(sets: Sparse, recent: Sparse) -> npt.NDArray[np.uint64]:
    """(B,) 64 bits a row of both arrays (B, I), the same for the same row: sums of mixed cells, as splitmix64 mixes."""
    total = np.zeros(sets.shape[0], dtype=np.uint64)
    for salt, part in enumerate((sets, recent), start=1):
        bits = part.data.astype(np.float32).view(np.uint32).astype(np.uint64)
        cell = (part.indices.astype(np.uint64) << np.uint64(32)) + bits + np.uint64(salt * 0x9E3779B97F4A7C15 % 2**64)
        cell = (cell ^ (cell >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        cell = (cell ^ (cell >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        sums = np.concatenate((np.zeros(1, dtype=np.uint64), np.cumsum(cell ^ (cell >> np.uint64(31)))))
        total += sums[part.indptr[1:]] - sums[part.indptr[:-1]]
    return total


def _closest(near: Sparse, k: int) -> Sparse:
    """The k largest cells of each row of (R, N); ties go to the smaller column."""
    number = near.shape[1]
    dense: Floats = near.toarray()
    codes, values = top_k(dense, min(k, number), np.arange(number, dtype=np.int32))
    row, place = np.nonzero(values > 0)
    return sp.csr_array((values[row, place], (row, codes[row, place])), shape=near.shape)
