"""EASE: product-to-product linear regression with a zero diagonal, solved in closed form.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019. With x (U, I) what customers bought (1, or the
decay of the latest purchase) and ``P = (xᵀx + l2·I)⁻¹`` the answer is ``B[i, j] = -P[i, j] / P[j, j]`` with a zero
diagonal. The score is ``x_u B``, here plus ``own_weight`` times the customer's own decayed purchase counts, since a
zero diagonal knows no repeats.

Products nobody bought would get zero weights, so only those bought at least once (A of I) enter.
Cost: ``fit`` peaks at one (A, A) float64 and one float32 matrix, time grows with A³: 4,000 products take seconds,
20,000 some minutes and 5 GB; above 30,000 it refuses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from scipy.linalg import lapack

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.errors import ResourceError, UsageError
from aisle.features.pairs import bought_products, cooccurrence, decayed_presence, of_everyone
from aisle.models.base import Model, check_own, with_own
from aisle.types import Codes, Doubles, Floats

MAX_PRODUCTS = 30_000
"""More bought products than this are refused: the matrices alone would pass 10 GB."""


@dataclass(kw_only=True, eq=False)
class EASE(Model):
    """Strong baseline for small and medium catalogues; learns in one matrix inverse."""

    name: ClassVar[str] = "ease"
    space: ClassVar[dict[str, tuple[Any, ...]]] = {
        "l2": (300.0, 1000.0, 100.0),
        "half_life_days": (182.0, None),
        "own_weight": (0.3, 0.03),
    }

    l2: float = 300.0
    """Ridge penalty. Larger trusts popular products more; try 1 to 10,000 on a log grid."""
    half_life_days: float | None = 182.0
    """Age at which a purchase counts half, in learning and in scoring; None = bought or not, as in the paper."""
    own_weight: float = 0.3
    """Weight of the customer's own (decayed) purchase counts; 0 = none, as in the paper."""

    codes_: Codes = field(init=False, repr=False)
    """(A,) products bought at least once."""
    weights_: Floats = field(init=False, repr=False)
    """(A, A) effect of having bought the row's product on the score of the column's."""

    def __post_init__(self) -> None:
        if not self.l2 > 0:
            raise UsageError(f"l2 must be > 0, got {self.l2}")
        check_own(self.half_life_days, self.own_weight)

    def fit(self, data: Dataset) -> Self:
        """Solve for the weights; raises ResourceError above ``MAX_PRODUCTS`` bought products."""
        x = of_everyone(data, lambda batch: decayed_presence(batch, self.half_life_days))
        codes = bought_products(x)
        if len(codes) > MAX_PRODUCTS:
            need = len(codes) ** 2 * 12 / 1e9
            raise ResourceError(
                f"EASE needs {need:.0f} GB for {len(codes):,} bought products, more than the {MAX_PRODUCTS:,} allowed; "
                "use item_knn, which has no such limit"
            )
        self.codes_ = codes
        self.weights_ = ridge_weights(cooccurrence(x[:, codes]), self.l2)
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I) regression of every product on the history; rows without purchases are -inf."""
        self.check_fitted()
        scores = np.zeros(batch.shape, dtype=np.float32)
        scores[:, self.codes_] = decayed_presence(batch, self.half_life_days)[:, self.codes_] @ self.weights_
        return with_own(scores, batch, self.half_life_days, self.own_weight)


def ridge_weights(gram: Doubles, l2: float) -> Floats:
    """(A, A) EASE weights of a Gram matrix xᵀx (A, A), which is used up.

    Inverts through Cholesky in place: half the work and a third of the memory of a general inverse.
    """
    if len(gram) == 0:
        return np.zeros((0, 0), dtype=np.float32)
    gram[np.diag_indices_from(gram)] += l2
    factor, failed = lapack.dpotrf(gram.T, lower=0, overwrite_a=1)  # a symmetric matrix is its own Fortran order
    precision, failed_too = lapack.dpotri(factor, lower=0, overwrite_c=1)
    if failed or failed_too:
        raise ResourceError(f"EASE lost positive definiteness at l2={l2}; use a larger l2")
    weights = np.empty(precision.shape, dtype=np.float32)
    for i in range(len(weights)):  # only the upper triangle was worked out
        weights[i, i:] = weights[i:, i] = precision[i, i:]
    weights /= -np.diag(precision).astype(np.float32)
    np.fill_diagonal(weights, 0.0)
    return weights
