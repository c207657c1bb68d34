"""The line-up: what a budget pays for at the size of the data, the same on every machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aisle.config import RunConfig
from aisle.errors import ResourceError
from aisle.evaluate.tune import REFERENCE
from aisle.jobs import line_up as rooms
from aisle.jobs.line_up import FITS, SECONDS, Size, line_up, megabytes, seconds, too_large
from aisle.models import MODELS, model_class
from aisle.types import Clock
from tests.evaluate.shops import random_shop

SMALL = Size(customers=1_000, products=500, lines=20_000, asked=1_000)
WIDE = Size(customers=35_598, products=18_357, lines=260_739, asked=35_598)
"""Sports, of the files of S3-Rec: few purchases of many products."""
LARGE = Size(customers=2_000_000, products=100_000, lines=100_000_000, asked=50_000)


@pytest.mark.parametrize("name", MODELS)
def test_the_cost_of_every_model_is_known(name: str) -> None:
    small = seconds(name, SMALL)
    assert 0 < small < seconds(name, LARGE) or name in ("popularity", "random", "personal_frequency")
    assert small < SECONDS["standard"] / FITS, "a small shop can try it"


def test_a_small_shop_tries_everything_that_is_not_a_rarity() -> None:
    shop = random_shop(0, customers=60)
    found = line_up(shop, RunConfig(budget="full"))
    assert found.names == tuple(MODELS)
    assert not found.left_out


def test_the_size_is_that_of_what_is_visible() -> None:
    shop = random_shop(0, customers=60)
    size = Size.of(shop, 50)
    assert (size.customers, size.asked, size.lines) == (60, 50, len(shop.purchases))
    assert size.products == int((shop.popularity > 0).sum())
    start = shop.before(int(shop.all_events.time.min()))
    assert Size.of(start, 50) == Size(0, 0, 0, 0)


def test_what_is_too_large_is_left_out_with_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Size, "of", classmethod(lambda *_: LARGE))
    shop = random_shop(0, customers=20)
    quick, full = (line_up(shop, RunConfig(budget=budget, memory="1TB")) for budget in ("quick", "full"))
    assert {"popularity", "personal_frequency"} <= set(quick.names)
    assert "ease" in full.left_out, "100,000 products cubed"
    small = line_up(shop, RunConfig(budget="full"))
    assert "GB of memory" in small.left_out["ease"], "100,000 products squared"
    assert set(full.left_out) <= set(quick.left_out)
    assert "CPU seconds before any tuning" in quick.left_out["item_knn"]
    assert set(quick.names) | set(quick.left_out) == set(MODELS)
    spent = sum(FITS * seconds(name, LARGE) for name in quick.names if name not in REFERENCE)
    assert spent <= SECONDS["quick"]


@pytest.mark.parametrize("clock", ["time", "sequence"])
def test_a_full_budget_pays_for_models_that_join_where_products_are_many(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = replace(WIDE, clock=clock)
    monkeypatch.setattr(Size, "of", classmethod(lambda *_: size))
    assert {"ranker", "stack"} <= set(line_up(random_shop(0, customers=20), RunConfig(budget="full")).names)
    assert 200 < seconds("ranker", size) < 2_000, "it takes about 600 there"
    assert seconds("hybrid_factorization", size) < 90, "it takes about 30 there"


def test_a_full_budget_does_not_pay_for_models_that_join_where_all_is_many(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = Size(customers=500_000, products=50_000, lines=10_000_000, asked=50_000)
    monkeypatch.setattr(Size, "of", classmethod(lambda *_: huge))
    found = line_up(random_shop(0, customers=20), RunConfig(budget="full"))
    assert {"ranker", "stack"} <= set(found.left_out)
    assert {"item_knn", "popularity"} <= set(found.names)


def test_a_model_that_joins_costs_its_own_part_and_its_members(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {name: {"start": 1.0, "scores": 1e5} for name in MODELS} | {"stack": {"start": 7.0}}
    monkeypatch.setattr(rooms, "_costs", lambda: costs)
    size = Size(customers=4_000, products=1_000, lines=10_000, asked=4_000)
    single = {asked: 1.0 + 1e5 * asked * 1_000 / 1e9 for asked in (3_000, 4_000)}
    assert seconds("item_knn", size) == single[4_000]
    members = 3 * 2 * single[3_000] + 3 * single[4_000] + 2 * single[3_000] + single[4_000]
    assert seconds("stack", size) == pytest.approx(7.0 + members), "three singles or ease, two windows, and all of it"


def test_what_proved_itself_is_admitted_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Size, "of", classmethod(lambda *_: replace(LARGE, products=5_000, lines=2_000_000)))
    costs = {name: {"start": 1.0} for name in MODELS}
    monkeypatch.setattr(rooms, "_costs", lambda: costs)
    monkeypatch.setitem(SECONDS, "quick", 3.0 * FITS)
    found = line_up(random_shop(0, customers=20), RunConfig(budget="quick"))
    assert set(found.names) - REFERENCE == set(rooms.WORTH[:3])
    assert not any(model_class(name).joins for name in found.names)


def test_models_that_were_asked_for_are_tried_whatever_they_cost() -> None:
    found = line_up(random_shop(0, customers=20), RunConfig(budget="quick", models=("popularity", "ease")))
    assert found.names == ("popularity", "ease")
    assert not found.left_out, "the budget has no say"


@pytest.mark.parametrize("name", [name for name in MODELS if not model_class(name).joins])
def test_the_memory_of_every_single_model_is_known(name: str) -> None:
    small, large = megabytes(name, SMALL), megabytes(name, LARGE)
    assert 0 < small <= 400, "a small shop can try it"
    assert small < large
    if name == "ease":
        assert large >= 12 * LARGE.products**2 / 1e6, "two matrices of products in float32, and one while it inverts"


def test_what_does_not_fit_into_memory_is_left_out_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = random_shop(0, customers=20)
    size = Size(customers=1_000, products=20_000, lines=20_000, asked=1_000)
    monkeypatch.setattr(Size, "of", classmethod(lambda *_: size))
    monkeypatch.setattr(
        rooms, "_memory", lambda: {name: {"products": 1.0} for name in MODELS} | {"ease": {"product_pairs": 12_000.0}}
    )
    assert megabytes("ease", size) == pytest.approx(6_000), "12 bytes a pair and a quarter more"
    roomy = line_up(shop, RunConfig(budget="full", memory="8GB"))
    assert "memory" not in str(roomy.left_out)
    tight = line_up(shop, RunConfig(budget="full", memory="4GB"))
    assert "6.0 GB of memory" in tight.left_out["ease"]
    assert "of the 4GB allowed" in tight.left_out["ease"]
    assert set(tight.names) == set(roomy.names) - {"ease"}
    with pytest.raises(ResourceError, match=r"ease would need about 6\.0 GB .* larger --memory"):
        line_up(shop, RunConfig(models=("popularity", "ease"), memory="4GB"))
    assert line_up(shop, RunConfig(models=("ease",), memory="7GB")).names == ("ease",)


def test_the_data_take_their_share_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = random_shop(0, customers=20)
    monkeypatch.setattr(rooms, "_memory", lambda: {name: {"start": 1_000.0} for name in MODELS})
    assert too_large("ease", shop, RunConfig(memory="2GB")) is None
    monkeypatch.setattr(rooms, "COPIES", 1.05e9 / shop.all_events.nbytes)
    assert "beside 1.5 GB for the data" in str(too_large("ease", shop, RunConfig(memory="2GB")))


def test_small_models_are_never_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = random_shop(0, customers=20)
    assert line_up(shop, RunConfig(memory="1MB", models=("popularity", "ease"))).names == ("popularity", "ease")


def test_what_learns_from_a_sample_costs_no_more_where_there_is_more() -> None:
    most = model_class("ranker").learns_from
    assert most
    held = replace(LARGE, lines=most, customers=LARGE.customers * most // LARGE.lines)
    singles = model_class("ranker").past_fits(held.customers, held.products, held.lines, held.clock)
    assert seconds("ranker", LARGE) == seconds("ranker", held)
    assert singles
    assert seconds("item_knn", LARGE) > seconds("item_knn", held)
