"""Customer x product history as sparse arrays: decayed counts, basket places, co-occurrence.

Pure functions of a ``Batch`` (or of a matrix made from one): the same code serves the whole customer base in ``fit``
and one request in ``score``. Every row is worked out alone, so an answer never depends on the rest of the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from aisle.data.dataset import Dataset
from aisle.data.events import Batch, first_of_basket, order_by, sorted_set, sparse_sum, stacked
from aisle.kernels.few import rows_and_columns
from aisle.types import Bools, Codes, Doubles, Floats, Ints, Sparse

BLOCK_CELLS = 4_000_000
"""Dense cells worked on at once; about 100 MB with the sort keys of ``top_k``."""


def everyone(data: Dataset) -> Batch:
    """The batch of all U customers of a dataset, as of its moment."""
    return data.batch(np.arange(data.shape[0], dtype=np.int32))


def of_everyone(data: Dataset, rows: Callable[[Batch], Sparse]) -> Sparse:
    """(U, C) what ``rows`` makes of a batch, (B, C), for all customers, a batch of ``Dataset.batches`` at a time."""
    return stacked([rows(batch) for batch in data.batches()])


def decay(age_days: Doubles, half_life_days: float | None) -> Doubles:
    """(E,) weight ``0.5 ** (age / half life)`` of something that old; 1 throughout where there is no half-life."""
    if half_life_days is None:
        return np.ones(len(age_days))
    return np.asarray(np.exp2(-age_days / half_life_days))


def line_weights(batch: Batch, half_life_days: float | None, place_decay: float | None = None) -> Doubles:
    """(E,) decay of each line: by its age, or ``place_decay`` to the number of later baskets of the customer."""
    if place_decay is None:
        return decay(batch.age_days, half_life_days)
    place, number = basket_places(batch)
    return np.asarray(place_decay ** (number[batch.row] - 1.0 - place))


def decayed_counts(batch: Batch, half_life_days: float | None = None, place_decay: float | None = None) -> Sparse:
    """(B, I) sum over the customer's baskets with the product of their decay; plain counts without any decay."""
    first = first_of_basket(batch.lines, batch.row)
    weights = line_weights(batch, half_life_days, place_decay)[first]
    return sparse_sum(batch.row[first], batch.lines.product[first], weights, batch.shape)


def decayed_presence(batch: Batch, half_life_days: float | None = None, place_decay: float | None = None) -> Sparse:
    """(B, I) decay of the latest purchase of the product: 1 where it was ever bought if there is no decay."""
    order = order_by(batch.row, batch.lines.product)  # stable: of one product the oldest line comes first
    row, product = batch.row[order], batch.lines.product[order]
    latest = np.ones(len(order), dtype=bool)
    latest[:-1] = (row[1:] != row[:-1]) | (product[1:] != product[:-1])
    weights = line_weights(batch, half_life_days, place_decay)[order][latest]
    return sparse_sum(row[latest], product[latest], weights, batch.shape)


def basket_contents(data: Dataset) -> Sparse:
    """(N, I) 1 where a basket holds the product: every basket of the data, those of customers unknown among them."""
    basket, product = data.purchases.basket, data.purchases.product
    there = np.bincount(basket) > 0
    row = (np.cumsum(there, dtype=np.int32) - 1)[basket]
    return sparse_sum(row, product, np.ones(len(row)), (int(there.sum()), data.shape[1])).sign()


def basket_places(batch: Batch) -> tuple[Ints, Ints]:
    """Place of each line's basket in the customer's row of baskets, 0 = oldest (E,), and baskets a customer (B,)."""
    width = int(batch.lines.basket.max(initial=0)) + 1
    key = batch.row.astype(np.int64) * width + batch.lines.basket
    baskets, which = np.unique(key, return_inverse=True)
    number = np.bincount(baskets // width, minlength=len(batch)).astype(np.int64)
    before = np.cumsum(number) - number
    return which - before[batch.row], number


def holds(x: Sparse, row: Ints, code: Ints | Codes) -> Bools:
    """(P,) whether x (B, I) has a cell at each pair of a row (P,) and a column (P,)."""
    (rows, columns), width = rows_and_columns(x), np.int64(x.shape[1])
    return np.isin(row * width + code, rows * width + columns)


def add_sparse(scores: Floats, extra: Sparse, weight: float) -> Floats:
    """Add ``weight`` times a CSR array to dense scores (B, I), in place."""
    scores[rows_and_columns(extra)] += np.float32(weight) * extra.data
    return scores


def scaled(x: Sparse, rows: Doubles, columns: Doubles) -> Sparse:
    """(U, I) every cell of x multiplied by a number of its row (U,) and one of its column (I,)."""
    data = x.data * np.repeat(rows, np.diff(x.indptr)) * columns[x.indices]
    return sp.csr_array((data.astype(np.float32), x.indices, x.indptr), shape=x.shape)


def cooccurrence(x: Sparse) -> Doubles:
    """(I, I) dense ``xᵀx``: for binary x (U, I) the number of customers who bought both products.

    Filled by blocks of rows, so that the product never stands beside it as a sparse matrix of the same size.
    """
    wide = x.astype(np.float64)
    across, n = wide.T.tocsr(), x.shape[1]
    out = np.zeros((n, n))
    step = max(1, BLOCK_CELLS // max(n, 1))
    for at in range(0, n, step):
        out[at : at + step] = (across[at : at + step] @ wide).toarray()
    return out


def narrowed(x: Sparse) -> tuple[Sparse, Ints]:
    """(R, C) without its empty columns, and which (C,) are left: SciPy's product takes time for every column."""
    columns = sorted_set(x.indices.astype(np.int64))
    narrow = sp.csr_array((x.data, np.searchsorted(columns, x.indices), x.indptr), shape=(x.shape[0], len(columns)))
    return narrow, columns


def bought_products(x: Sparse) -> Codes:
    """(A,) codes of the columns of x (U, I) that hold anything."""
    return np.flatnonzero(np.bincount(x.indices, minlength=x.shape[1])).astype(np.int32)


def blocks_of_work(work: Doubles, limit: int) -> list[tuple[int, int]]:
    """Neighbouring rows whose work (N,) adds up to about the limit, a single row where it is more: start and stop."""
    block = ((np.cumsum(work) - work) // limit).astype(np.int64)
    edges = np.append(np.flatnonzero(np.diff(block, prepend=-1) > 0), len(work))
    return list(pairwise(edges.tolist()))
