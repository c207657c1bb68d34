"""PersonalFrequency: what this customer bought most often, then what sells.

GP-TopFreq of the next-basket literature (Hu et al., SIGIR 2020; Li et al., TOIS 2023): the number of the customer's
baskets with the product, ties and the tail by popularity,

    score_i = n_i + 0.5 * pop_i / (max pop + 1).

With a half-life the count becomes a decayed one, ``1 + sum of 0.5 ** (age / half life)`` for bought products, so that
all of them still precede the tail. On repeat retail it beats most learned models. Cost: O(history) to fit and score.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.errors import UsageError
from aisle.features.pairs import decayed_counts
from aisle.models.base import Few, Model
from aisle.types import Floats


@dataclass(kw_only=True, eq=False)
class PersonalFrequency(Model):
    """Own purchase counts first, then popularity."""

    name: ClassVar[str] = "personal_frequency"
    simple: ClassVar[bool] = True
    personal: ClassVar[bool] = True
    space: ClassVar[dict[str, tuple[Any, ...]]] = {"half_life_days": (None, 365.0, 182.0, 91.0, 28.0)}

    half_life_days: float | None = None
    """Age at which a basket counts half (in baskets, under a sequence clock); None = all count alike."""

    tail_: Floats = field(init=False, repr=False)
    """(I,) score of a product the customer never bought, 0 … 0.5."""

    def __post_init__(self) -> None:
        if self.half_life_days is not None and not self.half_life_days > 0:
            raise UsageError(f"half_life_days must be > 0 or None, got {self.half_life_days}")

    def fit(self, data: Dataset) -> Self:
        """Learn the tail."""
        popularity = data.popularity.astype(np.float64)
        self.tail_ = (0.5 * popularity / (popularity.max(initial=0) + 1)).astype(np.float32)
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I) own frequency and below it the tail; rows without purchases are -inf."""
        return self.few(batch).dense()

    def few(self, batch: Batch) -> Few:
        """The same scores, as few cells."""
        self.check_fitted()
        own = decayed_counts(batch, self.half_life_days)
        own.data += self.tail_[own.indices] if self.half_life_days is None else np.float32(1)
        return Few(own, self.tail_, batch.empty)
