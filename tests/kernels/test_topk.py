"""Top-k against a plain sort, with ties, blanks and odd sizes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisle.kernels import topk
from aisle.kernels.topk import NOTHING, ranks, top_k


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 5), columns=st.integers(1, 9), k=st.integers(1, 12))
@settings(max_examples=200, deadline=None)
def test_top_k_is_a_stable_sort_by_score_then_tie_rank(seed: int, rows: int, columns: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.choice(np.array([-np.inf, -2.5, -0.0, 0.0, 1.0, 3.5], dtype=np.float32), (rows, columns))
    tie_rank = rng.permutation(columns).astype(np.int32)
    codes, values = top_k(scores, k, tie_rank)
    assert codes.shape == values.shape == (rows, k)
    for row in range(rows):
        listed = [i for i in range(columns) if scores[row, i] > -np.inf]
        expected = sorted(listed, key=lambda i: (-scores[row, i], tie_rank[i]))[:k]
        assert codes[row, : len(expected)].tolist() == expected
        assert (codes[row, len(expected) :] == NOTHING).all()
        assert values[row, : len(expected)].tolist() == [scores[row, i] for i in expected]


KINDS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Any]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "few finite": lambda rng, shape: np.where(rng.random(shape) < 0.01, rng.random(shape), -np.inf),
    "nothing finite": lambda rng, shape: np.full(shape, -np.inf),
    "mostly equal": lambda rng, shape: np.where(rng.random(shape) < 0.003, rng.random(shape), 0.0),
    "all equal": lambda rng, shape: np.where(rng.random(shape) < 0.5, 0.0, -0.0),
    "small integers": lambda rng, shape: rng.integers(-2, 3, shape),
    "nan and infinity": lambda rng, shape: rng.choice([np.nan, np.inf, -np.inf, 0.0, 1.0], shape),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("columns", "k"), [(80, 9), (81, 10), (1_000, 1), (1_003, 10), (3_001, 200), (3_001, 2_000)])
def test_a_threshold_changes_nothing(kind: str, columns: int, k: int) -> None:
    rng = np.random.default_rng(columns + k)
    scores = KINDS[kind](rng, (9, columns)).astype(np.float32)
    tie_rank = rng.permutation(columns).astype(np.int32)
    codes, values = top_k(scores, k, tie_rank)
    clean = np.where(np.isnan(scores), -np.inf, scores)
    for row in range(9):
        expected = np.lexsort((tie_rank, -clean[row]))[:k]
        expected = expected[clean[row, expected] > -np.inf]
        assert codes[row, : len(expected)].tolist() == expected.tolist()
        assert (codes[row, len(expected) :] == NOTHING).all()
        assert values[row, : len(expected)].tolist() == clean[row, expected].tolist()


def test_nan_is_never_listed() -> None:
    codes, _ = top_k(np.array([[np.nan, 1.0]], dtype=np.float32), 2, np.arange(2, dtype=np.int32))
    assert codes.tolist() == [[1, NOTHING]]


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 4, (40, 30)).astype(np.float32)
    tie_rank = rng.permutation(30).astype(np.int32)
    whole, _ = top_k(scores, 7, tie_rank)
    alone = np.concatenate([top_k(scores[i : i + 1], 7, tie_rank)[0] for i in range(40)])
    assert np.array_equal(whole, alone)


@pytest.mark.parametrize("cells", [1, 7, 64, 10**6])
def test_the_size_of_the_blocks_does_not_matter(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 5, (23, 11)).astype(np.float32)
    tie_rank = rng.permutation(11).astype(np.int32)
    whole, values = top_k(scores, 14, tie_rank)
    monkeypatch.setattr(topk, "CELLS", cells)
    again, values_again = top_k(scores, 14, tie_rank)
    assert np.array_equal(whole, again)
    assert np.array_equal(values, values_again)


def test_no_products_or_no_rows_give_empty_lists() -> None:
    nothing = np.zeros(0, dtype=np.int32)
    assert top_k(np.zeros((2, 0), dtype=np.float32), 3, nothing)[0].tolist() == [[NOTHING] * 3] * 2
    assert top_k(np.zeros((0, 4), dtype=np.float32), 3, np.arange(4, dtype=np.int32))[0].shape == (0, 3)


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 5), columns=st.integers(1, 9), pairs=st.integers(0, 20))
@settings(max_examples=200, deadline=None)
def test_ranks_are_the_places_of_a_full_sort(seed: int, rows: int, columns: int, pairs: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.choice(np.array([np.nan, -np.inf, -2.5, -0.0, 0.0, 3.5], dtype=np.float32), (rows, columns))
    tie_rank = rng.permutation(columns).astype(np.int32)
    row, code = rng.integers(0, rows, pairs), rng.integers(0, columns, pairs).astype(np.int32)
    whole = []
    for line in scores:
        listed = np.flatnonzero(line > -np.inf)
        whole.append(listed[np.lexsort((tie_rank[listed], -line[listed]))].tolist())
    expected = [whole[r].index(c) + 1 if c in whole[r] else 0 for r, c in zip(row, code, strict=True)]
    assert ranks(scores, row, code, tie_rank).tolist() == expected


@pytest.mark.parametrize("cells", [1, 7, 64, 10**6])
def test_ranks_do_not_depend_on_blocks_and_agree_with_top_k(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 5, (23, 11)).astype(np.float32)
    tie_rank = rng.permutation(11).astype(np.int32)
    row, place = (part.ravel() for part in np.indices((23, 11)))
    code = top_k(scores, 11, tie_rank)[0].ravel()
    shuffle = rng.permutation(len(row))
    monkeypatch.setattr(topk, "CELLS", cells)
    found = ranks(scores, row[shuffle], code[shuffle], tie_rank)
    assert found.tolist() == (place[shuffle] + 1).tolist()
