"""The sorts and sums that every array of events stands on, against plain Python."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisle.data.events import Events, Picked, order_by, sorted_set, sparse_sum, unique_pairs
from aisle.types import NEVER

many = settings(max_examples=60, deadline=None)


@given(seed=st.integers(0, 10_000), size=st.integers(0, 40), spans=st.lists(st.integers(0, 62), min_size=1, max_size=4))
@many
def test_packed_keys_sort_like_a_sort_by_each_column(seed: int, size: int, spans: list[int]) -> None:
    rng = np.random.default_rng(seed)
    columns = [rng.integers(-(2**span) // 2, 2**span // 2 + 1, size) for span in spans]
    columns[0] = np.where(rng.random(size) < 0.1, NEVER, columns[0])
    np.testing.assert_array_equal(order_by(*columns), np.lexsort(columns[::-1]))


@given(seed=st.integers(0, 10_000), size=st.integers(0, 40))
@many
def test_pairs_and_sums_against_dictionaries(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    rows, cols = rng.integers(0, 5, size), rng.integers(0, 4, size).astype(np.int32)
    values = rng.normal(size=size)
    expected: dict[tuple[int, int], float] = {}
    for row, col, value in zip(rows.tolist(), cols.tolist(), values.tolist(), strict=True):
        expected[row, col] = expected.get((row, col), 0.0) + value
    found = sparse_sum(rows, cols, values, (5, 4))
    cells = found.tocoo()
    got = {(int(r), int(c)): float(v) for r, c, v in zip(cells.row, cells.col, cells.data, strict=True)}
    assert got.keys() == expected.keys()
    assert all(got[key] == pytest.approx(value, rel=1e-6) for key, value in expected.items())
    assert found.has_sorted_indices
    first, second = unique_pairs(rows, cols)
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == sorted(expected)
    assert sorted_set(rows).tolist() == sorted(set(rows.tolist()))


def test_picked_lines_are_those_of_a_copy() -> None:
    rng = np.random.default_rng(4)
    columns = {f.name: rng.integers(0, 9, 50) for f in fields(Events)}
    events = Events(**{**columns, "void_at": rng.choice([3, 7, NEVER], 50)})
    seen = rng.random(50) < 0.7
    picked, copied = Picked(events, seen, 5), events.take(seen)
    copied = replace(copied, void_at=np.where(copied.void_at >= 5, NEVER, copied.void_at))
    assert len(picked) == len(copied) < 50
    assert picked.nbytes < copied.nbytes / 10
    for rows in (slice(None), slice(3, 9), np.array([4, 1, 1]), picked.customer > 4):
        for name in columns:
            np.testing.assert_array_equal(getattr(picked, name)[rows], getattr(copied, name)[rows])
            np.testing.assert_array_equal(getattr(picked.take(rows), name), getattr(copied.take(rows), name))
