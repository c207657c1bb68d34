"""Where learning starts: vectors that already know who bought what together.

A ridge regression of every product on what customers bought, ``X · (XᵀX + λ)⁻¹ XᵀX``, is ``X · V f Vᵀ`` with the
right singular vectors V of X and ``f = σ² / (σ² + λ)`` (EASE without its zero diagonal: Steck, WWW 2019). Cut to D
dimensions and split evenly, ``V √f`` are vectors of products whose weighted sum over a history scores all products.
Customers and products weigh less the more they buy and sell (``BUSY``), as in GF-CF (Shen et al., CIKM 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.linear_model import Ridge
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

from aisle.models.nn.rows import Rows
from aisle.types import Clock, Floats, Sparse

Start: TypeAlias = dict[str, float | None]
"""Settings of a start by name."""
AGES: dict[Clock, tuple[float, ...]] = {"time": (365.0, 90.0, 30.0), "sequence": (27.0, 9.0, 3.0)}
START: Start = {"half_life": None, "ridge": 0.1, "lift": 0.125, "prior": 0.1}
OTHERS: dict[str, tuple[float, ...]] = {"ridge": (0.3, 0.03), "lift": (0.0,), "prior": (1.0,)}
"""The start, and what else is tried: the age in days (baskets) at which a purchase counts half, the ridge, how much
longer best sellers' vectors are, and how much the sales prior counts."""
BUSY = 0.25
"""Customers and products count as (their total) ** -BUSY."""

SHY = 5.0
"""A column's carriers, and a product's sales, count for half at this number."""


@dataclass(frozen=True, eq=False)
class Tastes:
    """The leading D singular vectors of purchases, from which a start with any ridge follows."""

    right: Floats
    """(I, R) right singular vectors, R <= D."""
    singular: Floats
    """(R,) relative to the largest."""
    sold: Floats
    """(I,) total weight of each product."""

    @classmethod
    def of(cls, purchases: Sparse, dim: int, seed: int) -> Tastes:
        """From (U, I) weights of purchases (Halko et al., "Finding structure with randomness", SIAM Review 2011)."""
        n_customers, n_products = purchases.shape
        sold = np.bincount(purchases.indices, weights=purchases.data, minlength=n_products).astype(np.float32)
        rank = min(dim, min(purchases.shape) - 1)
        if purchases.nnz == 0 or rank < 1:
            return cls(np.zeros((n_products, 0), np.float32), np.zeros(0, np.float32), sold)
        rows = np.repeat(np.arange(n_customers), np.diff(purchases.indptr))
        bought = np.bincount(rows, weights=purchases.data, minlength=n_customers)
        values = purchases.data * bought[rows] ** -BUSY * sold[purchases.indices] ** -BUSY
        matrix = sp.csr_matrix((values, purchases.indices, purchases.indptr), shape=purchases.shape)
        _, singular, right = randomized_svd(matrix, rank, n_iter=4, random_state=seed)
        return cls(right.T.astype(np.float32), (singular / max(singular[0], 1e-12)).astype(np.float32), sold)

    def vectors(self, ridge: float, dim: int) -> Floats:
        """(I, D) product vectors, of length about 1 on the mean purchase; 0 for products nobody bought."""
        out = np.zeros((len(self.right), dim), dtype=np.float32)
        right = self.right * (self.sold > 0)[:, None]  # of what nobody bought the decomposition leaves dust
        shrunk = self.singular**2 / (self.singular**2 + ridge)
        out[:, : len(shrunk)] = right * np.sqrt(shrunk)
        length = np.linalg.norm(out, axis=1)
        mean = float(np.average(length, weights=self.sold)) if self.sold.any() else 0.0
        return out / mean if mean > 0 else out


def explained(rows: Rows, vectors: Tensor) -> Tensor:
    """(F, D) ridge regression of the vectors (N, D) on the feature rows (N, F); vectors that are 0 are no evidence.

    What few rows carry stays near 0; what many share is shared among its columns.
    """
    some = torch.nonzero(vectors.abs().sum(dim=1) > 0)[:, 0]
    if not len(some) or not rows.width:
        return torch.zeros(rows.width, vectors.shape[1])
    part = rows.take(some)
    matrix = sp.csr_matrix(
        (part.value.numpy(), part.column.numpy(), part.indptr.numpy()), shape=(len(some), rows.width)
    )
    ridge = Ridge(alpha=SHY, fit_intercept=False, solver="sparse_cg", tol=1e-3)
    ridge.fit(matrix.astype(np.float64), vectors[some].double().numpy())
    return torch.from_numpy(ridge.coef_.reshape(vectors.shape[1], rows.width).T.astype(np.float32).copy())
