"""What products say of each other: the strongest cells of products of sparse matrices, some products at a time.

A row is the work of one product alone: who works out which rows, and how many at a time, changes no bit of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias

import numpy as np
import scipy.sparse as sp

from aisle.data.events import stacked
from aisle.features.pairs import BLOCK_CELLS, blocks_of_work, bought_products, narrowed
from aisle.kernels.few import are_few, top_few
from aisle.kernels.topk import top_k
from aisle.types import Codes, Doubles, Floats, Ints, Sparse

Weigh: TypeAlias = Callable[[Floats, Codes, Codes], Floats]
"""(values, rows, columns), (M,) each -> what is compared in the place of the values; see ``Links``."""


class Rows(Protocol):
    """A matrix over products (I, C) that is made some rows at a time."""

    def rows(self, products: slice) -> Sparse:
        """(R, C) the rows of neighbouring products."""


class Through(Protocol):
    """A sparse matrix M (N, N) that is made a few rows at a time, never whole."""

    @property
    def widths(self) -> Ints:
        """(N,) at most so many cells has each row."""

    def rows(self, places: Ints) -> Sparse:
        """(R, N) the rows at some places (R,)."""


@dataclass(frozen=True, eq=False)
class Links:
    """(I, I) the k largest positive cells of each row of ``leftᵀ M right``, where left and right are (N, I).

    M is ``through`` (N, N), or the identity. ``weigh`` turns the cells of that product that are not 0, whose rows and
    columns stand for the products ``rows`` and ``columns``, into what is compared and kept. The diagonal is left out,
    ties go to the smaller code.
    """

    across: Sparse
    """(A, N) leftᵀ of the products that it holds."""
    right: Sparse
    """(N, C)."""
    sources: Codes
    """(A,) products of the rows, rising."""
    targets: Codes
    """(C,) products of the columns, rising."""
    products: int
    """I."""
    k: int
    weigh: Weigh | None = None
    through: Through | None = None

    @classmethod
    def of(
        cls, left: Sparse, right: Sparse, k: int, weigh: Weigh | None = None, through: Through | None = None
    ) -> Self:
        """Those of left and right (N, I)."""
        sources, targets = bought_products(left), bought_products(right)
        across, right = left.T.tocsr()[sources], right[:, targets]
        return cls(across, right, sources, targets, left.shape[1], k, weigh, through)

    def rows(self, products: slice) -> Sparse:
        """(R, I) the rows of neighbouring products; those that nobody bought are empty.

        Works on blocks of rows: memory O(block x I + k x R), or that of the densest row of ``leftᵀ M``.
        """
        first, last = np.searchsorted(self.sources, (products.start, products.stop)).tolist()
        across, sources = self.across[first:last], self.sources[first:last]
        work = np.full(len(sources), max(len(self.targets), 1), dtype=np.float64)
        if self.through is not None:  # few products of many baskets: leftᵀ M is what fills the memory
            work = np.maximum(work, across.sign() @ self.through.widths.astype(np.float64))
        blocks = []
        for start, stop in blocks_of_work(work, BLOCK_CELLS):
            part = across[start:stop]
            product = part @ self.right if self.through is None else _through(part, self.through, self.right)
            blocks.append(_strongest_of_rows(product, sources[start:stop], self.targets, self.k, self.weigh))
        shape = (products.stop - products.start, self.products)
        if not blocks:
            return sp.csr_array(shape, dtype=np.float32)
        found = stacked(blocks)
        ends = np.searchsorted(sources, np.arange(products.start, products.stop + 1))
        return sp.csr_array((found.data, self.targets[found.indices], found.indptr[ends]), shape=shape)

    def whole(self) -> Sparse:
        """(I, I) all rows."""
        return self.rows(slice(0, self.products))


def cosine_neighbours(x: Sparse, k: int, shrink: float = 0.0, powers: tuple[float, float] = (0.5, 0.5)) -> Links:
    """The k products nearest to each row's product by cosine between the columns of x (U, I).

    ``cos(i, j) = (xᵀx)_ij / (|x_i| |x_j| + shrink)``, for binary x |x_i| = √buyers; other ``powers`` than a half (of
    row and column) take another share of the buyers of both away. See ``linked``.
    """
    return linked(x, np.asarray(x.multiply(x).sum(axis=0)).ravel(), k, shrink, powers)


def linked(
    x: Sparse,
    sizes: Doubles | Floats,
    k: int,
    shrink: float,
    powers: tuple[float, float],
    through: Through | None = None,
) -> Links:
    """The k products j with the largest ``(xᵀ M x)_ij / (size_i^a size_j^b + shrink)`` of each row's product i.

    x is (N, I), ``sizes`` (I,), powers (a, b); M is ``through`` (N, N), or the identity. Shrinking distrusts pairs of
    little support. Products nobody bought have no neighbours.
    """
    source, target = (sizes**power for power in powers)

    def shares(values: Floats, rows: Codes, columns: Codes) -> Floats:
        bottom = source[rows] * target[columns] + shrink
        found = np.zeros(len(values), dtype=np.float32)
        return np.divide(values, bottom, out=found, where=bottom > 0, casting="unsafe")

    return Links.of(x, x, k, shares, through)


def _through(part: Sparse, through: Through, right: Sparse) -> Sparse:
    """(R, C) ``part M right``: of M (N, N) and right (N, C) only what the part (R, N) reaches is made and met."""
    part, rows = narrowed(part)
    near, columns = narrowed(through.rows(rows))
    return (part @ near) @ right[columns]


def _strongest_of_rows(product: Sparse, sources: Codes, targets: Codes, k: int, weigh: Weigh | None) -> Sparse:
    """(R, C) the k cells of each row of a product (R, C) that are worth most, as what they are worth."""
    row = np.repeat(np.arange(len(sources)), np.diff(product.indptr))
    worth, from_, to = product.data, sources[row], targets[product.indices]
    if weigh is not None:
        worth = weigh(worth, from_, to)
    worth[(worth <= 0) | (from_ == to)] = -np.inf
    by_code = np.arange(len(targets), dtype=np.int32)
    if are_few(product):
        cells: Sparse = sp.csr_array((worth, product.indices, product.indptr), shape=product.shape)
        near, found = top_few(cells, np.full(len(targets), -np.inf, dtype=np.float32), k, by_code)
    else:
        block = np.full(product.shape, -np.inf, dtype=np.float32)
        block.reshape(-1)[row * product.shape[1] + product.indices] = worth
        near, found = top_k(block, k, by_code)
    near[near < 0] = len(targets)
    order = np.argsort(near, axis=1)
    near, found = np.take_along_axis(near, order, axis=1), np.take_along_axis(found, order, axis=1)
    some = near < len(targets)
    indptr = np.concatenate(([0], np.cumsum(some.sum(axis=1)))).astype(np.int32)
    return sp.csr_array((found[some], near[some], indptr), shape=product.shape)
