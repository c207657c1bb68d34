"""Random: the floor. A list that knows nothing, the same for the same customer whenever it is asked for.

A counter-based hash (the finaliser of SplitMix64; Steele, Lea and Flood, OOPSLA 2014) of (seed, customer, product):
no generator state, so neither the batch nor its order can matter. Cost: none to fit, O(B x I) to score.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.models.base import Model
from aisle.types import Floats

Words: TypeAlias = "npt.NDArray[np.uint64]"
STEP = np.uint64(0x9E3779B97F4A7C15)


@dataclass(kw_only=True, eq=False)
class Random(Model):
    """Uniform scores in [0, 1) that depend on seed, customer and product alone; unknown customers share one list."""

    name: ClassVar[str] = "random"
    personal: ClassVar[bool] = False
    needs_history: ClassVar[bool] = False
    space: ClassVar[dict[str, tuple[Any, ...]]] = {}

    seed: int = 0
    """Another seed gives other lists."""

    n_products_: int = field(init=False, repr=False)

    def fit(self, data: Dataset) -> Self:
        """Nothing is learnt but the number of products."""
        self.n_products_ = data.shape[1]
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I) uniform scores."""
        self.check_fitted()
        seed = mix(np.array([self.seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64))
        customers = mix(seed ^ (batch.customers.astype(np.int64) + 1).astype(np.uint64))
        products = mix(np.arange(batch.n_products, dtype=np.uint64))
        scores = np.empty(batch.shape, dtype=np.float32)
        for row, customer in enumerate(customers):  # a row at a time stays in the cache
            words = mix(customer ^ products)
            words >>= np.uint64(40)
            scores[row] = words
        scores *= np.float32(2**-24)
        return scores


def mix(words: Words) -> Words:
    """Each word (any shape) turned into an unrelated one; a bijection on 64 bits."""
    z = words + STEP
    shifted = z >> np.uint64(30)
    z ^= shifted
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= np.right_shift(z, np.uint64(27), out=shifted)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= np.right_shift(z, np.uint64(31), out=shifted)
    return z
