"""TIFU-KNN by real time: loops, numbers by hand, and what the popular weight does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.errors import UsageError
from aisle.models import create
from aisle.models.tifu_knn import TIFUKNN
from aisle.types import DAY
from tests.contract.worlds import CUSTOMERS, PRODUCTS
from tests.oracle.loops import baskets, data, everyone, few, naive_popularity, seeds
from tests.oracle.shops import asked, shop


@few
@given(seed=seeds, span=st.sampled_from([1.0, 30.0, 1000.0]), r_b=st.sampled_from([0.5, 1.0]), r_g=st.just(0.7))
def test_vectors_by_time_are_loops(seed: int, span: float, r_b: float, r_g: float) -> None:
    dataset = data(seed)
    expected = np.zeros((CUSTOMERS, PRODUCTS))
    lines = everyone(dataset).lines
    for who, rows in baskets(dataset).items():
        if who < 0:
            continue
        times = [int(lines.time[(lines.customer == who) & (lines.basket == code)].max()) for code, _ in rows]
        days = [(max(times) - time) / DAY for time in times]
        groups = [int(day // span) for day in days]
        for (_, inside), day, group in zip(rows, days, groups, strict=True):
            weight = r_g**group * r_b ** np.log(1 + day - group * span)
            for product in inside:
                expected[who, product] += weight / groups.count(group) / len(set(groups))
    model = TIFUKNN(clock="time", group_days=span, within_decay=r_b, group_decay=r_g).fit(dataset)
    some = expected.any(axis=1)
    np.testing.assert_allclose(model.vectors_.toarray(), expected[some], rtol=1e-5, atol=1e-8)


def test_groups_by_time_by_hand() -> None:
    dataset = shop({"a": ["x", "y", "z"]}, days=10)  # 20, 10 and 0 days before the latest basket
    model = TIFUKNN(clock="time", group_days=15.0, within_decay=0.5, group_decay=0.7).fit(dataset)
    x, y, z = 0.7 * 0.5 ** np.log(6) / 2, 0.5 ** np.log(11) / 2 / 2, 1 / 2 / 2  # two groups, of one basket and of two
    np.testing.assert_allclose(model.vectors_.toarray(), [[x, y, z]], rtol=1e-6)


def test_waiting_changes_nothing_but_a_long_break_between_baskets_does() -> None:
    close, far = shop({"a": ["x", "y"]}, days=1), shop({"a": ["x", "y"]}, days=300)
    by_time = [TIFUKNN(clock="time").fit(d).score(asked(d, "a"))[0] for d in (close, far)]
    assert by_time[0][1] / by_time[0][0] < 1.2 < 2 < by_time[1][1] / by_time[1][0]
    by_place = [TIFUKNN().fit(d).score(asked(d, "a"))[0] for d in (close, far)]
    np.testing.assert_array_equal(*by_place)


def test_what_sells_orders_the_tail_and_adds_its_share() -> None:
    dataset = data()
    plain, mixed = TIFUKNN().fit(dataset), TIFUKNN(popular_weight=0.5).fit(dataset)
    batch, sold = everyone(dataset), naive_popularity(dataset)
    some = ~batch.empty
    share = 0.5 * sold / (sold.max() + 1)
    np.testing.assert_allclose(mixed.score(batch)[some], plain.score(batch)[some] + share, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("wrong", [{"clock": "moon"}, {"group_days": 0.0}, {"popular_weight": -1.0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        create("tifu_knn", **wrong)
