"""SLIM: sparse product-to-product regression with weights >= 0, by coordinate descent on small Gram matrices.

Ning and Karypis, "SLIM: Sparse Linear Methods for Top-N Recommender Systems", ICDM 2011. For every product j

    min over w >= 0, w_j = 0 of  ½ |x_j - X w|² + ½ l2 |w|² + l1 |w|₁,   score_j = x_u · w

with X (U, I) what customers bought (1, or the decay of the latest purchase). Only the ``neighbours`` products nearest
to j by cosine may get a weight, so that each problem needs a Gram matrix of their size alone, whatever the catalogue.
Problems are solved a block at a time: one coordinate of all of them in one step. The score adds ``own_weight`` times
the customer's own decayed purchase counts, since a zero diagonal knows no repeats.
Cost: ``fit`` takes time A x neighbours² x sweeps for A products bought, memory O(neighbours x A) and a block.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.errors import UsageError
from aisle.features.links import Links, cosine_neighbours
from aisle.features.pairs import BLOCK_CELLS, decayed_counts, decayed_presence, of_everyone
from aisle.models.base import Few, check_own, few_with_own
from aisle.models.strips import InStrips
from aisle.types import Bools, Codes, Doubles, Floats, Ints, Sparse

LIVE = 0.5
"""Share of the problems of a block that are not solved yet, below which the others are left behind."""


@dataclass(kw_only=True, eq=False)
class SLIM(InStrips):
    """Few, positive weights between products: sparse, explainable, for any catalogue."""

    name: ClassVar[str] = "slim"
    space: ClassVar[dict[str, tuple[Any, ...]]] = {
        "l2": (300.0, 100.0, 1000.0),
        "l1": (1.0, 5.0),
        "half_life_days": (182.0, None),
        "own_weight": (0.3, 0.03),
    }

    l1: float = 1.0
    """Penalty on weights; larger keeps fewer of them. In customers: a pair must be worth that many to count."""
    l2: float = 300.0
    """Penalty on squares of weights; larger shares weight among products that go together, try 10 to 1,000."""
    neighbours: int = 100
    """Products that may get a weight, for each product; fit takes time with the square."""
    half_life_days: float | None = 182.0
    """Age at which a purchase counts half, in learning and in scoring; None = bought or not, as in the paper."""
    own_weight: float = 0.3
    """Weight of the customer's own (decayed) purchase counts; 0 = none, as in the paper."""
    sweeps: int = 50
    """Most rounds over all coordinates of a problem."""
    tolerance: float = 1e-4
    """A problem is solved when no weight of it moved by more in a round."""

    weights_: Sparse = field(init=False, repr=False)
    """(I, I) effect of having bought the row's product on the score of the column's."""

    def __post_init__(self) -> None:
        if not self.l1 >= 0 or not self.l2 >= 0:
            raise UsageError(f"l1 and l2 must be >= 0, got {self.l1} and {self.l2}")
        if self.neighbours < 1 or self.sweeps < 1:
            raise UsageError(f"neighbours and sweeps must be >= 1, got {self.neighbours} and {self.sweeps}")
        if not self.tolerance >= 0:
            raise UsageError(f"tolerance must be >= 0, got {self.tolerance}")
        check_own(self.half_life_days, self.own_weight)

    def links(self, data: Dataset) -> Regressions:
        """The weights of every product that was bought."""
        x = of_everyone(data, lambda batch: decayed_presence(batch, self.half_life_days))
        return Regressions(self, cosine_neighbours(x, self.neighbours))

    def learn(self, rows: Sparse) -> Self:
        """Keep the weights by what was bought: the rows are of the products that they speak of."""
        self.weights_ = rows.T.tocsr()
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I) regression of every product on the history; rows without purchases are -inf."""
        return self.few(batch).dense()

    def few(self, batch: Batch) -> Few:
        """The same scores, as few cells."""
        self.check_fitted()
        taste = decayed_presence(batch, self.half_life_days) @ self.weights_
        return few_with_own(taste, batch, decayed_counts(batch, self.half_life_days), self.own_weight)


@dataclass(frozen=True, eq=False)
class Regressions:
    """(I, I) the weights for each row's product of all others."""

    model: SLIM
    near: Links
    """Who may get a weight."""

    def rows(self, products: slice) -> Sparse:
        """(R, I) the solutions for neighbouring products."""
        own, near = self.model, self.near.rows(products)
        number = np.diff(near.indptr)
        targets, size = np.flatnonzero(number), int(number.max(initial=0))
        step = max(1, BLOCK_CELLS // max(size, 1) ** 2)
        weights = np.zeros(near.nnz, dtype=np.float32)
        for at in range(0, len(targets), step):
            block = targets[at : at + step]
            neighbours = [near.indices[near.indptr[row] : near.indptr[row + 1]] for row in block.tolist()]
            asked = problems(self.near, products.start + block, neighbours)
            solved = descend(*asked, own.l1, own.l2, own.sweeps, own.tolerance)
            inside: Bools = np.arange(solved.shape[1]) < number[block, None]
            weights[near.indptr[block[0]] : near.indptr[block[-1] + 1]] = solved[inside]
        solutions: Sparse = sp.csr_array((weights, near.indices, near.indptr), shape=near.shape)
        solutions.eliminate_zeros()
        return solutions


def problems(near: Links, targets: Ints, neighbours: list[Codes]) -> tuple[Doubles, Doubles]:
    """Gram matrices (N, R, N) of the neighbours of R products, and these against the products (R, N): for ``descend``.

    ``targets`` (R,) are the products, all of them bought; N is the most neighbours that any of them has.
    """
    size = max(len(codes) for codes in neighbours)
    grams, sides = np.zeros((size, len(targets), size)), np.zeros((len(targets), size))
    for row, (target, codes) in enumerate(zip(targets.tolist(), neighbours, strict=True)):
        part = near.across[np.searchsorted(near.sources, codes)].astype(np.float64).T
        own = near.across[np.searchsorted(near.sources, [target])].astype(np.float64)
        grams[: len(codes), row, : len(codes)] = (part.T @ part).toarray()
        sides[row, : len(codes)] = (own @ part).toarray()[0]
    return grams, sides


def descend(grams: Doubles, sides: Doubles, l1: float, l2: float, sweeps: int, tolerance: float) -> Doubles:
    """(R, N) weights >= 0 of R problems ``½ wᵀ gram w - side · w + ½ l2 |w|² + l1 |w|₁``, solved side by side.

    ``grams`` (N, R, N): cell [i, r, j] of problem r at [i, j], so that one coordinate of all of them lies together;
    ``sides`` (R, N). A coordinate whose diagonal is 0 stays 0: it fills up a smaller problem. Each problem ends by
    itself: which others are solved beside it changes no bit.
    """
    found, at, live = np.zeros(sides.shape), np.arange(len(sides)), np.ones(len(sides), dtype=bool)
    weights, rest = np.zeros(sides.shape), sides.copy()  # rest = side - gram w
    for _ in range(sweeps):
        moved = _sweep(grams, weights, rest, l1, l2)
        found[at[live]] = weights[live]
        live &= moved > tolerance
        if not live.any():
            break
        if live.mean() < LIVE:
            at, grams, weights, rest, live = at[live], grams[:, live], weights[live], rest[live], live[live]
    return found


def _sweep(grams: Doubles, weights: Doubles, rest: Doubles, l1: float, l2: float) -> Doubles:
    """(R,) the furthest that a weight moves when each coordinate is solved once, in place, for R problems."""
    diagonal, moved = np.einsum("iri->ir", grams), np.zeros(len(weights))
    for i in range(len(grams)):
        top = np.maximum(rest[:, i] + diagonal[i] * weights[:, i] - l1, 0.0)
        new = np.divide(top, diagonal[i] + l2, out=np.zeros(len(top)), where=diagonal[i] > 0)
        change = new - weights[:, i]
        if change.any():
            weights[:, i] = new
            rest -= change[:, None] * grams[i]
            np.maximum(moved, np.abs(change), out=moved)
    return moved
