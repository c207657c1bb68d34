"""Each metric against a naive loop and, where there is one, against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from aisle.evaluate import metrics
from aisle.types import Codes, Ints, Sparse


def csr(rows: list[dict[int, float]], width: int) -> Sparse:
    dense = np.zeros((len(rows), width), dtype=np.float32)
    for i, row in enumerate(rows):
        for j, value in row.items():
            dense[i, j] = value
    return sp.csr_array(dense)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Codes, Sparse]:
    """Lists with empty places at the end and a truth, for 0 to 5 customers and 1 to 9 products."""
    n, width, k = draw(st.integers(0, 5)), draw(st.integers(1, 9)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    lists = np.full((n, k), -1, dtype=np.int32)
    for row in lists:
        size = int(rng.integers(0, min(k, width) + 1))
        row[:size] = rng.permutation(width)[:size]
    truth = sp.csr_array((rng.random((n, width)) < 0.4).astype(np.float32))
    return lists, truth


def naive(listed: list[int], wanted: set[int]) -> dict[str, float]:
    k = len(listed)
    hits = [p in wanted for p in listed]
    gain = sum(1 / math.log2(i + 2) for i, hit in enumerate(hits) if hit)
    ideal = sum(1 / math.log2(i + 2) for i in range(min(k, len(wanted))))
    precisions = [sum(hits[: i + 1]) / (i + 1) for i in range(k) if hits[i]]
    return {
        "ndcg": gain / ideal,
        "recall": sum(hits) / len(wanted),
        "precision": sum(hits) / k,
        "average_precision": sum(precisions) / min(k, len(wanted)),
        "reciprocal_rank": next((1 / (i + 1) for i in range(k) if hits[i]), 0.0),
        "hit_rate": float(any(hits)),
    }


@given(cases())
@settings(max_examples=60, deadline=None)
def test_metrics_equal_naive_loops(case: tuple[Codes, Sparse]) -> None:
    lists, truth = case
    hits, wanted = metrics.hit_matrix(lists, truth), np.diff(truth.indptr).astype(np.int64)
    for name in ("ndcg", "recall", "precision", "average_precision", "reciprocal_rank", "hit_rate"):
        found = getattr(metrics, name)(hits, wanted)
        assert found.shape == (len(lists),)
        for i, row in enumerate(lists):
            bought = set(truth[[i]].indices.tolist())
            if bought:
                assert found[i] == pytest.approx(naive(row.tolist(), bought)[name])
            else:
                assert np.isnan(found[i])


def test_ndcg_equals_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    truth = (rng.random((50, 30)) < 0.2).astype(np.float32)
    truth[:, 0] = 1
    scores = rng.random((50, 30))
    lists = np.argsort(-scores, axis=1)[:, :10].astype(np.int32)
    wanted = truth.sum(axis=1).astype(np.int64)
    ours = metrics.ndcg(metrics.hit_matrix(lists, sp.csr_array(truth)), wanted)
    theirs = [ndcg_score(truth[[i]], scores[[i]], k=10) for i in range(50)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@given(cases(), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_repeat_and_explore_split_the_truth(case: tuple[Codes, Sparse], seed: int) -> None:
    lists, truth = case
    rng = np.random.default_rng(seed)
    before = sp.csr_array((rng.random(truth.shape) < 0.5).astype(np.float32))
    hits, old = metrics.hit_matrix(lists, truth), metrics.hit_matrix(lists, before)
    repeats = np.diff(truth.multiply(before).tocsr().indptr).astype(np.int64)
    wanted = np.diff(truth.indptr).astype(np.int64)
    repeat = metrics.part_recall(hits, old, repeats)
    explore = metrics.part_recall(hits, ~old, wanted - repeats)
    for i, row in enumerate(lists):
        bought, owned = set(truth[[i]].indices.tolist()), set(before[[i]].indices.tolist())
        for found, part in ((repeat[i], bought & owned), (explore[i], bought - owned)):
            if part:
                assert found == pytest.approx(len(part & set(row.tolist())) / len(part))
            else:
                assert np.isnan(found)


def test_revenue_counts_listed_products_once_and_knows_no_share_of_nothing() -> None:
    revenue = csr([{0: 10.0, 2: 30.0}, {1: 5.0}, {}, {3: -4.0}], 4)
    lists = np.array([[2, 1, -1], [0, 2, 3], [0, 1, 2], [3, -1, -1]], dtype=np.int32)
    listed = metrics.listed_values(lists, revenue)
    assert listed.sum(axis=1).tolist() == [30.0, 0.0, 0.0, -4.0]
    share = metrics.revenue_share(listed, np.asarray(revenue.sum(axis=1)))
    np.testing.assert_array_equal(share, [0.75, 0.0, np.nan, np.nan])


def test_list_level_figures_by_hand() -> None:
    lists = np.array([[0, 1], [0, 2], [0, -1]], dtype=np.int32)
    shown = metrics.exposure(lists, 4)
    assert shown.tolist() == [3, 1, 1, 0]
    assert metrics.coverage(shown) == 0.75
    pairs = np.abs(shown[:, None] - shown[None, :]).sum()
    assert metrics.gini(shown) == pytest.approx(pairs / (2 * 16 * shown.mean()))
    bits = metrics.surprise(np.array([5.0, 1.0, 1.0, 1.0], dtype=np.float32))
    assert bits.tolist() == pytest.approx([1.0, math.log2(6), math.log2(6), math.log2(6)])
    assert metrics.novelty(lists, bits) == pytest.approx((3 * 1.0 + 2 * math.log2(6)) / 5)


def test_nobody_and_nothing() -> None:
    lists, truth = np.zeros((0, 5), dtype=np.int32), csr([], 3)
    wanted: Ints = np.zeros(0, dtype=np.int64)
    assert metrics.ndcg(metrics.hit_matrix(lists, truth), wanted).shape == (0,)
    assert np.isnan(metrics.novelty(lists, np.ones(3)))
    assert np.isnan(metrics.gini(metrics.exposure(lists, 3)))
    assert np.isnan(metrics.coverage(np.zeros(0, dtype=np.int64)))
    blank = np.full((2, 4), -1, dtype=np.int32)
    none = csr([{}, {}], 3)
    assert not metrics.hit_matrix(blank, none).any()
