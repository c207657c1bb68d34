"""Returns meet their sales: a slow oracle, order independence, and the two ways sources link them."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.data.returns import Netted, Returns

Line = tuple[str | None, str, str | None, int, float]
"""customer, product, order, day, quantity"""
LINES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]),
        st.sampled_from(["p", "q"]),
        st.sampled_from(["1", "2", "3", None]),
        st.integers(0, 6),
        st.sampled_from([1.0, 2.0, 3.0, -1.0, -2.0]),
    ),
    max_size=14,
)


def net(lines: pl.DataFrame, clock: str) -> Netted:
    found = Returns(lines, clock)
    return found.net(by_order=found.by_order)


def table(lines: list[Line]) -> pl.DataFrame:
    schema = {
        "customer_id": pl.Categorical,
        "product_id": pl.Categorical,
        "order_id": pl.Categorical,
        "sequence": pl.Int64,
        "quantity": pl.Float64,
    }
    return pl.DataFrame(lines, schema=schema, orient="row")


def slow(lines: list[Line]) -> tuple[list[int | None], list[bool]]:
    """The rule by plain loops over the whole table."""
    backs = [i for i, line in enumerate(lines) if line[4] < 0]
    named = [i for i in backs if any(s[4] > 0 and s[1:3] == lines[i][1:3] and s[2] is not None for s in lines)]
    by_order = bool(backs) and len(named) >= len(backs) / 2
    void: list[int | None] = [None] * len(lines)
    left = {i: line[4] for i, line in enumerate(lines) if line[4] > 0}
    lonely = [line[4] < 0 for line in lines]

    def buyer(i: int) -> tuple[str, str] | None:
        customer, _, order, _, _ = lines[i]
        first, second = (("order", order), ("customer", customer))
        for kind, value in (first, second) if by_order else (second, first):
            if value is not None:
                return kind, value
        return None

    def rank(i: int) -> tuple[object, ...]:
        customer, _, order, day, quantity = lines[i]
        return (day, quantity < 0, order or "", quantity, customer or "", i)

    for back in sorted(backs, key=rank):
        who, asked = buyer(back), -lines[back][4]
        fits = [
            i
            for i in sorted(left, key=rank)
            if who is not None
            and buyer(i) == who
            and lines[i][1] == lines[back][1]
            and rank(i) < rank(back)
            and left[i] >= asked
        ]
        same = [i for i in fits if lines[i][2] is not None and lines[i][2] == lines[back][2]]
        if not fits:
            continue
        sale = (same or fits)[-1]
        left[sale] -= asked
        lonely[back] = False
        if left[sale] == 0:
            void[sale] = lines[back][3]
            del left[sale]
    return void, lonely


@given(LINES)
def test_netting_is_the_rule_by_plain_loops(lines: list[Line]) -> None:
    netted = net(table(lines), "sequence")
    void, lonely = slow(lines)
    assert netted.void_at.to_list() == void
    assert netted.unmatched.tolist() == lonely


@given(LINES, st.randoms(use_true_random=False))
def test_the_order_of_the_lines_does_not_matter(lines: list[Line], rng: random.Random) -> None:
    place = list(range(len(lines)))
    rng.shuffle(place)
    straight = net(table(lines), "sequence")
    mixed = net(table([lines[i] for i in place]), "sequence")
    key = [str((lines[i], straight.void_at[i], bool(straight.unmatched[i]))) for i in place]
    other = [str((lines[i], mixed.void_at[at], bool(mixed.unmatched[at]))) for at, i in enumerate(place)]
    assert sorted(key) == sorted(other)


@given(LINES)
def test_never_more_comes_back_than_was_sold(lines: list[Line]) -> None:
    netted = net(table(lines), "sequence")
    whole = sum(line[4] for line, void in zip(lines, netted.void_at, strict=True) if void is not None)
    matched = -sum(q[4] for q, alone in zip(lines, netted.unmatched, strict=True) if q[4] < 0 and not alone)
    assert whole <= matched + 1e-9
    for line, void in zip(lines, netted.void_at, strict=True):
        assert void is None or (line[4] > 0 and void >= line[3])


@pytest.mark.parametrize(
    ("lines", "void"),
    [
        ([("a", "p", "1", 0, 2.0), ("a", "p", "C9", 3, -2.0)], [3, None]),
        ([("a", "p", "1", 0, 2.0), ("a", "p", "C9", 3, -1.0)], [None, None]),
        ([("a", "p", "1", 0, 2.0), ("a", "p", "C9", 3, -1.0), ("a", "p", "C8", 5, -1.0)], [5, None, None]),
        ([("a", "p", "1", 0, 1.0), ("a", "p", "2", 1, 1.0), ("a", "p", "C9", 3, -1.0)], [None, 3, None]),
        ([("a", "p", "1", 4, 1.0), ("a", "p", "C9", 3, -1.0)], [None, None]),
        ([("a", "p", "1", 0, 1.0), ("b", "p", "C9", 3, -1.0)], [None, None]),
        ([(None, "p", "1", 0, 1.0), (None, "p", "1", 3, -1.0)], [3, None]),
        ([("a", "p", "1", 0, 1.0), ("a", "p", "2", 1, 1.0), ("a", "p", "1", 3, -1.0)], [3, None, None]),
        # where returns name their sale, a second return of it must not undo another sale
        (
            [("a", "p", "1", 0, 1.0), ("a", "p", "2", 1, 1.0), ("a", "p", "2", 3, -1.0), ("a", "p", "2", 4, -1.0)],
            [None, 3, None, None],
        ),
    ],
)
def test_by_hand(lines: list[Line], void: list[int | None]) -> None:
    assert net(table(lines), "sequence").void_at.to_list() == void


def test_void_at_has_the_type_of_the_clock() -> None:
    start = datetime(2024, 1, 1)
    lines = pl.DataFrame(
        {"customer_id": ["a", "a"], "product_id": ["p", "p"], "quantity": [1.0, -1.0]},
    ).with_columns(timestamp=pl.Series([start, start + timedelta(days=1)]).cast(pl.Datetime("us")))
    assert net(lines, "timestamp").void_at.to_list() == [start + timedelta(days=1), None]
    found = Returns(lines, "timestamp")
    assert found.with_sale(by_order=found.by_order).tolist() == [False, True]
