"""Shops whose answer is known: no taste must not be found, planted taste must be."""

from __future__ import annotations

import numpy as np
import pytest

from aisle.evaluate.assess import assess
from aisle.evaluate.horizon import choose_windows
from aisle.evaluate.leakage import future_scramble
from aisle.evaluate.protocol import Exam, make_lists
from aisle.evaluate.tune import Budget, tune
from aisle.models import MODELS, create
from tests.contract.worlds import CUT, world
from tests.evaluate.shops import random_shop

FAST = ["popularity", "recent_popularity", "personal_frequency", "item_knn"]
QUICK = Budget(settings=2, cpu_seconds=100.0)
HERE = [name for name in MODELS if name not in ("hybrid_factorization", "basket_transformer")]


def test_no_signal_is_claimed_where_there_is_none() -> None:
    shops = (random_shop(seed, customers=120, products=40) for seed in range(20))
    verdicts = [assess(shop, FAST, horizon=20, budget=QUICK).verdict for shop in shops]
    assert sum(v.personal_signal for v in verdicts) <= 2
    assert sum(v.ship == "item_knn" for v in verdicts) <= 2


@pytest.mark.parametrize("seed", range(5))
def test_planted_repeats_are_always_found(seed: int) -> None:
    shop = random_shop(100 + seed, taste="repeat", customers=120, products=40)
    found = assess(shop, FAST, horizon=20, budget=QUICK).verdict
    assert found.personal_signal
    assert found.best_personal in {"personal_frequency", "item_knn"}


def test_planted_repeats_are_found_without_dates() -> None:
    shop = random_shop(200, taste="repeat", customers=220, products=40, clock="sequence")
    found = assess(shop, FAST, budget=QUICK)
    assert (found.horizon, len(found.selection.windows)) == (1, 3)
    assert found.verdict.personal_signal


def test_the_scramble_alters_the_future_and_keeps_the_past() -> None:
    shop = world()
    other = future_scramble(shop, CUT, seed=1)
    past, same = shop.before(CUT), other.before(CUT)
    for part in ("customer", "product", "time", "quantity", "amount", "basket", "store", "channel"):
        np.testing.assert_array_equal(getattr(past.lines, part), getattr(same.lines, part))
        np.testing.assert_array_equal(getattr(past.purchases, part), getattr(same.purchases, part))
    np.testing.assert_array_equal(past.known, same.known)
    np.testing.assert_array_equal(past.tie_rank, same.tie_rank)
    late, moved = shop.all_events, other.all_events
    assert len(moved) < len(late)
    assert (moved.time[moved.time >= CUT] < shop.end).all()
    order = np.lexsort((moved.product, moved.basket, moved.time, moved.customer))
    np.testing.assert_array_equal(order, np.arange(len(moved)))
    changed = shop.before(shop.end).counts - other.before(shop.end).counts
    assert abs(changed).sum() > 50


@pytest.mark.parametrize("name", HERE)
def test_no_model_sees_past_the_cut(name: str) -> None:
    shop = world()
    tuning, last = choose_windows(shop.before(shop.end), 30)
    exam = Exam.of(shop, last)
    other = future_scramble(shop, last.cut, seed=3)
    first, second = (create(name).fit(data.before(last.cut)) for data in (shop, other))
    mine = make_lists(first, exam, exam.warm_batches, 10)
    batches = tuple(other.before(last.cut).batch(b.customers) for b in exam.warm_batches)
    np.testing.assert_array_equal(mine, make_lists(second, exam, batches, 10))
    assert tuning[-1].end == last.cut


def test_tuning_sees_nothing_of_the_last_window() -> None:
    shop = random_shop(11, taste="repeat", customers=60)
    windows, last = choose_windows(shop, 20)
    first, second = (
        tune(FAST, data, windows, budget=QUICK) for data in (shop, future_scramble(shop, last.cut, seed=2))
    )
    assert [t.ndcg for t in first.trials] == [t.ndcg for t in second.trials]
