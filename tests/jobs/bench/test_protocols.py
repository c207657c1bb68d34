"""Each protocol on a tiny stand-in with the layout of its files: truth, population and masks counted by hand."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from aisle.errors import UsageError
from aisle.features.pairs import everyone
from aisle.jobs.bench.measure import answers
from aisle.jobs.bench.protocols import PROTOCOLS, chosen, protocol
from aisle.jobs.bench.split import Split
from aisle.models import create
from aisle.models.nn.basket_tasks import Lessons
from aisle.models.nn.journeys import Journeys
from aisle.types import DAY
from tests.jobs.bench import stand_ins


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_ins.everything(tmp_path_factory.mktemp("data"))


def wanted(split: Split) -> dict[str, set[str]]:
    """Customer id -> product ids of the truth, of those who are asked."""
    people, goods = split.data.customers.vocab.ids, split.data.products.vocab.ids
    return {people[int(u)]: {goods[int(i)] for i in split.wanted[[u]].indices} for u in split.customers}


def histories(split: Split) -> dict[str, set[str]]:
    """Customer id -> product ids of the history, of those who are asked."""
    people, goods = split.data.customers.vocab.ids, split.data.products.vocab.ids
    batch = split.histories.batch(split.customers)
    return {people[int(u)]: {goods[int(i)] for i in batch.history[[b]].indices} for b, u in enumerate(split.customers)}


def named(split: Split) -> set[str]:
    """Ids of the customers whose purchases a model may learn from by name."""
    return {split.data.customers.vocab.ids[int(u)] for u in np.flatnonzero(np.diff(split.data.indptr))}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_part_has_an_inner_split_of_its_kind_that_knows_no_answer(name: str, folder: Path) -> None:
    now = protocol(name)
    data = now.load(folder)
    for part in now.parts[:2]:
        split = now.split(data, part)
        assert split.inner is not None
        inner = split.inner()
        for one in (split, inner):
            assert len(one.customers)
            assert (np.diff(one.wanted[one.customers].indptr) > 0).all()
            values = answers(create("popularity").fit(one.data), one, now.metrics)
            assert all(len(column) == len(one.customers) for column in values.values())
        assert (split.repeats, split.ideal_all) == (inner.repeats, inner.ideal_all)
        assert len(inner.data.purchases) < len(split.data.purchases)


def test_names_are_found_by_their_beginning() -> None:
    assert chosen(("s3rec", "gowalla")) == ("s3rec_beauty", "s3rec_sports", "gowalla")
    assert chosen(()) == tuple(PROTOCOLS)
    with pytest.raises(UsageError, match="no protocol 'nothing'"):
        chosen(("nothing",))


def test_a_missing_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gowalla_lightgcn/train\.parquet"):
        protocol("gowalla").load(tmp_path)


# --- Ta-Feng ----------------------------------------------------------------------------------------------------------


def test_tafeng_asks_test_customers_for_their_future_basket(folder: Path) -> None:
    now = protocol("tafeng")
    split = now.split(now.load(folder), "0")
    assert wanted(split) == {"5": {"1", "7"}, "6": {"2", "8", "9"}}
    assert histories(split) == {"5": {"1", "4"}, "6": {"8", "2"}}
    assert named(split) == {"1", "2", "3", "4"}  # training and validation customers
    assert split.repeats
    # Futures of those customers are learned from, those of test customers never: 7 and 9 are theirs alone.
    sales = dict(zip(split.data.products.vocab.ids, split.data.popularity.tolist(), strict=True))
    assert sales == {"1": 8, "2": 6, "3": 2, "4": 2, "5": 2, "6": 1, "7": 0, "8": 2, "9": 0}


def test_tafeng_published_rows_learn_histories_of_training_customers(folder: Path) -> None:
    now = protocol("tafeng")
    plain = now.split(now.load(folder), "0").as_published()
    assert named(plain) == {"1", "2", "3"}
    sales = dict(zip(plain.data.products.vocab.ids, plain.data.popularity.tolist(), strict=True))
    assert sales == {"1": 6, "2": 5, "3": 1, "4": 2, "5": 1, "6": 0, "7": 0, "8": 2, "9": 0}


def test_tafeng_inside_asks_validation_customers(folder: Path) -> None:
    now = protocol("tafeng")
    split = now.split(now.load(folder), "0")
    assert split.inner is not None
    inner = split.inner()
    assert wanted(inner) == {"4": {"1"}}
    assert named(inner) == {"1", "2", "3"}


def test_tafeng_ideal_runs_over_the_whole_truth(folder: Path) -> None:
    now = protocol("tafeng")
    split = now.split(now.load(folder), "0")
    # Personal frequency lists 1 before 4 for customer 5, and 8 before 2 for customer 6.
    values = answers(create("personal_frequency").fit(split.data), split, ["ndcg@1", "recall@1"])
    gain = 1 / np.log2(np.arange(2, 5))
    assert values["recall@1"].tolist() == pytest.approx([1 / 2, 1 / 3])
    assert values["ndcg@1"].tolist() == pytest.approx([1 / gain[:2].sum(), 1 / gain.sum()])


# --- without dates ----------------------------------------------------------------------------------------------------


def test_gowalla_masks_training_items_and_ranks_all_others(folder: Path) -> None:
    now = protocol("gowalla")
    split = now.split(now.load(folder), "all")
    assert wanted(split) == {"0": {"5", "9"}, "1": {"3"}}
    assert split.sizes()["candidates"] == 7
    # Of what customer 0 does not have, 5 and 6 sold once and 9 never: 5 is listed first. Customer 1 lacks 3 and 4.
    values = answers(create("popularity").fit(split.data), split, ["recall@1", "recall@20"])
    assert values["recall@1"].tolist() == [0.5, 1.0]
    assert values["recall@20"].tolist() == [1.0, 1.0]


def test_gowalla_inside_hides_a_tenth_of_each_customer(folder: Path) -> None:
    now = protocol("gowalla")
    split = now.split(now.load(folder), "all")
    assert split.inner is not None
    inner = split.inner()
    whole = histories(split)
    left, hidden = histories(inner), wanted(inner)
    assert {user: len(items) for user, items in hidden.items()} == {"0": 1, "1": 1}  # 2 has one item: nothing to hide
    assert all(hidden[user] | left[user] == whole[user] and not hidden[user] & left[user] for user in hidden)


@pytest.mark.parametrize(
    ("name", "path", "item"),
    [
        ("beauty_bert4rec", "beauty_bert4rec/beauty", "item_id"),
        ("s3rec_beauty", "amazon_s3rec/Beauty", "item_id"),
        ("movielens_1m", "movielens_1m/interactions_sequential_loo", "movie_id"),
    ],
)
def test_leave_one_out_asks_the_last_and_tunes_on_the_second_last(
    name: str, path: str, item: str, folder: Path
) -> None:
    now = protocol(name)
    split = now.split(now.load(folder), "all")
    assert split.inner is not None
    inner = split.inner()
    lists = pl.read_parquet(folder / f"{path}.parquet").sort("position").group_by("user_id").agg(item)
    orders = {str(user): [str(one) for one in items] for user, items in lists.iter_rows()}
    assert wanted(split) == {user: {items[-1]} for user, items in orders.items()}
    assert histories(split) == {user: set(items[:-1]) for user, items in orders.items()}
    assert wanted(inner) == {user: {items[-2]} for user, items in orders.items()}
    assert histories(inner) == {user: set(items[:-2]) for user, items in orders.items()}
    assert not split.repeats
    assert split.candidates is None


def test_s3rec_products_carry_their_attributes(folder: Path) -> None:
    data = protocol("s3rec_beauty").load(folder)
    tags = next(level for level in data.products.categories if level.name == "attributes")
    held = dict(zip(data.products.vocab.ids, (tags.vocab.ids[int(code)] for code in tags.codes), strict=True))
    assert held["4"] == "1|7"
    assert data.products.names is not None
    assert data.products.names[0] == "attribute1 attribute7"


# --- shops with dates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "days"), [("online_retail_30", 30), ("online_retail_90", 90)])
def test_online_retail_asks_known_customers_for_the_last_days(name: str, days: int, folder: Path) -> None:
    now = protocol(name)
    split = now.split(now.load(folder), "all")
    lines = pl.read_parquet(folder / "online_retail_ii" / "transactions.parquet").drop_nulls("customer_id")
    end = lines["invoice_ts"].dt.date().max() + timedelta(days=1)  # type: ignore[operator]
    late = pl.col("invoice_ts").dt.date() >= end - timedelta(days=days)
    before, after = (_by_customer(lines.filter(side), "stock_code") for side in (~late, late))
    assert wanted(split) == {user: items for user, items in after.items() if user in before}
    assert histories(split) == {user: before[user] for user in histories(split)}
    assert split.repeats


def test_new_figures_leave_out_what_was_bought(folder: Path) -> None:
    now = protocol("online_retail_30")
    split = now.split(now.load(folder), "all")
    model = create("popularity").fit(split.data)
    found = answers(model, split, ["new recall@5"])["new recall@5"]
    truth, past = wanted(split), histories(split)
    goods = split.data.products.vocab.ids
    order = np.lexsort((split.data.tie_rank, -split.data.popularity))
    for value, user in zip(found, truth, strict=True):
        fresh = truth[user] - past[user]
        listed = [goods[int(code)] for code in order if goods[int(code)] not in past[user]][:5]
        assert (value == pytest.approx(len(fresh & set(listed)) / len(fresh))) if fresh else np.isnan(value)


def test_sort_of_real_asks_for_the_last_four_weeks(folder: Path) -> None:
    now = protocol("sort_of_real")
    split = now.split(now.load(folder), "all")
    lines = pl.read_parquet(folder / "dunnhumby_sort_of_real" / "transactions.parquet").drop_nulls("customer_id")
    late = pl.col("date") > pl.col("date").max() - timedelta(days=28)
    before, after = (_by_customer(lines.filter(side), "product_id") for side in (~late, late))
    assert wanted(split) == {user: items for user, items in after.items() if user in before}


def _by_customer(lines: pl.DataFrame, product: str) -> dict[str, set[str]]:
    found = lines.group_by(pl.col("customer_id").cast(pl.String)).agg(pl.col(product).unique())
    return {user: set(items) for user, items in found.iter_rows()}


# --- cold -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cold_products_sort_of_real", "cold_products_movielens"])
def test_hidden_products_leave_no_trace_and_are_all_that_is_ranked(name: str, folder: Path) -> None:
    now = protocol(name)
    data = now.load(folder)
    draws = [now.split(data, part) for part in now.parts]
    for split in draws:
        hidden = split.candidates
        assert hidden is not None
        sold = int((split.data.popularity > 0).sum()) + int(hidden.sum())
        assert hidden.sum() == round(0.1 * sold)
        assert not split.data.popularity[hidden].any()
        assert not hidden[split.data.all_events.product].any()
        assert split.data.known[hidden].all()
        assert hidden[split.wanted[split.customers].indices].all()
        assert not hidden[np.argmax(data.before(split.data.as_of).popularity)]  # what sells most is never hidden
    assert len({tuple(np.flatnonzero(split.candidates)) for split in draws if split.candidates is not None}) > 1


@pytest.mark.parametrize("name", ["cold_customers_sort_of_real", "cold_customers_movielens"])
def test_hidden_customers_are_asked_with_an_empty_history(name: str, folder: Path) -> None:
    now = protocol(name)
    data = now.load(folder)
    split = now.split(data, "0")
    known = int((np.diff(data.before(split.data.as_of).indptr) > 0).sum())
    assert 1 <= len(split.customers) <= round(0.15 * known)
    assert split.histories.batch(split.customers).empty.all()
    assert not np.isin(split.data.all_events.customer, split.customers).any()
    assert len(split.data.customers.categories)  # attributes stay
    if name.endswith("movielens"):
        assert len(split.customers) == round(0.15 * known)
        assert split.wanted[split.customers].sum() == data.counts[split.customers].sign().sum()


@pytest.mark.parametrize("kind", ["products", "customers"])
@pytest.mark.parametrize("shop", ["sort_of_real", "movielens"])
def test_the_draw_inside_hides_others_from_what_is_left(kind: str, shop: str, folder: Path) -> None:
    now = protocol(f"cold_{kind}_{shop}")
    split = now.split(now.load(folder), "1")
    assert split.inner is not None
    inner = split.inner()
    for one in (split, inner):
        assert len(one.customers)
    if kind == "products":
        assert split.candidates is not None
        assert inner.candidates is not None
        assert not (split.candidates & inner.candidates).any()
        assert not split.candidates[inner.data.all_events.product].any()
    else:
        assert not np.isin(split.customers, inner.customers).any()
        assert not np.isin(inner.data.all_events.customer, [*split.customers, *inner.customers]).any()
    assert split.data.as_of - inner.data.as_of == (28 * DAY if shop == "sort_of_real" else 0)


@pytest.mark.parametrize("name", ["movielens_1m", "beauty_bert4rec", "s3rec_beauty"])
def test_published_networks_learn_nothing_from_the_second_last_product(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = protocol(name)
    split = now.split(now.load(folder), "all")
    assert split.inner is not None
    inside = split.inner()
    settings = now.settings["basket_transformer"] | {"dim": 8, "heads": 1, "epochs": 2}
    learned = list[Journeys]()
    of = Lessons.of

    def told(journeys: Journeys, *rest: Any) -> Lessons:
        learned.append(journeys)
        return of(journeys, *rest)

    monkeypatch.setattr(Lessons, "of", told)
    create("basket_transformer", **settings).fit(split.data)
    assert len(learned) == 1  # it is judged by the second last product, and not learned again with it
    np.testing.assert_array_equal(learned[0].product, Journeys.of(everyone(inside.data)).product)
    assert len(learned[0].product) == len(split.data.purchases) - len(split.customers)
