"""iALS: one vector a customer and one a product, fitted to purchases and to everything not bought, in closed form.

Hu, Koren and Volinsky, ICDM 2008, in the form of Rendle, Krichene, Zhang and Koren, "Revisiting the Performance of iALS
on Item Recommendation Benchmarks", RecSys 2022. Over customers u, products i bought at all and the pairs S bought,

    min  Σ_S c_ui (1 - w_u · h_i)²  +  alpha0 Σ_all (w_u · h_i)²
         + regularization · ( Σ_u (n_u + alpha0 |I|)^nu |w_u|²  +  Σ_i (n_i + alpha0 |U|)^nu |h_i|² )

with c = 1, or the decay of the latest purchase, and n its sums over a row or a column. With the other side fixed each
vector is the answer to D linear equations; a sweep solves for all customers, then all products. The sum over all pairs
needs the D x D matrix HᵀH alone, and the axes are turned so that it is diagonal, which moves no score: then a row of n
purchases asks for n equations only where that is less than D (see ``best``). A customer's vector at score time is
solved from the history in the same way, so that newcomers are answered as everybody else. The score is w_u · h_i plus
``own_weight`` times the own decayed counts. Cost: a sweep takes time Σ n D min(n, D) over rows and columns, memory
(U + I) x D and a block; no limit on the catalogue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.errors import UsageError
from aisle.features.pairs import BLOCK_CELLS, bought_products, decayed_counts, decayed_presence, of_everyone, scaled
from aisle.kernels.workers import by_parts
from aisle.models.base import Dots, Model, check_own, with_own
from aisle.types import Codes, Doubles, Floats, Ints, Sparse

TILE = 200_000
"""Numbers of vectors that are solved with at once: what is worked on stays in cache."""
LEAST = float(np.finfo(np.float32).tiny)
"""Stands in for sums and penalties of 0, of purchases whose decay is 0."""
START, CHANCE, FAINT = 0.5, 0.01, 1e-6
"""Length of a product's vector at the start, and of the part of it that is chance; share of the strongest direction
that stands in for what weak ones lack."""


class Axes(NamedTuple):
    """Vectors of customers or products, in axes in which no two of their columns have anything in common."""

    vectors: Floats
    """(N, D)."""
    spread: Doubles
    """(D,) sums of squares of the columns: the Gram matrix is diagonal, and this its diagonal."""


@dataclass(kw_only=True, eq=False)
class IALS(Model):
    """Matrix factorization by alternating least squares: any size, small state, vectors for other uses."""

    name: ClassVar[str] = "ials"
    space: ClassVar[dict[str, tuple[Any, ...]]] = {
        "regularization": (0.01, 0.003, 0.03),
        "alpha0": (0.3, 0.1, 0.03, 0.01),
        "dim": (64, 128),
        "half_life_days": (182.0, None),
        "own_weight": (0.3, 0.03),
    }

    dim: int = 64
    """D, width of the vectors; large catalogues gain up to 1,000 and more, at D³ in time."""
    alpha0: float = 0.3
    """Weight of a pair because it exists; larger pulls what was not bought to 0, try .01 to 1."""
    regularization: float = 0.01
    """Penalty on vectors; set it anew after changing ``alpha0`` or ``nu``."""
    nu: float = 1.0
    """Power of the number of purchases in the penalty: 1 = frequent ones are penalised in proportion, 0 = all alike."""
    sweeps: int = 4
    """Rounds over customers and products."""
    half_life_days: float | None = 182.0
    """Age at which a purchase counts half, in learning and in scoring; None = bought or not, as in the papers."""
    own_weight: float = 0.3
    """Weight of the customer's own (decayed) purchase counts; 0 = none, as in the papers."""
    seed: int = 0
    """Start of the product vectors."""

    products_: Floats = field(init=False, repr=False)
    """(I, D) h, in axes in which HᵀH is diagonal; 0 for products nobody bought."""
    spread_: Doubles = field(init=False, repr=False)
    """(D,) diagonal of HᵀH."""
    count_: int = field(init=False, repr=False)
    """|I|, products bought at least once."""

    def __post_init__(self) -> None:
        if self.dim < 1 or self.sweeps < 1:
            raise UsageError(f"dim and sweeps must be >= 1, got {self.dim} and {self.sweeps}")
        if not self.alpha0 >= 0 or not self.regularization > 0:
            raise UsageError(f"alpha0 must be >= 0 and regularization > 0, got {self.alpha0} and {self.regularization}")
        if not 0 <= self.nu <= 1:
            raise UsageError(f"nu must lie in 0 … 1, got {self.nu}")
        check_own(self.half_life_days, self.own_weight)

    def fit(self, data: Dataset) -> Self:
        """Alternate between customers and products for some sweeps."""
        deque(self.learn(data), maxlen=0)
        return self

    def learn(self, data: Dataset) -> Iterator[Self]:
        """The model itself after each sweep; ``fit`` takes all of them."""
        x = of_everyone(data, lambda batch: decayed_presence(batch, self.half_life_days))
        codes = bought_products(x)
        x = x[np.diff(x.indptr) > 0][:, codes]
        across = x.T.tocsr()
        products = axes(self._start(x, across))
        for _ in range(self.sweeps):
            customers = axes(self._solve(x, products, len(codes)))
            products = axes(self._solve(across, customers, x.shape[0]))
            self.products_ = np.zeros((data.shape[1], self.dim), dtype=np.float32)
            self.products_[codes] = products.vectors
            self.spread_, self.count_ = products.spread, len(codes)
            yield self

    def score(self, batch: Batch) -> Floats:
        """(B, I) inner products of vectors, and own counts; rows without purchases are -inf."""
        self.check_fitted()
        scores: Floats = self._customers(batch) @ self.products_.T
        return with_own(scores, batch, self.half_life_days, self.own_weight)

    def dot_targets(self) -> tuple[Floats, Floats]:
        """(I, D) h, and (I,) zeros."""
        self.check_fitted()
        return self.products_, np.zeros(len(self.products_), dtype=np.float32)

    def dots(self, batch: Batch) -> Dots:
        """Vectors of customers; the scores of own products hold their counts too."""
        self.check_fitted()
        queries, own = self._customers(batch), decayed_counts(batch, self.half_life_days)
        row = np.repeat(np.arange(len(batch)), np.diff(own.indptr))
        score = np.float32(self.own_weight) * own.data
        step = max(1, BLOCK_CELLS // self.dim)
        for at in range(0, len(row), step):  # pairs are as many as purchases: never all their vectors at once
            part = slice(at, at + step)
            score[part] += np.einsum("pd,pd->p", queries[row[part]], self.products_[own.indices[part]])
        return Dots(queries, row, own.indices.astype(np.int64), score)

    def product_vectors(self) -> Floats:
        """(I, D) h."""
        self.check_fitted()
        return self.products_

    def customer_vectors(self, batch: Batch) -> Floats:
        """(B, 1, D) w, solved from each history; 0 where there is none."""
        self.check_fitted()
        return self._customers(batch)[:, None]

    def _customers(self, batch: Batch) -> Floats:
        """(B, D) vectors of the rows of a batch."""
        x = decayed_presence(batch, self.half_life_days)
        return self._solve(x, Axes(self.products_, self.spread_), self.count_)

    def _start(self, x: Sparse, across: Sparse) -> Floats:
        """(I, D) product vectors to begin with: the D directions in which x (U, I) is strong, about, and some chance.

        Two rounds of normal numbers through x̃ᵀx̃ (randomized subspace iteration: Halko, Martinsson and Tropp, SIAM
        Review 2011), x̃_ui = x_ui / (√n_u n_i^¼), where vectors get h_i / n_i^¼, and all directions the same length. The
        paper starts from normal numbers alone, and needs two sweeps more to come as far.
        """
        users, items = (np.maximum(np.asarray(x.sum(axis=axis, dtype=np.float64)).ravel(), LEAST) for axis in (1, 0))
        chance = np.random.default_rng(self.seed).normal(size=(x.shape[1], self.dim)).astype(np.float32)
        even = items**-0.25
        across = scaled(across, even, users**-0.5)
        vectors: Floats = chance
        for _ in range(2):
            vectors = across @ (across.T @ vectors)
        spread, turn = np.linalg.eigh(gram(vectors))
        evened = (turn / np.sqrt(spread.clip(0.0) + FAINT * spread.max() + LEAST)) @ turn.T
        vectors = vectors @ evened.astype(np.float32) * even[:, None].astype(np.float32)
        vectors *= START * np.sqrt(len(vectors)) / max(float(np.linalg.norm(vectors)), LEAST)
        vectors += np.float32(CHANCE / np.sqrt(self.dim)) * chance
        return vectors

    def _solve(self, x: Sparse, others: Axes, number: int) -> Floats:
        """(R, D) best vectors of the rows of x (R, N) given those of the columns (N, D); 0 for rows without any cell.

        The Gram matrix is that of the ``number`` columns. Rows of the same length are solved together, each by
        operations of its own shape, so that the answer of a row does not depend on the others.
        """
        solved = np.zeros((x.shape[0], self.dim), dtype=np.float32)
        length = np.diff(x.indptr)
        order = np.argsort(length, kind="stable")
        sizes, starts = np.unique(length[order], return_index=True)
        sums = np.asarray(x.sum(axis=1, dtype=np.float64)).ravel()
        penalty = self.regularization * (sums + self.alpha0 * number) ** self.nu
        base = np.maximum(self.alpha0 * others.spread, LEAST)
        parts: list[tuple[int, Ints]] = []
        for size, (start, stop) in zip(sizes.tolist(), pairwise([*starts.tolist(), len(order)]), strict=True):
            step = max(1, TILE // (self.dim * max(size, 1)))
            parts += [(size, order[at : min(at + step, stop)]) for at in range(start if size else stop, stop, step)]

        def solve(part: int) -> None:
            size, rows = parts[part]
            cells = x.indptr[rows, None] + np.arange(size)
            root = np.sqrt(x.data[cells], dtype=np.float64)
            solved[rows] = best(others.vectors, x.indices[cells], root, base + penalty[rows, None])

        if len(parts) < 2:  # threads would take longer than a single request
            for part in range(len(parts)):
                solve(part)
        else:
            by_parts(solve, range(len(parts)))
        return solved


def best(others: Floats, columns: Codes, root: Doubles, rest: Doubles) -> Doubles:
    """(b, D) vectors w = (YᵀY + diag r)⁻¹ Yᵀ s of b rows with n cells each; r is ``rest`` (b, D), s is ``root`` (b, n).

    Y (n, D) are ``others`` (N, D) at the row's ``columns`` (b, n), times s. Where n < D it takes n equations only:
    w = r⁻¹ Yᵀ (Y r⁻¹ Yᵀ + 1)⁻¹ s, the same by the identity of Woodbury.
    """
    number, dim = columns.shape[1], others.shape[1]
    if number < dim:
        own = others.take(columns, axis=0) * root[:, :, None]
        eased = own * (1.0 / rest)[:, None]
        left = own @ eased.swapaxes(1, 2)
        left.reshape(len(left), -1)[:, :: number + 1] += 1.0
        return np.asarray((np.linalg.solve(left, root[:, :, None]).swapaxes(1, 2) @ eased)[:, 0])
    left, right = np.zeros((len(columns), dim, dim)), np.zeros((len(columns), dim, 1))
    step = max(1, TILE // dim)
    for at in range(0, number, step):  # everybody may have bought one product: never all their vectors at once
        weight = root[:, at : at + step, None]
        own = others.take(columns[:, at : at + step], axis=0) * weight
        left += own.swapaxes(1, 2) @ own
        right += own.swapaxes(1, 2) @ weight
    left.reshape(len(left), -1)[:, :: dim + 1] += rest
    return np.asarray(np.linalg.solve(left, right)[:, :, 0])


def axes(vectors: Floats) -> Axes:
    """Vectors (N, D) turned into axes in which their Gram matrix is diagonal: inner products stay what they are."""
    spread, turn = np.linalg.eigh(gram(vectors))
    return Axes(vectors @ turn.astype(np.float32), np.maximum(spread, 0.0))


def gram(vectors: Floats) -> Doubles:
    """(D, D) sum of the outer products of vectors (N, D) with themselves, in blocks of rows."""
    total = np.zeros((vectors.shape[1], vectors.shape[1]))
    step = max(1, BLOCK_CELLS // vectors.shape[1])
    for at in range(0, len(vectors), step):
        block = vectors[at : at + step].astype(np.float64)
        total += block.T @ block
    return total
