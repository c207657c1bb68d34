"""Draws are distinct, repeatable and as frequent as they say; corrected by it, every draw estimates the same sum."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from aisle.models.nn import sampling
from aisle.models.nn.sampling import Negatives
from aisle.types import Doubles

KINDS: tuple[Negatives, ...] = ("uniform", "popularity", "in_batch", "mixed")
POPULARITY = [40.0, 3.0, 0.0, 11.0, 7.0, 25.0, 0.0, 2.0, 90.0]
SHARES = np.array([40, 3, 2, 11, 7, 25, 2, 2, 90]) / 182  # what never sold counts like the least sold, 2
TARGETS, COUNT, ROUNDS = 6, 5, 2_500


def expectation(kind: str, targets: int) -> Doubles:
    """(I,) chance of each product to be among the draws, one product at a time."""
    flat = SHARES**0.75 / (SHARES**0.75).sum()
    if kind == "uniform":
        return np.full(9, COUNT / 9)
    if kind == "popularity":
        return np.array([1 - (1 - p) ** COUNT for p in flat])
    if kind == "in_batch":
        return np.array([1 - (1 - p) ** min(COUNT, targets) for p in SHARES])
    return np.array([1 - (1 - p) ** 2 * (1 - 3 / 9) for p in SHARES])  # 2 draws in the batch, 3 of all products


def rounds(kind: Negatives, n_targets: int = TARGETS) -> tuple[Doubles, Doubles]:
    """(ROUNDS, I) which products were drawn, and the log-expectation each had; batches follow popularity."""
    random, generator = np.random.default_rng(1), torch.Generator().manual_seed(2)
    sampler = sampling.Sampler(kind, COUNT, torch.tensor(POPULARITY))
    drawn, log_q = np.zeros((ROUNDS, 9)), np.full((ROUNDS, 9), np.nan)
    for place in range(ROUNDS):
        targets = torch.from_numpy(random.choice(9, n_targets, p=SHARES))
        products, logs = sampler.draw(targets, generator)
        assert len(products.unique()) == len(products) <= COUNT  # type: ignore[no-untyped-call]
        assert logs.dtype == torch.float32
        drawn[place, products.numpy()] = 1
        log_q[place, products.numpy()] = logs.numpy()
    return drawn, log_q


def test_pairs_are_found_where_they_are() -> None:
    known = torch.tensor([0 * 11 + 4, 1 * 11 + 2, 2 * 11 + 0])
    row, column = torch.meshgrid(torch.arange(3), torch.arange(11), indexing="ij")
    place = sampling.find_pair(row, column, known, 11).numpy()
    expected = np.full((3, 11), -1)
    expected[0, 4], expected[1, 2], expected[2, 0] = 0, 1, 2
    assert (place == expected).all()
    assert (sampling.is_pair(row, column, known, 11).numpy() == (expected >= 0)).all()
    assert (sampling.find_pair(row, column, known[:0], 11) == -1).all()


def test_a_mask_drops_its_share() -> None:
    generator = torch.Generator().manual_seed(5)
    kept = sampling.keep_mask(10_000, 0.3, generator)
    assert set(kept.tolist()) == {0.0, 1.0}
    assert abs(float(kept.mean()) - 0.7) < 0.02
    assert float(sampling.keep_mask(100, 0.0, generator).min()) == 1.0


def test_negatives_are_uniform_distinct_and_of_the_candidates() -> None:
    generator = torch.Generator().manual_seed(0)
    candidates = torch.tensor([2, 3, 5, 8, 13])
    counts, first = np.zeros(14), np.zeros(14)
    for _ in range(4_000):
        drawn = sampling.uniform_negatives(candidates, 2, generator).numpy()
        assert len(set(drawn)) == 2
        counts[drawn] += 1
        first[sampling.uniform_negatives(candidates, 9, generator)[0]] += 1
    assert counts.sum() == counts[candidates.numpy()].sum()
    assert_allclose(counts[candidates.numpy()], 1_600, rtol=0.08)
    assert_allclose(first[candidates.numpy()], 800, rtol=0.15)  # in random order also where all of them come
    assert sorted(sampling.uniform_negatives(candidates, 9, generator).tolist()) == candidates.tolist()


def test_where_nothing_sold_all_products_are_alike() -> None:
    sampler = sampling.Sampler("in_batch", 4, torch.zeros(5))
    products, log_q = sampler.draw(torch.tensor([3, 1, 1]), torch.Generator().manual_seed(0))
    assert sorted(products.tolist()) == [1, 3]
    assert_allclose(log_q.exp().numpy(), 1 - (1 - 1 / 5) ** 3, rtol=1e-6)


@pytest.mark.parametrize("n_targets", [TARGETS, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_draws_are_as_frequent_as_they_say(kind: Negatives, n_targets: int) -> None:
    drawn, log_q = rounds(kind, n_targets)
    expected = expectation(kind, n_targets)
    said = np.exp(log_q)
    assert_allclose(np.nanmin(said, axis=0), expected, rtol=1e-5)
    assert_allclose(np.nanmax(said, axis=0), expected, rtol=1e-5)
    error = np.sqrt(expected * (1 - expected) / ROUNDS)
    assert (np.abs(drawn.mean(axis=0) - expected) <= 4 * error + 1e-9).all()


@pytest.mark.parametrize("kind", KINDS)
def test_corrected_draws_estimate_the_sum_over_the_catalogue(kind: Negatives) -> None:
    drawn, log_q = rounds(kind)
    mass = np.exp(np.random.default_rng(3).normal(0, 1, 9))
    estimates = np.where(drawn > 0, mass / np.exp(log_q), 0.0).sum(axis=1)
    assert abs(estimates.mean() - mass.sum()) < 4 * estimates.std() / math.sqrt(ROUNDS)


@settings(max_examples=60)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 1_000),
    size=st.integers(1, 12),
    count=st.integers(1, 15),
    targets=st.integers(1, 9),
)
def test_any_draw_is_distinct_known_and_repeatable(
    kind: Negatives, seed: int, size: int, count: int, targets: int
) -> None:
    random = np.random.default_rng(seed)
    popularity = torch.from_numpy(random.integers(0, 4, size).astype(np.float32))
    batch = torch.from_numpy(random.integers(0, size, targets))
    sampler = sampling.Sampler(kind, count, popularity)
    products, log_q = sampler.draw(batch, torch.Generator().manual_seed(seed))
    assert len(set(products.tolist())) == len(products) == len(log_q) <= min(count, size)
    assert len(products) > 0
    assert ((products >= 0) & (products < size)).all()
    assert torch.isfinite(log_q).all()
    assert (log_q <= 0).all()
    again, _ = sampling.Sampler(kind, count, popularity * 8).draw(batch, torch.Generator().manual_seed(seed))
    assert products.tolist() == again.tolist()  # and the unit of popularity does not matter
    if kind == "in_batch":
        assert set(products.tolist()) <= set(batch.tolist())
    elif count >= size:
        assert sorted(products.tolist()) == list(range(size))
        assert (log_q == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_draws_says_nothing(kind: Negatives) -> None:
    generator = torch.Generator().manual_seed(4)
    for count in (3, 4):
        sampler = sampling.Sampler(kind, count, torch.ones(4))
        low = [
            products[0] < products[1]
            for products in (sampler.draw(torch.arange(4), generator)[0] for _ in range(2_000))
            if len(products) > 1
        ]
        assert abs(np.mean(low) - 0.5) < 4 * 0.5 / math.sqrt(len(low))
