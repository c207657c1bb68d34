"""Newcomers: what the fallback chain scores for them, and when the model answers instead."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from aisle.data.dataset import Dataset
from aisle.data.schema import CleanTables
from aisle.data.split import Window
from aisle.evaluate.assess import assess
from aisle.evaluate.certificate import certify
from aisle.evaluate.newcomers import CHAIN, chain, decide_newcomers
from aisle.evaluate.protocol import Exam, Scores
from aisle.evaluate.tune import Budget
from aisle.types import Doubles
from tests.evaluate.shops import lines_of

NOBODY = np.zeros(0, dtype=np.int32)


def town_shop() -> Dataset:
    """Customers of town a buy apples, of town b bread; a dozen of each come for the first time on the last days."""
    rows, towns = [], {}
    for town, product, other in (("a", "apple", "avocado"), ("b", "bread", "bun")):
        for number in range(40):
            towns[name := f"{town}{number}"] = town
            rows += [(name, product if (day + number) % 5 else other, day, 1.0) for day in range(number % 7, 90, 7)]
        for number in range(12):
            towns[name := f"new-{town}{number}"] = town
            rows.append((name, product, 95, 1.0))
    lines = lines_of(rows)
    customers = pl.DataFrame({"customer_id": list(towns), "group_1": list(towns.values())}).sort("customer_id")
    products = pl.DataFrame({"product_id": ["apple", "avocado", "bread", "bun"]})
    return Dataset.of(CleanTables(lines, products, customers))


def scores(cold: Doubles) -> Scores:
    return Scores(NOBODY, {}, np.zeros((0, 10), dtype=np.int32), {}, {"ndcg@10": cold}, False)


def test_the_chain_knows_the_town_of_newcomers() -> None:
    shop = town_shop()
    exam = Exam.of(shop, Window(shop.as_of - 3 * shop.unit, shop.as_of))
    assert len(exam.cold.customers) == 24
    found = chain(exam, 1)
    assert found["hit@1"].tolist() == [1.0] * 24
    assert set(found) == set(exam.cold.measure(np.zeros((24, 10), dtype=np.int32), 1)) | set(
        exam.cold.measure(np.zeros((24, 10), dtype=np.int32), 10)
    )


def test_nobody_new_is_no_fault() -> None:
    shop = town_shop()
    exam = Exam.of(shop, Window(shop.as_of - 40 * shop.unit, shop.as_of - 20 * shop.unit))
    assert chain(exam)["ndcg@10"].shape == (0,)


@pytest.mark.parametrize(("lead", "noise", "by_model"), [(0.1, 0.05, True), (0.01, 0.5, False), (-0.1, 0.05, False)])
def test_the_model_answers_newcomers_only_where_that_is_proven(lead: float, noise: float, by_model: bool) -> None:
    rng = np.random.default_rng(0)
    below = rng.random(300)
    ours = below + lead + noise * rng.normal(size=300)
    found = decide_newcomers("popularity", {"popularity": scores(ours)}, {"ndcg@10": below})
    assert found.by_model is by_model
    assert found.difference is not None
    assert found.difference.mean == pytest.approx(float((ours - below).mean()))


def test_a_model_that_needs_a_history_never_answers_newcomers() -> None:
    found = decide_newcomers("ease", {"ease": scores(np.ones(50))}, {"ndcg@10": np.zeros(50)})
    assert found.to_json() == {"by_model": False, "difference_to_chain": None}


def test_the_certificate_says_both() -> None:
    found = assess(town_shop(), ["popularity", "personal_frequency"], horizon=3, budget=Budget(settings=1))
    certificate = certify(found).to_json()
    assert certificate["cold"][CHAIN]["hit@10"]["mean"] == 1.0
    assert certificate["verdict"]["newcomers"]["by_model"] is False
