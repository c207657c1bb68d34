"""Lists for people who are not in the data: those of a customer with that history; nothing is lost in silence."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest

import aisle
from aisle.bundle import Recommender
from aisle.data.dataset import Dataset
from aisle.errors import DataError, UsageError
from aisle.models import create
from tests.answers.asked import NAMES, recommender
from tests.contract.worlds import CUSTOMERS, CUT, tables

ROUNDS = ("hybrid_factorization",)
"""Models whose scores may differ in the last bits with the batch."""
PAST = datetime(1970, 1, 1) + timedelta(microseconds=CUT)


@cache
def world() -> tuple[pl.DataFrame, pl.DataFrame]:
    """The lines of the contract world that count at its moment, under other ids, and its customers."""
    source = tables()
    lines = source.transactions.with_row_index("promotion").filter(
        (pl.col("timestamp") < PAST) & (pl.col("quantity") > 0) & pl.col("customer_id").is_not_null()
    )
    lines = lines.filter(pl.col("void_at").is_null() | (pl.col("void_at") >= PAST)).drop("void_at")
    return lines.with_columns(pl.col("customer_id") + "-new"), source.customers.with_columns(
        pl.col("customer_id") + "-new"
    )


def basket(*products: str, who: str = "eva", **more: object) -> pl.DataFrame:
    return pl.DataFrame({"customer_id": who, "product_id": list(products), **more})


@pytest.mark.parametrize("name", [name for name in NAMES if name != "random"])
def test_a_newcomer_gets_the_list_of_a_customer_with_that_history(name: str) -> None:
    best = recommender(name)
    lines, people = world()
    found = aisle.recommend_new(best, lines, people, k=8)
    assert found.unused.height == 0
    ids = list(dict.fromkeys([*lines["customer_id"], *people["customer_id"]]))
    assert found.lists["customer_id"].unique(maintain_order=True).to_list() == ids
    known = aisle.recommend(best, [one.removesuffix("-new") for one in ids], k=8)
    known = known.with_columns(pl.col("customer_id") + "-new")
    assert found.lists.columns == known.columns
    if name in ROUNDS:
        np.testing.assert_allclose(found.lists["score"], known["score"], atol=1e-4)
        assert (found.lists["product_id"] == known["product_id"]).mean() > 0.99
    else:
        assert found.lists.equals(known)


def test_the_ids_are_the_callers_own_and_mean_nobody_in_the_data() -> None:
    best = recommender("item_knn")
    as_new = aisle.recommend_new(best, basket("p01", "p05", who="c03"), k=4).lists
    other = aisle.recommend_new(best, basket("p01", "p05", who="nobody"), k=4).lists
    assert as_new.drop("customer_id").equals(other.drop("customer_id"))
    assert not as_new["product_id"].equals(aisle.recommend(best, ["c03"], k=4)["product_id"])
    assert set(as_new["customer_id"]) == {"c03"}


def test_newcomers_have_no_identity() -> None:
    two = pl.concat([basket("p01", who="eva"), basket("p01", who="ben")])
    lists = aisle.recommend_new(recommender("random"), two, k=9).lists
    one, other = (lists.filter(pl.col("customer_id") == who)["product_id"] for who in ("eva", "ben"))
    assert one.equals(other), "what is random by customer must not be so by place in the frame"


def test_attributes_alone_give_the_list_of_a_customer_without_purchases() -> None:
    best = recommender("ease")
    bought = np.diff(best.dataset.indptr) > 0
    idle = [i for i in best.dataset.customers.vocab.ids.filter(pl.Series(~bought)) if i != "c07"]
    people = tables().customers.filter(pl.col("customer_id").is_in(idle))
    found = aisle.recommend_new(best, customers=people, k=6)
    assert found.lists.equals(aisle.recommend(best, people["customer_id"], k=6))
    assert set(found.lists["source"]) <= {"group", "attribute"}


def test_who_opted_out_gets_what_sells_and_no_more() -> None:
    best = recommender("item_knn")
    people = tables().customers.head(1).with_columns(customer_id=pl.lit("eva"), no_profile=pl.lit("yes"))
    found = aisle.recommend_new(best, basket("p01", "p05"), people, k=4).lists
    assert set(found["source"]) == {"popularity"}
    assert found["product_id"].equals(aisle.recommend(best, ["a stranger"], k=4)["product_id"])
    with pytest.raises(UsageError, match="no_profile is 'perhaps'"):
        aisle.recommend_new(best, customers=people.with_columns(no_profile=pl.lit("perhaps")))


def test_purchases_without_a_time_are_one_basket_bought_just_now() -> None:
    best = recommender("repeat_hazard")
    just_now = pl.Series([CUT - 1, CUT - 1]).cast(pl.Datetime("us"))
    timeless = aisle.recommend_new(best, basket("p01", "p05"), k=5).lists
    assert timeless.equals(aisle.recommend_new(best, basket("p01", "p05", timestamp=just_now), k=5).lists)
    long_ago = aisle.recommend_new(best, basket("p01", "p05", timestamp=just_now - timedelta(days=200)), k=5).lists
    assert not timeless["score"].equals(long_ago["score"])


def test_what_was_bought_after_the_moment_counts_and_changes_nobody_else() -> None:
    best = recommender("item_knn")
    early, late = (PAST - timedelta(days=20), PAST + timedelta(days=20))
    mine = basket("p01", "p02", timestamp=[early, early - timedelta(days=200)])
    alone = aisle.recommend_new(best, mine, k=5).lists
    later = basket("p05", who="ben", timestamp=[late])
    both = aisle.recommend_new(best, pl.concat([later, mine]), k=5).lists
    assert both.filter(pl.col("customer_id") == "eva").equals(alone)
    assert both["customer_id"].unique(maintain_order=True).to_list() == ["ben", "eva"], "in the order given"
    ben = both.filter(pl.col("customer_id") == "ben")
    assert ben["source"][0] == "item_knn"
    assert "p05" in set(ben["product_id"])


def test_everything_that_plays_no_part_is_reported() -> None:
    lines = basket("p01", "nope", "nope", "p02", timestamp=[*["2023-05-01"] * 3, "2031-02-03"], store_id="s99")
    people = pl.DataFrame(
        {
            "customer_id": ["eva", "tom", "tom"],
            "group_1": ["r0", "r9", None],
            "group_2": ["t1", None, None],
            "gender": ["F", "X", "M"],
            "age": ["34", "old", "7"],
            "shoe": [41, 42, None],
        }
    )
    found = aisle.recommend_new(recommender("item_knn"), lines, people, k=3)
    told = {row[:4] for row in found.unused.iter_rows()}
    assert told == {
        ("eva", "product_id", "nope", 2),
        ("eva", "timestamp", "eva,p02,2031-02-03,s99", 1),
        ("eva", "store_id", "s99", 3),
        ("tom", "customer_id", "tom", 1),
        ("tom", "group_1", "r9", 1),
        ("tom", "gender", "X", 1),
        ("tom", "age", "old", 1),
        (None, "shoe", None, 2),
    }
    assert found.unused["why"].null_count() == 0
    assert set(found.lists["customer_id"]) == {"eva", "tom"}
    nothing = aisle.recommend_new(recommender("item_knn"), basket("nope", "never"), k=3)
    assert nothing.lists["source"].unique().to_list() == ["popularity"], "a list all the same"
    assert nothing.unused["rows"].sum() == 2


def test_a_hole_among_order_ids_loses_no_line() -> None:
    best = recommender("personal_frequency")
    days = [PAST - timedelta(days=9), PAST - timedelta(days=9), PAST - timedelta(days=3)]
    lines = basket("p01", "p05", "p01", timestamp=days, order_id=["o1", None, "o2"])
    found = aisle.recommend_new(best, lines, k=5)
    assert found.unused.select("column", "rows").rows() == [("order_id", 3)]
    assert found.lists.equals(aisle.recommend_new(best, lines.drop("order_id"), k=5).lists)


def test_groups_may_be_full_paths_or_names_under_the_one_above() -> None:
    best = recommender("group_popularity")
    people = pl.DataFrame(
        {"customer_id": ["a", "b", "c"], "group_1": ["r1", "r1", None], "group_2": ["t2", "r1 > t2", "r1 > t2"]}
    )
    found = aisle.recommend_new(best, customers=people, k=5)
    assert found.unused.height == 0
    one, two, three = (found.lists.filter(pl.col("customer_id") == i).drop("customer_id") for i in "abc")
    assert one.equals(two)
    assert one.equals(three)


def test_flags_and_dates_among_the_attributes_are_read_as_at_the_fit() -> None:
    source = tables()
    people = source.customers.with_columns(
        card=pl.int_range(pl.len()) % 2 == 0, born=pl.date(1950, 1, 1) + pl.duration(days=pl.int_range(pl.len()) * 300)
    )
    data = Dataset.of(replace(source, customers=people)).before(CUT)
    best = Recommender.prepare(create("popularity").fit(data), data)
    given = pl.DataFrame({"customer_id": ["a"], "card": ["Yes"], "born": [datetime(1960, 1, 1)]})
    assert aisle.recommend_new(best, customers=given).unused.height == 0
    given = pl.DataFrame({"customer_id": ["a"], "card": [3], "born": ["a tuesday"]})
    assert set(aisle.recommend_new(best, customers=given).unused["column"]) == {"card", "born"}


def test_rules_hold_for_newcomers_too() -> None:
    best = recommender("item_knn")
    mine = {"p01", "p05", "p09"}
    new = aisle.recommend_new(best, basket(*mine), k=30, repeats="new").lists
    assert not mine & set(new["product_id"])
    assert set(aisle.recommend_new(best, basket(*mine), k=30, repeats="only").lists["product_id"]) == mine
    few = aisle.recommend_new(best, basket(*mine), k=30, only_products=["p02", "p05"]).lists
    assert set(few["product_id"]) == {"p02", "p05"}


def test_blocks_bound_the_work_and_do_not_change_lists() -> None:
    best = recommender("item_knn")
    lines, people = world()
    small = best.limited(1)
    assert small.block_size < CUSTOMERS
    assert aisle.recommend_new(small, lines, people, k=5).lists.equals(
        aisle.recommend_new(best, lines, people, k=5).lists
    )


def test_a_source_of_baskets_in_order_takes_baskets_in_order() -> None:
    source = tables()
    clock = source.transactions.with_columns(
        sequence=source.transactions["timestamp"].rank("dense").cast(int), void_at=None
    )
    lines = clock.drop("timestamp").with_columns(pl.col("void_at").cast(int)).filter(pl.col("quantity") > 0)
    data = Dataset.of(replace(source, transactions=lines))
    best = Recommender.prepare(create("tifu_knn").fit(data), data)
    mine = lines.filter(pl.col("customer_id") == "c03")
    mine = mine.with_columns(customer_id=pl.lit("eva"), promotion=pl.int_range(pl.len())).drop("void_at")
    found = aisle.recommend_new(best, mine, tables().customers.filter(pl.col("customer_id") == "c03"), k=6)
    assert found.unused["column"].to_list() == ["order_id"], "some have none; the sequence says the same"
    eva = found.lists.filter(pl.col("customer_id") == "eva")
    assert eva["product_id"].equals(aisle.recommend(best, ["c03"], k=6)["product_id"])
    assert aisle.recommend_new(best, basket("p01"), k=3).lists["source"][0] == "tifu_knn"
    with pytest.raises(UsageError, match="give sequence"):
        aisle.recommend_new(best, basket("p01", timestamp="2023-01-01"))


def test_frames_of_any_kind_and_what_is_wrong_with_them() -> None:
    best = recommender("item_knn")
    frame = pd.DataFrame({"customer_id": [17.0, 17.0], "product_id": ["p01", "p05"]})
    found = aisle.recommend_new(best, frame, k=3)
    assert isinstance(found.lists, pd.DataFrame)
    assert isinstance(found.unused, pd.DataFrame)
    assert set(found.lists["customer_id"]) == {"17"}
    with pytest.raises(UsageError, match="give transactions, customers, or both"):
        aisle.recommend_new(best)
    with pytest.raises(UsageError, match="transactions has no column customer_id; it has product_id"):
        aisle.recommend_new(best, pl.DataFrame({"product_id": ["p01"]}))
    with pytest.raises(UsageError, match="1 rows of customers have no usable customer_id"):
        aisle.recommend_new(best, customers=pl.DataFrame({"customer_id": ["a", None]}))
    with pytest.raises(DataError, match="product_id"):
        aisle.recommend_new(best, pl.DataFrame({"customer_id": ["a"], "quantity": [1]}))
    with pytest.raises(DataError, match="DATE"):
        aisle.recommend_new(best, basket("p01", timestamp="01/02/2023"))
    dated = aisle.recommend_new(best, basket("p01", timestamp="01/02/2023"), date_order="dmy").lists
    assert "February" in str(dated["reason"][0])
    nobody = aisle.recommend_new(best, frame.head(0), k=3)
    assert (len(nobody.lists), len(nobody.unused)) == (0, 0)
