"""The best of few cells against the best of all scores, over ties, infinities, NaN, limits and any order of cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from aisle.kernels import few
from aisle.kernels.few import top_few
from aisle.kernels.topk import NOTHING, top_k
from aisle.types import Bools, Floats

EQUALS = np.array([0, 0.5, 1, -1, 2, 3, -0.0, np.inf, -np.inf, np.nan], dtype=np.float32)


def cells_of(scores: Floats, stored: Bools, random: np.random.Generator) -> Any:
    """CSR of some cells of scores (B, I), those of a row in any order."""
    columns = [random.permutation(np.flatnonzero(row)) for row in stored]
    data = [row[mine] for row, mine in zip(scores, columns, strict=True)]
    indptr = np.concatenate(([0], np.cumsum([len(mine) for mine in columns]))).astype(np.int32)
    none = np.zeros(0, dtype=np.int32)
    return sp.csr_array(
        (np.concatenate([none.astype(np.float32), *data]), np.concatenate([none, *columns]).astype(np.int32), indptr),
        shape=scores.shape,
    )


def drawn(random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Scores of which many are equal, or hardly any."""
    if random.random() < 0.5:
        return random.choice(EQUALS, size=shape)
    return random.normal(size=shape).astype(np.float32)


@settings(max_examples=250, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(0, 9), st.integers(1, 500)),
    k=st.integers(1, 25),
    share=st.sampled_from([0.0, 0.02, 0.4, 1.0]),
    limits=st.tuples(st.sampled_from([None, 0.0, 0.6, 0.97]), st.sampled_from([None, 0.03, 0.9])),
    sizes=st.tuples(st.sampled_from([1, 1_200, 4_000_000]), st.sampled_from([1, 256])),
)
def test_the_best_of_few_cells_are_the_best_of_all(
    seed: int,
    shape: tuple[int, int],
    k: int,
    share: float,
    limits: tuple[float | None, float | None],
    sizes: tuple[int, int],
) -> None:
    random = np.random.default_rng(seed)
    scores, rest, stored = drawn(random, shape), drawn(random, shape[1:]), random.random(shape) < share
    if random.random() < 0.3:
        rest[:] = 0
    allowed = None if limits[0] is None else random.random(shape[1]) < limits[0]
    out = np.zeros(shape, dtype=bool) if limits[1] is None else random.random(shape) < limits[1]
    tie_rank = random.permutation(shape[1]).astype(np.int32)
    dense, own = np.where(stored, scores, rest), None
    if random.random() < 0.5:
        added = np.where(random.random(shape) < 0.1, random.choice(EQUALS[:6], size=shape), 0).astype(np.float32)
        dense, own = dense + added, sp.csr_array(added)
    dense[out] = -np.inf
    if allowed is not None:
        dense[:, ~allowed] = -np.inf
    barred = None if limits[1] is None else sp.csr_array(out.astype(np.float32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(few, "MARKS", sizes[0])
        patch.setattr(few, "HEAD", sizes[1])
        codes, values = top_few(
            cells_of(scores, stored, random), rest, k, tie_rank, own=own, allowed=allowed, barred=barred
        )
    wanted = top_k(dense, k, tie_rank)
    np.testing.assert_array_equal(codes, wanted[0])
    np.testing.assert_array_equal(values, wanted[1])


def test_where_everything_common_is_stored_the_next_common_ones_follow() -> None:
    """The first rows store all of the head, so that it must be looked into further."""
    size = 3_000
    rest = np.arange(size, 0, -1).astype(np.float32)
    stored = np.zeros((2, size), dtype=bool)
    stored[0, :2_990] = True
    low = np.full((2, size), -1, dtype=np.float32)
    cells = cells_of(low, stored, np.random.default_rng(0))
    codes, values = top_few(cells, rest, 12, np.arange(size, dtype=np.int32))
    assert codes[0].tolist() == [*range(2_990, 3_000), 0, 1]
    assert values[0].tolist() == [*range(10, 0, -1), -1, -1]
    assert codes[1].tolist() == list(range(12))


def test_without_any_score_lists_are_empty() -> None:
    nothing = np.full(4, -np.inf, dtype=np.float32)
    cells = sp.csr_array(np.zeros((3, 4), dtype=np.float32))
    codes, values = top_few(cells, nothing, 2, np.arange(4, dtype=np.int32))
    assert (codes == NOTHING).all()
    assert (values == -np.inf).all()
