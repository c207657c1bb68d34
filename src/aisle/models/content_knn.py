"""ContentKNN: products like those in the history by what they are, whether anybody bought them or not.

Every product becomes a vector: its levels in the tree, its attributes, its numbers cut into parts and the letters of
its name (hashed pieces of three to five), rarer values louder, reduced by a truncated SVD and scaled to length 1
(``features.content``). With h_i the decayed number of baskets of the customer with product i,

    taste = sum over i of h_i v_i, scaled to length 1,   score_j = taste · v_j + popular_weight * share of sales of j

Content-based filtering, as in Lops, de Gemmis, Semeraro, Recommender Systems Handbook, 2011. The only thing learnt from
sales is the small last term, which orders products of the same content. Products without sales are scored like others.
Cost: ``fit`` one SVD of the catalogue; ``score`` one dense product, O(B x I x D).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.errors import UsageError
from aisle.features.content import content_matrix, content_vectors, unit
from aisle.features.pairs import add_sparse, decayed_counts, narrowed
from aisle.models.base import Model, without_empty
from aisle.types import Floats


@dataclass(kw_only=True, eq=False)
class ContentKNN(Model):
    """Cosine of content to the customer's history: finds products that are new on the shelf."""

    name: ClassVar[str] = "content_knn"
    space: ClassVar[dict[str, tuple[Any, ...]]] = {
        "half_life_days": (91.0, None, 28.0),
        "dim": (128, 64),
        "popular_weight": (0.1, 0.0, 0.5),
        "own_weight": (0.0, 1.0),
    }

    dim: int = 128
    """Width of the vectors, at most."""
    half_life_days: float | None = 91.0
    """Age at which a basket counts half; None = all count alike."""
    popular_weight: float = 0.1
    """Weight of what sells, 0 … 1 of a product."""
    own_weight: float = 0.0
    """Weight of the customer's own decayed purchase counts."""
    seed: int = 0

    vectors_: Floats = field(init=False, repr=False)
    """(I, D) of length 1; zeros for a product of which nothing is known."""
    popular_: Floats = field(init=False, repr=False)
    """(I,) what sells, times its weight."""

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise UsageError(f"dim must be >= 1, got {self.dim}")
        if self.half_life_days is not None and not self.half_life_days > 0:
            raise UsageError(f"half_life_days must be > 0 or None, got {self.half_life_days}")
        if not self.popular_weight >= 0 or not self.own_weight >= 0:
            said = f"{self.popular_weight} and {self.own_weight}"
            raise UsageError(f"popular_weight and own_weight must be >= 0, got {said}")

    def fit(self, data: Dataset) -> Self:
        """Read the catalogue; raises UsageError where it says nothing of any product."""
        content = content_matrix(data.products, data.known)
        if not content.nnz:
            raise UsageError("content_knn needs names, categories or attributes of products; this data has none")
        self.vectors_ = content_vectors(content, data.known, self.dim, self.seed)
        share = data.popularity / (data.popularity.max(initial=0.0) + 1)
        self.popular_ = (self.popular_weight * share).astype(np.float32)
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I) cosines and what sells; rows without purchases are -inf."""
        self.check_fitted()
        scores: Floats = self._tastes(batch) @ self.vectors_.T + self.popular_
        if self.own_weight > 0:
            add_sparse(scores, decayed_counts(batch, self.half_life_days), self.own_weight)
        return without_empty(scores, batch)

    def product_vectors(self) -> Floats:
        """(I, D) content of length 1."""
        return self.vectors_

    def customer_vectors(self, batch: Batch) -> Floats:
        """(B, 1, D) decayed mean of the content of the history, of length 1."""
        return self._tastes(batch)[:, None]

    def product_biases(self) -> Floats:
        """(I,) what sells."""
        return self.popular_

    def customer_biases(self, batch: Batch) -> Floats:
        """(B,) none."""
        return np.zeros(len(batch), dtype=np.float32)

    def _tastes(self, batch: Batch) -> Floats:
        own, columns = narrowed(decayed_counts(batch, self.half_life_days))  # the whole catalogue would be converted
        mean = np.asarray(own @ self.vectors_[columns].astype(np.float64), dtype=np.float64)
        return unit(mean).astype(np.float32)
