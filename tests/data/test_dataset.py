"""The Dataset as of a moment, against plain loops: nothing later is seen, nothing depends on the order of the rows."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisle.data.build import build_entities
from aisle.data.dataset import Dataset
from aisle.data.events import Events
from aisle.data.split import Window, rolling_windows, truth
from aisle.types import DAY, NEVER
from tests.data.shops import (
    START,
    Line,
    baskets_with,
    by_id,
    history_by_id,
    lines_of_shops,
    moment,
    seen,
    shop,
    tables_of,
)

many = settings(max_examples=60, deadline=None)


def events_by_id(data: Dataset) -> list[tuple[Any, ...]]:
    """Every line with ids instead of codes, baskets numbered by first appearance."""
    e = data.all_events
    ids = [
        vocab.names(codes).to_list()
        for vocab, codes in (
            (data.customers.vocab, e.customer),
            (data.products.vocab, e.product),
            (data.stores, e.store),
            (data.channels, e.channel),
        )
    ]
    amount = [None if np.isnan(a) else a for a in e.amount.tolist()]
    return list(
        zip(*ids, e.time.tolist(), e.quantity.tolist(), amount, e.basket.tolist(), e.void_at.tolist(), strict=True)
    )


# -- the moment


def test_before_hides_what_came_at_or_after_the_moment() -> None:
    data = shop([Line("a", "x", 1), Line("a", "y", 5), Line(None, "z", 5), Line("b", "x", 9, -1.0)])
    assert len(data.lines) == 4
    assert len(data.purchases) == 3, "a return is no purchase"
    assert history_by_id(data.before(moment(5))) == {("a", "x"): 1}
    assert history_by_id(data.before(moment(5) + 1)) == {("a", "x"): 1, ("a", "y"): 1}
    assert len(data.before(moment(5) + 1).purchases) == 3
    assert len(data.before(START).lines) == 0
    assert data.before(moment(5)).before(moment(6)).purchases.product.shape == (3,), "only a view is moved"


def test_the_end_is_the_end_of_the_last_day_and_nothing_is_copied_for_it() -> None:
    data = shop([Line("a", "x", 1), Line("a", "y", 30)])
    assert data.end == data.as_of == START + 2 * DAY
    assert data.purchases is data.all_events
    assert data.lines is data.all_events


def test_a_purchase_counts_until_it_is_returned() -> None:
    data = shop([Line("a", "x", 1, back=10), Line("a", "x", 10, -1.0)])
    assert history_by_id(data.before(moment(10))) == {("a", "x"): 1}
    assert history_by_id(data.before(moment(10) + 1)) == {}
    assert data.before(moment(10) + 1).known.tolist() == [True], "it was sold once"


def test_until_forgets_for_good() -> None:
    data = shop([Line("a", "x", 1), Line("a", "y", 30)]).until(moment(5))
    assert (len(data.all_events), data.end, data.as_of) == (1, moment(5), moment(5))
    assert data.before(moment(100)).purchases.product.shape == (1,)


def test_products_are_known_from_their_first_sale_their_date_or_at_the_end() -> None:
    products = pl.DataFrame(
        {
            "product_id": ["sold", "never", "dated", "coming"],
            "valid_from": pl.Series([None, None, moment(4), moment(24 * 9)]).cast(pl.Datetime("us")),
        }
    )
    data = shop([Line("a", "sold", 2), Line("a", "x", 30)], products=products)
    at = {hour: by_id(data, data.before(moment(hour)).known) for hour in (1, 3, 5, 48)}
    assert [name for name, known in at[1].items() if known] == []
    assert [name for name, known in at[3].items() if known] == ["sold"]
    assert [name for name, known in at[5].items() if known] == ["dated", "sold"]
    assert data.as_of == moment(48)
    assert [name for name, known in at[48].items() if known] == ["dated", "never", "sold", "x"], "coming is not there"
    assert data.first_sale[data.products.vocab.codes(["never"])[0]] == NEVER


def test_dates_of_products_mean_nothing_to_a_sequence_clock() -> None:
    products = pl.DataFrame({"product_id": ["p"], "valid_from": pl.Series([START]).cast(pl.Datetime("us"))})
    data = shop([Line("a", "x", 1), Line("a", "y", 2)], sequence=True, products=products)
    assert data.known.all()
    assert by_id(data, data.before(0).known) == {"p": False, "x": True, "y": False}


# -- baskets


def baskets(lines: list[Line], **more: Any) -> dict[tuple[Any, ...], set[str]]:
    """Products of each basket as (customer, number of the basket within the customer)."""
    data = shop(lines, **more)
    e = data.all_events
    found: dict[int, set[str]] = {}
    owner: dict[int, str | None] = {}
    names = data.customers.vocab.names(e.customer)
    for i, basket in enumerate(e.basket.tolist()):
        found.setdefault(basket, set()).add(data.products.vocab.ids[int(e.product[i])])
        owner[basket] = names[i]
    out: dict[tuple[Any, ...], set[str]] = {}
    for basket in sorted(found):
        number = sum(key[0] == owner[basket] for key in out)
        out[owner[basket], number] = found[basket]
    return out


def test_an_order_is_a_basket_whatever_its_times() -> None:
    lines = [Line("a", "x", 1, order="7"), Line("a", "y", 30, order="7"), Line("a", "z", 2, order="8")]
    assert baskets(lines) == {("a", 0): {"x", "y"}, ("a", 1): {"z"}}


def test_without_an_order_a_basket_is_a_day_of_the_customer() -> None:
    lines = [Line("a", "x", 1), Line("a", "y", 23), Line("a", "z", 24), Line("b", "x", 1)]
    assert baskets(lines) == {("a", 0): {"x", "y"}, ("a", 1): {"z"}, ("b", 0): {"x"}}


def test_nobody_shares_a_basket_without_an_order_or_with_another_customer() -> None:
    lines = [Line(None, "x", 1), Line(None, "y", 1), Line(None, "z", 1, order="1"), Line(None, "w", 2, order="1")]
    assert sorted(map(sorted, baskets(lines).values())) == [["w", "z"], ["x"], ["y"]]
    same = [Line("a", "x", 1, order="1"), Line("b", "y", 1, order="1")]
    assert baskets(same) == {("a", 0): {"x"}, ("b", 0): {"y"}}


def test_orders_of_one_moment_follow_their_numbers() -> None:
    lines = [Line("a", name, 0, order=order) for name, order in (("new", "100"), ("old", "99"), ("first", "9"))]
    assert baskets(lines) == {("a", 0): {"first"}, ("a", 1): {"old"}, ("a", 2): {"new"}}


@pytest.mark.parametrize("seed", range(20))
def test_lines_lie_by_customer_moment_basket_and_product(seed: int) -> None:
    """Also where orders go on for hours, and hold each other's products."""
    rng = random.Random(seed)
    orders = {f"{n}": rng.choice("ab") for n in range(40)}
    lines = [Line(who, rng.choice("vwxyz"), rng.randrange(3), order=n) for n, who in orders.items() for _ in range(4)]
    e = shop(rng.sample(lines, len(lines))).all_events
    rows = list(zip(e.customer.tolist(), e.time.tolist(), e.basket.tolist(), e.product.tolist(), strict=True))
    assert rows == sorted(rows)
    assert any(one[:2] == other[:2] and one[3] > other[3] for one, other in pairwise(rows))


