"""Single cells of a CSR array, looked up by bisection."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from aisle.features.ranking.facts import cells


@given(
    seed=st.integers(0, 1_000),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 40)),
    share=st.sampled_from([0.0, 0.1, 0.6, 1.0]),
    asked=st.integers(0, 30),
)
def test_cells_are_those_of_the_dense_matrix(seed: int, shape: tuple[int, int], share: float, asked: int) -> None:
    random = np.random.default_rng(seed)
    dense = np.where(random.random(shape) < share, random.normal(size=shape), 0).astype(np.float32)
    row, column = random.integers(0, shape[0], asked), random.integers(0, shape[1], asked)
    matrix = sp.csr_array(dense)
    np.testing.assert_array_equal(cells(matrix, row, column), dense[row, column])
