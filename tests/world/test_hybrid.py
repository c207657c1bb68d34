"""Small worlds with one right answer: does the hybrid find it, and only from what it may know?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch

from aisle.data.dataset import Dataset
from aisle.data.schema import CleanTables
from aisle.errors import NotFittedError, UsageError
from aisle.models import create
from aisle.models.hybrid_factorization import HybridFactorization
from aisle.models.nn.losses import Loss
from aisle.types import UNKNOWN, Floats

START = datetime(2024, 1, 1)
ONE_WINDOW = 100
"""Days: half of the blocks' span, so that nothing can stop the learning early."""
BLOCKS, WARM, COLD, CUSTOMERS, DAYS = 4, 20, 6, 50, 200


def dataset(lines: list[tuple[str, str, int]], products: pl.DataFrame, customers: pl.DataFrame) -> Dataset:
    """Lines are (customer, product, day)."""
    who, what, day = zip(*lines, strict=True)
    transactions = pl.DataFrame(
        {
            "customer_id": who,
            "product_id": what,
            "timestamp": pl.Series([START + timedelta(days=d) for d in day], dtype=pl.Datetime("us")),
            "quantity": np.ones(len(day)),
            "amount": np.ones(len(day)),
            "order_id": [f"{w}-{d}" for w, d in zip(who, day, strict=True)],
        }
    )
    return Dataset.of(CleanTables(transactions=transactions, products=products, customers=customers))


def blocks(seed: int = 0) -> Dataset:
    """Customers of region b buy warm products of category b; cold products and newcomers exist in the tables only."""
    random = np.random.default_rng(seed)
    names = [
        f"{kind}{b}-{n:02}" for b in range(BLOCKS) for kind, k in (("warm", WARM), ("cold", COLD)) for n in range(k)
    ]
    products = pl.DataFrame(
        {
            "product_id": names,
            "category_1": [f"category {name[4]}" for name in names],
            "price": random.uniform(1, 9, len(names)),
        }
    )
    people = [
        f"{kind}{b}-{n:02}" for b in range(BLOCKS) for kind, k in (("old", CUSTOMERS), ("new", 5)) for n in range(k)
    ]
    customers = pl.DataFrame({"customer_id": people, "group_1": [f"region {p[3]}" for p in people]})
    lines = []
    for person in people:
        if person.startswith("old"):
            for day in np.sort(random.choice(DAYS, 8, replace=False)):
                for n in random.choice(WARM, 2, replace=False):
                    lines.append((person, f"warm{person[3]}-{n:02}", int(day)))
    return dataset(lines, products, customers)


def habits(seed: int = 0) -> Dataset:
    """Everybody buys three products of their own again and again, and now and then anything."""
    random = np.random.default_rng(seed)
    lines = []
    for person in range(150):
        mine = random.choice(60, 3, replace=False)
        for day in np.sort(random.choice(DAYS, 14, replace=False)):
            bought = {int(random.choice(mine)), int(random.integers(60))}
            lines += [(f"c{person:03}", f"p{product:02}", int(day)) for product in sorted(bought)]
    table = pl.DataFrame({"product_id": [f"p{n:02}" for n in range(60)]})
    return dataset(lines, table, pl.DataFrame({"customer_id": [f"c{n:03}" for n in range(150)]}))


def share_of_own_block(data: Dataset, scores: Floats, kind: str, products: str, k: int) -> float:
    """Part of the k best products of a kind that belong to the customer's block; 1 / BLOCKS by chance."""
    ids, people = data.products.vocab.ids.to_list(), data.customers.vocab.ids.to_list()
    listed = [code for code, name in enumerate(ids) if name.startswith(products)]
    rows = [code for code, name in enumerate(people) if name.startswith(kind)]
    best = np.argsort(-scores[rows][:, listed], axis=1, kind="stable")[:, :k]
    return float(np.mean([[ids[listed[c]][4] == people[r][3] for c in best[i]] for i, r in enumerate(rows)]))


def everyone(data: Dataset) -> np.ndarray:
    return np.arange(data.shape[0], dtype=np.int32)


@pytest.fixture(scope="module")
def world() -> Dataset:
    return blocks()