def test_split_lines_of_a_basket_count_once() -> None:
    data = shop([Line("a", "x", 1, 2.0), Line("a", "x", 1, 3.0), Line("a", "x", 25)])
    assert history_by_id(data) == {("a", "x"): 2}
    assert data.popularity.tolist() == [2.0]


# -- the sequence clock


def test_a_sequence_counts_baskets_back_whatever_its_gaps() -> None:
    lines = [Line("a", "x", 1), Line("a", "y", 5), Line("a", "z", 9), Line("b", "x", 1000), Line("b", "z", 1000)]
    data = shop(lines, sequence=True)
    assert data.clock == "sequence"
    assert (data.end, data.unit) == (1, 1)
    assert data.all_events.time.tolist() == [-2, -1, 0, 0, 0]
    assert history_by_id(data.before(0)) == {("a", "x"): 1, ("a", "y"): 1}, "the last basket of everybody is hidden"


def test_under_a_sequence_returns_undo_from_their_own_basket() -> None:
    lines = [Line("a", "x", 10, back=30), Line("a", "y", 20), Line("a", "x", 30, -1.0)]
    data = shop(lines, sequence=True)
    assert ("a", "x") not in history_by_id(data)
    assert history_by_id(data.before(0)) == {("a", "x"): 1, ("a", "y"): 1}


