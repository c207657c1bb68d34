"""Intervals: against the textbook, by coverage, and for what they refuse to say."""

from __future__ import annotations

import numpy as np
import pytest

from aisle.evaluate import compare
from aisle.evaluate.compare import interval, intervals, paired


def test_interval_of_many_values_is_the_textbook_one() -> None:
    values = np.random.default_rng(0).normal(0.3, 1.0, 2_000)
    found = interval(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert found.above_zero


@pytest.mark.parametrize("size", [12, 60])
def test_intervals_hold_the_true_mean_about_95_times_in_100(size: int) -> None:
    rng = np.random.default_rng(1)
    held = []
    for trial in range(400):
        found = interval(rng.normal(0.0, 1.0, size), draws=400, seed=trial)
        held.append(found.low <= 0 <= found.high)
    assert 0.92 <= np.mean(held) <= 0.985


def test_pairing_sees_a_small_gain_that_single_means_cannot() -> None:
    rng = np.random.default_rng(2)
    base = rng.normal(0.0, 1.0, 300)
    better = base + rng.normal(0.05, 0.1, 300)
    assert paired(better, base).above_zero
    assert interval(better).low < interval(base).high
    assert not paired(base, better).above_zero


def test_missing_values_are_left_out() -> None:
    values = np.random.default_rng(3).normal(1.0, 0.1, 200)
    some = np.concatenate((values, np.full(200, np.nan)))
    assert interval(some).mean == pytest.approx(values.mean())
    half = 1.96 * values.std() / np.sqrt(200)
    assert interval(some).high - interval(some).low == pytest.approx(2 * half, rel=0.15)


@pytest.mark.parametrize("size", [0, 1, compare.MIN_VALUES - 1])
def test_few_customers_prove_nothing(size: int) -> None:
    found = interval(np.ones(size))
    assert not found.above_zero
    assert found.to_json() == {"mean": 1.0 if size else None, "low": None, "high": None}


def test_columns_share_their_draws_and_do_not_depend_on_each_other() -> None:
    table = np.random.default_rng(4).normal(size=(50, 3))
    together = intervals(table, seed=5)
    alone = [interval(table[:, j], seed=5) for j in range(3)]
    for one, other in zip(together, alone, strict=True):
        assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high))
    assert intervals(np.zeros((0, 2)))[1].to_json()["mean"] is None


def test_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(6).normal(size=40)
    whole = interval(values)
    monkeypatch.setattr(compare, "CELLS", 100)
    blocked = interval(values)
    assert (blocked.mean, blocked.low, blocked.high) == pytest.approx((whole.mean, whole.low, whole.high))


def test_groups_of_customers_give_nearly_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(7).exponential(size=6_000)
    whole = interval(values)
    monkeypatch.setattr(compare, "MAX_UNITS", 500)
    grouped = interval(values)
    assert grouped.mean == pytest.approx(whole.mean)
    assert grouped.high - grouped.low == pytest.approx(whole.high - whole.low, rel=0.15)
