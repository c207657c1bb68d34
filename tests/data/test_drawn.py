"""A sample of customers: whole ones, the same each time, and nothing of what comes."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.events import Events
from aisle.types import DAY
from tests.data.shops import Line, shop


def crowd() -> Dataset:
    """300 customers with 10 lines each and 600 anonymous baskets of two lines, over 100 days."""
    lines = [
        Line(f"c{who:03}", f"p{(who + n) % 40}", 24 * ((who * 7 + n * 9) % 100))
        for who in range(300)
        for n in range(10)
    ]
    nobody = [
        Line(None, f"p{(basket + n) % 40}", 24 * (basket % 100), order=f"o{basket}")
        for basket in range(600)
        for n in (0, 1)
    ]
    return shop([*lines, *nobody])


def test_a_sample_holds_whole_customers_and_whole_anonymous_baskets() -> None:
    data = crowd()
    some = data.drawn(1_400, seed=3)
    assert 1_000 < len(some.purchases) < 1_800, "a third of 4,200"
    own = np.bincount(some.purchases.customer[some.purchases.customer >= 0], minlength=300)
    assert set(own.tolist()) == {0, 10}
    nobody = np.bincount(some.purchases.basket[some.purchases.customer < 0])
    assert set(nobody.tolist()) == {0, 2}
    assert 100 < (nobody > 0).sum() < 300
    np.testing.assert_array_equal(some.known, data.known)
    assert data.drawn(len(data.purchases), seed=3) is data
    assert (data.drawn(1_400, seed=4).purchases.customer.tolist()) != some.purchases.customer.tolist()


def test_a_sample_knows_nothing_of_what_comes() -> None:
    data = crowd()
    cut = data.end - 40 * DAY
    then, ended = data.before(cut).drawn(500, seed=0), data.until(cut).drawn(500, seed=0)
    assert 300 < len(then.purchases) < 700
    for name in (f.name for f in fields(Events)):
        np.testing.assert_array_equal(getattr(then.all_events, name), getattr(ended.all_events, name))
