"""What an index may do: miss products, and nothing else; and what it is measured to miss."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aisle.errors import UsageError
from aisle.kernels import approximate
from aisle.kernels.approximate import Index, recalls, tuned
from aisle.kernels.inner import Targets, top_inner
from aisle.kernels.topk import NOTHING, top_k
from aisle.types import Codes, Floats, Sparse

needs_faiss = pytest.mark.skipif(
    importlib.util.find_spec("faiss") is None, reason="faiss is not installed: pip install 'aisle[ann]'"
)


@pytest.fixture(autouse=True)
def same_on_every_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximate, "DEARER", {True: 24, False: 24})


def clustered(seed: int, rows: int, dim: int = 16, clusters: int = 60, spread: float = 0.4) -> Floats:
    """Vectors about the same centres for every seed."""
    centres = np.random.default_rng(99).normal(size=(clusters, dim))
    random = np.random.default_rng(seed)
    return (centres[random.integers(0, clusters, rows)] + spread * random.normal(size=(rows, dim))).astype(np.float32)


def some_barred(seed: int, rows: int, products: int, share: float) -> Sparse:
    return sp.csr_array((np.random.default_rng(seed).random((rows, products)) < share).astype(np.float32))


def products(size: int = 3_000, *, bias: bool = False, share: float = 1.0) -> Targets:
    random = np.random.default_rng(1)
    biases = random.normal(-3.0, 1.0, size).astype(np.float32) if bias else None
    allowed = random.random(size) < share
    return Targets.of(clustered(2, size), random.permutation(size).astype(np.int32), bias=biases, allowed=allowed)


@needs_faiss
@pytest.mark.parametrize("bias", [False, True])
def test_all_cells_are_exact_search(bias: bool) -> None:
    """With every cell looked into nothing is missed, whatever is barred."""
    targets, queries = products(bias=bias, share=0.8), clustered(3, 300)
    barred = some_barred(4, 300, 3_000, 0.03)
    index = Index.of(targets)
    found = replace(index, effort=len(index.centres)).search(queries, 10, barred=barred)
    exact = top_inner(queries, targets, 10, barred=barred)
    np.testing.assert_array_equal(found[0], exact[0])
    np.testing.assert_array_equal(found[1], exact[1])


@needs_faiss
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 600),
    customers=st.integers(0, 30),
    k=st.integers(1, 30),
    effort=st.integers(1, 4),
    coarse=st.booleans(),
)
def test_lists_hold_lawful_products_in_exact_order(
    seed: int, size: int, customers: int, k: int, effort: int, coarse: bool
) -> None:
    vectors, queries = clustered(seed, size), clustered(seed + 1, customers)
    if coarse:  # ties everywhere
        vectors, queries = np.round(vectors), np.round(queries)
    random = np.random.default_rng(seed)
    tie_rank, allowed = random.permutation(size).astype(np.int32), random.random(size) < 0.8
    allowed[0] = True
    barred = some_barred(seed, customers, size, 0.2)
    targets = Targets.of(vectors, tie_rank, allowed=allowed)
    index = Index.of(targets)
    index = replace(index, effort=min(effort, len(index.centres)))
    codes, scores = index.search(queries, k, barred=barred)
    lawful = allowed & ~(barred.toarray() > 0)
    dense = np.einsum("nd,id->ni", queries.astype(np.float64), vectors.astype(np.float64)).astype(np.float32)
    for row in range(customers):
        listed = codes[row][codes[row] != NOTHING]
        assert len(listed) == min(k, lawful[row].sum())  # a short list is searched again, exactly
        assert len(set(listed.tolist())) == len(listed)
        assert lawful[row, listed].all()
        alone = np.full((1, size), -np.inf, np.float32)
        alone[0, listed] = dense[row, listed]
        again = top_k(alone, k, tie_rank)
        np.testing.assert_array_equal(codes[row], again[0][0])
        np.testing.assert_array_equal(scores[row], again[1][0])


@needs_faiss
def test_neither_threads_nor_company_move_a_byte() -> None:
    targets, queries = products(9_000), clustered(3, 700)
    barred = some_barred(4, 700, 9_000, 0.005)
    found = []
    for threads in (1, 2, 3):
        index = replace(Index.of(targets, threads=threads), effort=2)
        found.append((index.centres, *index.search(queries, 10, barred=barred, threads=threads)))
    for centres, codes, scores in found[1:]:
        assert torch.equal(centres, found[0][0])
        assert (codes.tobytes(), scores.tobytes()) == (found[0][1].tobytes(), found[0][2].tobytes())
    some = np.array([3, 300, 555])
    alone = index.search(queries[some], 10, barred=barred[some])
    np.testing.assert_array_equal(alone[0], found[0][1][some])
    np.testing.assert_array_equal(alone[1], found[0][2][some])
    other = Index.of(targets, seed=1)
    assert not torch.equal(other.centres, index.centres)


@needs_faiss
def test_recall_is_that_of_brute_force() -> None:
    """What was measured is what a full sort in float64 says of the second half, and the step before was not enough."""
    targets, queries, k = products(20_000), clustered(3, 1_200), 10
    index, found = tuned(Index.of(targets), queries, k, 0.9)
    assert index is not None
    assert index.effort == found.effort > 1
    vectors = np.empty_like(targets.exact)
    vectors[targets.code] = targets.exact
    tie_rank = np.empty(20_000, np.int32)
    tie_rank[targets.code] = np.arange(20_000)
    dense = np.einsum("nd,id->ni", queries.astype(np.float64), vectors.astype(np.float64)).astype(np.float32)
    best = np.array([np.lexsort((tie_rank, -row))[:k] for row in dense])
    shares = {}
    for effort in approximate.EFFORTS[: approximate.EFFORTS.index(index.effort) + 1]:
        lists = replace(index, effort=effort).search(queries, k)[0]  # none of them is short
        shares[effort] = np.array(
            [len(set(a) & set(b)) / k for a, b in zip(lists.tolist(), best.tolist(), strict=True)]
        )
    assert found.recall == pytest.approx(shares[index.effort][1::2].mean(), abs=1e-12)
    assert found.asked == 0.9

    def enough(part: slice, effort: int) -> bool:
        mine = shares[effort][part]
        return bool(mine.mean() - 2 * mine.std() / np.sqrt(len(mine)) >= 0.9)

    halves = slice(0, None, 2), slice(1, None, 2)
    assert [effort for effort in shares if all(enough(half, effort) for half in halves)] == [index.effort]


@needs_faiss
def test_the_worst_vectors_are_refused() -> None:
    """Isotropic vectors have no cells worth the name: recall is bought by looking everywhere, as dearly as exactly."""
    random = np.random.default_rng(5)
    vectors, queries = (random.normal(size=(rows, 64)).astype(np.float32) for rows in (20_000, 400))
    index = Index.of(Targets.of(vectors, np.arange(20_000, dtype=np.int32)))
    none, found = tuned(index, queries, 10, 0.99)
    assert none is None
    assert found.recall < 0.9
    assert 0 < found.effort <= index.most < len(index.centres)


@needs_faiss
def test_who_needs_more_than_an_overfetch_is_searched_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, queries = products(3_000), clustered(3, 40)
    exact = np.zeros((40, 3_000), np.float32)
    exact[7, np.random.default_rng(0).choice(3_000, 2_000, replace=False)] = 1
    barred = sp.csr_array(exact)
    monkeypatch.setattr(approximate, "WIDEST", 64)
    asked: list[int] = []

    def told(queries: Floats, *given: object, **named: object) -> tuple[Codes, Floats]:
        asked.append(len(queries))
        return top_inner(queries, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(approximate, "top_inner", told)
    index = replace(Index.of(targets), effort=4)
    codes, scores = index.search(queries, 5, barred=barred)
    assert asked == [1]
    expected = top_inner(queries, targets, 5, barred=barred)
    np.testing.assert_array_equal(codes[7], expected[0][7])
    np.testing.assert_array_equal(scores[7], expected[1][7])


@needs_faiss
def test_confirmation_is_by_others() -> None:
    """An effort that serves the half that chooses it, and not the other, is not enough."""
    targets, queries = products(20_000), clustered(3, 400)
    easy = Index.of(targets)
    random = np.random.default_rng(0)
    mixed = queries.copy()
    mixed[1::2] = random.normal(size=(200, 16))  # the second half lies between the clusters
    first, _ = tuned(easy, queries, 10, 0.9)
    second, found = tuned(easy, mixed, 10, 0.9)
    assert first is not None
    assert second is None or second.effort > first.effort
    lists = replace(easy, effort=found.effort).search(mixed[1::2], 10)[0]
    assert found.recall == pytest.approx(recalls(lists, top_inner(mixed[1::2], targets, 10)[0]).mean())


@needs_faiss
def test_lists_made_anew_are_no_merit_of_the_index() -> None:
    """Cells of four products never fill a list of twenty: exact search does, and the index is refused."""
    targets, queries = products(300), clustered(3, 100)
    index = Index.of(targets)
    assert (recalls(index.search(queries, 20)[0], top_inner(queries, targets, 20)[0]) == 1).all()
    none, found = tuned(index, queries, 20, 0.9)
    assert none is None
    assert 0 < found.recall < 0.9


def test_chance_proves_no_recall() -> None:
    """The same mean, a little above what is asked, is enough of many customers and not of few."""
    shares = np.repeat([0.9, 1.0], [8, 92])
    assert not approximate._above(shares, 0.99)
    assert approximate._above(np.tile(shares, 100), 0.99)
    assert approximate._above(np.ones(3), 1.0)
    assert not approximate._above(np.zeros(0), 0.5)


def test_recall_counts_products_of_the_exact_list() -> None:
    exact = np.array([[4, 2, 7], [1, NOTHING, NOTHING], [NOTHING] * 3, [5, 6, 8]], np.int32)
    found = np.array([[7, 4, 9], [1, NOTHING, NOTHING], [NOTHING] * 3, [NOTHING] * 3], np.int32)
    np.testing.assert_allclose(recalls(found, exact), [2 / 3, 1.0, 0.0])


@needs_faiss
def test_what_cannot_be_is_refused() -> None:
    targets = products(300)
    index = Index.of(targets)
    for wrong in (0.0, 1.01, -1.0, float("nan")):
        with pytest.raises(UsageError, match="least recall"):
            tuned(index, clustered(3, 10), 5, wrong)
    with pytest.raises(UsageError, match="cannot tell the recall"):
        tuned(index, clustered(3, 1), 5, 0.9)
    with pytest.raises(UsageError, match="do not fit"):
        index.search(np.ones((1, 3), np.float32), 5)
    with pytest.raises(UsageError, match="no product"):
        Index.of(Targets.of(clustered(2, 5), np.arange(5, dtype=np.int32), allowed=np.zeros(5, bool)))


def test_without_faiss_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UsageError, match=r"pip install 'aisle\[ann\]'"):
        Index.of(products(300))