@pytest.fixture(scope="module")
def fitted(world: Dataset) -> HybridFactorization:
    return HybridFactorization(dim=16, epochs=8, target_days=ONE_WINDOW).fit(world)


def test_content_alone_speaks_for_new_products_and_groups_for_new_customers(
    world: Dataset, fitted: HybridFactorization
) -> None:
    scores = fitted.score(world.batch(everyone(world)))
    assert share_of_own_block(world, scores, "old", "cold", COLD) > 0.9
    assert share_of_own_block(world, scores, "new", "warm", 10) > 0.9
    assert share_of_own_block(world, scores, "new", "cold", COLD) > 0.9


def test_without_content_there_is_nothing_to_know(world: Dataset) -> None:
    blind = replace(world, products=replace(world.products, tree=()), customers=replace(world.customers, tree=()))
    scores = HybridFactorization(dim=16, epochs=3).fit(blind).score(blind.batch(everyone(blind)))
    assert share_of_own_block(world, scores, "old", "cold", COLD) < 0.6
    assert share_of_own_block(world, scores, "new", "warm", 10) < 0.6


@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax", "wmrb", "bpr", "warp"])
def test_every_loss_learns_the_blocks_from_an_ignorant_start(
    world: Dataset, loss: Loss, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros = np.zeros((world.shape[1], 16), np.float32)
    monkeypatch.setattr("aisle.models.nn.start.Tastes.vectors", lambda *_: zeros)
    model = HybridFactorization(
        loss=loss,
        dim=16,
        epochs=10,
        learning_rate=0.02,
        n_negatives=32,
        target_days=ONE_WINDOW,
    )
    scores = model.fit(world).score(world.batch(everyone(world)))
    assert model.epochs_ == 10
    assert share_of_own_block(world, scores, "new", "warm", 10) > 0.9
    assert share_of_own_block(world, scores, "old", "cold", COLD) > 0.9


def test_habits_are_found_as_well_as_by_counting() -> None:
    ours: list[float] = []
    counted: list[float] = []
    popular: list[float] = []
    for seed in range(2):
        data = habits(seed)
        past = data.before(data.end - 40 * data.unit)
        batch = past.batch(everyone(past))
        lines = data.all_events.take(data.all_events.time >= past.as_of)
        real = np.zeros(data.shape)
        real[lines.customer, lines.product] = 1
        counts = batch.history.toarray() + past.popularity / (past.popularity.max() + 1)
        model = HybridFactorization(dim=16, epochs=8).fit(past)
        lists = (ours, model.score(batch)), (counted, counts), (popular, np.tile(past.popularity, (len(batch), 1)))
        for hits, scores in lists:
            best = np.argsort(-scores, axis=1, kind="stable")[:, :3]
            hits.append(float(np.take_along_axis(real, best, axis=1).mean()))
    assert np.mean(ours) >= np.mean(counted) - 0.01
    assert np.mean(ours) > 2 * np.mean(popular)


def test_untrained_it_ranks_by_own_frequency_then_by_what_sells() -> None:
    data = habits()
    model = HybridFactorization(dim=16, epochs=0).fit(data)
    batch = data.batch(everyone(data))
    scores, counts = model.score(batch), batch.history.toarray()
    assert model.epochs_ == 0
    assert all(row[own > 1].min() > row[own == 0].max() for row, own in zip(scores, counts, strict=True))
    alike = [np.corrcoef(row[own > 0], own[own > 0])[0, 1] for row, own in zip(scores, counts, strict=True)]
    assert np.mean(alike) > 0.8
    blank = model.score(data.batch(np.array([UNKNOWN], dtype=np.int32)))[0]
    assert np.corrcoef(blank, np.log(data.popularity))[0, 1] > 0.7


def test_equal_seeds_give_equal_bytes_and_touch_nobody_elses_random_numbers(
    world: Dataset, fitted: HybridFactorization
) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    again = HybridFactorization(dim=16, epochs=8, target_days=ONE_WINDOW, seed=1).fit(blocks(1))
    again = replace_seed(again, 0).fit(world)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.are_deterministic_algorithms_enabled()
    batch = world.batch(everyone(world))
    assert again.score(batch).tobytes() == fitted.score(batch).tobytes()
    other = HybridFactorization(dim=16, epochs=8, target_days=ONE_WINDOW, seed=1).fit(world)
    assert other.score(batch).tobytes() != fitted.score(batch).tobytes()


def replace_seed(model: HybridFactorization, seed: int) -> HybridFactorization:
    model.seed = seed
    return model


@pytest.mark.parametrize("target_days", [20, 90])
def test_the_future_is_not_seen(world: Dataset, target_days: int) -> None:
    cut = world.end - 60 * world.unit
    events = world.all_events
    product = events.product.copy()
    product[events.time >= cut] = np.random.default_rng(0).permutation(product[events.time >= cut])
    scrambled = replace(world, all_events=replace(events, product=product))
    model = HybridFactorization(dim=16, epochs=3, target_days=target_days)
    scores = [
        model.fit(d).score(d.batch(everyone(d))).tobytes()
        for d in (world.before(cut), scrambled.before(cut), world.until(cut))
    ]
    assert scores[0] == scores[1] == scores[2]


def test_what_is_not_yet_known_does_not_bend_the_features_of_what_is(world: Dataset) -> None:
    cut = world.before(world.end - 60 * world.unit)
    assert not cut.known.all()
    price = cut.products.numbers["price"].copy()
    price[~cut.known] *= 1_000
    later = replace(cut, products=replace(cut.products, numbers={"price": price}))
    model = HybridFactorization(dim=16, epochs=2)
    one, two = (model.fit(d).score(d.batch(everyone(d)))[:, cut.known] for d in (cut, later))
    assert one.tobytes() == two.tobytes()


def test_saved_and_restored_it_scores_the_same_bytes(world: Dataset, fitted: HybridFactorization) -> None:
    arrays, values = fitted.state()
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
    copy = HybridFactorization(**fitted.params()).restore(arrays, values)
    batch = world.batch(everyone(world))
    assert copy.score(batch).tobytes() == fitted.score(batch).tobytes()


def test_answers_do_not_depend_on_neighbours_and_nobody_is_left_out(
    world: Dataset, fitted: HybridFactorization
) -> None:
    all_scores = fitted.score(world.batch(everyone(world)))
    some = np.array([7, UNKNOWN, 3], dtype=np.int32)
    scores = fitted.score(world.batch(some))
    np.testing.assert_allclose(scores[[0, 2]], all_scores[[7, 3]], atol=1e-5)
    assert np.isfinite(scores).all()
    assert scores.dtype == np.float32
    assert scores.tobytes() == fitted.score(world.batch(some)).tobytes()


def test_values_unknown_at_fit_are_blank(world: Dataset, fitted: HybridFactorization) -> None:
    batch = world.batch(np.array([UNKNOWN], dtype=np.int32))
    level = world.customers.tree[0]
    beyond = replace(level, codes=np.array([len(level.vocab) + 3], dtype=np.int32))
    strange = replace(batch, features=replace(batch.features, tree=(beyond,)))
    assert fitted.score(strange).tobytes() == fitted.score(batch).tobytes()


def test_every_parameter_learns(world: Dataset) -> None:
    for loss in ("softmax", "wmrb"):
        model = create("hybrid_factorization", loss=loss, dim=8, epochs=2, target_days=ONE_WINDOW, identity=True)
        model.fit(world)
        assert isinstance(model, HybridFactorization)
        for name, parameter in model.network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_misuse_is_told() -> None:
    with pytest.raises(NotFittedError):
        HybridFactorization().score(habits().batch(np.array([0], dtype=np.int32)))
    with pytest.raises(UsageError, match="softmax"):
        create("hybrid_factorization", loss="hinge")
    with pytest.raises(UsageError, match="dim"):
        HybridFactorization(dim=0)
    with pytest.raises(UsageError, match="target_days"):
        HybridFactorization(target_days=0)
    for setting in ("learning_rate", "explore", "dislike"):
        with pytest.raises(UsageError, match=setting):
            create("hybrid_factorization", **{setting: float("nan")})


def test_little_data_is_no_accident() -> None:
    data = habits()
    first = int(data.all_events.time.min())
    for past in (data.before(0), data.before(first + data.unit), data.before(first + 5 * data.unit)):
        model = HybridFactorization(dim=8).fit(past)
        assert np.isfinite(model.score(past.batch(np.array([0, 5, UNKNOWN], dtype=np.int32)))).all()
        assert model.score(past.batch(np.array([], dtype=np.int32))).shape == (0, data.shape[1])
    one = dataset(
        [("a", "x", day) for day in (1, 9, 30)],
        pl.DataFrame({"product_id": ["x"]}),
        pl.DataFrame({"customer_id": ["a"]}),
    )
    assert HybridFactorization().fit(one).score(one.batch(everyone(one))).shape == (1, 1)


def test_baskets_without_dates_are_windows_of_one_basket() -> None:
    random = np.random.default_rng(0)
    lines = pl.DataFrame(
        {
            "customer_id": [f"c{n % 40}" for n in range(800)],
            "product_id": [f"p{n}" for n in random.integers(0, 30, 800)],
            "sequence": [n // 80 for n in range(800)],
            "quantity": np.ones(800),
        }
    )
    products = pl.DataFrame({"product_id": [f"p{n}" for n in range(30)]})
    customers = pl.DataFrame({"customer_id": [f"c{n}" for n in range(40)]})
    data = Dataset.of(CleanTables(transactions=lines, products=products, customers=customers))
    model = HybridFactorization(dim=8, epochs=2).fit(data)
    assert model.target_days_ == 1
    assert np.isfinite(model.score(data.batch(everyone(data)))).all()


def test_it_leaves_how_it_learned() -> None:
    data = habits()
    model = HybridFactorization(dim=8, epochs=3).fit(data)
    left = model.training_
    assert 1 <= len(left["loss"]) <= 3
    assert len(left["validation"]) == len(left["loss"]) + 1
    assert left["epochs"] == model.epochs_
    first = int(data.all_events.time.min())
    assert model.fit(data.before(first)).training_ == {}  # nothing to learn from
    blind = HybridFactorization(dim=8, epochs=2, target_days=ONE_WINDOW).fit(blocks()).training_
    assert (len(blind["loss"]), blind["validation"], blind["epochs"]) == (2, [], 2)


def test_a_model_of_no_numbers_is_no_model() -> None:
    model = HybridFactorization(dim=8, epochs=1).fit(habits())
    model.learning_rate = 1e4
    with pytest.raises(UsageError, match="smaller learning_rate"):
        model.fit_partial(habits(), epochs=9)


def passers_by() -> Dataset:
    """A young shop: most customers of any time are new; the few who come back buy what they bought."""
    random = np.random.default_rng(1)
    lines, mine = [], dict[str, list[int]]()
    for day in range(0, 200, 10):
        for _ in range(40):
            mine[f"c{len(mine):04}"] = random.choice(40, 2, replace=False).tolist()
            lines += [(list(mine)[-1], f"p{product:02}", day) for product in list(mine.values())[-1]]
        for back in sorted(set(random.choice(list(mine), 8))):
            lines += [(back, f"p{product:02}", day + 5) for product in mine[back]]
    table = pl.DataFrame({"product_id": [f"p{n:02}" for n in range(40)]})
    return dataset(lines, table, pl.DataFrame({"customer_id": sorted(mine)}))


@pytest.mark.parametrize(("shop", "target_days", "best"), [(passers_by, None, 0.9), (habits, 250, 0.4)])
def test_where_windows_teach_nothing_people_may_still_buy_again(
    shop: Callable[[], Dataset], target_days: int | None, best: float
) -> None:
    data = shop()
    past = data.before(data.as_of - 12 * data.unit)
    coming = data.all_events.take(data.all_events.time >= past.as_of)
    asked = np.array([u for u in np.unique(coming.customer) if np.diff(past.indptr)[u] > 0], dtype=np.int32)
    scores = HybridFactorization(dim=16, target_days=target_days).fit(past).score(past.batch(asked))
    lists = np.argsort(-scores, axis=1, kind="stable")[:, :2]
    hits = [
        np.isin(listed, coming.product[coming.customer == u]).mean() for u, listed in zip(asked, lists, strict=True)
    ]
    assert np.mean(hits) > best
