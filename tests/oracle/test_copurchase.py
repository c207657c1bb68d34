"""Association rules by loops, by hand for every measure, and as the door gives them."""

from __future__ import annotations

from functools import cache
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aisle
from aisle.data.dataset import Dataset
from aisle.errors import UsageError
from aisle.features import copurchase
from aisle.features.copurchase import MEASURES, Contents, Limits, associations
from aisle.features.pairs import basket_contents
from aisle.models.bought_together import BoughtTogether
from tests.answers.asked import recommender
from tests.contract.worlds import CUSTOMERS, PRODUCTS
from tests.oracle.loops import baskets, check, data, everyone, few, seeds
from tests.oracle.shops import NOBODY, asked, shop


@cache
def naive(dataset: Dataset) -> dict[tuple[int, int], dict[str, float]]:
    sets = [set(inside) for rows in baskets(dataset).values() for _, inside in rows]
    found = {}
    for i, j in permutations(range(PRODUCTS), 2):
        both, one, other = (sum(want <= held for held in sets) for want in ({i, j}, {i}, {j}))
        if both:
            share = both / len(sets)
            found[i, j] = {
                "baskets": both,
                "support": share,
                "confidence": both / one,
                "lift": share / (one / len(sets) * other / len(sets)),
                "leverage": share - one / len(sets) * other / len(sets),
                "cosine": both / np.sqrt(one * other),
            }
    return found


@pytest.mark.parametrize("by", MEASURES)
@pytest.mark.parametrize(
    ("seed", "support", "confidence", "lift", "k", "work"),
    [(0, 1, 0.0, 0.0, None, 50), (1, 2, 0.1, 1.0, 3, 4_000_000), (2, 4, 0.0, 1.0, 1, 50), (3, 1, 0.1, 0.0, 3, 400)],
)
def test_rules_are_loops(
    by: copurchase.Measure, seed: int, support: int, confidence: float, lift: float, k: int | None, work: int
) -> None:
    dataset = data(seed)
    limits = Limits(min_support=support, min_confidence=confidence, min_lift=lift)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copurchase, "MAX_WORK", work)
        found = associations(Contents.of(basket_contents(dataset)), dataset.tie_rank, limits, by=by, k=k)
    expected, every = [], naive(dataset)
    for i in range(PRODUCTS):
        rules = [(-np.float32(m[by]), dataset.tie_rank[j], j, m) for (one, j), m in every.items() if one == i]
        good = [r for r in rules if r[3]["baskets"] >= support and r[3]["confidence"] >= confidence]
        good = [r for r in good if r[3]["lift"] >= lift - 1e-12]
        expected += [(i, r[2], r[3]) for r in sorted(good, key=lambda r: r[:2])[:k]]
    assert len(found) == len(expected) > 0
    np.testing.assert_array_equal(found.first, [i for i, _, _ in expected])
    for name in ("baskets", *MEASURES):
        np.testing.assert_allclose(getattr(found, name), [m[name] for _, _, m in expected], rtol=1e-9, atol=1e-12)


HAND = {"a": ["xy", "xyz"], "b": ["x", "z"], NOBODY: ["xy"]}


def test_every_measure_by_hand() -> None:
    dataset = shop(HAND)
    found = associations(Contents.of(basket_contents(dataset)), dataset.tie_rank, Limits(min_support=1), k=None)
    x, y = 0, 1  # of 5 baskets 4 hold x, 3 y, 3 both
    (at,) = np.flatnonzero((found.first == x) & (found.second == y))
    assert found.baskets[at] == 3
    assert found.support[at] == pytest.approx(3 / 5)
    assert found.confidence[at] == pytest.approx(3 / 4)
    assert found.lift[at] == pytest.approx((3 / 5) / (4 / 5 * 3 / 5))
    assert found.leverage[at] == pytest.approx(3 / 5 - 4 / 5 * 3 / 5)
    assert found.cosine[at] == pytest.approx(3 / np.sqrt(12))
    (back,) = np.flatnonzero((found.first == y) & (found.second == x))
    assert found.confidence[back] == 1


@few
@given(
    seed=seeds,
    measure=st.sampled_from(MEASURES),
    latest=st.sampled_from([1, 3, 100]),
    min_lift=st.sampled_from([0.0, 1.0]),
    own=st.sampled_from([0.0, 2.0]),
)
def test_the_model_sums_the_rules_of_the_latest_baskets(
    seed: int, measure: copurchase.Measure, latest: int, min_lift: float, own: float
) -> None:
    dataset = data(seed)
    rules = {pair: m for pair, m in naive(dataset).items() if m["baskets"] >= 3 and m["lift"] >= min_lift - 1e-12}
    expected = np.zeros((CUSTOMERS, PRODUCTS))
    for who, rows in baskets(dataset).items():
        heard: dict[int, float] = {}
        for age, (_, inside) in enumerate(reversed(rows)):
            for product in inside if who >= 0 else ():
                expected[who, product] += own
                if age < latest:
                    heard.setdefault(product, 0.8**age)
        for (i, j), m in rules.items():
            expected[who, j] += heard.get(i, 0.0) * m[measure]
    model = BoughtTogether(measure=measure, baskets=latest, min_lift=min_lift, own_weight=own).fit(dataset)
    check(model.score(everyone(dataset)), expected, dataset)


def test_the_latest_basket_asks_for_what_goes_with_it() -> None:
    dataset = shop({"a": ["xy", "w"], "b": ["xy"], "c": ["zw", "x"], "d": ["zw"], "e": ["v"]})
    model = BoughtTogether(min_support=2).fit(dataset)
    scores = model.score(asked(dataset, "ac"))
    v, w, x, y, z = range(5)
    assert scores[0].argmax() == z
    assert scores[1].argmax() == y
    assert scores[0, [v, w, x, y]].tolist() == [0, 0, 0, 0]


def test_the_door_gives_the_rules_in_the_callers_order_and_frame() -> None:
    best = recommender("popularity")
    ids = best.dataset.products.vocab.ids
    asked_for = [ids[7], ids[3]]
    table = aisle.rules(best, asked_for, k=3, by="confidence")
    assert table["product_id"].unique(maintain_order=True).to_list() == asked_for
    for part in table.partition_by("product_id", maintain_order=True):
        assert part["rank"].to_list() == list(range(1, len(part) + 1))
        assert part["confidence"].is_sorted(descending=True)
    assert isinstance(aisle.rules(best, pd.Series(asked_for)), pd.DataFrame)
    whole = aisle.rules(best, k=None, min_support=1)
    on_sale = set(ids.filter(pl.Series(best.on_sale)))
    assert set(whole["with_id"]) <= on_sale
    expected = {(i, j) for i, j in naive(best.dataset) if ids[j] in on_sale}
    assert set(whole.select("product_id", "with_id").iter_rows()) == {(ids[i], ids[j]) for i, j in expected}
    assert aisle.rules(best, [], k=2).is_empty()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"by": "luck"}, "by is 'luck'"),
        ({"k": 0}, "k is 0"),
        ({"min_support": 0}, "min_support is 0"),
        ({"min_confidence": 2.0}, "min_confidence is 2"),
        ({"min_lift": -1.0}, "min_lift is -1"),
        ({"product_ids": ["nothing"]}, "'nothing' is not a known product"),
    ],
)
def test_wrong_questions_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        aisle.rules(recommender("popularity"), **wrong)


@pytest.mark.parametrize(
    "wrong", [{"measure": "luck"}, {"baskets": 0}, {"place_decay": 0.0}, {"own_weight": -1.0}, {"min_support": 0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        BoughtTogether(**wrong)
