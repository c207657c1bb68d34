"""BoughtTogether: what goes into one basket with what the customer has just bought.

Association rules i → j between two products (``features.copurchase`` has their measures and sources), learned from all
baskets, those of customers unknown among them. With a_i the number of baskets since the customer last bought product i:

    score_j = sum over i in the latest ``baskets`` baskets of place_decay^(a_i) * measure(i → j)   (+ own_weight * own
    baskets with j)

Rules seen in fewer than ``min_support`` baskets, or with a lift below ``min_lift``, say nothing.
Cost: ``fit`` multiplies sparse matrices block by block, memory O(neighbours x I).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.events import Batch, sparse_sum
from aisle.errors import UsageError
from aisle.features.copurchase import MEASURES, Contents, Limits, Measure, associations
from aisle.features.pairs import basket_contents, basket_places, decayed_presence
from aisle.models.base import Few, few_with_own
from aisle.models.strips import InStrips
from aisle.types import Codes, Floats, Sparse


@dataclass(kw_only=True, eq=False)
class BoughtTogether(InStrips):
    """Association rules of the latest baskets: complements of what was just bought."""

    name: ClassVar[str] = "bought_together"
    space: ClassVar[dict[str, tuple[Any, ...]]] = {
        "measure": ("cosine", "confidence", "leverage", "lift"),
        "baskets": (1, 3, 10),
        "min_support": (3, 10),
        "own_weight": (0.0, 1.0),
    }

    measure: Measure = "cosine"
    """What a rule is worth: confidence, lift, leverage, cosine or support."""
    baskets: int = 1
    """Latest baskets of the customer that speak."""
    place_decay: float = 0.8
    """Factor for every later basket, in (0, 1]."""
    neighbours: int = 200
    """Rules kept for each product."""
    min_support: int = 3
    """Baskets with both products."""
    min_lift: float = 1.0
    """Smallest lift; 1 = at least as often together as by chance."""
    own_weight: float = 0.0
    """Weight of the customer's own baskets with the product."""

    rules_: Sparse = field(init=False, repr=False)
    """(I, I) worth of the rule; row: product in the basket; column: product to score."""

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise UsageError(f"measure is {self.measure!r}; allowed: {', '.join(MEASURES)}")
        if self.baskets < 1 or self.neighbours < 1:
            raise UsageError(f"baskets and neighbours must be >= 1, got {self.baskets} and {self.neighbours}")
        if not 0 < self.place_decay <= 1:
            raise UsageError(f"place_decay must lie in (0, 1], got {self.place_decay}")
        if not self.own_weight >= 0:
            raise UsageError(f"own_weight must be >= 0, got {self.own_weight}")
        self.limits  # noqa: B018  (validates)

    def links(self, data: Dataset) -> Rules:
        """The rules of every product."""
        return Rules(self, Contents.of(basket_contents(data)), data.tie_rank)

    def learn(self, rows: Sparse) -> Self:
        """Keep the rules."""
        self.rules_ = rows
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I) summed worth of the rules; rows without purchases are -inf."""
        return self.few(batch).dense()

    def few(self, batch: Batch) -> Few:
        """The same scores, as few cells."""
        self.check_fitted()
        place, number = basket_places(batch)
        recent = place >= number[batch.row] - self.baskets
        spoken = decayed_presence(batch, None, self.place_decay)
        late = sparse_sum(batch.row, batch.lines.product, 1.0 * recent, batch.shape)
        taste = spoken.multiply(late.sign()).tocsr() @ self.rules_
        return few_with_own(taste, batch, batch.history, self.own_weight)

    @property
    def limits(self) -> Limits:
        """Which rules are kept."""
        return Limits(min_support=self.min_support, min_lift=self.min_lift)


@dataclass(frozen=True, eq=False)
class Rules:
    """(I, I) worth of the rules from each row's product to all others."""

    model: BoughtTogether
    contents: Contents
    """Of all baskets."""
    tie_rank: Codes
    """(I,)."""

    def rows(self, products: slice) -> Sparse:
        """(R, I) the rules from neighbouring products."""
        own, first = self.model, np.arange(products.start, products.stop, dtype=np.int32)
        found = associations(self.contents, self.tie_rank, own.limits, by=own.measure, k=own.neighbours, first=first)
        worth = getattr(found, own.measure)
        return sparse_sum(found.first - products.start, found.second, worth, (len(first), len(self.tie_rank)))
