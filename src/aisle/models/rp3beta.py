"""RP3beta: a walk of three steps from the customer over products and other customers, popular ends made lighter.

Christoffel, Paudel, Newell and Bernstein, "Blockbusters and Wallflowers", RecSys 2015. With X (U, I) who bought what
(1 or 0), D_u and D_i the purchases of each customer and product,

    W = (D_i⁻¹ Xᵀ)^alpha (D_u⁻¹ X)^alpha / popularity_j^beta,   score_j = sum over i in the history of h_i W_ij

with powers taken entry by entry, the ``neighbours`` largest cells of each row of W kept, and h_i = 1 or the decay of
the latest purchase. The first step of the walk, 1 / D_u for every product of the history, is the same for all scores of
a customer and left out; so are returns to where the second step began. W is divided by one number, its mean row sum, so
that ``own_weight`` means the same for every alpha, beta and size of the data.
Cost: as item kNN: ``fit`` multiplies sparse matrices block by block, memory O(neighbours x I).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.errors import UsageError
from aisle.features.links import Links
from aisle.features.pairs import decayed_counts, decayed_presence, of_everyone, scaled
from aisle.models.base import Few, check_own, few_with_own
from aisle.models.strips import InStrips
from aisle.types import Doubles, Floats, Sparse


@dataclass(kw_only=True, eq=False)
class RP3beta(InStrips):
    """Random walk over the graph of purchases: any catalogue size, with a handle on popularity."""

    name: ClassVar[str] = "rp3beta"
    space: ClassVar[dict[str, tuple[Any, ...]]] = {
        "beta": (0.3, 0.6),
        "alpha": (1.0, 0.6),
        "half_life_days": (182.0, None),
        "own_weight": (0.3, 0.03),
    }

    alpha: float = 1.0
    """Power of every step's chance; below 1 customers and products with many purchases lead on more, try .4 to 1."""
    beta: float = 0.3
    """Power of the popularity a score is divided by; 0 = a plain walk (P3alpha), try .2 to .6."""
    neighbours: int = 200
    """Products kept for each product."""
    half_life_days: float | None = 182.0
    """Age at which a purchase in the history counts half; None = all count alike. The graph never decays."""
    own_weight: float = 0.3
    """Weight of the customer's own (decayed) purchase counts; 0 = the textbook model."""

    walk_: Sparse = field(init=False, repr=False)
    """(I, I) row: product in the history; column: product the walk ends at."""

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise UsageError(f"neighbours must be >= 1, got {self.neighbours}")
        if not self.alpha > 0 or not self.beta >= 0:
            raise UsageError(f"alpha must be > 0 and beta >= 0, got {self.alpha} and {self.beta}")
        check_own(self.half_life_days, self.own_weight)

    def links(self, data: Dataset) -> Links:
        """Where walks from every product end."""
        return two_steps(of_everyone(data, decayed_presence), self.alpha, self.beta, self.neighbours)

    def learn(self, rows: Sparse) -> Self:
        """Scale the walks to a mean row sum of 1."""
        walks = int((np.diff(rows.indptr) > 0).sum())
        rows.data /= np.float32(rows.data.sum(dtype=np.float64) / walks if walks else 1.0)
        self.walk_ = rows
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I) where walks from the history end; rows without purchases are -inf."""
        return self.few(batch).dense()

    def few(self, batch: Batch) -> Few:
        """The same scores, as few cells."""
        self.check_fitted()
        taste = decayed_presence(batch, self.half_life_days) @ self.walk_
        return few_with_own(taste, batch, decayed_counts(batch, self.half_life_days), self.own_weight)


def two_steps(x: Sparse, alpha: float, beta: float, k: int) -> Links:
    """(I, I) W of a binary x (U, I), the k largest of each row, before it is scaled."""
    customers: Floats = np.asarray(x.sum(axis=1)).ravel()
    products: Floats = np.asarray(x.sum(axis=0)).ravel()
    back = scaled(x, np.ones(x.shape[0]), _power(products, -alpha))
    return Links.of(back, scaled(x, _power(customers, -alpha), _power(products, -beta)), k)


def _power(numbers: Floats, exponent: float) -> Doubles:
    """(N,) numbers to a power; 0 stays 0."""
    return np.power(numbers, exponent, out=np.zeros(len(numbers)), where=numbers > 0, dtype=np.float64)
