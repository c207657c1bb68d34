"""Lists of categories and of groups agree with the lists of customers, and with each other up and down both trees."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from typer.testing import CliRunner

import aisle
from aisle.bundle import Recommender
from aisle.cli import app
from aisle.errors import UsageError
from aisle.jobs import levels
from aisle.jobs.levels import Cut, group_masses
from aisle.jobs.recommend import Wanted
from aisle.jobs.recommend import recommend as recommend_job
from aisle.models import create
from tests.contract.worlds import PRODUCTS, world

ALL_CATEGORIES = 99


@cache
def best() -> Recommender:
    data = world()
    return Recommender.prepare(create("item_knn").fit(data), data)


def shares(frame: pl.DataFrame, key: str = "customer_id") -> dict[tuple[str, str], float]:
    return {(who, what): share for who, what, share in frame.select(key, "category", "share").iter_rows()}


def test_a_category_weighs_what_its_products_weigh_by_place() -> None:
    lists = aisle.recommend(best(), k=PRODUCTS)
    weight = pl.DataFrame({"rank": range(1, PRODUCTS + 1)}).with_columns(
        pl.col("rank").cast(pl.Int32), w=1 / (pl.col("rank") + 1).log(2)
    )
    place = Cut.of(best().dataset, "category_2")
    category = pl.DataFrame(
        {"product_id": best().dataset.products.vocab.ids, "category": place.names.gather(place.place)}
    )
    joined = lists.join(weight, on="rank").join(category, on="product_id")
    want = joined.group_by("customer_id", "category").agg(share=pl.col("w").sum())
    want = want.with_columns(pl.col("share") / pl.col("share").sum().over("customer_id"))
    found = aisle.recommend(best(), level="category_2", k=ALL_CATEGORIES)
    assert found.columns == ["customer_id", "rank", "category", "share", "products"]
    one, other = shares(found), shares(want)
    assert one.keys() == other.keys()
    assert all(one[cell] == pytest.approx(other[cell]) for cell in one)


def test_children_sum_to_their_parents_for_every_customer() -> None:
    upper, lower = (shares(aisle.recommend(best(), level=f"category_{n}", k=ALL_CATEGORIES)) for n in (1, 2))
    total: dict[tuple[str, str], float] = {}
    for (who, path), share in lower.items():
        cell = (who, path.split(" > ")[0])
        total[cell] = total.get(cell, 0.0) + share
    assert total == pytest.approx(upper)
    assert shares(aisle.recommend(best(), level="leaf", k=ALL_CATEGORIES)) == lower


def test_ranks_fall_with_shares_and_examples_are_the_best_of_the_category() -> None:
    found = aisle.recommend(best(), ["c03", "a stranger"], level="category_2", k=3)
    assert found["customer_id"].to_list() == ["c03"] * 3 + ["a stranger"] * 3
    assert found["rank"].to_list() == [1, 2, 3] * 2
    assert found["share"][0] >= found["share"][1] >= found["share"][2] > 0
    listed = aisle.recommend(best(), ["c03"], k=PRODUCTS)["product_id"].to_list()
    cut = Cut.of(best().dataset, "category_2")
    for category, examples in found.filter(customer_id="c03").select("category", "products").iter_rows():
        inside = [
            p for p in listed if cut.names[int(cut.place[best().dataset.products.vocab.codes([p])[0]])] == category
        ]
        assert json.loads(examples) == inside[:3]


@pytest.mark.parametrize("shrinkage", [0.0, 5.0])
def test_groups_sum_up_both_trees(shrinkage: float) -> None:
    data = best().dataset
    everyone = np.arange(data.shape[0], dtype=np.int32)
    masses, names, asked = group_masses(best(), everyone, "group_2", best().rules(), shrinkage=shrinkage)
    assert masses.size[0] == data.shape[0]
    nodes = np.arange(len(names))
    rows = masses.rows(nodes).toarray()
    np.testing.assert_allclose(rows[masses.size > 0].sum(axis=1), 1.0)
    assert set(names.gather(asked)) == set(data.customers.tree[-1].vocab.ids)
    for level in ("category_1", "category_2"):
        frame = aisle.recommend_groups(best(), "group_2", level=level, k=ALL_CATEGORIES, shrinkage=shrinkage)
        cut = Cut.of(data, level)
        for group, category, share in frame.select("group", "category", "share").iter_rows():
            inside = cut.place == cut.names.to_list().index(category)
            node = names.to_list().index(group)
            assert share == pytest.approx(rows[node, inside].sum())


@pytest.mark.parametrize("by", ["group_1", "group_2", "gender", "store", "channel", "segment", "all"])
def test_a_group_is_the_mean_of_its_members(by: str) -> None:
    found = aisle.recommend_groups(best(), by, level="category_1", k=ALL_CATEGORIES, shrinkage=0)
    each = aisle.recommend(best(), level="category_1", k=ALL_CATEGORIES)
    _, names, place, asked = levels._tree(best(), by)
    people = pl.DataFrame({"customer_id": best().dataset.customers.vocab.ids, "group": names.gather(place)})
    people = people.filter(pl.Series(~best().dataset.flag("no_profile")) | (by == "all"))
    means = people.join(each, on="customer_id").group_by("group", "category").agg(pl.col("share").sum())
    size = people.group_by("group").len()
    means = means.join(size, on="group").with_columns(pl.col("share") / pl.col("len"))
    assert shares(found, "group") == pytest.approx(
        {cell: share for cell, share in shares(means, "group").items() if cell[0] in set(names.gather(asked))}
    )
    assert dict(found.select("group", "members").iter_rows()).items() <= dict(size.iter_rows()).items()


def test_a_group_of_one_is_its_customer() -> None:
    for who in ("c03", "c11"):
        alone = aisle.recommend_groups(best(), "all", [who], level="category_2", k=5, shrinkage=0)
        assert alone["members"].to_list() == [1] * 5
        one = aisle.recommend(best(), [who], level="category_2", k=5)
        assert alone.drop("group", "members").equals(one.drop("customer_id"))
        products = aisle.recommend_groups(best(), "all", [who], k=5)
        assert products["product_id"].equals(aisle.recommend(best(), [who], k=5)["product_id"])
        assert products.columns == ["group", "members", "rank", "product_id", "share"]


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = aisle.recommend_groups(best(), "group_2", k=5)
    small = best().limited(1)
    assert small.block_size < best().dataset.shape[0]
    monkeypatch.setattr(levels, "GROUP_ROWS", 2)
    again = aisle.recommend_groups(small, "group_2", k=5)
    assert again.drop("share").equals(whole.drop("share"))
    np.testing.assert_allclose(again["share"], whole["share"])
    assert aisle.recommend(small, level="leaf").equals(aisle.recommend(best(), level="leaf"))


def test_rules_hold_at_every_level() -> None:
    only = ["p01", "p02", "p03"]
    found = aisle.recommend(best(), level="leaf", only_products=only, repeats="new")
    assert {p for text in found["products"] for p in json.loads(text)} <= set(only)
    groups = aisle.recommend_groups(best(), "group_1", only_products=only, repeats="new")
    assert set(groups["product_id"]) <= set(only)


def test_whoever_opted_out_counts_for_no_group() -> None:
    data = best().dataset
    out = int(np.flatnonzero(data.flag("no_profile"))[0])
    assert data.customers.tree[0].codes[out] >= 0
    masses, *_ = group_masses(best(), np.array([out], dtype=np.int32), "group_1", best().rules())
    assert masses.members.tolist() == [1] + [0] * (len(masses.members) - 1)


def test_wrong_levels_and_groupings_are_refused_with_those_that_exist() -> None:
    with pytest.raises(UsageError, match="product, category_1, category_2, leaf"):
        aisle.recommend(best(), level="categry_1")
    with pytest.raises(UsageError, match="group_1, store, channel, segment, gender"):
        aisle.recommend_groups(best(), "town")
    with pytest.raises(UsageError, match="at least 0"):
        aisle.recommend_groups(best(), "group_1", shrinkage=-1)


def test_the_kind_of_frame_follows_the_ids_and_none_is_none() -> None:
    found = aisle.recommend(best(), pd.Series(["c03"]), level="category_1")
    assert type(found) is pd.DataFrame
    empty = aisle.recommend(best(), [], level="category_1")
    assert empty.height == 0
    assert empty.schema == aisle.recommend(best(), ["c03"], level="category_1").schema


def test_the_job_writes_levels_and_groups(tmp_path: Path) -> None:
    aisle.save(best(), tmp_path / "model")
    rows = recommend_job(tmp_path / "model", tmp_path / "a.csv", Wanted(level="category_1", by="group_1", k=2))
    text = (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()
    assert text[0] == "group,members,rank,category,share,products"
    assert rows == len(text) - 1 == 4
    recommend_job(tmp_path / "model", tmp_path / "b.parquet", Wanted(level="leaf", k=2))
    assert pl.read_parquet(tmp_path / "b.parquet").equals(aisle.recommend(best(), level="leaf", k=2))


def test_the_command_line_takes_levels_groups_and_variants(tmp_path: Path) -> None:
    aisle.save(best(), tmp_path / "model")
    out = tmp_path / "lists.parquet"
    asked = ["recommend", str(tmp_path / "model"), "--out", str(out), "-k", "4", "--quiet"]
    done = CliRunner().invoke(app, [*asked, "--level", "leaf", "--by", "group_2", "--shrinkage", "0"])
    assert done.exit_code == 0, done.output
    want = aisle.recommend_groups(best(), "group_2", level="leaf", k=4, shrinkage=0)
    found = pl.read_parquet(out)
    assert found.drop("share").equals(want.drop("share"))
    np.testing.assert_allclose(found["share"], want["share"])
    done = CliRunner().invoke(app, [*asked, "--variants", "some"])
    assert isinstance(done.exception, UsageError)
    assert "allowed: one, all" in str(done.exception)
