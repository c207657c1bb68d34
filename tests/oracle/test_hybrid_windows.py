"""Questions of the hybrid by plain loops over all lines: what was bought in a window, and what was known before it."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from aisle.data.dataset import Dataset
from aisle.data.entities import Features, Level
from aisle.data.events import Batch, Events
from aisle.data.vocab import Vocab
from aisle.models.nn.features import Form
from aisle.models.nn.windows import Weighing, batch_before, come_back, hold_out, questions, spread, unordered
from aisle.types import DAY
from tests.contract.worlds import CUSTOMERS, PRODUCTS
from tests.oracle.loops import data, few, seeds

LINES = ("customer", "product", "time", "quantity", "amount", "void_at")


def lines(dataset: Dataset) -> list[tuple[int, int, int, float, float, int]]:
    """Every line before the moment of the dataset."""
    every = zip(*(getattr(dataset.all_events, name).tolist() for name in LINES), strict=True)
    return [line for line in every if line[2] < dataset.as_of]


def same_batch(one: Batch, other: Batch) -> None:
    for field in fields(Batch):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name == "lines":
            for part in fields(Events):
                np.testing.assert_array_equal(getattr(a, part.name), getattr(b, part.name), err_msg=part.name)
        elif field.name == "features":
            for x, y in zip(a.levels, b.levels, strict=True):
                np.testing.assert_array_equal(x.codes, y.codes)
            for name in a.numbers:
                np.testing.assert_array_equal(a.numbers[name], b.numbers[name])
        else:
            np.testing.assert_array_equal(a, b, err_msg=field.name)


@few
@given(seed=seeds, place=st.integers(0, 500), returned=st.booleans(), late=st.integers(-1, 1))
def test_a_batch_before_a_cut_is_that_of_the_data_before_it(seed: int, place: int, returned: bool, late: int) -> None:
    """Cuts at, just before and just after a purchase or the moment of its return."""
    events = data(seed).all_events
    some = np.flatnonzero((events.customer >= 0) & ((events.void_at < events.void_at.max()) if returned else True))
    line = some[place % len(some)]
    cut = int((events.void_at if returned else events.time)[line]) + late
    customers = np.array([events.customer[line], 5, 0, CUSTOMERS - 1, 5], dtype=np.int32)
    same_batch(batch_before(data(seed), customers, cut), data(seed).before(cut).batch(customers))


@few
@given(
    seed=seeds,
    days=st.integers(8, 40),
    place=st.integers(0, 900),
    weighing=st.sampled_from(["even", "quantity", "amount", "recency"]),
)
def test_windows_hold_what_was_bought_and_brought_back(seed: int, days: int, place: int, weighing: Weighing) -> None:
    """One window, and the span that the next looks back over, start at a line, on the tick."""
    ticks, times = days * DAY, data(seed).all_events.time
    late = times[times >= times.min() + 170 * DAY]
    dataset = data(seed).before(int(late[place % len(late)]) + 2 * ticks)
    asked = questions(dataset, ticks, 4, 10_000, 0, weighing)
    assert len(asked) == 4
    every = lines(dataset)
    kept = [line for line in every if line[3] > 0 and line[5] >= dataset.as_of]
    for step, question in enumerate(asked):
        start, end = dataset.as_of - ticks * (step + 1), dataset.as_of - ticks * step
        assert question.cut == start
        sold = np.zeros((3, PRODUCTS))
        for line in kept:
            for at, reach in enumerate((ticks, 4 * ticks, np.inf)):
                sold[at, line[1]] += start - reach <= line[2] < start
        np.testing.assert_array_equal(question.sold, sold)
        bought, back = np.zeros((CUSTOMERS, PRODUCTS)), np.zeros((CUSTOMERS, PRODUCTS), dtype=bool)
        for who, what, when, quantity, amount, _ in kept:
            weight = {"quantity": np.log1p(quantity), "amount": 0.1 + np.log1p(amount)}.get(weighing, 1.0)
            bought[who, what] += weight if start <= when < end and who >= 0 and sold[2, what] else 0
        for who, what, when, quantity, _, _ in every:
            back[who, what] |= start <= when < end and quantity < 0 and who >= 0 and sold[2, what] > 0
        bought = np.sign(bought) if weighing in ("even", "recency") else bought
        expected = np.flatnonzero(bought.sum(axis=1))
        np.testing.assert_array_equal(question.customers, expected)
        np.testing.assert_allclose(question.bought.toarray(), bought[expected], rtol=1e-6)
        np.testing.assert_array_equal(question.returned.toarray() > 0, (back & (bought == 0))[expected])
        assert question.returned.nnz == (question.returned.toarray() > 0).sum(), "no stored zeros"
        assert question.weight == pytest.approx(0.8**step if weighing == "recency" else 1.0)


def test_what_was_never_sold_before_a_window_is_neither_bought_nor_brought_back() -> None:
    (question,) = questions(data(), 25 * DAY, 1, 10_000, 0, "even")
    events = data().all_events
    row, product = (int(part[0]) for part in question.returned.nonzero())
    early = (events.product == product) & (events.time < question.cut)
    (other,) = questions(replace(data(), all_events=events.take(~early)), 25 * DAY, 1, 10_000, 0, "even")
    assert question.customers[row] in other.customers
    assert question.returned[:, [product]].nnz
    assert not other.returned[:, [product]].nnz
    assert not other.bought[:, [product]].nnz


def test_few_are_asked_where_few_may_be() -> None:
    asked = questions(data(), 30 * DAY, 3, 7, 0, "even")
    assert [len(question.customers) for question in asked] == [7, 7, 7]
    assert all((np.diff(question.customers) > 0).all() for question in asked)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_held_out_leaves_nothing_behind(seed: int) -> None:
    dataset = data(seed)
    past, question = hold_out(dataset, 40, seed)
    assert question is not None
    held = {(int(question.customers[row]), int(column)) for row, column in zip(*question.bought.nonzero(), strict=True)}
    left = set(zip(past.all_events.customer.tolist(), past.all_events.product.tolist(), strict=True))
    was = set(zip(dataset.all_events.customer.tolist(), dataset.all_events.product.tolist(), strict=True))
    assert held
    assert not held & left
    gone = was - left
    assert held <= gone
    sold = {what for who, what, _, quantity, _, void in lines(past) if quantity > 0 and void >= past.as_of}
    assert {pair for pair in gone if pair[1] in sold} == held, "only what nobody else bought is left out of the answer"
    assert question.cut == dataset.as_of
    counts = dataset.counts
    mine = {int(who): 0 for who in question.customers}
    for who, _ in gone:
        mine[who] += 1
    assert all(counts.indptr[who + 1] - counts.indptr[who] >= 5 for who in mine)
    assert min(mine.values()) >= 1
    for who in mine:  # the latest tenth, and all other lines of the same pairs
        kept = [line[2:0:-1] for line in lines(dataset) if line[0] == who and line[3] > 0 and line[5] >= past.as_of]
        last = {product for time, product in kept if time == max(kept)[0]}
        assert last & {product for w, product in gone if w == who}
        assert mine[who] <= -(-len(kept) // 10)


def test_nothing_is_held_out_where_nobody_bought_five() -> None:
    dataset = data()
    first = np.unique(dataset.all_events.customer, return_index=True)[1]
    poor = replace(dataset, all_events=dataset.all_events.take(np.sort(np.concatenate((first, first + 1)))))
    past, question = hold_out(poor, 40, 0)
    assert question is None
    assert past is poor


@pytest.mark.parametrize("weighing", ["even", "quantity"])
def test_without_order_everything_is_asked_for(weighing: Weighing) -> None:
    dataset = data(1)
    (question,) = unordered(dataset, 10_000, 0, weighing)
    bought, back = np.zeros((CUSTOMERS, PRODUCTS)), np.zeros((CUSTOMERS, PRODUCTS), dtype=bool)
    for who, what, _, quantity, _, void in lines(dataset):
        if quantity > 0 and void >= dataset.as_of and who >= 0:
            bought[who, what] += np.log1p(quantity) if weighing == "quantity" else 1.0
        back[who, what] |= quantity < 0 and who >= 0
    bought = np.sign(bought) if weighing == "even" else bought
    expected = np.flatnonzero((bought > 0).sum(axis=1) > 1)
    np.testing.assert_array_equal(question.customers, expected)
    np.testing.assert_allclose(question.bought.toarray(), bought[expected], rtol=1e-6)
    np.testing.assert_array_equal(question.returned.toarray() > 0, (back & (bought == 0))[expected])
    assert question.returned.nnz, "some came back"
    lonely = replace(dataset, all_events=dataset.all_events.take(slice(0, 0)))
    assert unordered(lonely, 10_000, 0, weighing) == []


def test_customers_come_back_or_not() -> None:
    asked = questions(data(), 30 * DAY, 4, 10_000, 0, "even")
    assert come_back(data(), asked)
    assert not come_back(data(), [])
    events = data().all_events
    fresh = replace(events, customer=np.arange(len(events), dtype=np.int32) % CUSTOMERS)
    alone = np.unique(fresh.customer, return_index=True)[1]
    once = replace(data(), all_events=fresh.take(np.sort(alone)))
    assert not come_back(once, questions(once, 30 * DAY, 4, 10_000, 0, "even"))


@given(seed=st.integers(0, 50), busy=st.sampled_from([0.0, 0.5, 1.0]))
def test_answers_weigh_by_row(seed: int, busy: float) -> None:
    random = np.random.default_rng(seed)
    cells = random.random((6, 9)) * (random.random((6, 9)) < 0.4)
    cells[2] = 0
    row, column, weight = spread(sp.csr_array(cells.astype(np.float32)), busy)
    total, n = cells.sum(axis=1), (cells > 0).sum(axis=1)
    mass = np.where(n > 0, np.maximum(n, 1.0) ** busy, 0.0)
    expected = cells / np.maximum(total, 1e-9)[:, None] * (mass * 6 / mass.sum())[:, None]
    out = np.zeros((6, 9))
    out[row, column] = weight
    np.testing.assert_allclose(out, expected, rtol=1e-5)


TEXTS = ["Red Apple", "red pear", "RED plum 3", "apple", "apple", "plum x", None, "Apple-tree red", "kiwi", "kiwi"]


def features(values: list[str | None], order: list[str]) -> Features:
    vocab = Vocab.of(order)
    return Features(categories=(Level("genre", vocab, vocab.codes(pl.Series(values, dtype=pl.String))),))


def test_columns_are_tags_numbers_and_words() -> None:
    genres = ["a|b", "b", None, "c | a", "", "a", "b", "c", "a|b|c", "b"]
    look = features(genres, ["a", "a|b", "a|b|c", "b", "c", "c | a", ""])
    price = np.array([1, 2, 3, 4, 5, 6, 7, 8, 100_000, np.nan], dtype=np.float32)
    form = Form.of(look, {"price": price, "flat": np.ones(10, np.float32)}, pl.Series(TEXTS))
    assert form.blocks == {
        "genre": ["", "a", "b", "c"],
        "[numbers]": ["price", "price missing"],
        "[words]": ["apple", "red"],  # plum and kiwi name two products each; red and apple half of all, not more
    }
    assert form.columns[1:3] == ["genre: a", "genre: b"]
    assert form.groups == [0, 0, 0, 0, 1, 1, 2, 2]
    rows = form.rows(look, {"price": price}, 10, pl.Series(TEXTS)).dense().numpy()
    half, third = 2**-0.5, 3**-0.5
    np.testing.assert_allclose(rows[0, [1, 2]], half)
    np.testing.assert_allclose(rows[8, :4], [0, third, third, third])
    np.testing.assert_array_equal(rows[2, :4], 0)
    np.testing.assert_allclose(rows[3, :4], [0, half, 0, half])
    known = price[:9].astype(float)
    scaled = (known - known.mean()) / known.std()
    np.testing.assert_allclose(rows[:9, 4], np.clip(scaled, -5, 5), atol=1e-5)
    np.testing.assert_array_equal(rows[9, 4:6], [0, 1])
    np.testing.assert_allclose(rows[0, 6:], [half, half], rtol=1e-6)
    np.testing.assert_allclose(rows[3, 6:], [1, 0])
    np.testing.assert_array_equal(rows[[6, 8], 6:], 0)
    again = Form.load(form.save()).rows(look, {"price": price}, 10, pl.Series(TEXTS)).dense().numpy()
    np.testing.assert_array_equal(rows, again)


def test_values_are_matched_by_name_and_strange_ones_are_blank() -> None:
    form = Form.of(features(["b", "c"], ["b", "c"]), {})
    later = features(["a", "b", "c", None], ["a", "b", "c"])  # a sorts in before
    np.testing.assert_array_equal(form.rows(later, {}, 4).dense(), [[0, 0], [1, 0], [0, 1], [0, 0]])
    assert form.rows(Features(), {}, 3).dense().sum() == 0, "a level that is gone"


@pytest.mark.parametrize("name", ["words", "numbers"])
def test_an_attribute_may_be_called_like_what_stands_beside_attributes(name: str) -> None:
    vocab = Vocab.of(["b", "c"])
    look = Features(categories=(Level(name, vocab, vocab.codes(pl.Series(["b", "c"] * 5, dtype=pl.String))),))
    price = np.arange(10, dtype=np.float32)
    form = Form.of(look, {"price": price}, pl.Series(TEXTS))
    assert form.blocks[name] == ["b", "c"]
    rows = form.rows(look, {"price": price}, 10, pl.Series(TEXTS)).dense().numpy()
    np.testing.assert_array_equal(rows[:, :2], [[1, 0], [0, 1]] * 5)
    assert rows.shape == (10, 2 + 2 + 2)


def test_few_bars_are_no_tags() -> None:
    values = [f"v{n}" for n in range(30)] + ["a|b"]
    assert "a|b" in Form.of(features(list(values), values), {}).blocks["genre"]


def test_a_form_grows_and_keeps_its_scale() -> None:
    price = {"price": np.array([1, 2, 3], dtype=np.float32)}
    old = Form.of(features(["b", "c", "b"], ["b", "c"]), price, pl.Series(["red apple", "red plum", "red"] * 3))
    other = {"price": np.array([100, 900, 100], dtype=np.float32), "size": np.array([1, 2, 3], dtype=np.float32)}
    new = Form.of(features(["a", "c", "d"], ["a", "c", "d"]), other, pl.Series(["new", "apple", "x"] * 3))
    grown = old.grown(new)
    assert grown.levels == {"genre": ["b", "c", "a", "d"]}
    assert grown.numbers == {"price": old.numbers["price"], "size": new.numbers["size"]}
    assert grown.words == [*old.words, *(word for word in new.words if word not in old.words)]
    assert {"apple", "new"} <= set(grown.words)
