"""Horizon and windows: the rhythm of the shop, within what the data bears."""

from __future__ import annotations

import pytest

from aisle.data.dataset import Dataset
from aisle.errors import DataError
from aisle.evaluate.horizon import choose_horizon, choose_windows
from aisle.features.customers import usual_gap
from aisle.types import DAY
from tests.evaluate.shops import lines_of, random_shop, shop_of


def regular(every: int, days: int, customers: int) -> Dataset:
    """Customers who come every so many days."""
    rows = [(f"c{i}", f"p{i % 7}", day, 1.0) for i in range(customers) for day in range(i % every, days, every)]
    return shop_of(lines_of(rows))


@pytest.mark.parametrize(
    ("every", "days", "customers", "expected"),
    [
        (7, 365, 250, 7),
        (13, 365, 250, 14),
        (33, 700, 250, 30),
        (45, 1200, 250, 60),
        (33, 100, 250, 14),  # 30 days do not fit three times into half of 100
        (30, 20, 250, 5),  # hardly any history
        (7, 365, 20, 7),  # too few customers whatever the horizon: the shortest that finds them all
        (170, 1400, 250, 180),
    ],
)
def test_horizon_follows_the_median_gap(every: int, days: int, customers: int, expected: int) -> None:
    found, reason = choose_horizon(regular(every, days, customers))
    assert found == expected
    assert reason.startswith(f"{expected} days: ")


def test_gap_counts_shopping_days_of_one_customer_only() -> None:
    rows = [("a", "x", 0, 1.0), ("a", "y", 0, 1.0), ("a", "x", 4, 1.0), ("b", "x", 1, 1.0), ("b", "x", 11, 1.0)]
    shop = shop_of(lines_of(rows))
    assert usual_gap(shop) == 7.0 * shop.unit
    assert usual_gap(shop_of(lines_of(rows[:2]))) == 0.0


@pytest.mark.parametrize(("days", "count"), [(8, 3), (14, 3), (30, 3), (31, 2), (40, 2), (41, 1)])
def test_windows_lie_back_to_back_and_end_at_the_moment(days: int, count: int) -> None:
    shop = regular(5, 240, 30)
    tuning, last = choose_windows(shop, days)
    assert len(tuning) == count
    assert last.end == shop.as_of
    for early, late in zip(tuning, (*tuning[1:], last), strict=True):
        assert early.end == late.cut
        assert late.end - late.cut == days * DAY
    assert choose_windows(shop.before(shop.end - 10 * DAY), days)[1].end == shop.end - 10 * DAY


def test_a_sequence_counts_baskets() -> None:
    shop = random_shop(0, customers=220, clock="sequence")
    assert choose_horizon(shop)[0] == 1
    tuning, last = choose_windows(shop, 1)
    assert [(w.cut, w.end) for w in (*tuning, last)] == [(-3, -2), (-2, -1), (-1, 0), (0, 1)]


def test_a_horizon_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="at least 1 day"):
        choose_windows(random_shop(0, customers=5), 0)
