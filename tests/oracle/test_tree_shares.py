"""Tree shares against a slow walk down the trees by hand, a shop whose answer is known, and sums that must hold."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisle.data.dataset import Dataset
from aisle.data.entities import Level
from aisle.data.nodes import ROOT, Nodes
from aisle.data.schema import CleanTables
from aisle.errors import UsageError
from aisle.models import create
from aisle.models.tree_shares import LAUNCH_DAYS, USUAL_LAUNCH, TreeShares
from tests.contract.worlds import CUT, START, tables, world


def everyone(data: Dataset) -> np.ndarray:
    return np.arange(data.shape[0], dtype=np.int32)


# --- the oracle: the same numbers by loops over dictionaries ----------------------------------------------------------


def path(levels: tuple[Level, ...], row: int) -> tuple[str, ...]:
    """Names of the nodes above a row, from the root."""
    found = ["all"]
    for level in levels:
        if level.codes[row] >= 0:
            found.append(str(level.vocab.ids[int(level.codes[row])]))
    return tuple(found)


def tally(rows: list[tuple[int, int, float]], who: set[int] | None, places: list[tuple[str, ...]]) -> dict[Any, float]:
    """Purchases of some customers (None = all) below every node and of every product."""
    counts: dict[Any, float] = {}
    for customer, product, weight in rows:
        if who is None or customer in who:
            for node in (*places[product], product):
                counts[node] = counts.get(node, 0.0) + weight
    return counts


def slow_chance(
    data: Dataset, customer: int, product: int, strength: float, group_strength: float, half_life: float
) -> float:
    """P(product | customer) of a product that sold long ago, step by step."""
    lines, places = data.purchases, [path(data.products.tree, i) for i in range(data.shape[1])]
    seen: dict[tuple[int, int, int], float] = {}
    for c, b, p, t in zip(lines.customer, lines.basket, lines.product, lines.time, strict=True):
        seen[(int(c), int(b), int(p))] = 0.5 ** ((data.as_of - int(t)) / data.unit / half_life)
    rows = [(c, p, w) for (c, _, p), w in seen.items()]
    groups = [path(data.customers.tree, u) for u in range(data.shape[0])]
    chain = [(tally(rows, None, places), 0.0)]
    for group in groups[customer][1:]:
        members = {u for u in range(data.shape[0]) if group in groups[u]}
        chain.append((tally(rows, members, places), group_strength))
    chain.append((tally(rows, {customer}, places), strength))
    chance = 1.0
    steps = (*places[product], product)
    for above, step in pairwise(steps):
        share = 0.0
        for counts, kappa in chain:
            total = counts.get(above, 0.0) + kappa
            share = (counts.get(step, 0.0) + kappa * share) / total if total else 0.0
        chance *= share
    return chance


def test_chances_are_those_of_a_walk_by_hand() -> None:
    data = world()
    model = TreeShares(strength=3.0, group_strength=20.0, half_life_days=60.0).fit(data)
    scores = model.score(data.batch(everyone(data)))
    old = np.flatnonzero(model.new_[len(model.depth_) :] == 0)
    assert len(old) > 20
    rng = np.random.default_rng(0)
    some = [(int(rng.integers(data.shape[0])), int(rng.choice(old))) for _ in range(25)]
    row = data.batch(everyone(data))
    some += [(int(u), int(i)) for u, i in zip(*(a[:10] for a in row.history.nonzero()), strict=True) if i in old]
    for customer, product in some:
        slow = slow_chance(data, customer, product, 3.0, 20.0, 60.0)
        assert math.isclose(scores[customer, product], slow, rel_tol=2e-5), (customer, product)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1_000), strength=st.floats(0.1, 100), group_strength=st.floats(0.1, 1_000))
def test_what_sold_adds_up_to_one_for_everybody(seed: int, strength: float, group_strength: float) -> None:
    data = world(seed % 3)
    model = TreeShares(strength=strength, group_strength=group_strength, new_product=0.0).fit(data)
    who = np.random.default_rng(seed).integers(-1, data.shape[0], 9).astype(np.int32)
    scores = model.score(data.batch(who))
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, rtol=1e-4)


def test_without_a_product_tree_it_is_flat_shrunk_frequency() -> None:
    source = tables()
    flat = source.products.drop("category_1", "category_2")
    data = Dataset.of(replace(source, products=flat)).before(CUT)
    model = TreeShares(groups=False, strength=5.0, half_life_days=None, new_product=0.0).fit(data)
    batch = data.batch(everyone(data))
    counts = batch.history.toarray()
    everybody = data.popularity / data.popularity.sum()
    want = (counts + 5.0 * everybody) / (counts.sum(axis=1, keepdims=True) + 5.0)
    np.testing.assert_allclose(model.score(batch), want, rtol=1e-4)


def test_nothing_but_what_sells_without_customer_and_groups() -> None:
    data = world()
    model = TreeShares(customer=False, groups=False, half_life_days=None, new_product=0.0).fit(data)
    scores = model.score(data.batch(everyone(data)))
    np.testing.assert_allclose(scores[5], data.popularity / data.popularity.sum(), rtol=1e-5)
    assert (scores == scores[0]).all()


def test_attributes_stand_in_where_there_is_no_customer_tree() -> None:
    source = tables()
    people = source.customers.drop("group_1", "group_2")
    data = Dataset.of(replace(source, customers=people)).before(CUT)
    model = TreeShares(customer=False).fit(data)
    assert model.groups_["names"] == ["gender"]
    batch = data.batch(everyone(data))
    gender = batch.features.categories[0].codes
    scores = model.score(batch)
    for code in np.unique(gender):
        mine = scores[gender == code]
        assert (mine == mine[0]).all()
    assert (scores[gender == 0][0] != scores[gender == 1][0]).any()


# --- a shop whose answer is known -------------------------------------------------------------------------------------


def two_tastes() -> Dataset:
    """Half the customers buy food, half buy tools; both kinds have a product that never sold."""
    rng = np.random.default_rng(1)
    kinds = {"food": [f"f{i}" for i in range(6)], "tool": [f"t{i}" for i in range(6)]}
    rows = []
    for who in range(40):
        taste = ("food", "tool")[who % 2]
        for day in range(0, 200, 5):
            other = "food" if taste == "tool" else "tool"
            kind = taste if rng.random() < 0.9 else other
            rows.append((f"c{who:02}", str(rng.choice(kinds[kind][:5])), day))
    lines = pl.DataFrame(rows, schema=["customer_id", "product_id", "day"], orient="row").with_columns(
        timestamp=pl.lit(START).cast(pl.Datetime("us")) + pl.duration(days="day"), quantity=1.0
    )
    products = pl.DataFrame(
        [(p, kind) for kind, names in kinds.items() for p in names], schema=["product_id", "category_1"], orient="row"
    )
    people = pl.DataFrame({"customer_id": [f"c{i:02}" for i in range(40)] + ["new"]}).with_columns(
        group_1=pl.Series([("north", "south")[i % 2] for i in range(40)] + ["south"])
    )
    return Dataset.of(CleanTables(transactions=lines.drop("day"), products=products, customers=people))


@pytest.mark.parametrize(("customer", "groups"), [(True, False), (False, True), (True, True)])
def test_a_new_product_of_the_category_one_likes_comes_first_among_the_new(customer: bool, groups: bool) -> None:
    data = two_tastes()
    model = TreeShares(customer=customer, groups=groups).fit(data)
    assert model.launch_ == USUAL_LAUNCH
    food, tool = data.products.vocab.codes(["f5", "t5"])
    scores = model.score(data.batch(everyone(data)))
    likes_food = np.arange(40) % 2 == 0
    assert (scores[:40][likes_food, food] > scores[:40][likes_food, tool]).all()
    assert (scores[:40][~likes_food, food] < scores[:40][~likes_food, tool]).all()
    new = int(data.customers.vocab.codes(["new"])[0])
    assert (scores[new, tool] > 2 * scores[new, food]) == groups


def test_what_new_products_sell_is_learnt_from_those_that_were_new() -> None:
    """30 old products sell once a day, 25 came later and sold every other day; one is still to come."""
    rows = [("c", f"o{i:02}", day) for i in range(30) for day in range(300)]
    rows += [("c", f"n{i:02}", day) for i in range(25) for day in range(120 + i, 300, 2)]
    rows += [("c", "late", day) for day in range(290, 300)]  # too short on sale to be counted among the launches
    lines = pl.DataFrame(rows, schema=["customer_id", "product_id", "day"], orient="row").with_columns(
        timestamp=pl.lit(START).cast(pl.Datetime("us")) + pl.duration(days="day"), quantity=1.0
    )
    names = [*sorted({product for _, product, _ in rows}), "next"]
    products = pl.DataFrame({"product_id": names, "category_1": "all"})
    people = pl.DataFrame({"customer_id": ["c"]})
    data = Dataset.of(CleanTables(transactions=lines.drop("day"), products=products, customers=people))
    model = TreeShares(customer=False, half_life_days=None).fit(data)
    mean = len(rows) / 56
    assert model.launch_ == pytest.approx(14 / (mean * 28 / 300))
    scores = dict(zip(data.products.vocab.ids, model.score(data.batch(everyone(data)))[0].tolist(), strict=True))
    assert scores["next"] == pytest.approx(model.launch_ * mean / len(rows))
    young = 1 - 10 / LAUNCH_DAYS
    assert scores["late"] == pytest.approx((10 + young * model.launch_ * mean) / len(rows))
    assert scores["o00"] == pytest.approx(300 / len(rows))


def test_that_a_new_product_was_never_bought_says_nothing() -> None:
    """Its part of what the customer spends on the category is the same for all, however much they bought of others."""
    data = two_tastes()
    scores = TreeShares(groups=False, strength=2.0).fit(data).score(data.batch(everyone(data)))
    for kind in ("f", "t"):
        codes = data.products.vocab.codes([f"{kind}{i}" for i in range(6)])
        part = scores[:, codes[5]] / scores[:, codes[:5]].sum(axis=1)
        np.testing.assert_allclose(part, part[0], rtol=1e-5)


def test_a_strength_is_chosen_that_fits_the_shop() -> None:
    data = two_tastes()
    # Kinds differ by taste: they are hardly shared. Within a kind all buy alike: a large strength.
    alone = TreeShares(groups=False).fit(data).strength_
    assert alone[0, 0] < 50 < alone[0, 1]
    grouped = TreeShares().fit(data).strength_
    assert grouped[1, 0] < 50 < grouped[1, 1]
    assert grouped[0, 0] > 500, "the group says it all"


def test_nodes_hang_where_their_branch_ends() -> None:
    data = world()
    nodes = Nodes.of(data.customers.tree, data.shape[0])
    assert nodes.parent[ROOT] == -1
    assert (nodes.parent[1:] < np.arange(1, len(nodes))).all()
    inside = nodes.inside().toarray()
    assert (inside[:, ROOT] == 1).all()
    for level, depth in zip(data.customers.tree, (1, 2), strict=True):
        block = inside[:, nodes.level(depth)]
        for row, code in enumerate(level.codes.tolist()):
            assert block[row].sum() == (code >= 0)
            assert code < 0 or block[row, code] == 1


@pytest.mark.parametrize(
    ("setting", "value"), [("half_life_days", 0.0), ("strength", -1.0), ("group_strength", 0.0), ("new_product", -0.1)]
)
def test_wrong_settings_are_refused(setting: str, value: float) -> None:
    with pytest.raises(UsageError, match=setting):
        create("tree_shares", **{setting: value})
