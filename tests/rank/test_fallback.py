"""The fallback chain and the products gone from sale, against plain loops."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisle.data.dataset import Dataset
from aisle.rank import fallback
from aisle.rank.fallback import HALF_LIFE_DAYS, MIN_BASKETS, SHRINKAGE, Fallback
from aisle.rank.lists import _fill, block_rows
from aisle.rank.rules import GONE_AFTER_DAYS, GONE_AFTER_GAPS, MIN_SALE_DAYS, gone
from tests.contract.worlds import world
from tests.data.shops import Line, basket_key, by_id, seen, shop

GROUPS = {"c0": None, "c1": "north", "c2": "south", "c3": "north"}


def shop_with_groups(seed: int) -> tuple[list[Line], Dataset]:
    """Two groups, one of them too small to stand alone; anonymous sales; the first customer in no group."""
    rng = np.random.default_rng(seed)
    lines = []
    for basket in range(2 * MIN_BASKETS):
        who = [None, "c1", "c3", "c0"][basket % 4] if basket % 9 else "c2"
        for _ in range(int(rng.integers(1, 4))):
            hour = 24 * basket + int(rng.integers(20))
            lines.append(Line(who, f"p{rng.integers(5)}", hour, order=f"o{basket}"))
    customers = pl.DataFrame({"customer_id": list(GROUPS), "group_1": list(GROUPS.values())})
    return lines, shop(lines, customers=customers)


@pytest.mark.parametrize("seed", range(3))
def test_tastes_are_decayed_purchases_of_the_group_and_a_share_of_all(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fallback, "MIN_BASKETS", 20)
    lines, data = shop_with_groups(seed)
    end = 24 * 2 * MIN_BASKETS
    worth: dict[str | None, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    total: dict[str, float] = defaultdict(float)
    baskets: dict[str | None, set[object]] = defaultdict(set)
    done = set()
    for i, x in sorted(seen(lines, end), key=lambda pair: pair[1].hour):
        key = (basket_key(x, i), x.product)
        if key in done:
            continue
        done.add(key)
        weight = 0.5 ** ((end - x.hour) / 24 / HALF_LIFE_DAYS)
        total[x.product] += weight
        group = GROUPS[x.customer] if x.customer else None
        worth[group][x.product] += weight
        baskets[group].add(basket_key(x, i))
    found = Fallback.fit(data)
    assert by_id(data, found.everybody) == pytest.approx(dict(total), rel=1e-5)
    (grouping,) = found.groupings
    assert (grouping.source, grouping.column, grouping.names) == ("group", "group_1", ("north", "south"))
    for name, tastes in zip(grouping.names, grouping.tastes, strict=True):
        if len(baskets[name]) < 20:
            assert np.isnan(tastes).all()
        else:
            share = {p: worth[name][p] + SHRINKAGE * w / sum(total.values()) for p, w in total.items()}
            assert by_id(data, tastes) == pytest.approx(share, rel=1e-5)
    assert np.isnan(grouping.tastes[1]).all(), "the south is too small to tell"
    choice = found.choose(data.batch(np.array([1, 2, 0, -1], dtype=np.int32)), np.zeros(4, dtype=bool))
    assert choice.sources() == ["group", "popularity", "popularity", "popularity"]
    assert choice.names() == ["north", "", "", ""]
    plain = found.choose(data.batch(np.array([1], dtype=np.int32)), np.ones(1, dtype=bool))
    assert plain.sources() == ["popularity"]


def test_groupings_with_too_many_cells_or_no_names_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    customers = pl.DataFrame({"customer_id": ["a"], "group_1": [None]}, schema_overrides={"group_1": pl.String})
    data = shop([Line("a", "x", 1)], customers=customers)
    found = Fallback.fit(data)
    assert found.groupings == ()
    assert found.choose(data.batch(np.zeros(1, dtype=np.int32)), np.zeros(1, dtype=bool)).sources() == ["popularity"]
    monkeypatch.setattr(fallback, "MAX_CELLS", 1)
    assert Fallback.fit(world()).groupings == ()


def test_state_comes_back() -> None:
    found = Fallback.fit(world())
    again = Fallback.restore(*found.state())
    data = world()
    batch = data.batch(np.arange(-1, data.shape[0], dtype=np.int32))
    plain = np.zeros(len(batch), dtype=bool)
    one, two = found.choose(batch, plain), again.choose(batch, plain)
    np.testing.assert_array_equal(one.scores(), two.scores())
    assert one.names() == two.names()


@given(seed=st.integers(0, 10_000), products=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_gone_is_what_a_loop_finds(seed: int, products: int) -> None:
    rng = np.random.default_rng(seed)
    lines = []
    for p in range(products):
        start, step, number = int(rng.integers(60)), int(rng.integers(1, 9)), int(rng.integers(1, 14))
        lines += [Line("c", f"p{p}", 24 * (start + step * i + int(rng.integers(2)))) for i in range(number)]
    data = shop([*lines, Line("c", "p0", 24 * 150)])
    days: dict[str, set[int]] = defaultdict(set)
    for x in [*lines, Line("c", "p0", 24 * 150)]:
        days[x.product].add(x.day)
    expected = {}
    for product, mine in days.items():
        gap = (max(mine) - min(mine)) / max(len(mine) - 1, 1)
        silence = 150 - max(mine)
        expected[product] = len(mine) >= MIN_SALE_DAYS and silence > max(GONE_AFTER_DAYS, GONE_AFTER_GAPS * gap)
    assert by_id(data, gone(data)) == expected


@pytest.mark.parametrize("bottom", [5.0, 0.0, -3.0, -1e9, 1e9])
def test_fills_fall_below_scores_of_any_size(bottom: float) -> None:
    codes = np.array([[4, -1, -1, -1, -1], [-1] * 5], dtype=np.int32)
    values = np.array([[bottom, *[-np.inf] * 4], [-np.inf] * 5], dtype=np.float32)
    filled = np.zeros(codes.shape, dtype=bool)
    scores = np.array([[3, 1, 2, -np.inf, 9], [3, 1, 2, -np.inf, 9]], dtype=np.float32)
    _fill(codes, values, filled, np.ones(2, dtype=bool), scores, np.arange(5, dtype=np.int32))
    assert codes.tolist() == [[4, 0, 2, 1, -1], [4, 0, 2, 1, -1]]
    assert (np.diff(values[:, :4], axis=1) < 0).all()
    assert np.isneginf(values[:, 4]).all()
    assert filled[0].tolist() == [False, True, True, True, True]


def test_blocks_follow_from_memory() -> None:
    assert block_rows(5_000, 1 << 30) == 512
    assert block_rows(100_000, 1 << 30) == (1 << 30) // (40 * 100_000)
    assert block_rows(10**9, 1) == 16
    assert block_rows(0, 1 << 30) == 512
