"""The popularity family and the random floor against loops over the purchases of a small world."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.data.dataset import Dataset
from aisle.errors import UsageError
from aisle.features.customers import Segments
from aisle.features.groups import every
from aisle.models.popularity import (
    GroupPopularity,
    Popularity,
    RecentPopularity,
    SeasonalPopularity,
    baskets_with_product,
)
from aisle.models.random import Random
from aisle.types import DAY, UNKNOWN
from tests.contract.worlds import CUSTOMERS, CUT, PRODUCTS
from tests.oracle.loops import (
    data,
    everyone,
    few,
    naive_popularity,
    seeds,
)

# ---------------------------------------------------------------------------------------------- popularity family


@few
@given(seed=seeds, days=st.sampled_from([1.0, 7.0, 28.0, 91.0]))
def test_popularity_counts_baskets_all_or_of_a_window(seed: int, days: float) -> None:
    dataset = data(seed)
    batch = everyone(dataset)
    np.testing.assert_array_equal(Popularity().fit(dataset).score(batch)[3], naive_popularity(dataset))
    recent = RecentPopularity(window_days=days).fit(dataset).score(batch)
    np.testing.assert_array_equal(recent[5], naive_popularity(dataset, days))
    assert (recent == recent[0]).all()


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_a_window_holds_its_first_moment_and_not_its_last(shift: int) -> None:
    """Asked exactly ``days`` after a purchase, a microsecond before and after."""
    time = int(data().purchases.time[-1])
    for edge in (time + 5 * DAY + shift, time + shift):
        dataset = data().before(edge)
        np.testing.assert_array_equal(
            RecentPopularity(window_days=5).fit(dataset).scores_, naive_popularity(dataset, 5)
        )
        dataset = data().before(edge + 3 * DAY)
        np.testing.assert_array_equal(baskets_with_product(dataset, 8, 3), naive_popularity(dataset, 8, 3))
    counted = [RecentPopularity(window_days=5).fit(data().before(time + d)).scores_ for d in (5 * DAY, 5 * DAY + 1)]
    assert counted[0].sum() > counted[1].sum()


@pytest.mark.parametrize("days", [7, 28, 45])
def test_seasonal_popularity_blends_the_coming_weeks_of_last_year(days: int) -> None:
    late = data().before(CUT + 60 * DAY)  # 390 days in: last year begins at day 26
    model = SeasonalPopularity(season_days=days, window_days=14, share=0.3).fit(late)
    season, recent = naive_popularity(late, 364, 364 - days), naive_popularity(late, 14)
    assert season.sum() > 0
    assert recent.sum() > 0
    expected = 0.7 * recent / recent.sum() + 0.3 * season / season.sum()
    np.testing.assert_allclose(model.score(everyone(late))[0], expected, rtol=1e-5)


def test_seasonal_popularity_without_a_year_is_recent_popularity() -> None:
    for early in (data().before(CUT), data().before(CUT + 20 * DAY)):  # the second sees the end of last year's weeks
        scores = SeasonalPopularity(share=1.0, window_days=28).fit(early).scores_
        recent = naive_popularity(early, 28)
        np.testing.assert_allclose(scores, recent / recent.sum(), rtol=1e-5)
    assert naive_popularity(early, 364, 364 - 28).any()


def naive_groups(dataset: Dataset, by: str) -> tuple[list[int], list[int]]:
    """Group of each purchase line and of each customer, by loops."""
    events = dataset.purchases
    if by in ("store", "channel"):
        line = [int(code) for code in getattr(events, by)]
        visits: dict[int, Counter[int]] = defaultdict(Counter)
        latest: dict[tuple[int, int], int] = {}
        seen = set()
        for who, basket, code, time in zip(events.customer, events.basket, line, events.time, strict=True):
            latest[int(who), code] = max(latest.get((int(who), code), 0), int(time))
            if (int(who), int(basket), code) not in seen:
                seen.add((int(who), int(basket), code))
                visits[int(who)][code] += 1
        home = []
        for who in range(CUSTOMERS):
            ranked = sorted(visits[who], key=lambda c: (visits[who][c], latest[who, c], -c))
            home.append(ranked[-1] if ranked else UNKNOWN)
        return line, home
    if by == "segment":
        found = Segments.fit(dataset)
        assert found is not None
        own = found.predict(everyone(dataset)).tolist()
    else:
        own = next(level for level in dataset.customers.features.levels if level.name == by).codes.tolist()
    return [own[who] if who >= 0 else UNKNOWN for who in events.customer], own


@pytest.mark.parametrize("by", ["store", "channel", "segment", "group_1", "group_2", "gender"])
@pytest.mark.parametrize("window", [None, 60.0])
def test_group_popularity_is_a_shrunk_share(by: str, window: float | None) -> None:
    dataset = data(1)
    line_group, own = naive_groups(dataset, by)
    start = -np.inf if window is None else dataset.as_of - window * DAY
    counts: dict[tuple[int, int], float] = defaultdict(float)
    events, seen = dataset.purchases, set()
    for line, (basket, product, time) in enumerate(zip(events.basket, events.product, events.time, strict=True)):
        if time >= start and (int(basket), int(product)) not in seen:
            seen.add((int(basket), int(product)))
            counts[line_group[line], int(product)] += 1
    popularity = naive_popularity(dataset, window or 1e9)
    share = popularity / popularity.sum()
    scores = GroupPopularity(by=by, shrinkage=20, window_days=window).fit(dataset).score(everyone(dataset))
    assert len(set(own)) > 1
    for who in range(CUSTOMERS):
        mine = np.array([counts[own[who], i] if own[who] >= 0 else 0.0 for i in range(PRODUCTS)])
        np.testing.assert_allclose(scores[who], (mine + 20 * share) / (mine.sum() + 20), rtol=1e-4)


@pytest.mark.parametrize("window", [None, 60.0])
def test_every_grouping_together_is_a_tempered_product_of_ratios(window: float | None) -> None:
    dataset, batch = data(1), everyone(data(1))
    settings: dict[str, float | None] = {"shrinkage": 20.0, "window_days": window}
    model = GroupPopularity(by="every", **settings).fit(dataset)  # type: ignore[arg-type]
    assert model.names_ == ["group_2", "group_1", "store", "channel", "gender"]
    single = [GroupPopularity(by=name, **settings).fit(dataset).score(batch) for name in model.names_]  # type: ignore[arg-type]
    share = naive_popularity(dataset, window or 1e9)
    share = share / share.sum()
    expected = np.tile(share, (len(batch), 1))
    for who in range(len(batch)):
        for product in np.flatnonzero(share):
            for scores in single:
                expected[who, product] *= (scores[who, product] / share[product]) ** (1 / np.sqrt(len(single)))
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.score(batch), expected, rtol=1e-3, atol=1e-9)


def test_groupings_that_part_customers_alike_count_once() -> None:
    dataset = data(1)
    gender = next(level for level in dataset.customers.categories if level.name == "gender")
    twin = replace(gender, name="twin", codes=(1 - gender.codes).astype(np.int32))
    again = replace(dataset, customers=replace(dataset.customers, categories=(*dataset.customers.categories, twin)))
    assert every(again) == every(dataset)


def test_every_grouping_where_there_is_none_is_popularity() -> None:
    bare = replace(data(), customers=replace(data().customers, tree=(), categories=()), stores=(), channels=())  # type: ignore[arg-type]
    scores = GroupPopularity(by="every").fit(bare).score(everyone(bare))
    np.testing.assert_allclose(scores[2], naive_popularity(bare) / naive_popularity(bare).sum(), rtol=1e-5)


def test_group_popularity_auto_takes_the_deepest_level() -> None:
    assert GroupPopularity().fit(data()).names_ == ["group_2"]
    bare = replace(data(), customers=replace(data().customers, tree=()))
    assert GroupPopularity().fit(bare).names_ == ["store"]
    with pytest.raises(UsageError, match=r"'planet'.*group_2.*store.*segment.*gender"):
        GroupPopularity(by="planet").fit(data())


def test_without_enough_customers_for_segments_all_are_one_group() -> None:
    events = data().all_events
    small = replace(data(), all_events=events.take(events.customer < 20))
    scores = GroupPopularity(by="segment").fit(small).score(everyone(small))
    np.testing.assert_allclose(scores[4], naive_popularity(small) / naive_popularity(small).sum(), rtol=1e-5)


# ---------------------------------------------------------------------------------------------- random


def test_random_scores_are_uniform_and_differ_by_customer_product_and_seed() -> None:
    batch = everyone(data())
    scores = Random().fit(data()).score(batch)
    assert ((scores >= 0) & (scores < 1)).all()
    counts = np.histogram(scores, bins=10, range=(0, 1))[0]
    assert (((counts - 240) ** 2) / 240).sum() < 33.7, "chi-square, 9 degrees of freedom, p = .0001"
    assert len(np.unique(scores)) > 2390
    assert abs(np.corrcoef(scores[0], scores[1])[0, 1]) < 0.5
    other = Random(seed=1).fit(data()).score(batch)
    assert (other != scores).mean() > 0.999


def test_random_golden_values() -> None:
    """Literal scores of the first build: the lists of a seed are a promise, a change of them is a breaking change."""
    scores = Random(seed=0).fit(data()).score(data().batch(np.array([UNKNOWN, 0, 1], dtype=np.int32)))
    np.testing.assert_array_equal(np.round(scores[:, :2], 6), GOLDEN_RANDOM)


GOLDEN_RANDOM = np.array([[0.656115, 0.919701], [0.985088, 0.538556], [0.504831, 0.671621]], dtype=np.float32)
