"""The nearest by cosine against loops, with ties, tastes, vectors of zeros and blocks of any size."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from aisle.kernels import nearest as kernel
from aisle.kernels.nearest import Cosines, nearest, of_sets, of_vectors
from aisle.types import Bools, Codes, Floats, Ints, Sparse


def cosine(one: Floats, other: Floats) -> float:
    length = float(np.linalg.norm(one.astype(float)) * np.linalg.norm(other.astype(float)))
    return float(one.astype(float) @ other.astype(float)) / length if length else 0.0


def some_sets(rng: np.random.Generator, rows: int, columns: int) -> Sparse:
    return sp.csr_array(np.where(rng.random((rows, columns)) < 0.4, rng.integers(1, 5, (rows, columns)), 0.0)).astype(
        np.float32
    )


@given(seed=st.integers(0, 10_000), tastes=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_vectors_are_compared_by_their_best_tastes(seed: int, tastes: int) -> None:
    rng = np.random.default_rng(seed)
    queries, candidates = (rng.integers(-2, 3, (n, tastes, 4)).astype(np.float32) for n in (3, 7))
    expected = [[max(cosine(a, b) for a in q for b in c) for c in candidates] for q in queries]
    np.testing.assert_allclose(of_vectors(queries, candidates)(slice(0, 3)), expected, atol=1e-6)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_sets_are_compared_by_what_they_share(seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries, candidates = some_sets(rng, 3, 6), some_sets(rng, 5, 6)
    expected = [[cosine(q, c) for c in candidates.sign().toarray()] for q in queries.sign().toarray()]
    np.testing.assert_allclose(of_sets(queries, candidates)(slice(0, 3)), expected, atol=1e-6)


@given(seed=st.integers(0, 10_000), k=st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_the_nearest_are_a_sort_by_cosine_then_tie_rank_without_the_query(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    sets = some_sets(rng, 7, 5)
    allowed, tie_rank = rng.random(7) < 0.8, rng.permutation(7).astype(np.int32)
    own = np.append(np.arange(7), -1)
    cosines = of_sets(sp.csr_array(sp.vstack([sets, sets[[0]]])), sets)
    codes, values = nearest(cosines, own, allowed, k, tie_rank)
    table = cosines(slice(0, 8))
    for query in range(8):
        fine = [i for i in range(7) if allowed[i] and i != own[query] and table[query, i] > 0]
        expected = sorted(fine, key=lambda i: (-table[query, i], tie_rank[i]))[:k]
        assert [c for c in codes[query] if c >= 0] == expected
        assert [v for v in values[query] if v > -np.inf] == [table[query, i] for i in expected]


@pytest.mark.parametrize("cells", [1, 50, 333])
@pytest.mark.parametrize("kind", ["vectors", "sets"])
def test_the_size_of_the_blocks_does_not_matter_and_bounds_them(
    cells: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    dense = rng.normal(size=(40, 2, 16)).astype(np.float32)
    dense[20:] = dense[:20]  # every vector twice: ties that rounding must not decide
    sets = some_sets(rng, 40, 12)
    own, allowed, tie_rank = np.arange(40), np.ones(40, dtype=bool), rng.permutation(40).astype(np.int32)

    def answer() -> tuple[Codes, Floats, int]:
        cosines = of_vectors(dense, dense) if kind == "vectors" else of_sets(sets, sets)
        largest = 0

        def watched(part: slice) -> Floats:
            nonlocal largest
            block = cosines(part)
            largest = max(largest, block.size)
            return block

        return (*nearest(watched, own, allowed, 9, tie_rank), largest)

    codes, values, _ = answer()
    monkeypatch.setattr(kernel, "CELLS", cells)
    codes_again, values_again, largest = answer()
    assert largest <= max(cells, 40), "one query at a time at least"
    np.testing.assert_array_equal(codes_again, codes)
    np.testing.assert_array_equal(values_again, values)


def test_nothing_is_near_a_vector_of_zeros_and_nothing_to_nothing() -> None:
    ones: Floats = np.ones((2, 1, 3), dtype=np.float32)
    ones[1] = 0
    everyone: Bools = np.ones(2, dtype=bool)
    nobody: Ints = np.full(2, -1)
    cosines: Cosines = of_vectors(ones, ones)
    codes, values = nearest(cosines, nobody, everyone, 5, np.arange(2, dtype=np.int32))
    assert codes.tolist() == [[0, -1], [-1, -1]], "no more places than candidates"
    assert values[0, 0] == 1.0
    empty = of_vectors(ones, ones[:0])
    assert nearest(empty, nobody, everyone[:0], 5, np.zeros(0, dtype=np.int32))[0].shape == (2, 0)
    assert nearest(cosines, nobody[:0], everyone, 5, np.arange(2, dtype=np.int32))[0].shape == (0, 2)