# -- people


def test_who_opts_out_becomes_anonymous() -> None:
    customers = pl.DataFrame({"customer_id": ["a", "b", "new"], "no_profile": [True, None, False]})
    lines = [Line("a", "x", 1), Line("b", "x", 1), Line(None, "x", 1)]
    data = shop(lines, customers=customers)
    assert data.flag("no_profile").tolist() == [True, False, False]
    assert data.all_events.customer.tolist() == [-1, -1, 1]
    assert history_by_id(data) == {("b", "x"): 1}
    assert data.popularity.tolist() == [3.0], "their baskets still count"


def test_everybody_may_opt_out_and_everybody_may_be_anonymous() -> None:
    customers = pl.DataFrame({"customer_id": ["a"], "no_profile": [True]})
    assert (shop([Line("a", "x", 1)], customers=customers).all_events.customer == -1).all()
    nobody = pl.DataFrame(schema={"customer_id": pl.String, "no_profile": pl.Boolean})
    data = shop([Line(None, "x", 1)], customers=nobody)
    assert data.shape == (0, 1)
    assert data.batch(np.array([-1, -1], dtype=np.int32)).history.toarray().tolist() == [[0.0], [0.0]]


def test_an_empty_shop_answers() -> None:
    data = shop([])
    assert data.shape == (0, 0)
    assert data.counts.shape == (0, 0)
    assert len(data.tie_rank) == len(data.known) == len(data.popularity) == 0


def test_a_batch_takes_strangers_repeats_and_any_order() -> None:
    data = shop([Line("a", "x", 1), Line("a", "y", 30), Line("b", "x", 2), Line("ret", "x", 3, -1.0)])
    names = data.customers.vocab.ids.to_list()
    assert names == ["a", "b", "ret"]
    batch = data.batch(np.array([1, -1, 0, 0, 2], dtype=np.int32))
    assert batch.history.toarray().tolist() == [[1, 0], [0, 0], [1, 1], [1, 1], [0, 0]]
    assert batch.empty.tolist() == [False, True, False, False, True]
    assert batch.row.tolist() == [0, 2, 2, 3, 3]
    assert (batch.age_days > 0).all()
    assert data.batch(np.zeros(0, dtype=np.int32)).history.shape == (0, 2)


@given(lines=lines_of_shops(), first=st.integers(-1, 3), size=st.integers(0, 4))
@many
def test_neighbours_asked_together_are_answered_as_one_by_one(lines: list[Line], first: int, size: int) -> None:
    data = shop(lines)
    asked = np.arange(first, min(first + size, data.shape[0]), dtype=np.int32)
    together = data.batch(asked)
    alone = [data.batch(asked[i : i + 1]) for i in range(len(asked))]
    assert np.diff(together.indptr).tolist() == [len(one.lines) for one in alone]
    for field in fields(Events):
        pieces = [getattr(one.lines, field.name) for one in alone]
        expected = np.concatenate(pieces) if pieces else np.zeros(0)
        np.testing.assert_array_equal(getattr(together.lines, field.name), expected, err_msg=field.name)


# -- tables


