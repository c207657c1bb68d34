"""The purchases of a small world counted by plain loops: the other road for the oracle tests."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from hypothesis import settings
from hypothesis import strategies as st

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.types import DAY
from tests.contract.worlds import CUSTOMERS, PRODUCTS, world

Array: TypeAlias = "npt.NDArray[np.float64]"
seeds = st.integers(0, 3)
few = settings(max_examples=12, deadline=None)


@cache
def data(seed: int = 0) -> Dataset:
    return world(seed)


def everyone(dataset: Dataset) -> Batch:
    return dataset.batch(np.arange(CUSTOMERS, dtype=np.int32))


def baskets(dataset: Dataset) -> dict[int, list[tuple[int, dict[int, int]]]]:
    """customer -> baskets, oldest first, as (basket code, {product: its first time}); by a loop over every line."""
    held: dict[tuple[int, int], dict[int, int]] = {}
    events = dataset.all_events
    for who, what, when, basket, amount, void in zip(
        events.customer, events.product, events.time, events.basket, events.quantity, events.void_at, strict=True
    ):
        if when < dataset.as_of and amount > 0 and void >= dataset.as_of:
            inside = held.setdefault((int(who), int(basket)), {})
            inside[int(what)] = min(inside.get(int(what), int(when)), int(when))
    found: dict[int, list[tuple[int, dict[int, int]]]] = defaultdict(list)
    for (who, basket), inside in sorted(held.items()):
        found[who].append((basket, inside))
    return found


def naive_counts(dataset: Dataset, half_life: float | None = None) -> Array:
    out = np.zeros((CUSTOMERS, PRODUCTS))
    for who, rows in baskets(dataset).items():
        for _, inside in rows:
            for product, time in inside.items():
                if who >= 0:
                    age = (dataset.as_of - time) / DAY
                    out[who, product] += 1 if half_life is None else 0.5 ** (age / half_life)
    return out


def naive_presence(dataset: Dataset, half_life: float | None = None) -> Array:
    out = np.zeros((CUSTOMERS, PRODUCTS))
    events = dataset.purchases
    for who, product, time in zip(events.customer, events.product, events.time, strict=True):
        if who >= 0:
            age = (dataset.as_of - time) / DAY
            out[who, product] = max(out[who, product], 1 if half_life is None else 0.5 ** (age / half_life))
    return out


def naive_popularity(dataset: Dataset, oldest: float = 1e9, newest: float = 0.0) -> Array:
    out = np.zeros(PRODUCTS)
    start, stop = dataset.as_of - oldest * DAY, dataset.as_of - newest * DAY
    seen = set()
    events = dataset.purchases
    for basket, product, time in zip(events.basket, events.product, events.time, strict=True):
        if start <= time < stop and (int(basket), int(product)) not in seen:
            seen.add((int(basket), int(product)))
            out[product] += 1
    return out


def empty_rows(dataset: Dataset) -> npt.NDArray[Any]:
    return np.asarray(naive_counts(dataset).sum(axis=1) == 0)


def check(scores: npt.NDArray[Any], expected: Array, dataset: Dataset, rtol: float = 1e-4) -> None:
    bare = empty_rows(dataset)
    assert np.isneginf(scores[bare]).all()
    np.testing.assert_allclose(scores[~bare], expected[~bare], rtol=rtol, atol=1e-5)
