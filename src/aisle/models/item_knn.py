"""ItemKNN: products bought by the same customers as those in the history.

Sarwar et al., WWW 2001; Deshpande and Karypis, TOIS 2004. With x_i the column of customers who bought product i,

    cos(i, j) = x_i · x_j / (|x_i| |x_j| + shrink),   score_j = sum over i in the history, j among the
    ``neighbours`` nearest of i, of h_i * cos(i, j)   (+ own_weight * own frequency of j)

where h_i is 1, or the decay of the latest purchase of i when there is a half-life. Products are not neighbours of
themselves; repeats come in through ``own_weight``.
Cost: ``fit`` multiplies sparse matrices block by block, memory O(neighbours x I); no limit on the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.errors import UsageError
from aisle.features.pairs import add_sparse, cosine_neighbours, decayed_counts, decayed_presence, everyone
from aisle.models.base import Model, without_empty
from aisle.types import Floats, Sparse


@dataclass(kw_only=True, eq=False)
class ItemKNN(Model):
    """Cosine between products over customers: any catalogue size, easily explained."""

    name: ClassVar[str] = "item_knn"
    space: ClassVar[dict[str, tuple[Any, ...]]] = {
        "neighbours": (200, 50),
        "half_life_days": (182.0, None),
        "own_weight": (10.0, 1.0),
    }

    neighbours: int = 200
    """Products kept for each product."""
    shrink: float = 10.0
    """Added below the fraction; larger trusts pairs seen at few customers less."""
    half_life_days: float | None = 182.0
    """Age at which a purchase in the history counts half; None = all count alike. Neighbours never decay."""
    own_weight: float = 10.0
    """Weight of the customer's own (decayed) purchase counts; 0 = the textbook model."""

    similar_: Sparse = field(init=False, repr=False)
    """(I, I) row: product in the history; column: product to score."""

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise UsageError(f"neighbours must be >= 1, got {self.neighbours}")
        if self.shrink < 0 or self.own_weight < 0:
            raise UsageError(f"shrink and own_weight must be >= 0, got {self.shrink} and {self.own_weight}")
        if self.half_life_days is not None and not self.half_life_days > 0:
            raise UsageError(f"half_life_days must be > 0 or None, got {self.half_life_days}")

    def fit(self, data: Dataset) -> Self:
        """Find the neighbours of every product."""
        self.similar_ = cosine_neighbours(decayed_presence(everyone(data)), self.neighbours, self.shrink)
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I) summed similarity to the history; rows without purchases are -inf."""
        self.check_fitted()
        scores: Floats = (decayed_presence(batch, self.half_life_days) @ self.similar_).toarray()
        if self.own_weight > 0:
            add_sparse(scores, decayed_counts(batch, self.half_life_days), self.own_weight)
        return without_empty(scores, batch)