def test_trees_categories_numbers_and_flags_are_told_apart() -> None:
    products = pl.DataFrame(
        {
            "product_id": ["b", "a"],
            "category_1": ["Food", "Food"],
            "category_2": ["Food > Tea", None],
            "category_10": [None, None],
            "category_manager": ["Ann", "Bob"],
            "brand": ["One", "One"],
            "price": [1.5, None],
            "launched": pl.Series([START, None]).cast(pl.Datetime("us")),
            "in_stock": [False, None],
            "name": ["Tea", None],
            "organic": [True, False],
        },
        schema_overrides={"category_10": pl.String},
    )
    customers = pl.DataFrame({"customer_id": ["c", "d"], "country": ["UK", "UK"], "group_size": ["2", "3"]})
    data = shop([Line("c", "a", 1), Line("c", "loose", 1)], products=products, customers=customers)
    assert data.customers.tree == ()
    assert [level.name for level in data.customers.categories] == ["group_size"], "a constant tells nobody apart"
    found = data.products
    assert found.vocab.ids.to_list() == ["a", "b", "loose"]
    assert [level.name for level in found.tree] == ["category_1", "category_2", "category_10"]
    assert found.tree[1].vocab.names(found.tree[1].codes).to_list() == [None, "Food > Tea", None]
    assert [level.name for level in found.categories] == ["category_manager", "brand", "organic"]
    assert found.numbers["price"][1] == 1.5
    assert np.isnan(found.numbers["price"][[0, 2]]).all()
    assert found.numbers["launched"][1] == START / DAY
    assert found.flags["in_stock"].tolist() == [True, False, True], "silence means in stock"
    assert found.label(1) == "Tea"
    rows = found.take(np.array([1, -1], dtype=np.int32))
    assert [level.codes.tolist() for level in rows.tree] == [[0, -1], [0, -1], [-1, -1]]
    assert np.isnan(rows.numbers["price"][1])


# -- popularity, ties, truth


def test_ties_break_by_popularity_then_by_id() -> None:
    lines = [Line("a", "z", 1), Line("b", "z", 1), Line("a", "m", 1), Line("a", "k", 1), Line(None, "k", 99)]
    data = shop(lines)
    assert by_id(data, data.tie_rank) == {"k": 0, "z": 1, "m": 2}
    assert by_id(data, data.before(moment(50)).tie_rank) == {"z": 0, "k": 1, "m": 2}


def naive_truth(lines: list[Line], start: int, stop: int) -> dict[tuple[str, str], float]:
    net: dict[tuple[str, str], float] = {}
    money: dict[tuple[str, str], float] = {}
    for x in lines:
        if x.customer is not None and start <= x.hour < stop:
            key = (x.customer, x.product)
            net[key] = net.get(key, 0.0) + x.quantity
            money[key] = money.get(key, 0.0) + (x.amount or 0.0)
    return {key: money[key] for key, quantity in net.items() if quantity > 1e-9}


@given(lines=lines_of_shops(), start=st.integers(1, 80), length=st.integers(1, 40))
@many
def test_truth_is_what_was_bought_and_kept_in_the_window(lines: list[Line], start: int, length: int) -> None:
    data = shop(lines)
    found = truth(data, Window(moment(start), moment(start + length)))
    expected = naive_truth(lines, start, start + length)
    names, products = data.customers.vocab.ids, data.products.vocab.ids
    cells = found.bought.tocoo()
    keys = {(names[int(u)], products[int(i)]) for u, i in zip(cells.row, cells.col, strict=True)}
    assert keys == set(expected)
    assert set(np.unique(cells.data)) <= {1.0}
    revenue = found.revenue.toarray()
    for (name, product), amount in expected.items():
        cell = data.customers.vocab.codes([name])[0], data.products.vocab.codes([product])[0]
        assert revenue[cell] == pytest.approx(amount, abs=1e-5)
    buyers = {name for name, _ in expected}
    before = {x.customer for _, x in seen(lines, start)}
    assert {names[int(u)] for u in np.flatnonzero(found.warm)} == buyers & before
    assert {names[int(u)] for u in np.flatnonzero(found.cold)} == buyers - before
    assert (found.known == data.before(moment(start)).known).all()


