"""The random floor against every ordered list there is."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import scipy.sparse as sp

from aisle.evaluate import floor, metrics
from aisle.types import Codes


def every_list(candidates: int, k: int) -> Codes:
    """(n, k) all ordered lists of the candidates 0 … C-1, short ones ending in -1."""
    length = min(k, candidates)
    lists = np.array(list(permutations(range(candidates), length)), dtype=np.int32).reshape(-1, length)
    return np.pad(lists, ((0, 0), (0, k - length)), constant_values=-1)


@pytest.mark.parametrize(("candidates", "k"), [(1, 1), (1, 3), (4, 2), (5, 3), (5, 5), (4, 6), (6, 1)])
@pytest.mark.parametrize("late", [0, 2])
def test_floor_is_the_mean_over_all_lists(candidates: int, k: int, late: int) -> None:
    lists = every_list(candidates, k)
    for reachable in range(candidates + 1):
        wanted = reachable + late
        if not wanted:
            continue
        bought = np.zeros((1, candidates + late), dtype=np.float32)
        bought[0, :reachable] = 1
        bought[0, candidates:] = 1
        hits = metrics.hit_matrix(lists, sp.csr_array(np.repeat(bought, len(lists), axis=0)))
        many = np.full(len(lists), wanted)
        for name in ("ndcg", "recall", "precision", "average_precision", "reciprocal_rank", "hit_rate"):
            expected = getattr(floor, f"expected_{name}")(np.array([wanted]), np.array([reachable]), candidates, k)
            assert expected[0] == pytest.approx(getattr(metrics, name)(hits, many).mean()), name


@pytest.mark.parametrize(("candidates", "k", "customers"), [(3, 1, 3), (3, 2, 3), (4, 2, 2), (1, 2, 2), (3, 3, 2)])
def test_list_level_floor_is_the_mean_over_all_sets_of_lists(candidates: int, k: int, customers: int) -> None:
    single = every_list(candidates, k)
    shown = [metrics.exposure(np.stack(rows), candidates) for rows in product(single, repeat=customers)]
    covered = np.mean([metrics.coverage(s) for s in shown])
    uneven = np.mean([metrics.gini(s) for s in shown])
    assert floor.expected_coverage(customers, candidates, k) == pytest.approx(covered)
    assert floor.expected_gini(customers, candidates, k) == pytest.approx(uneven)


def test_floor_of_many_lists_is_what_a_simulation_finds() -> None:
    rng = np.random.default_rng(0)
    lists = np.argsort(rng.random((4000, 300)), axis=1)[:, :10].astype(np.int32)
    assert floor.expected_gini(4000, 300, 10) == pytest.approx(metrics.gini(metrics.exposure(lists, 300)), rel=0.1)


def test_nobody_wanted_and_nothing_for_sale() -> None:
    none = np.zeros(2, dtype=np.int64)
    for name in ("ndcg", "recall", "precision", "average_precision", "reciprocal_rank", "hit_rate"):
        assert np.isnan(getattr(floor, f"expected_{name}")(none, none, 5, 3)).all()
        assert getattr(floor, f"expected_{name}")(none + 1, none, 0, 3).tolist() == [0.0, 0.0]
    assert np.isnan(floor.expected_coverage(3, 0, 2))
    assert np.isnan(floor.expected_gini(0, 3, 2))
