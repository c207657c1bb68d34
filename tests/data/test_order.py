"""The order of lines by several columns, whatever their widths, is that of a sort by each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from aisle.data.doctor.duplicates import equal_rows
from aisle.data.events import FEW_LINES, SECOND, order_by
from aisle.types import NEVER, Ints

Draw = Callable[[np.random.Generator, int], Ints]
KINDS: dict[str, Draw] = {
    "codes": lambda rng, n: rng.integers(-1, 5, n),
    "many codes": lambda rng, n: rng.integers(0, 200_000, n),
    "whole seconds": lambda rng, n: rng.integers(0, 60_000_000, n) * SECOND,
    "seconds from an odd start": lambda rng, n: rng.integers(0, 60_000_000, n) * SECOND + 7,
    "small": lambda rng, n: rng.integers(-3, 300_000, n).astype(np.int32),
    "all but in order": lambda rng, n: np.arange(n) // 3 + np.where(rng.random(n) < 0.005, 50, 0),
    "as wide as can be shifted": lambda rng, n: np.append(rng.integers(0, 2, n)[1:] * ((1 << 62) - 1), [0] * (n > 0)),
    "microseconds": lambda rng, n: rng.integers(0, 60_000_000_000_000, n),
    "one moment": lambda rng, n: np.full(n, 7),
    "wide": lambda rng, n: rng.integers(0, 1 << 61, n),
    "never": lambda rng, n: np.where(rng.random(n) < 0.5, NEVER, rng.integers(0, 10**15, n)),
    "everything": lambda rng, n: rng.integers(-(1 << 63), (1 << 63) - 1, n),
}


@pytest.mark.parametrize("count", [0, 1, FEW_LINES - 1, FEW_LINES, 1_024, 4_096])
@pytest.mark.parametrize("seed", range(30))
def test_the_order_is_that_of_a_stable_sort_by_each_column(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = rng.choice(list(KINDS), size=rng.integers(1, 5))
    columns = [KINDS[name](rng, count) for name in names]
    wanted = np.lexsort(columns[::-1]) if count else np.zeros(0, dtype=np.int64)
    before = [column.copy() for column in columns]
    found = order_by(*columns)
    for column, kept in zip(columns, before, strict=True):
        np.testing.assert_array_equal(column, kept)
    np.testing.assert_array_equal(found, wanted, err_msg=str(names))
    assert found.dtype == np.int64


def test_of_equal_moments_a_second_apart_by_a_microsecond_none_are_taken_for_one() -> None:
    rng = np.random.default_rng(0)
    time = rng.integers(0, 40_000, 4_000) * SECOND
    time[17] += 1
    np.testing.assert_array_equal(order_by(time), np.argsort(time, kind="stable"))


@pytest.mark.parametrize("copies", [0, 1, 40])
def test_lines_that_are_there_again_are_found_by_their_hashes(copies: int) -> None:
    rng = np.random.default_rng(copies)
    hashes = rng.integers(0, 1 << 63, 3_000).astype(np.uint64)
    hashes[rng.integers(0, 3_000, copies)] = hashes[:copies]
    lines = pl.DataFrame({"_hash": hashes, "order_id": ["a", None, "b"] * 1_000})
    again = np.array([value in hashes[:place] for place, value in enumerate(hashes)])
    ordered = lines["order_id"].is_not_null().to_numpy()
    found = {issue.code: issue.rows for issue in equal_rows(lines)}
    assert set(found) == ({"DUP_ROW", "DUP_KEPT"} if any(again) else set())
    if found:
        np.testing.assert_array_equal(found["DUP_ROW"], again & ordered)
        np.testing.assert_array_equal(found["DUP_KEPT"], again & ~ordered)
