"""When own products come round again: dates by hand, the chance by the score, and the rules of every answer."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest

import aisle
from aisle.bundle import Recommender
from aisle.errors import UsageError
from aisle.models.repeat_hazard import OWN_GAP, PRODUCT_GAP, RepeatHazard
from tests.answers.asked import recommender
from tests.oracle.shops import shop


def test_dates_by_hand() -> None:
    dataset = shop({"a": ["x", "x", "x"], "b": ["x", "y"]}, days=10)  # the last basket lies at noon of day 20
    model = RepeatHazard().fit(dataset)
    found = aisle.due(Recommender.prepare(model, dataset), ["a"])
    assert found["product_id"].to_list() == ["x"]
    assert found["times"].item() == 3
    assert found["last_date"].item() == date(2024, 1, 21)
    assert found["usual_gap"].item() == pytest.approx(10.0)  # every gap there is
    assert found["due_date"].item() == date(2024, 1, 31)
    assert found["due_in"].item() == pytest.approx(9.5)  # from the end of that day
    assert found["window_days"].item() == model.window_days_


def test_own_gaps_are_drawn_towards_those_of_the_product() -> None:
    dataset = shop({"a": ["x", "x"], "b": ["x", *["z"] * 7, "x"], "c": ["y"]}, days=10)
    best = Recommender.prepare(RepeatHazard().fit(dataset), dataset)
    own = [np.log(10.0), np.log(80.0)]
    every = np.mean([*own, *[np.log(10.0)] * 6])
    product = (sum(own) + PRODUCT_GAP * every) / (2 + PRODUCT_GAP)
    found = aisle.due(best, ["a", "b"]).filter(pl.col("product_id") == "x")
    expected = np.exp([(gap + OWN_GAP * product) / (1 + OWN_GAP) for gap in own])
    np.testing.assert_allclose(found["usual_gap"], expected)
    once = aisle.due(best, ["c"])["usual_gap"].item()
    assert once == pytest.approx(np.exp(every))


@pytest.mark.parametrize("name", ["repeat_hazard", "item_knn"])
def test_the_chance_is_the_score_of_the_model_and_lists_keep_the_rules(name: str) -> None:
    best = recommender(name)
    dataset = best.dataset
    ids = [one for one in dataset.customers.vocab.ids.to_list() if one != "c07"]
    found = aisle.due(best, ids, k=1000)
    model = recommender("repeat_hazard").model
    codes = dataset.customers.vocab.codes(ids)
    scores = model.score(dataset.batch(codes))
    row = pl.Series(ids).to_frame("id").with_row_index()
    at = found.join(row, left_on="customer_id", right_on="id", how="left", maintain_order="left")["index"].to_numpy()
    product = dataset.products.vocab.codes(found["product_id"])
    np.testing.assert_array_equal(scores[at, product], found["chance"])
    own = dataset.batch(codes).history.toarray() > 0
    assert len(found) == (own & best.on_sale).sum()
    for part in found.partition_by("customer_id", maintain_order=True):
        assert part["rank"].to_list() == list(range(1, len(part) + 1))
        assert part["chance"].is_sorted(descending=True)
    assert aisle.due(best, ids, k=2).equals(found.filter(pl.col("rank") <= 2))
    small = best.limited(1 << 12)
    assert aisle.due(small, ids, k=1000).equals(found)


def test_who_opted_out_gets_no_rows_and_frames_are_the_callers() -> None:
    best = recommender("repeat_hazard")
    assert aisle.due(best, ["c07"]).is_empty()
    assert aisle.due(best, []).is_empty()
    assert isinstance(aisle.due(best, pd.Series(["c01"])), pd.DataFrame)
    with pytest.raises(UsageError, match="'nobody' is not a known customer"):
        aisle.due(best, ["nobody"])
    with pytest.raises(UsageError, match="k is 0"):
        aisle.due(best, ["c01"], k=0)


def test_a_clock_of_baskets_has_no_dates() -> None:
    dataset = shop({"a": ["x", "x", "x"], "b": ["y"]}, sequence=True)
    best = Recommender.prepare(RepeatHazard().fit(dataset), dataset)
    found = aisle.due(best, ["a"])
    assert found["usual_gap"].item() == pytest.approx(1.0)
    assert found["due_in"].item() == pytest.approx(0.0)
    assert found["due_date"].null_count() == found["last_date"].null_count() == 1
