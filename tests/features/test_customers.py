"""RFMV and segments against plain loops."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisle.data.dataset import Dataset
from aisle.features.customers import MIN_CUSTOMERS, RFMV, Segments, _names, rfmv
from aisle.types import DAY
from tests.contract.worlds import shuffled, tables, world
from tests.data.shops import HOUR, Line, basket_key, lines_of_shops, moment, seen, shop


def everyone(data: Dataset, *extra: int) -> np.ndarray:
    return np.array([*range(data.shape[0]), *extra], dtype=np.int32)


def naive(lines: list[Line], hour: int, customer: str) -> list[float]:
    mine = [(i, x) for i, x in seen(lines, hour) if x.customer == customer]
    if not mine:
        return [float("nan")] * 4
    return [
        (hour - max(x.hour for _, x in mine)) * HOUR / DAY,
        len({basket_key(x, i) for i, x in mine}),
        sum(x.amount or 0.0 for _, x in mine),
        len({x.product for _, x in mine}),
    ]


@given(lines=lines_of_shops(), hour=st.integers(1, 100))
@settings(max_examples=60, deadline=None)
def test_rfmv_is_what_a_loop_counts(lines: list[Line], hour: int) -> None:
    data = shop(lines).before(moment(hour))
    found = rfmv(data.batch(everyone(data, -1)))
    assert found.shape == (data.shape[0] + 1, len(RFMV))
    assert np.isnan(found[-1]).all(), "nobody knows a stranger"
    for customer, values in zip(data.customers.vocab.ids.to_list(), found[:-1], strict=True):
        np.testing.assert_allclose(values, naive(lines, hour, customer), rtol=1e-5)


def test_a_customer_with_returns_alone_has_no_values() -> None:
    data = shop([Line("ret", "x", 1, -1.0), Line("a", "x", 1)])
    assert np.isnan(rfmv(data.batch(everyone(data)))).all(axis=1).tolist() == [False, True]


def test_under_a_sequence_recency_counts_baskets() -> None:
    data = shop([Line("a", "x", 3), Line("a", "y", 8)], sequence=True)
    assert rfmv(data.batch(everyone(data)))[0, 0] == 1.0
    assert rfmv(data.before(0).batch(everyone(data)))[0, 0] == 1.0


def test_segments_are_the_same_for_the_same_data_in_any_order() -> None:
    one, two = Segments.fit(world()), Segments.fit(Dataset.of(shuffled(tables())).before(world().as_of))
    assert one is not None
    assert two is not None
    for part in ("centers", "mean", "scale"):
        np.testing.assert_array_equal(getattr(one, part), getattr(two, part))
    assert one.names == two.names
    assert len(set(one.names)) == len(one.names)


def test_the_number_of_threads_does_not_change_segments() -> None:
    code = """
import hashlib
import numpy as np
from aisle.features.customers import Segments
from tests.data.shops import Line, shop
rng = np.random.default_rng(0)
lines = [Line(f"c{i % 3000}", f"p{rng.integers(9)}", int(h), 1, float(a))
         for i, (h, a) in enumerate(zip(rng.integers(0, 4000, 9000), rng.gamma(2, 9, 9000)))]
print(hashlib.sha256(Segments.fit(shop(lines)).centers.tobytes()).hexdigest())
"""
    found = set()
    for threads in ("1", "4"):
        env = {**os.environ, "OMP_NUM_THREADS": threads, "POLARS_MAX_THREADS": "1"}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1


def test_each_customer_is_in_the_nearest_segment_and_the_best_come_first() -> None:
    data = world()
    segments = Segments.fit(data)
    assert segments is not None
    batch = data.batch(everyone(data, -1))
    codes = segments.predict(batch)
    logs = (np.log1p(np.maximum(rfmv(batch), 0)) - segments.mean) / segments.scale
    for code, row, empty in zip(codes, logs, batch.empty, strict=True):
        if empty:
            assert code == -1
        else:
            assert code == np.argmin([np.sum((row - center) ** 2) for center in segments.centers])
    assert (np.diff(segments.centers[:, 2]) <= 0).all()


@pytest.mark.parametrize("buyers", [0, 1, MIN_CUSTOMERS - 1])
def test_few_customers_are_not_segmented(buyers: int) -> None:
    assert Segments.fit(shop([Line(f"c{i}", "x", i, amount=float(i)) for i in range(buyers)])) is None


def test_customers_who_are_all_alike_are_not_segmented() -> None:
    assert Segments.fit(shop([Line(f"c{i}", "x", 1) for i in range(MIN_CUSTOMERS * 2)])) is None


@given(seed=st.integers(0, 10_000), count=st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_names_are_different_and_readable(seed: int, count: int) -> None:
    names = _names(np.random.default_rng(seed).normal(size=(count, 4)))
    assert len(set(names)) == count
    assert all(name[0].isalpha() for name in names)


def test_frames_of_customers_may_hold_anything_else() -> None:
    customers = pl.DataFrame({"customer_id": ["a"], "group_1": [None]}, schema_overrides={"group_1": pl.String})
    data = shop([Line("a", "x", 1)], customers=customers)
    assert rfmv(data.batch(everyone(data))).shape == (1, 4)
