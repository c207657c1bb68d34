"""Lists: full length, repeat policy, rules, fallback chain and memory-bounded blocks."""

import numpy as np
import polars as pl
import pytest

from aisle.data.dataset import Dataset
from aisle.data.schema import CleanTables
from aisle.models import create
from aisle.rank.fallback import Fallback
from aisle.rank.lists import Lists, recommend_block
from aisle.rank.rules import GONE_AFTER_DAYS, Rules, gone
from aisle.types import DAY, Repeats
from tests.contract.worlds import CUT, START, tables, world

K = 8


def lists(data: Dataset, repeats: Repeats = "mixed", name: str = "personal_frequency", k: int = K) -> Lists:
    model = create(name).fit(data)
    batch = data.batch(np.arange(data.shape[0], dtype=np.int32))
    rules = Rules(listed=data.known.copy(), repeats=repeats)
    return recommend_block(model, data, Fallback.fit(data), batch, rules, k)


@pytest.mark.parametrize("name", ["personal_frequency", "item_knn", "ease"])
def test_everybody_gets_k_different_products_in_falling_order(name: str) -> None:
    found = lists(world(), name=name)
    assert (found.codes >= 0).all()
    assert all(len(set(row)) == K for row in found.codes.tolist())
    assert (np.diff(found.scores, axis=1) <= 0).all()


def test_new_only_lists_nothing_bought_and_only_lists_nothing_else() -> None:
    data = world()
    bought = data.counts.toarray() > 0
    new = lists(data, "new")
    assert not np.take_along_axis(bought, new.codes, axis=1).any()
    only = lists(data, "only", k=data.shape[1])
    for row, codes in enumerate(only.codes):
        assert set(codes[codes >= 0].tolist()) == set(np.flatnonzero(bought[row]).tolist())


def test_filled_places_lie_below_the_model_and_are_marked() -> None:
    data = world()
    found = lists(data, "new", name="item_knn", k=data.shape[1])
    first = np.where(found.filled.any(axis=1), found.filled.argmax(axis=1), data.shape[1])
    for row, start in enumerate(first.tolist()):
        assert found.filled[row, start : (found.codes[row] >= 0).sum()].all(), "a model place below a filled one"


def test_customers_without_purchases_get_their_group_and_opted_out_ones_plain_popularity() -> None:
    data = world()
    shoppers = np.diff(data.indptr) > 0
    found = lists(data)
    opted_out = int(np.flatnonzero(data.flag("no_profile"))[0])
    assert not shoppers[opted_out], "an opted-out customer must have no history"
    assert found.filled[opted_out].all()
    assert found.choice.sources()[opted_out] == "popularity"
    newcomer = Dataset.of(newcomers(tables())).before(CUT)
    code = int(newcomer.customers.vocab.codes(["new"])[0])
    chosen = lists(newcomer)
    assert chosen.choice.sources()[code] == "group"
    assert chosen.choice.names()[code] == "r0", "names are leaves of the path"


def newcomers(source: CleanTables) -> CleanTables:
    extra = pl.DataFrame({"customer_id": ["new"], "group_1": ["r0"]})
    return CleanTables(
        transactions=source.transactions,
        products=source.products,
        customers=pl.concat([source.customers, extra], how="diagonal"),
    )


def test_blocks_do_not_change_lists() -> None:
    data = world()
    model, fallback = create("ease").fit(data), Fallback.fit(data)
    rules = Rules(listed=data.known.copy())
    everyone = np.arange(data.shape[0], dtype=np.int32)
    whole = recommend_block(model, data, fallback, data.batch(everyone), rules, K).codes
    parts = [
        recommend_block(model, data, fallback, data.batch(everyone[i : i + 7]), rules, K).codes
        for i in range(0, len(everyone), 7)
    ]
    assert np.array_equal(whole, np.concatenate(parts))


def test_the_last_day_changes_the_lists() -> None:
    data = world(moment=CUT)
    sales = data.purchases
    last_day = int(sales.time.max()) // DAY * DAY
    before = data.before(last_day)
    customers = np.unique(sales.customer[(sales.time >= last_day) & (sales.customer >= 0)])
    assert len(customers)
    now, then = lists(data), lists(before)
    assert (now.codes[customers] != then.codes[customers]).any()


def test_gone_products_are_those_silent_for_much_longer_than_usual() -> None:
    days = {"weekly": range(0, 300, 7), "stopped": range(0, 200, 7), "rare": (0, 10), "slow": range(0, 280, 40)}
    rows = [(f"c{d}", p, d) for p, when in days.items() for d in when]
    base = int((START.timestamp() // 86400) * DAY)
    lines = pl.DataFrame(rows, schema=["customer_id", "product_id", "day"], orient="row").with_columns(
        timestamp=(base + pl.col("day") * DAY).cast(pl.Datetime("us")), quantity=1.0
    )
    products = pl.DataFrame({"product_id": [*days, "empty"], "in_stock": [True, True, True, True, False]})
    customers = pl.DataFrame({"customer_id": ["c0"]})
    data = Dataset.of(CleanTables(transactions=lines.drop("day"), products=products, customers=customers))
    names = data.products.vocab.ids.to_list()
    assert {names[i] for i in np.flatnonzero(gone(data))} == {"stopped", "empty"}
    assert GONE_AFTER_DAYS < 100


def test_the_home_store_limits_what_is_listed() -> None:
    source = tables()
    sold = pl.DataFrame({"store_id": ["s0"] * 10, "product_id": [f"p{i:02}" for i in range(10)]}).with_columns(
        pl.lit(None, dtype=pl.Datetime("us")).alias("from"), pl.lit(None, dtype=pl.Datetime("us")).alias("to")
    )
    data = Dataset.of(
        CleanTables(
            transactions=source.transactions, products=source.products, customers=source.customers, availability=sold
        )
    ).before(CUT)
    found = lists(data)
    batch = data.batch(np.arange(data.shape[0], dtype=np.int32))
    from aisle.features.groups import usual

    home = usual(batch.lines.store, batch)
    code = int(data.stores.codes(["s0"])[0])
    allowed = set(data.products.vocab.codes([f"p{i:02}" for i in range(10)]).tolist())
    assert (home == code).any()
    for row in np.flatnonzero(home == code):
        assert set(found.codes[row].tolist()) <= allowed
    assert any(set(found.codes[row].tolist()) - allowed for row in np.flatnonzero(home != code))
