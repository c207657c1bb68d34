"""One model, one window: who is asked, what may be listed, how lists are filled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisle.data.dataset import Dataset
from aisle.data.split import Window
from aisle.evaluate.protocol import Exam, Scores, evaluate, fill, headline, make_lists, mean, random_floor
from aisle.models import create
from aisle.types import DAY
from tests.evaluate.shops import lines_of, random_shop, shop_of


def by_hand() -> tuple[Dataset, Window]:
    """Ten days of history, ten days of window.

    ann bought a (twice) and b, later a and the new d; bob bought b, later b, but brings it back; cid is new and buys
    a; dan bought c, later nothing; eve bought a and later c and e (e sold first one day before the cut).
    """
    rows = [
        ("ann", "a", 0, 1.0),
        ("ann", "b", 1, 1.0),
        ("ann", "a", 50, 1.0),
        ("bob", "b", 2, 1.0),
        ("dan", "c", 3, 1.0),
        ("eve", "a", 4, 1.0),
        ("fay", "e", 59, 1.0),
        ("ann", "a", 61, 1.0),
        ("ann", "d", 61, 2.0),
        ("bob", "b", 62, 1.0),
        ("bob", "b", 63, -1.0),
        ("cid", "a", 64, 1.0),
        ("eve", "c", 65, 1.0),
        ("eve", "e", 65, 5.0),
        ("gus", "a", 69, 1.0),
    ]
    shop = shop_of(lines_of(rows))
    cut = shop.end - 10 * DAY
    return shop, Window(cut, shop.end)


def value(shop: Dataset, scores: Scores, metric: str, customer: str) -> float:
    row = int(np.flatnonzero(scores.customers == shop.customers.vocab.codes([customer])[0])[0])
    return float(scores.values[metric][row])


def test_by_hand() -> None:
    shop, window = by_hand()
    exam = Exam.of(shop, window)
    names = shop.customers.vocab.names
    assert names(exam.warm.customers).to_list() == ["ann", "eve"]
    assert names(exam.cold.customers).to_list() == ["cid", "gus"]
    assert shop.products.vocab.names(np.flatnonzero(exam.truth.known).astype(np.int32)).to_list() == list("abce")
    assert shop.products.vocab.names(np.flatnonzero(exam.warm.fresh).astype(np.int32)).to_list() == ["e"]
    found = evaluate(create("own").fit(exam.past), exam, 2)
    # popularity: a 3, b 2, c 1, e 1 -> ann: a b; eve: a, then b fills
    assert shop.products.vocab.names(found.lists.ravel()).to_list() == ["a", "b", "a", "b"]
    assert value(shop, found, "recall@2", "ann") == 0.5
    assert value(shop, found, "repeat_recall@2", "ann") == 1.0
    assert value(shop, found, "explore_recall@2", "ann") == 0.0
    assert value(shop, found, "revenue@2", "ann") == 2.0
    assert value(shop, found, "revenue_share@2", "ann") == pytest.approx(2 / 6)
    assert np.isnan(value(shop, found, "repeat_recall@2", "eve"))
    assert value(shop, found, "explore_recall@10", "eve") == 1.0
    assert value(shop, found, "fresh_recall@10", "eve") == 1.0
    assert np.isnan(value(shop, found, "fresh_recall@10", "ann"))
    assert found.cold["hit@2"].tolist() == [1.0, 1.0]
    assert found.whole["coverage@2"] == 0.5
    assert found.same_for_all


def test_what_nobody_knew_is_never_listed_but_counts_as_missed() -> None:
    shop, window = by_hand()
    exam = Exam.of(shop, window)
    lists = make_lists(create("sells", noise=0.0).fit(exam.past), exam, exam.warm_batches, 5)
    assert shop.products.vocab.names(lists[0]).to_list() == ["a", "b", "c", "e", None]
    assert exam.warm.parts["all"][0].tolist() == [2, 2]
    assert exam.warm.parts["all"][1].tolist() == [1, 2]


@given(st.integers(1, 8), st.integers(1, 6), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_fill_adds_best_sellers_not_listed_yet(products: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    known, rank = rng.random(products) < 0.8, rng.permutation(products).astype(np.int32)
    lists = np.full((6, k), -1, dtype=np.int32)
    for row in lists:
        chosen = rng.permutation(np.flatnonzero(known))[: rng.integers(0, k + 1)]
        row[: len(chosen)] = chosen
    filled = fill(lists, known, rank)
    order = [p for p in np.argsort(rank).tolist() if known[p]]
    for before, after in zip(lists.tolist(), filled.tolist(), strict=True):
        kept = [p for p in before if p >= 0]
        expected = (kept + [p for p in order if p not in kept])[:k]
        assert after == expected + [-1] * (k - len(expected))


@pytest.mark.parametrize("name", ["own", "sells"])
def test_block_size_changes_nothing(name: str) -> None:
    shop = random_shop(0, taste="repeat", customers=40)
    window = Window(shop.end - 30 * DAY, shop.end)
    whole, small = Exam.of(shop, window), Exam.of(shop, window, block_bytes=1)
    assert len(whole.warm_batches) == 1
    assert len(small.warm_batches) == 3
    first, second = (evaluate(create(name).fit(e.past), e, 5) for e in (whole, small))
    np.testing.assert_array_equal(first.lists, second.lists)
    np.testing.assert_array_equal(headline(create(name).fit(small.past), small), first.values["ndcg@10"])


def test_random_lists_score_their_floor() -> None:
    shop = random_shop(1, taste="repeat", customers=300)
    exam = Exam.of(shop, Window(shop.end - 30 * DAY, shop.end))
    floor = random_floor(exam, 5)
    runs = [evaluate(create("random", seed=seed).fit(exam.past), exam, 5) for seed in range(20)]
    assert set(floor) == set(runs[0].values) | set(runs[0].whole)
    for name in runs[0].values:
        means = [mean(run.values[name]) for run in runs]
        if not np.isnan(floor[name]):
            assert np.mean(means) == pytest.approx(floor[name], abs=4 * np.std(means) / np.sqrt(19) + 1e-9), name
    for name in runs[0].whole:
        assert np.mean([run.whole[name] for run in runs]) == pytest.approx(floor[name], rel=0.05), name


def test_of_many_customers_a_sample_is_asked() -> None:
    shop = random_shop(2)
    window = Window(shop.end - 30 * DAY, shop.end)
    everybody, some = Exam.of(shop, window), Exam.of(shop, window, limit=3, seed=1)
    for all_, few in ((everybody.warm, some.warm), (everybody.cold, some.cold)):
        assert len(few.customers) == min(3, len(all_.customers))
        assert np.isin(few.customers, all_.customers).all()
        assert (np.diff(few.customers) > 0).all()
    assert some.truth.warm.sum() == len(everybody.warm.customers) > 3


def test_segments_cover_the_customers_asked() -> None:
    shop = random_shop(2)
    exam = Exam.of(shop, Window(shop.end - 30 * DAY, shop.end), limit=60)
    names, codes = exam.segments
    assert len(exam.warm.customers) == len(codes) == 60
    assert len(names) == 5
    assert ((codes >= 0) & (codes < 5)).all()
