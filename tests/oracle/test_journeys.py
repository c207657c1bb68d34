"""Journeys of baskets against loops: moments, facts of own products, and the pieces that are learned from."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.models.nn.histories import HALF_LIVES
from aisle.models.nn.journeys import FACTS, FRESH, Comers, Journeys, Moments, asked, own
from aisle.models.nn.tokens import Stretch
from aisle.types import DAY
from tests.contract.worlds import CUSTOMERS, world


@cache
def data() -> Dataset:
    return world()


@cache
def everybody() -> Batch:
    return data().batch(np.arange(CUSTOMERS, dtype=np.int32))


@cache
def journeys() -> Journeys:
    return Journeys.of(everybody())


def naive_journey(row: int) -> list[tuple[int, set[int]]]:
    """Time and products of each basket, oldest first."""
    lines = everybody().lines
    found: dict[int, tuple[int, set[int]]] = {}
    for place in range(int(everybody().indptr[row]), int(everybody().indptr[row + 1])):
        time, products = found.setdefault(int(lines.basket[place]), (int(lines.time[place]), set()))
        products.add(int(lines.product[place]))
        found[int(lines.basket[place])] = min(time, int(lines.time[place])), products
    return [found[basket] for basket in sorted(found)]


def test_journeys_are_what_a_loop_finds() -> None:
    j = journeys()
    for row in range(CUSTOMERS):
        baskets = range(int(j.indptr[row]), int(j.indptr[row + 1]))
        found = [(int(j.time[b]), set(j.product[j.start[b] : j.start[b + 1]].tolist())) for b in baskets]
        assert found == naive_journey(row)
        assert j.start[baskets.stop] - j.start[baskets.start] == sum(len(products) for _, products in found)


def test_again_marks_what_an_earlier_basket_holds() -> None:
    again, j = journeys().again(), journeys()
    assert again.any()
    for row in range(CUSTOMERS):
        before: set[int] = set()
        for basket in range(int(j.indptr[row]), int(j.indptr[row + 1])):
            cells = slice(int(j.start[basket]), int(j.start[basket + 1]))
            assert again[cells].tolist() == [code in before for code in j.product[cells].tolist()]
            before.update(j.product[cells].tolist())


def test_moments_lie_between_the_visits_and_repeat() -> None:
    j, horizon = journeys(), 10 * DAY
    moments = asked(j, horizon, seed=3)
    assert (moments.time == asked(j, horizon, seed=3).time).all()
    assert (moments.time <= j.time).all()
    assert (j.time - moments.time <= horizon).all()
    seen = moments.basket > j.indptr[moments.row]
    assert (moments.time[seen] >= j.time[moments.basket[seen] - 1]).all()
    assert len(set(((j.time - moments.time) // DAY).tolist())) > 5


def naive_facts(row: int, seen: int, time: int, code: int) -> list[float]:
    past = naive_journey(row)[:seen]
    held = [place for place, (_, products) in enumerate(past) if code in products]
    ages = [max((time - past[place][0]) / DAY, 0.5) for place in held]
    gap = max((ages[0] - ages[-1]) / max(len(held) - 1, 1), 0.5)
    rhythm = len(held) > 1
    others = [r for r in range(CUSTOMERS) if r != row]
    counts = [sum(code in products for _, products in naive_journey(r)) for r in others]
    return [
        *(math.log1p(sum(0.5 ** (age / half) for age in ages)) for half in HALF_LIVES["time"]),
        len(held) / seen,
        sum(seen - place <= FRESH for place in held) / FRESH,
        math.log1p(seen - held[-1]),
        math.log1p(ages[-1]),
        math.log1p(gap) if rhythm else 0.0,
        min(max(math.log(ages[-1] / gap), -3.0), 3.0) if rhythm else 0.0,
        float(rhythm),
        math.log1p(seen),
        math.log((sum(n > 1 for n in counts) + 1) / (sum(n > 0 for n in counts) + 10)),
    ]


def test_facts_of_own_products_are_those_of_a_loop_and_know_no_later_basket() -> None:
    j = journeys()
    comers, final = Comers.of(j)
    moments = asked(j, 20 * DAY, seed=0)
    some = np.arange(3, len(moments), 17)
    found = own(j, moments.take(some), comers, final)
    rows = found.row
    checked = 0
    for place, moment in enumerate(some.tolist()):
        row = int(moments.row[moment])
        seen = int(moments.basket[moment] - j.indptr[row])
        mine = found.product[rows == place].tolist()
        assert mine == sorted(set().union(*(products for _, products in naive_journey(row)[:seen])))
        for code, facts in zip(mine, found.facts[rows == place], strict=True):
            np.testing.assert_allclose(
                facts, naive_facts(row, seen, int(moments.time[moment]), code), rtol=1e-4, atol=1e-5
            )
            checked += 1
    assert checked > 50
    assert found.facts.shape[1] == len(FACTS)
    assert found.facts[:, FACTS.index("has a gap")].any()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 13), min_size=1, max_size=6), st.integers(1, 5))
def test_every_basket_is_foretold_once_from_at_most_length_baskets(sizes: list[int], length: int) -> None:
    indptr = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    count = int(indptr[-1])
    nothing = np.zeros(0, dtype=np.int32)
    j = Journeys(indptr, np.arange(count), np.zeros(count + 1, dtype=np.int64), nothing, count, "sequence", 1)
    stretch = Stretch.all(j, length)
    assert (stretch.stop - stretch.first <= length).all()
    foretold: list[int] = []
    for row, first, stop in zip(stretch.row.tolist(), stretch.first.tolist(), stretch.stop.tolist(), strict=True):
        begins = first == indptr[row]
        assert begins or stop - first == length
        foretold += range(first + (not begins), stop + 1)
    assert sorted(foretold) == list(range(count))


def test_moments_take() -> None:
    moments = Moments(np.arange(4), np.arange(4) + 1, np.arange(4) * 2)
    assert moments.take(np.array([2, 0])).time.tolist() == [4, 0]
