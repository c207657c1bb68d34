"""A shop of two halves that share no customer: whoever is sent to the other half got a wrong answer."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from tests.world.hybrid_shops import shop

from aisle.data.dataset import Dataset
from aisle.data.events import Batch

HALF, CUSTOMERS = 12, 50


@cache
def two_clusters(seed: int = 0) -> Dataset:
    """Products ``a-00`` … and ``b-00`` …, in this order; each customer bought six of the twelve of one half."""
    random = np.random.default_rng(seed)
    return shop(
        [
            (f"c{who:02}", f"{'ab'[who % 2]}-{product:02}", int(random.integers(0, 300)), 1.0, None)
            for who in range(CUSTOMERS)
            for product in random.choice(HALF, 6, replace=False)
        ]
    )


def everyone_of(dataset: Dataset) -> Batch:
    """All customers of the shop."""
    return dataset.batch(np.arange(dataset.shape[0], dtype=np.int32))


def other_half(product: npt.NDArray[Any], batch: Batch) -> npt.NDArray[np.bool_]:
    """(B,) whether a product code for each row lies in the half the row never bought from."""
    own = batch.history.toarray()[:, :HALF].any(axis=1)
    return np.asarray(own != (product < HALF))
