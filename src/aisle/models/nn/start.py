"""Where learning starts: vectors that already know who bought what together."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.utils.extmath import randomized_svd

from aisle.types import Floats, Ints, Sparse


def taste_vectors(counts: Sparse, dim: int, seed: int) -> tuple[Floats, Floats]:
    """Unit vectors of customers (U, D) and products (I, D) from a truncated SVD; all 0 where there are no purchases.

    The matrix is ``D_u^-½ · sign(counts) · D_i^-½`` as in GF-CF (Shen et al., CIKM 2021), so that neither busy
    customers nor best sellers span the space alone; products are scaled by the singular values (Halko et al., 2011).
    """
    x = counts.sign()
    n_users, n_items = x.shape
    customers, products = np.zeros((n_users, dim), dtype=np.float32), np.zeros((n_items, dim), dtype=np.float32)
    rank = min(dim, min(x.shape) - 1)
    if x.nnz == 0 or rank < 1:
        return customers, products
    by_user = np.maximum(np.diff(x.indptr), 1) ** -0.5
    by_item = np.maximum(np.bincount(x.indices, minlength=n_items), 1) ** -0.5
    rows = np.repeat(np.arange(n_users), np.diff(x.indptr))
    values = by_user[rows] * by_item[x.indices]
    scaled = sp.csr_matrix((values, x.indices, x.indptr), shape=x.shape)
    _, singular, right = randomized_svd(scaled, rank, n_iter=4, random_state=seed)
    products[:, :rank] = unit_rows(right.T * singular)
    customers[:] = unit_rows(np.asarray(x @ products))
    return customers, products


def level_means(vectors: Floats, codes: Ints, size: int) -> Floats:
    """(size + 1, D) mean vector of each value of a level; row 0 (blank) and values without rows are 0.

    ``codes`` (N,) are code + 1, 0 = blank; rows of ``vectors`` (N, D) that are 0 are nobody's evidence.
    """
    some = (np.abs(vectors).sum(axis=1) > 0) & (codes > 0)
    pick = sp.csr_array((np.ones(int(some.sum())), (codes[some], np.flatnonzero(some))), shape=(size + 1, len(vectors)))
    number = np.maximum(np.bincount(codes[some], minlength=size + 1), 1)
    return np.asarray((pick @ vectors) / number[:, None], dtype=np.float32)


def unit_rows(matrix: np.ndarray) -> Floats:
    """Each row divided by its length; rows of 0 stay 0."""
    length = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.asarray(np.where(length > 1e-12, matrix / np.maximum(length, 1e-12), 0.0), dtype=np.float32)
