"""Ranks, similar products and customers, and vectors: what every model of the registry answers, block by block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import aisle
from aisle.bundle import Recommender
from aisle.data.events import Batch
from aisle.errors import UsageError
from aisle.kernels import nearest as kernel
from aisle.models import model_class
from aisle.models.base import Biased, Embeds
from aisle.types import DAY, Floats, Repeats
from tests.answers.asked import NAMES, AllAlike, recommender
from tests.contract.worlds import CUSTOMERS, CUT, PRODUCTS, world

every_model = pytest.mark.parametrize("name", NAMES)
EMBED = [name for name in NAMES if issubclass(model_class(name), Embeds)]
OPTED_OUT = "c07"
LEAST = 1
"""A memory budget that leaves the smallest blocks."""


def watched(best: Recommender, memory: int) -> tuple[Recommender, list[int]]:
    """The recommender with another memory budget, and the rows of every block its model will be asked for."""
    seen: list[int] = []
    model = type(best.model)(**best.model.params()).restore(*best.model.state())

    def counting(ask: Callable[[Batch], Floats]) -> Callable[[Batch], Floats]:
        def count(batch: Batch) -> Floats:
            seen.append(len(batch))
            return ask(batch)

        return count

    for question in ("score", "customer_vectors"):
        if hasattr(model, question):
            setattr(model, question, counting(getattr(model, question)))
    return replace(best, model=model, memory_bytes=memory), seen


# --- ranks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repeats", ["mixed", "new", "only"])
@pytest.mark.parametrize("name", [*NAMES, "own_alone"])
def test_the_ranks_of_listed_products_are_those_of_the_list(name: str, repeats: Repeats) -> None:
    best = recommender(name)
    ids = [*best.dataset.customers.vocab.ids, "nobody we know"]
    lists = aisle.recommend(best, ids, k=PRODUCTS, repeats=repeats)
    mixed = lists.sample(fraction=1, shuffle=True, seed=4)
    found = aisle.ranks(best, mixed["customer_id"], mixed["product_id"], repeats=repeats)
    assert found.columns == ["customer_id", "product_id", "rank", "candidates"]
    assert found.select("customer_id", "product_id", "rank").equals(mixed.select("customer_id", "product_id", "rank"))
    length = mixed.select(pl.len().over("customer_id").cast(pl.Int32))
    assert found["candidates"].to_list() == length["len"].to_list()


@pytest.mark.parametrize("name", ["item_knn", "popularity"])
def test_a_product_that_is_never_listed_has_no_rank(name: str) -> None:
    best = recommender(name)
    ids = best.dataset.customers.vocab.ids
    everything = pl.DataFrame({"customer_id": ids}).join(
        pl.DataFrame({"product_id": [*best.dataset.products.vocab.ids, "no such product"]}), how="cross"
    )
    for limits in ({"repeats": "new"}, {"repeats": "only"}, {"only_products": ["p01", "p02", "p03"]}):
        found = aisle.ranks(best, everything["customer_id"], everything["product_id"], **limits)
        lists = aisle.recommend(best, k=PRODUCTS, **limits)
        placed = found.drop_nulls("rank").select("customer_id", "rank", "product_id").sort("customer_id", "rank")
        assert placed.equals(lists.select("customer_id", "rank", "product_id").sort("customer_id", "rank"))
        assert found.filter(pl.col("product_id") == "no such product")["rank"].null_count() == CUSTOMERS


@every_model
def test_blocks_bound_the_work_and_do_not_change_ranks(name: str) -> None:
    small, seen = watched(recommender(name), LEAST)
    large, once = watched(recommender(name), 1 << 30)
    customers = np.repeat(small.dataset.customers.vocab.ids.to_numpy(), 3)
    products = np.tile(small.dataset.products.vocab.ids.to_numpy(), 6)[: len(customers)]
    found = aisle.ranks(small, customers, products)
    assert seen == [16, 16, 16, 12], "every customer once, never all at once"
    expected = aisle.ranks(large, customers, products)
    assert once == [CUSTOMERS]
    assert found["candidates"].equals(expected["candidates"])
    assert (found["rank"] == expected["rank"]).mean() > (0.95 if name in EMBED else 0.999), "but for rounding"


def test_pairs_must_be_pairs() -> None:
    best = recommender("popularity")
    with pytest.raises(UsageError, match="2 customers and 1 products"):
        aisle.ranks(best, ["c01", "c02"], ["p01"])
    with pytest.raises(UsageError, match="1 of 2 ids are blank"):
        aisle.ranks(best, ["c01", None], ["p01", "p02"])
    assert aisle.ranks(best, [], []).shape == (0, 4)
    twice = aisle.ranks(best, ["c01", "c01"], ["p01", "p01"])
    assert twice["rank"][0] == twice["rank"][1]
    assert isinstance(aisle.ranks(best, pd.Series(["c01"]), ["p01"]), pd.DataFrame)


# --- similar ----------------------------------------------------------------------------------------------------------


@every_model
def test_similar_products_and_customers_leave_the_query_out(name: str) -> None:
    best = recommender(name)
    for ask, ids in ((aisle.similar, best.dataset.products), (aisle.similar_customers, best.dataset.customers)):
        found = ask(best, ids.vocab.ids, k=7)
        key = found.columns[0]
        assert found.columns[1:] == ["rank", "similar_id", "score"]
        assert (found[key] != found["similar_id"]).all()
        assert found.height > 0
        assert (found["score"] > 0).all()
        assert (found["score"] <= 1.0 + 1e-6).all()
        for _, rows in found.group_by(key):
            assert rows["rank"].to_list() == list(range(1, rows.height + 1))
            assert rows["score"].is_sorted(descending=True)
            assert rows["similar_id"].n_unique() == rows.height <= 7


@every_model
def test_who_opted_out_is_neither_listed_nor_compared(name: str) -> None:
    best = recommender(name)
    found = aisle.similar_customers(best, best.dataset.customers.vocab.ids, k=CUSTOMERS)
    assert OPTED_OUT in best.dataset.customers.vocab.ids
    assert OPTED_OUT not in {*found["customer_id"], *found["similar_id"]}
    bought = np.diff(best.dataset.indptr) > 0
    assert not bought.all(), "the world must hold customers without purchases"
    assert set(found["similar_id"]) <= set(best.dataset.customers.vocab.ids.filter(pl.Series(bought)))


def test_customers_are_alike_who_bought_the_same_products() -> None:
    best = recommender("item_knn")
    bought = {
        name: set(best.dataset.counts[[row]].indices.tolist())
        for row, name in enumerate(best.dataset.customers.vocab.ids)
    }
    found = aisle.similar_customers(best, ["c03"], k=CUSTOMERS)
    mine = bought["c03"]
    expected = {n: len(mine & b) / np.sqrt(len(mine) * len(b)) for n, b in bought.items() if mine & b and n != "c03"}
    assert dict(zip(found["similar_id"], found["score"], strict=True)) == pytest.approx(expected, rel=1e-6)
    lines = dict(zip(bought, np.diff(best.dataset.indptr).tolist(), strict=True))
    order = sorted(expected, key=lambda n: (-np.float32(expected[n]), -lines[n], n))
    assert found["similar_id"].to_list() == order


@pytest.mark.parametrize("name", [*EMBED, "two_tastes"])
def test_vectors_say_what_is_alike_where_a_model_has_them(name: str) -> None:
    best = recommender(name)
    model, dataset = best.model, best.dataset
    assert isinstance(model, Embeds)
    products = [row[None] for row in model.product_vectors()]
    people = list(model.customer_vectors(dataset.batch(np.arange(CUSTOMERS, dtype=np.int32))))
    for ask, vocab, vectors in (
        (aisle.similar, dataset.products.vocab, products),
        (aisle.similar_customers, dataset.customers.vocab, people),
    ):
        asked = str(vocab.ids[3])
        found = ask(best, [asked], k=5)
        unit = [v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-9) for v in vectors]
        alike = {str(vocab.ids[i]): float((unit[3] @ other.T).max()) for i, other in enumerate(unit)}
        listed = dict(zip(found["similar_id"], found["score"], strict=True))
        assert listed == pytest.approx({one: alike[one] for one in listed}, abs=1e-5)
        if ask is aisle.similar and name != "two_tastes":
            rest = [alike[str(i)] for i in vocab.ids.filter(pl.Series(best.on_sale)) if i not in {asked, *listed}]
            assert min(listed.values()) >= max(rest) - 1e-5


def test_ties_go_to_what_sells_and_to_who_buys_and_nobody_else_is_listed() -> None:
    data = world(moment=CUT - 320 * DAY)
    people = data.customers
    shopper = int(np.flatnonzero(np.diff(data.indptr))[0])
    flags = people.flags["no_profile"] | (np.arange(CUSTOMERS) == shopper)  # opted out since the data was built
    data = replace(data, customers=replace(people, flags={"no_profile": flags}))
    best = Recommender.prepare(AllAlike().fit(data), data)
    some = np.arange(PRODUCTS) % 3 > 0
    best = replace(best, on_sale=best.on_sale & some)
    found = aisle.similar_customers(best, ["c09"], k=CUSTOMERS)
    lines = np.diff(data.indptr)
    assert (lines == 0).sum() > 5, "the moment must leave customers without purchases"
    names = people.vocab.ids.to_list()
    buyers = [i for i in range(CUSTOMERS) if lines[i] and not flags[i] and names[i] != "c09"]
    assert found["similar_id"].to_list() == [names[i] for i in sorted(buyers, key=lambda i: (-lines[i], names[i]))]
    listed = sorted(np.flatnonzero(best.on_sale), key=lambda i: data.tie_rank[i])
    wanted = [str(data.products.vocab.ids[int(i)]) for i in listed if data.products.vocab.ids[int(i)] != "p01"]
    assert aisle.similar(best, ["p01"], k=PRODUCTS)["similar_id"].to_list() == wanted


def test_products_of_another_axis_are_not_alike() -> None:
    assert aisle.similar(recommender("two_tastes"), ["p03"], k=5).height == 0


@pytest.mark.parametrize("name", ["item_knn", "two_tastes", *EMBED])
def test_blocks_bound_the_work_and_do_not_change_who_is_alike(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    best, _ = watched(recommender(name), 1 << 30)
    ids = best.dataset.customers.vocab.ids
    expected = aisle.similar_customers(best, ids, k=5)
    products = aisle.similar(best, best.dataset.products.vocab.ids, k=5)
    small, seen = watched(recommender(name), LEAST)
    monkeypatch.setattr(kernel, "CELLS", 100)
    found = aisle.similar_customers(small, ids, k=5)
    assert max(seen, default=0) <= 16
    assert bool(seen) == isinstance(small.model, Embeds)
    if name in EMBED:  # a network rounds as its batch goes
        np.testing.assert_allclose(found["score"], expected["score"], atol=1e-5)
    else:
        assert found.equals(expected)
    assert aisle.similar(small, best.dataset.products.vocab.ids, k=5).equals(products)


def test_an_id_that_is_not_known_is_named() -> None:
    best = recommender("item_knn")
    with pytest.raises(UsageError, match="'nobody' is not a known customer; ids look like 'c00'"):
        aisle.similar_customers(best, ["c01", "nobody"])
    with pytest.raises(UsageError, match="k is 0"):
        aisle.similar_customers(best, ["c01"], k=0)
    assert aisle.similar_customers(best, []).shape == (0, 4)
    assert isinstance(aisle.similar_customers(best, pa.array(["c01"])), pa.Table)


@pytest.mark.parametrize("name", ["item_knn", "hybrid_factorization"])
def test_a_bundle_answers_every_question_alike(name: str, tmp_path: Path) -> None:
    made = recommender(name)
    aisle.save(made, tmp_path / "model")
    opened = aisle.load(tmp_path / "model")
    basket = pl.DataFrame({"customer_id": "eva", "product_id": ["p01", "p05"]})
    everything = pl.DataFrame({"customer_id": ["c01", "c02"], "product_id": ["p01", "p02"]})
    one, other = (
        [
            aisle.similar(best, ["p01", "p02"]),
            aisle.similar_customers(best, ["c01", "c02"]),
            aisle.ranks(best, everything["customer_id"], everything["product_id"]),
            aisle.recommend_new(best, basket, k=4).lists,
        ]
        for best in (made, opened)
    )
    assert all(mine.equals(yours) for mine, yours in zip(one, other, strict=True))
    if name in EMBED:
        asked = {"customer_ids": ["c01", OPTED_OUT]}
        assert aisle.vectors(made, **asked).equals(aisle.vectors(opened, **asked))


# --- vectors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EMBED)
def test_vectors_and_biases_are_the_score_of_what_was_not_bought(name: str) -> None:
    """Of the default similarity, the inner product."""
    best = recommender(name)
    model, batch = best.model, best.dataset.batch(np.arange(-1, CUSTOMERS, dtype=np.int32))
    assert isinstance(model, Embeds)
    products, people = model.product_vectors(), model.customer_vectors(batch)
    assert products.dtype == people.dtype == np.float32
    assert (products.shape[0], people.shape[0], people.shape[2]) == (PRODUCTS, CUSTOMERS + 1, products.shape[1])
    rest = best.model.score(batch)
    if isinstance(model, Biased):
        rest = rest - model.product_biases() - model.customer_biases(batch)[:, None]
    new = batch.history.toarray() == 0
    new &= ~(batch.empty & model.needs_history)[:, None]
    taste = np.einsum("btd,id->bti", people, products).max(axis=1)[new]
    np.testing.assert_allclose(rest[new], taste, atol=1e-4)
    alone = np.concatenate([model.customer_vectors(best.dataset.batch(batch.customers[[i]])) for i in range(5)])
    np.testing.assert_allclose(people[:5], alone, atol=1e-5)
    assert model.customer_vectors(best.dataset.batch(batch.customers[:0])).shape == (0, *people.shape[1:])


@pytest.mark.parametrize("name", [*EMBED, "two_tastes"])
def test_vectors_come_by_id_in_a_fixed_size_list(name: str) -> None:
    best = recommender(name)
    model = best.model
    assert isinstance(model, Embeds)
    products = aisle.vectors(best, product_ids=["p03", "p01", "p03"])
    width = model.product_vectors().shape[1]
    assert products.schema == {"product_id": pl.String, "bias": pl.Float32, "vector": pl.Array(pl.Float32, width)}
    np.testing.assert_array_equal(products["vector"].to_numpy(), model.product_vectors()[[3, 1, 3]])
    assert products["bias"].null_count() == (0 if isinstance(model, Biased) else 3)
    if isinstance(model, Biased):
        np.testing.assert_array_equal(products["bias"].to_numpy(), model.product_biases()[[3, 1, 3]])
    people = aisle.vectors(best, customer_ids=["c05", OPTED_OUT, "c02"])
    mine = model.customer_vectors(best.dataset.batch(np.array([5, 7, 2], dtype=np.int32)))
    tastes = mine.shape[1]
    assert people["customer_id"].to_list() == ["c05"] * tastes + [OPTED_OUT] + ["c02"] * tastes
    assert people["taste"].to_list() == [*range(tastes), 0, *range(tastes)]
    known = people.filter(pl.col("customer_id") != OPTED_OUT)
    np.testing.assert_array_equal(known["vector"].to_numpy().reshape(2, tastes, width), mine[[0, 2]])
    assert people.filter(pl.col("customer_id") == OPTED_OUT)["vector"].to_list() == [None]


def test_vectors_follow_the_kind_of_ids_and_blocks_do_not_matter() -> None:
    best = recommender("two_tastes")
    small, seen = watched(best, LEAST)
    ids = best.dataset.customers.vocab.ids
    assert aisle.vectors(small, customer_ids=ids).equals(aisle.vectors(best, customer_ids=ids))
    assert seen == [16, 16, 16, 12]
    frame = aisle.vectors(best, product_ids=pd.Series(["p01"]))
    assert isinstance(frame, pd.DataFrame)
    assert len(frame["vector"][0]) == PRODUCTS
    table = aisle.vectors(best, product_ids=pa.array(["p01"]))
    assert pa.types.is_fixed_size_list(table.schema.field("vector").type)


@pytest.mark.parametrize("asked", [{}, {"product_ids": ["p01"], "customer_ids": ["c01"]}])
def test_vectors_of_one_kind_at_a_time(asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="either product_ids or customer_ids"):
        aisle.vectors(recommender("two_tastes"), **asked)


def test_a_model_without_vectors_names_those_that_have_them() -> None:
    for asked in ({"product_ids": ["p01"]}, {"customer_ids": ["c01"]}):
        with pytest.raises(UsageError, match=r"ease has no vectors; fit a model that embeds: .*hybrid_factorization"):
            aisle.vectors(recommender("ease"), **asked)
