"""Graph filter: the history blurred over the graph of purchases, then sharpened; no training.

Shen et al., "How Powerful is Graph Convolution for Recommendation?" (GF-CF), CIKM 2021; sharpening from Choi et al.,
"Blurring-Sharpening Process Models for Collaborative Filtering" (BSPM), SIGIR 2023. With X (U, I) who bought what (1 or
0), D_u and D_i the purchases of each customer and product, N = D_u^-p X D_i^-½ over its largest singular value, G = NᵀN
and V (I, K) the first ``factors`` right singular vectors of N, the customer's history h (1, or the decay of the latest
purchase) is

    blurred:    s = h G + low_pass · h D_i^-½ V Vᵀ D_i^½
    sharpened:  ds/dt = -s G  for a time ``sharpen``, as one step of a Runge-Kutta method of ``order``

G is linear, so that such a step is the Taylor polynomial of its order: order 1 is Euler's step s - t·s G, order 4 the
classical one, s (1 - tG + t²G²/2 - t³G³/6 + t⁴G⁴/24). ``sharpen`` = 0 and p = ½ is GF-CF. The graph never decays.
Cost: ``fit`` is one truncated singular value decomposition. A score multiplies dense blocks of customers by sparse N
and its transpose, 1 + ``order`` times; N is kept, or G where it is no larger. Memory O(pairs + K x I) and a block.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh, svds

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.errors import UsageError
from aisle.features.pairs import BLOCK_CELLS, bought_products, decayed_presence, of_everyone, scaled
from aisle.models.base import Model, check_own, with_own
from aisle.types import Codes, Doubles, Floats, Sparse

SMALL = 500
"""Up to this many customers or products the decomposition is dense and exact: the iteration needs room to work."""
FULLER = 2
"""G is kept instead of N where its cells are at most this many times the pairs of N: it then costs no more to apply."""


@dataclass(kw_only=True, eq=False)
class GraphFilter(Model):
    """Smoothing over customers and products in closed form: the choice above some 20,000 products."""

    name: ClassVar[str] = "graph_filter"
    space: ClassVar[dict[str, tuple[Any, ...]]] = {
        "half_life_days": (182.0, None),
        "own_weight": (0.3, 0.03),
        "customer_power": (0.5, 0.3),
        "sharpen": (0.0, 1.0, 2.5),
        "low_pass": (0.3, 0.2, 0.1),
        "factors": (256, 64, 448),
    }

    factors: int = 256
    """K, singular vectors the ideal low-pass filter keeps."""
    low_pass: float = 0.3
    """Weight of that filter; 0 = none, which makes ``fit`` a matter of counting, where ``customer_power`` is ½."""
    sharpen: float = 0.0
    """Time of sharpening after the blur, 0 … 5; 0 = GF-CF."""
    order: int = 4
    """Order of its one step, 1 … 4: 1 = Euler, 4 = Runge-Kutta. Each costs as much as the blur."""
    customer_power: float = 0.5
    """p: below ½ customers with many purchases link products more strongly; ½ as in the papers."""
    half_life_days: float | None = 182.0
    """Age at which a purchase in the history counts half; None = all count alike, as in the papers."""
    own_weight: float = 0.3
    """Weight of the customer's own (decayed) purchase counts; 0 = none, as in the papers."""
    seed: int = 0
    """Start of the decomposition."""

    codes_: Codes = field(init=False, repr=False)
    """(A,) products bought at least once."""
    scale_: Floats = field(init=False, repr=False)
    """(A,) D_i^-½."""
    graph_: Sparse = field(init=False, repr=False)
    """N of customers with purchases (M, A), or G (A, A)."""
    squared_: bool = field(init=False, repr=False)
    """Whether ``graph_`` is G."""
    vectors_: Floats = field(init=False, repr=False)
    """(A, K) V; K = 0 without a low-pass filter."""

    def __post_init__(self) -> None:
        if self.factors < 1:
            raise UsageError(f"factors must be >= 1, got {self.factors}")
        if not 0 <= self.customer_power <= 1:
            raise UsageError(f"customer_power must lie in 0 … 1, got {self.customer_power}")
        if not self.low_pass >= 0:
            raise UsageError(f"low_pass must be >= 0, got {self.low_pass}")
        if not 0 <= self.sharpen <= 5:
            raise UsageError(f"sharpen must lie in 0 … 5, got {self.sharpen}: beyond, one step overshoots")
        if self.order not in (1, 2, 3, 4):
            raise UsageError(f"order must be 1, 2, 3 or 4, got {self.order}")
        check_own(self.half_life_days, self.own_weight)

    def fit(self, data: Dataset) -> Self:
        """Normalise the graph and find its low frequencies."""
        x = of_everyone(data, decayed_presence)
        self.codes_ = bought_products(x)
        x = x[np.diff(x.indptr) > 0][:, self.codes_]
        narrow: Doubles = 1 / np.sqrt(np.bincount(x.indices, minlength=x.shape[1]))
        graph = scaled(x, np.diff(x.indptr).astype(np.float64) ** -self.customer_power, narrow)
        if self.customer_power != 0.5:  # else it is 1
            graph.data /= np.float32(largest_singular_value(graph, self.seed))
        self.scale_ = narrow.astype(np.float32)
        self.vectors_ = right_vectors(graph, self.factors if self.low_pass > 0 else 0, self.seed)
        self.squared_ = bool(x.shape[1] ** 2 <= FULLER * x.nnz)
        self.graph_ = (graph.T @ graph).tocsr() if self.squared_ else graph
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I) the filtered history; rows without purchases are -inf."""
        self.check_fitted()
        scores = np.zeros(batch.shape, dtype=np.float32)
        history = decayed_presence(batch, self.half_life_days)[:, self.codes_]
        step = max(1, BLOCK_CELLS // max(sum(self.graph_.shape), 1))
        for at in range(0, len(batch), step):
            scores[at : at + step, self.codes_] = self._filtered(history[at : at + step].T.tocsr()).T
        return with_own(scores, batch, self.half_life_days, self.own_weight)

    def _filtered(self, history: Sparse) -> Floats:
        """(A, R) final signals of histories (A, R): columns, so that sparse products run along rows of memory."""
        signal: Floats = self._blur(history.toarray())
        if self.vectors_.shape[1]:
            low = (self.vectors_.T * self.scale_) @ history
            signal += np.float32(self.low_pass) * (self.vectors_ @ low) / self.scale_[:, None]
        if self.sharpen > 0:
            term = signal.copy()
            for power in range(1, self.order + 1):
                term = self._blur(term)
                term *= np.float32(-self.sharpen / power)
                signal += term
        return signal

    def _blur(self, signal: Floats) -> Floats:
        """(A, R) G times signals (A, R)."""
        if self.squared_:
            return np.asarray(self.graph_ @ signal)
        return np.asarray(self.graph_.T @ (self.graph_ @ signal))


def largest_singular_value(graph: Sparse, seed: int) -> float:
    """The largest singular value of a matrix, so that sharpening does not overshoot; 1 where there is none."""
    least = min(graph.shape)
    if least == 0:
        return 1.0
    if least <= SMALL:
        wide = (graph.T if least == graph.shape[1] else graph).astype(np.float64)
        return float(np.sqrt(np.linalg.eigvalsh((wide @ wide.T).toarray())[-1]))
    start = np.random.default_rng(seed).standard_normal(least)
    return float(svds(graph.astype(np.float64), 1, v0=start, return_singular_vectors=False)[0])


def right_vectors(graph: Sparse, k: int, seed: int) -> Floats:
    """(A, K) first right singular vectors of a matrix (M, A): k of them, or as many as its rank has.

    They come from the eigenvectors of its product with itself over the smaller side: nothing M x A is dense, nor M x K
    where customers are more than products.
    """
    least = min(graph.shape)
    if k == 0 or least == 0:
        return np.zeros((graph.shape[1], 0), dtype=np.float32)
    tall = least == graph.shape[1]
    across = (graph.T if tall else graph).tocsr().astype(np.float64)  # (least, the larger side)
    if least <= max(SMALL, 2 * k):
        squares, vectors = np.linalg.eigh((across @ across.T).toarray())
    else:
        start = np.random.default_rng(seed).standard_normal(least)
        square = LinearOperator((least, least), lambda v: np.asarray(across @ (across.T @ v)), dtype=np.float64)
        squares, vectors = eigsh(square, k, v0=start)
    order = np.argsort(-squares, kind="stable")[:k]
    order = order[squares[order] > 1e-10 * squares.max()]  # beyond the rank any direction would do
    found = vectors[:, order] if tall else across.T @ vectors[:, order] / np.sqrt(squares[order])
    return np.ascontiguousarray(found, dtype=np.float32)
