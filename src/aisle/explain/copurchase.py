"""Which products the same customers buy: cosine over customers, kept for the strongest few neighbours.

``cosine(i, j) = both / sqrt(customers(i) · customers(j))``; pairs that few customers share, or that meet no more often
than independent products would, are left out, so that "often bought with" is never said of chance.
"""

from __future__ import annotations

import numpy as np

from aisle.features.copurchase import Contents
from aisle.progress import Tick
from aisle.types import UNKNOWN, Bools, Codes, Floats, Ints, Sparse

MAX_CELLS = 16_000_000
"""Cells of the (customers, products) table of one block of look-ups."""
ROWS_AT_ONCE = 100_000


def co_purchases(
    counts: Sparse, tie_rank: Codes, n: int, min_support: int, tick: Tick = lambda done, total: None
) -> tuple[Codes, Floats]:
    """The n strongest neighbours of each product, (I, n) codes (-1 = none) and cosines, strongest first.

    ``counts`` (U, I) holds purchases; ties go to the smaller ``tie_rank`` (I,). ``tick`` counts products.
    """
    bought, n_products = Contents.of(counts.sign().tocsr()), counts.shape[1]
    buyers = bought.sizes
    width = min(n, max(n_products - 1, 1))
    neighbours = np.full((n_products, width), UNKNOWN, dtype=np.int32)
    strength = np.zeros((n_products, width), dtype=np.float32)
    customers = int((np.diff(counts.indptr) > 0).sum())
    for i, j, both in bought.shared(np.arange(n_products), min_support):
        keep = both * float(customers) > buyers[i] * buyers[j]
        i, j = i[keep], j[keep]
        cosine = both[keep] / np.sqrt(buyers[i] * buyers[j])
        order = np.lexsort((tie_rank[j], -cosine, i))
        i, j, cosine = i[order], j[order], cosine[order]
        place = np.arange(len(i)) - np.searchsorted(i, i)
        top = place < width
        neighbours[i[top], place[top]] = j[top]
        strength[i[top], place[top]] = cosine[top]
        tick(int(i.max(initial=0)), n_products)
    return neighbours, strength


def strongest_link(neighbours: Codes, history: Sparse, row: Ints, code: Codes) -> Codes:
    """(N,) the product of the history (B, I) of each row most strongly tied to ``code``; -1 = none.

    ``row`` (N,) must not fall. A dense table of one block of customers answers each look-up in constant time.
    """
    out = np.full(len(row), UNKNOWN, dtype=np.int32)
    n_products = history.shape[1]
    rows_in_block = max(1, MAX_CELLS // (n_products + 1))
    for first in range(0, history.shape[0], rows_in_block):
        last = min(first + rows_in_block, history.shape[0])
        low, high = np.searchsorted(row, (first, last))
        owned = _owned(history, first, last)
        for start in range(low, high, ROWS_AT_ONCE):
            part = slice(start, min(start + ROWS_AT_ONCE, high))
            out[part] = _first_owned(neighbours, owned, row[part] - first, code[part])
    return out


def _owned(history: Sparse, first: int, last: int) -> Bools:
    """(rows, I + 1) True for bought products; the last column, which -1 points at, is always False."""
    owned = np.zeros((last - first, history.shape[1] + 1), dtype=bool)
    span = slice(history.indptr[first], history.indptr[last])
    rows = np.repeat(np.arange(last - first), np.diff(history.indptr[first : last + 1]))
    owned[rows, history.indices[span]] = True
    return owned


def _first_owned(neighbours: Codes, owned: Bools, row: Ints, code: Codes) -> Codes:
    """(N,) the first neighbour of ``code`` that the row owns; -1 = none."""
    near = neighbours[code]
    have = owned[row[:, None], near]
    best = have.argmax(axis=1)
    at = np.arange(len(row))
    return np.where(have[at, best], near[at, best], UNKNOWN).astype(np.int32)
