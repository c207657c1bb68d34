"""One variant a list: families by any chain, the best member alone, in lists, fills, ranks and bundles."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aisle
from aisle.bundle import Recommender, load, save
from aisle.data.dataset import Dataset
from aisle.data.entities import Entities, Level
from aisle.data.hierarchy import check_parents
from aisle.data.vocab import Vocab
from aisle.errors import UsageError
from aisle.jobs.ranks import ranks_for
from aisle.models import create
from aisle.rank.families import Families
from tests.answers.asked import OwnAlone
from tests.contract.worlds import CUT, PRODUCTS, tables

MASTER = {"p01": "p00", "p02": "p00", "p03": "p02", "p11": "p10", "p20": "p21", "p21": "p20"}
FAMILIES = [{"p00", "p01", "p02", "p03"}, {"p10", "p11"}, {"p20", "p21"}]
K = 12


@cache
def shop() -> Dataset:
    source = tables()
    masters = [MASTER.get(product) for product in source.products["product_id"]]
    products = source.products.with_columns(variant_of=pl.Series(masters, dtype=pl.String))
    return Dataset.of(replace(source, products=products)).before(CUT)


def recommender(name: str) -> Recommender:
    model = OwnAlone() if name == OwnAlone.name else create(name)
    return Recommender.prepare(model.fit(shop()), shop())


def everyone() -> np.ndarray:
    return np.arange(-1, shop().shape[0], dtype=np.int32)


def test_families_are_chains_resolved_to_their_root_and_circles_are_one() -> None:
    data, family = shop(), shop().products.family
    assert family is not None
    ids = data.products.vocab.ids.to_list()
    found = {frozenset(ids[i] for i in np.flatnonzero(family == f)) for f in np.unique(family)}
    assert {f for f in found if len(f) > 1} == {frozenset(f) for f in FAMILIES}
    families = Families.of(data)
    assert families is not None
    assert families.sizes.tolist() == [4, 2, 2]
    assert Families.of(Dataset.of(tables())) is None


@given(masters=st.lists(st.integers(-1, 11), min_size=12, max_size=12))
def test_families_are_what_walking_up_finds(masters: list[int]) -> None:
    ids = [f"{i:02}" for i in range(12)]
    table = pl.DataFrame({"id": ids, "up": [ids[m] if m >= 0 else None for m in masters]})
    table, _, cyclic = check_parents(table, "id", "up")
    vocab = Vocab.of(table["up"].drop_nulls())
    level = Level("variant_of", vocab, vocab.codes(table["up"]))
    family = Entities(Vocab.of(ids), categories=(level,)).family
    roots = []
    for row in range(12):
        while masters[row] >= 0 and not cyclic[row]:
            row = masters[row]
        roots.append(row)
    if family is None:
        assert roots == list(range(12))
        return
    for one in range(12):
        for other in range(12):
            assert (family[one] == family[other]) == (roots[one] == roots[other])


@pytest.mark.parametrize("name", ["item_knn", "own_alone", "tree_shares"])
def test_a_list_holds_the_best_of_each_family_and_is_as_long(name: str) -> None:
    one = recommender(name)
    batch = shop().batch(everyone())
    ids = shop().products.vocab.ids.to_list()
    every = one.lists(batch, PRODUCTS, one.rules(variants="all"))
    best = one.lists(batch, K, one.rules())
    assert (best.codes >= 0).all()
    crowded = 0
    for row in range(len(batch)):
        kept = [ids[c] for c in best.codes[row]]
        assert all(len(family & set(kept)) <= 1 for family in FAMILIES)
        full = [ids[c] for c in every.codes[row] if c >= 0]
        crowded += any(len(family & set(full[:K])) > 1 for family in FAMILIES)
        seen: set[int] = set()
        want = []
        for product in full:
            mine = {i for i, family in enumerate(FAMILIES) if product in family}
            if not mine & seen:
                want.append(product)
            seen |= mine
        assert kept == want[:K]
    assert crowded > 5, "the rule must have something to do"


@pytest.mark.parametrize("name", ["item_knn", "own_alone"])
def test_ranks_agree_with_lists(name: str) -> None:
    one = recommender(name)
    ids = shop().products.vocab.ids
    listed = one.lists(shop().batch(everyone()[1:]), PRODUCTS, one.rules()).codes
    people = shop().customers.vocab.ids.to_list()
    pairs = pl.DataFrame([(c, p) for c in people for p in ids], schema=["c", "p"], orient="row")
    found = ranks_for(one, pairs["c"], pairs["p"], one.rules())
    ranks = found["rank"].fill_null(0).to_numpy().reshape(len(people), PRODUCTS)
    for row, codes in enumerate(listed):
        codes = codes[codes >= 0]
        assert ranks[row, codes].tolist() == list(range(1, len(codes) + 1))
        assert (ranks[row] > 0).sum() == len(codes) == found["candidates"][row * PRODUCTS]


def test_repeats_and_allow_lists_come_first() -> None:
    one = recommender("item_knn")
    only = shop().products.vocab.codes(["p01", "p03", "p11"])
    codes = one.lists(shop().batch(everyone()), 3, one.rules(only=only)).codes
    assert set(np.unique(codes).tolist()) <= {*only.tolist(), -1}
    assert ((codes >= 0).sum(axis=1) == 2).all(), "one of p01 and p03, and p11, although their masters are ruled out"


def test_a_bundle_keeps_families(tmp_path: Path) -> None:
    one = recommender("item_knn")
    save(one, tmp_path / "model")
    opened = load(tmp_path / "model")
    batch = shop().batch(everyone())
    np.testing.assert_array_equal(opened.lists(batch, K, opened.rules()).codes, one.lists(batch, K, one.rules()).codes)


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    one = recommender("item_knn")
    batch = shop().batch(everyone())
    whole = one.lists(batch, K, one.rules()).codes
    monkeypatch.setattr("aisle.rank.families.CELLS", 20)
    np.testing.assert_array_equal(one.lists(batch, K, one.rules()).codes, whole)


def test_from_files_to_lists_with_a_circle_and_a_lost_master() -> None:
    sales = pl.DataFrame(
        [(f"c{c}", p, f"2024-01-{1 + (c + n) % 28:02}") for c in range(8) for n, p in enumerate("abcdef")],
        schema=["customer_id", "product_id", "timestamp"],
        orient="row",
    ).with_columns(quantity=1)
    products = pl.DataFrame(
        {
            "product_id": list("abcdefg"),
            "variant_of": [None, "a", "b", "e", "d", "lost", "a"],
            "category_1": ["x"] * 3 + ["y"] * 4,
        }
    )
    shop = aisle.read(sales, products=products)
    family = shop.products.family
    assert family is not None
    assert [np.flatnonzero(family == f).tolist() for f in dict.fromkeys(family.tolist())] == [
        [0, 1, 2, 6],
        [3],
        [4],
        [5],
    ]
    best = aisle.fit(shop, "item_knn")
    lists = aisle.recommend(best, ["c1"], k=7)
    assert len(set(lists["product_id"]) & set("abcg")) == 1
    assert set("def") < set(lists["product_id"])
    assert set(aisle.recommend(best, ["c1"], k=7, variants="all")["product_id"]) == set("abcdefg")
    assert len(aisle.recommend_groups(best, "all", ["c1"], k=7)) < 7
    alone = aisle.recommend_groups(best, "all", ["c1"], k=7, variants="all")  # a group of one is that customer
    assert alone["product_id"].to_list() == aisle.recommend(best, ["c1"], k=7, variants="all")["product_id"].to_list()
    new = aisle.recommend_new(best, pl.DataFrame({"customer_id": ["n"], "product_id": ["a"]}), k=7).lists
    assert len(set(new["product_id"]) & set("abcg")) == 1


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(UsageError, match="one, all"):
        recommender("popularity").rules(variants="some")  # type: ignore[arg-type]


# --- customers without purchases --------------------------------------------------------------------------------------


def test_customers_without_purchases_are_asked_of_the_model_where_that_is_chosen(tmp_path: Path) -> None:
    chain = recommender("tree_shares")
    chosen = replace(chain, cold_by_model=True)
    batch = shop().before(int(shop().all_events.time.min())).batch(everyone())
    assert batch.empty.all()
    assert chain.lists(batch, K, chain.rules()).filled.all()
    lists = chosen.lists(batch, K, chosen.rules())
    untold = np.zeros(len(batch), dtype=bool)
    untold[0] = True  # a stranger: nothing is known
    untold[1:] |= shop().flag("no_profile")
    np.testing.assert_array_equal(lists.filled.all(axis=1), untold)
    np.testing.assert_array_equal(~lists.filled.any(axis=1), ~untold)
    assert aisle.fit(shop(), "tree_shares", cold_by_model=True).cold_by_model
    assert not aisle.fit(shop(), "tree_shares").cold_by_model
    save(chosen, tmp_path / "model")
    assert load(tmp_path / "model").cold_by_model
    silent = replace(recommender("item_knn"), cold_by_model=True)
    assert silent.lists(batch, K, silent.rules()).filled.all(), "this model cannot tell them apart"
