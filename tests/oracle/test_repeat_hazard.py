"""RepeatHazard by another road: loops, NumPy's interpolation, scikit-learn, and a shop where the answer is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from aisle.data.dataset import Dataset
from aisle.data.schema import CleanTables
from aisle.data.split import Window, truth
from aisle.evaluate.protocol import Exam, headline
from aisle.features.repeats import SHORTEST_GAP, repeats
from aisle.models.nn.windows import gap_ticks
from aisle.models.personal_frequency import PersonalFrequency
from aisle.models.repeat_hazard import (
    CLASSES,
    CURVES,
    DECAYED,
    DUE,
    DUE_AT,
    HALF_LIVES,
    KIN,
    PRIOR,
    REGULAR,
    RepeatHazard,
    logistic,
)
from aisle.types import DAY, Sparse
from tests.contract.worlds import CUT, PRODUCTS
from tests.oracle.loops import Array, baskets, data, everyone, few, naive_counts, seeds


def ages(dataset: Dataset) -> dict[tuple[int, int], list[float]]:
    """(customer, product) -> ages in days of the baskets that hold it, oldest first."""
    found: dict[tuple[int, int], list[float]] = {}
    for who, rows in baskets(dataset).items():
        for _, inside in rows:
            for product, time in inside.items():
                if who >= 0:
                    found.setdefault((who, product), []).append((dataset.as_of - time) / DAY)
    return {key: sorted(found[key], reverse=True) for key in sorted(found)}


@few
@given(seed=seeds)
def test_repeats_are_loops(seed: int) -> None:
    dataset = data(seed)
    own, expected = repeats(everyone(dataset)), ages(dataset)
    assert list(zip(own.row.tolist(), own.product.tolist(), strict=True)) == list(expected)
    assert max(own.times) > 4
    for at, held in enumerate(expected.values()):
        logs = [np.log(max(a - b, SHORTEST_GAP)) for a, b in pairwise(held)]
        assert own.times[at] == len(held)
        assert own.last[at] == pytest.approx(held[-1])
        assert own.gap[at] == pytest.approx(np.mean(logs) if logs else 0.0)
        assert own.spread[at] == pytest.approx(np.std(logs) if len(logs) > 1 else np.inf)


@few
@given(seed=seeds)
def test_the_score_is_the_sum_of_curves_that_numpy_interpolates(seed: int) -> None:
    dataset = data(seed)
    batch = everyone(dataset)
    model = RepeatHazard(windows=3).fit(dataset)
    rng = np.random.default_rng(seed)
    model.weights_ = rng.normal(0, 1, len(PRIOR))  # any curves will do
    scores, decayed = model.score(batch), [naive_counts(dataset, half_life) for half_life in HALF_LIVES]
    held = baskets(dataset)
    first, silence = naive_product_facts(dataset)
    leaf = dataset.products.tree[-1].codes
    kin = naive_categories(dataset)
    for (who, product), own in ages(dataset).items():
        stamps = [(dataset.as_of - time) / DAY for _, inside in held[who] for time in inside.values()]
        n, number = len(own), len(held[who])
        values = [n, *(d[who, product] + DECAYED[0] for d in decayed), own[-1], n / number, max(stamps) / number]
        values += [min(stamps), first[0][product], max(silence[product], 1.0)]
        odds = sum(
            np.interp(np.log(value), knots, model.weights_[at : at + len(knots)])
            for value, (knots, at) in zip(values, CURVES, strict=True)
        )
        logs = [np.log(max(a - b, SHORTEST_GAP)) for a, b in pairwise(own)]
        due = np.log(own[-1]) - (sum(logs) + first[1][product]) / n
        kind = sum(n >= low for low in CLASSES) - 1
        curves = [kind] + [len(CLASSES)] * int(len(logs) > 1 and np.std(logs) < REGULAR)
        for curve in curves:
            at = DUE_AT + len(DUE) * curve
            odds += np.interp(due, np.log(DUE), model.weights_[at : at + len(DUE)])
        category = kin[who][leaf[product]]
        logs = [np.log(max(a - b, SHORTEST_GAP)) for a, b in pairwise(category)]
        gap = (sum(logs) + model.category_gap_[leaf[product]]) / len(category)
        facts = [np.log(category[-1]), np.log(category[-1]) - gap, np.log(n / len(category))]
        for fact, (knots, at) in zip(facts, KIN, strict=True):
            odds += np.interp(fact, knots, model.weights_[at : at + len(knots)])
        assert scores[who, product] == pytest.approx(1 / (1 + np.exp(-odds)), rel=1e-4)


def naive_categories(dataset: Dataset) -> dict[int, dict[int, list[float]]]:
    """customer -> category -> ages in days of the baskets that hold any product of it, oldest first."""
    leaf, found = dataset.products.tree[-1].codes, {}
    for who, rows in baskets(dataset).items():
        of: dict[int, list[float]] = {}
        for _, inside in rows:
            for category in {int(leaf[product]) for product in inside}:
                first = next(time for product, time in inside.items() if leaf[product] == category)
                of.setdefault(category, []).append((dataset.as_of - first) / DAY)
        found[who] = {category: sorted(ages, reverse=True) for category, ages in of.items()}
    return found


def naive_product_facts(dataset: Dataset) -> tuple[tuple[Array, Array], Array]:
    """(repeat rate, mean log gap) of every product, and the days since it was last sold to anybody."""
    buyers, loyal, gaps = np.zeros(PRODUCTS), np.zeros(PRODUCTS), [[0.0][:0] for _ in range(PRODUCTS)]
    for (_, product), own in ages(dataset).items():
        buyers[product] += 1
        loyal[product] += len(own) > 1
        gaps[product] += [np.log(max(a - b, SHORTEST_GAP)) for a, b in pairwise(own)]
    usual = (loyal.sum() + 1) / (buyers.sum() + 2)
    overall = np.mean(np.concatenate(gaps))
    mean = np.array([(sum(logs) + 5 * overall) / (len(logs) + 5) for logs in gaps])
    silence = np.full(PRODUCTS, np.inf)
    for product, time in zip(dataset.purchases.product, dataset.purchases.time, strict=True):
        silence[product] = min(silence[product], (dataset.as_of - time) / DAY)
    return ((loyal + 5 * usual) / (buyers + 5), mean), silence


@pytest.mark.parametrize("days_ago", [0, 285])
def test_first_times_are_counted_in_the_windows_in_which_the_product_was_there(days_ago: int) -> None:
    dataset = data(1).before(CUT - days_ago * DAY)  # 45 days after the opening not everything has been sold
    model = RepeatHazard(windows=2, target_days=20).fit(dataset)
    first, people, asked = np.zeros(PRODUCTS), np.zeros(PRODUCTS), 0
    for step in range(2):
        cut = dataset.as_of - 20 * (step + 1) * DAY
        past = baskets(dataset.before(cut))
        now: dict[int, set[int]] = {}
        events = dataset.purchases
        sold = set(events.product[events.time < cut].tolist())  # and not brought back since
        for who, product, time in zip(events.customer, events.product, events.time, strict=True):
            if who >= 0 and cut <= time < cut + 20 * DAY and product in sold:
                now.setdefault(int(who), set()).add(int(product))
        asked += len(now)
        for who, bought in now.items():
            first[list(bought - {p for _, inside in past.get(who, []) for p in inside})] += 1
        people[list(sold)] += len(now)
    assert first.sum() > 10
    assert (people < asked).any() == (days_ago > 0)
    share = np.bincount(dataset.purchases.product, minlength=PRODUCTS) / len(dataset.purchases)
    expected = (first + 50 * share * (first.sum() + 1e-3) / asked) / (people + 50)
    np.testing.assert_allclose(model.first_time_, expected, rtol=1e-5)


def test_newton_agrees_with_scikit_learn_and_with_the_slope_of_the_loss() -> None:
    rng = np.random.default_rng(5)
    dense = (rng.random((500, 6)) * (rng.random((500, 6)) < 0.5)).astype(np.float32)
    x: Sparse = sp.csr_array(dense)
    y = rng.random(500) < 1 / (1 + np.exp(-(dense @ rng.normal(0, 2, 6))))
    other = LogisticRegression(C=0.5, fit_intercept=False, tol=1e-10, max_iter=1000).fit(dense.astype(np.float64), y)
    np.testing.assert_allclose(logistic(x, y, np.zeros(6), 2.0), other.coef_[0], atol=1e-4)
    prior = rng.normal(0, 1, 6)
    found = logistic(x, y, prior, 2.0)
    slope = dense.T @ (1 / (1 + np.exp(-(dense @ found))) - y) + 2.0 * (found - prior)
    np.testing.assert_allclose(slope, 0, atol=1e-3)
    np.testing.assert_array_equal(logistic(sp.csr_array(dense[:0]), y[:0], prior, 2.0), prior)


def rhythm_shop(seed: int = 0) -> Dataset:
    """150 customers with 6 staples each of one cycle, in different phases; at each visit they buy what has run out."""
    rng = np.random.default_rng(seed)
    start, rows = datetime(2024, 1, 1), []
    for who in range(150):
        staples = rng.choice(30, 6, replace=False)
        empty = rng.uniform(0, 30, 6)
        for day in np.flatnonzero(rng.random(300) < 0.25):
            for slot in np.flatnonzero(empty <= day):
                stamp = start + timedelta(days=int(day), hours=12)
                rows.append((f"c{who:03}", f"p{staples[slot]:02}", stamp, 1.0, f"{who}-{day}"))
                empty[slot] = day + rng.uniform(27, 33)
    names = ["customer_id", "product_id", "timestamp", "quantity", "order_id"]
    lines = pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col("timestamp").cast(pl.Datetime("us")))
    customers = lines.select(pl.col("customer_id").unique().sort())
    return Dataset.of(CleanTables(lines, lines.select(pl.col("product_id").unique().sort()), customers))


def test_what_is_due_comes_before_what_was_just_bought() -> None:
    dataset = rhythm_shop()
    last = Window(dataset.end - 7 * DAY, dataset.end)
    exam = Exam.of(dataset, last)
    learned = headline(RepeatHazard().fit(exam.past), exam).mean()
    counted = max(headline(PersonalFrequency(half_life_days=h).fit(exam.past), exam).mean() for h in (None, 28.0, 91.0))
    assert truth(dataset, last).warm.sum() > 80
    assert counted < 0.75 < 0.9 < learned


def test_a_shop_too_young_to_learn_from_gets_own_counts_and_then_what_sells() -> None:
    rows = [("a", "x", 0), ("a", "y", 0), ("a", "x", 1), ("b", "z", 0), ("b", "w", 0), ("b", "z", 1), ("c", "z", 1)]
    start = datetime(2024, 1, 1)
    lines = pl.DataFrame(
        {
            "customer_id": [r[0] for r in rows],
            "product_id": [r[1] for r in rows],
            "timestamp": [start + timedelta(hours=6 * r[2]) for r in rows],
            "quantity": [1.0] * len(rows),
            "order_id": [f"{r[0]}{r[2]}" for r in rows],
        },
        schema_overrides={"timestamp": pl.Datetime("us")},
    )
    dataset = Dataset.of(
        CleanTables(lines, lines.select(pl.col("product_id").unique()), lines.select(pl.col("customer_id").unique()))
    )
    model = RepeatHazard().fit(dataset)
    np.testing.assert_array_equal(model.weights_, PRIOR)
    x, y, z, w = (dataset.products.vocab.codes(pl.Series([p]))[0] for p in "xyzw")
    row = dataset.customers.vocab.codes(pl.Series(["a"]))
    scores = model.score(dataset.batch(row))[0]
    assert scores[x] > scores[y] > scores[z] > scores[w] > 0


def test_windows_follow_the_usual_gap_within_a_week_and_a_quarter_of_the_history() -> None:
    dataset = rhythm_shop()
    assert gap_ticks(dataset, 11) == 11 * DAY
    assert gap_ticks(dataset, None) == 8 * DAY  # the median gap of this shop
    assert gap_ticks(replace(dataset, clock="sequence"), None) == 1
    young = dataset.before(int(dataset.purchases.time.min()) + 8 * DAY)
    assert gap_ticks(young, None) <= 2 * DAY


def test_the_number_of_threads_does_not_change_the_curves() -> None:
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(RepeatHazard().fit(rhythm_shop()).weights_)
    np.testing.assert_array_equal(found[0], found[1])