def test_weights_that_cancel_are_no_purchase() -> None:
    parts = [Line("a", "x", 30, q) for q in (0.3, -0.1, -0.2)]  # 7e-9 is left
    found = truth(shop([*parts, Line("a", "y", 31, 0.05)]), Window(moment(24), moment(48)))
    assert found.bought.toarray().tolist() == [[0.0, 1.0]]


def test_windows_lie_back_to_back_and_end_at_the_end() -> None:
    assert rolling_windows(100, 10, 3) == (Window(70, 80), Window(80, 90), Window(90, 100))


# -- properties


@given(lines=lines_of_shops(), hour=st.integers(0, 100))
@many
def test_history_is_naive_counting(lines: list[Line], hour: int) -> None:
    data = shop(lines).before(moment(hour))
    expected = baskets_with(lines, hour)
    named = {key: n for key, n in expected.items() if key[0] is not None}
    assert history_by_id(data) == named
    total: dict[str, float] = dict.fromkeys(data.products.vocab.ids.to_list(), 0.0)
    for (_, product), n in expected.items():
        total[product] += n
    assert by_id(data, data.popularity) == total
    order = sorted(total, key=lambda product: (-total[product], product))
    assert by_id(data, data.tie_rank) == {product: place for place, product in enumerate(order)}


@given(lines=lines_of_shops(), seed=st.integers(0, 99), sequence=st.booleans())
@many
def test_the_order_of_the_rows_changes_nothing(lines: list[Line], seed: int, sequence: bool) -> None:
    mixed = list(lines)
    random.Random(seed).shuffle(mixed)
    assert events_by_id(shop(mixed, sequence=sequence)) == events_by_id(shop(lines, sequence=sequence))


@given(lines=lines_of_shops())
@many
def test_categories_and_texts_give_the_same_dataset(lines: list[Line]) -> None:
    one, two = shop(lines), shop(lines, categorical=True)
    for name in (f.name for f in fields(Events)):
        np.testing.assert_array_equal(getattr(one.all_events, name), getattr(two.all_events, name), err_msg=name)
    assert one.products.vocab.ids.equals(two.products.vocab.ids)
    assert one.stores.ids.equals(two.stores.ids)


@given(lines=lines_of_shops())
@many
def test_events_are_sorted_and_baskets_rise_with_time(lines: list[Line]) -> None:
    e = shop(lines).all_events
    keys = list(zip(e.customer.tolist(), e.time.tolist(), e.basket.tolist(), e.product.tolist(), strict=True))
    assert keys == sorted(keys)
    start: dict[tuple[int, int], int] = {}
    for customer, time, basket, _ in keys:
        start[customer, basket] = min(time, start.get((customer, basket), NEVER))
    for customer in set(e.customer.tolist()):
        times = [start[key] for key in sorted(start) if key[0] == customer]
        assert times == sorted(times)
    assert sorted(set(e.basket.tolist())) == list(range(len(start))), "codes are dense, one owner each"


def test_other_orders_of_columns_are_other_datasets() -> None:
    tables = tables_of([Line("a", "x", 1), Line("b", "y", 2)])
    swapped = replace(tables, transactions=tables.transactions.select(reversed(tables.transactions.columns)))
    assert events_by_id(Dataset.of(swapped)) == events_by_id(Dataset.of(tables))


def test_attributes_with_very_many_values_are_names_but_tags_are_counted_one_by_one() -> None:
    size = 3_000
    ids = [f"p{i}" for i in range(size)]
    table = pl.DataFrame(
        {
            "product_id": ids,
            "label": [f"text {i}" for i in range(size)],
            "tags": [f"{i % 60}|{i // 60}" for i in range(size)],
            "parts": [f"{i}|{i + 1}|{i + 2}|{i + 3}|{7 * i}" for i in range(size)],
        }
    )
    found = build_entities(table, "product_id", "category_", pl.Series(ids))
    assert [level.name for level in found.categories] == ["tags"]
    assert len(found.categories[0].vocab) == size
