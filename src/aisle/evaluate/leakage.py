"""Proof that nothing sees past a cut: the same past with another future must give the same answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.entities import Entities
from aisle.types import NEVER


def future_scramble(dataset: Dataset, cut: int, seed: int = 0) -> Dataset:
    """The dataset with everything at or after ``cut`` altered and everything before it untouched.

    Who bought what, when, how much and for what money is shuffled, a third of the later lines vanish, returns after
    the cut move or appear, and products listed after the cut are listed at another moment. A model fitted on
    ``future_scramble(dataset, cut).before(cut)`` must equal one fitted on ``dataset.before(cut)``.
    """
    rng = np.random.default_rng(seed)
    events = dataset.all_events
    later = np.flatnonzero(events.time >= cut)
    void_at = events.void_at.copy()
    open_end = np.flatnonzero(void_at >= cut)  # not undone before the cut: whatever follows is the future
    void_at[open_end] = np.where(rng.random(len(open_end)) < 0.3, cut + rng.integers(0, 1_000, len(open_end)), NEVER)
    keep = np.ones(len(events), dtype=bool)
    keep[later[rng.random(len(later)) < 1 / 3]] = False
    mixed = replace(
        events,
        customer=_mixed(events.customer, later, rng),
        product=_mixed(events.product, later, rng),
        time=_mixed(events.time, later, rng),
        quantity=_signed(events.quantity, later, rng),
        amount=_signed(events.amount, later, rng),
        basket=_rebased(events.basket, later, rng),
        store=_mixed(events.store, later, rng),
        channel=_mixed(events.channel, later, rng),
        void_at=void_at,
    ).take(keep)
    mixed = mixed.take(np.lexsort((mixed.product, mixed.basket, mixed.time, mixed.customer)))
    first_sale = np.full(dataset.shape[1], NEVER, dtype=np.int64)
    bought = mixed.quantity > 0
    np.minimum.at(first_sale, mixed.product[bought], mixed.time[bought])
    products = _listed_otherwise(dataset.products, cut, rng)
    return replace(dataset, all_events=mixed, first_sale=first_sale, products=products)


def _mixed(values: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The values with those of ``rows`` permuted among each other."""
    out = values.copy()
    out[rows] = values[rng.permutation(rows)]
    return out


def _signed(values: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The values with those of ``rows`` permuted, scaled, and some turned into returns."""
    out = _mixed(values, rows, rng)
    out[rows] *= rng.choice([-1.0, 1.0, 3.0], len(rows)).astype(values.dtype)
    return out


def _rebased(baskets: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The basket codes with those of ``rows`` permuted and moved above all others, so that none joins a past one."""
    out = _mixed(baskets, rows, rng)
    out[rows] += baskets.max(initial=0) + 1
    return out


def _listed_otherwise(products: Entities, cut: int, rng: np.random.Generator) -> Entities:
    """The products with every ``valid_from`` at or after the cut moved to another moment after it."""
    if products.valid_from is None:
        return products
    moments = products.valid_from.copy()
    later = moments >= cut
    moments[later] = cut + rng.integers(0, 1_000, int(later.sum()))
    return replace(products, valid_from=moments)
