"""Masses add up: places to 1, categories to their parents, groups to theirs, shrunk or not."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from aisle.rank.mass import GroupMasses, best_cells, place_masses, summed


def test_masses_of_places_are_those_of_the_discount() -> None:
    masses = place_masses(np.array([[3, 0, -1], [2, -1, -1], [-1, -1, -1]], dtype=np.int32), 4).toarray()
    second = 1 / np.log2(3)
    np.testing.assert_allclose(masses[0], [second / (1 + second), 0, 0, 1 / (1 + second)])
    np.testing.assert_array_equal(masses[1], [0, 0, 1, 0])
    np.testing.assert_array_equal(masses[2], 0)


def test_the_heaviest_columns_of_each_row_with_ties_by_rank() -> None:
    masses = sp.csr_array(np.array([[0.2, 0.5, 0.2, 0.1], [0, 0, 0, 0], [0, 1, 0, 0]], dtype=np.float64))
    row, place, code, share = best_cells(masses, np.array([3, 1, 0, 2], dtype=np.int32), 3)
    assert row.tolist() == [0, 0, 0, 2]
    assert place.tolist() == [0, 1, 2, 0]
    assert code.tolist() == [1, 2, 0, 1]
    assert share.tolist() == [0.5, 0.2, 0.2, 1.0]


def test_categories_are_sums() -> None:
    masses = sp.csr_array(np.array([[0.2, 0.5, 0.3], [0, 0.25, 0.75]]))
    found = summed(masses, np.array([1, 0, 1], dtype=np.int32), 2).toarray()
    np.testing.assert_allclose(found, [[0.5, 0.5], [0.25, 0.75]])


def forest(seed: int, strength: float, *, inner_members: bool) -> tuple[GroupMasses, np.ndarray]:
    """A random tree of three levels, its members' own masses, and the node of each member."""
    rng = np.random.default_rng(seed)
    tops, leaves = int(rng.integers(1, 4)), int(rng.integers(1, 9))
    parent = np.concatenate(([-1], np.zeros(tops), rng.integers(1, tops + 1, leaves))).astype(np.int32)
    bottom = np.arange(1 + tops, len(parent))
    lone = [top for top in range(1, tops + 1) if top not in parent]
    spots = list(range(len(parent))) if inner_members else [*bottom.tolist(), *lone]
    node = rng.choice(spots, int(rng.integers(1, 40)))
    lists = np.stack([rng.permutation(7)[:4] for _ in node]).astype(np.int32)
    own = place_masses(lists, 7)
    into = sp.csr_array((np.ones(len(node)), (node, np.arange(len(node)))), shape=(len(parent), len(node)))
    members = np.bincount(node, minlength=len(parent))
    seen = np.array([rng.integers(0, m + 1) for m in members.tolist()])
    return GroupMasses(parent, sp.csr_array(into @ own), members, seen, strength), own.toarray()


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10_000), strength=st.sampled_from([0.0, 0.5, 5.0, 1e6]))
def test_children_weigh_what_their_parent_weighs(seed: int, strength: float) -> None:
    groups, own = forest(seed, strength, inner_members=False)
    mass = groups.rows(np.arange(len(groups.parent))).toarray()
    np.testing.assert_allclose(mass[0], own.mean(axis=0), atol=1e-12)
    assert (mass >= -1e-12).all()
    np.testing.assert_allclose(mass[groups.size > 0].sum(axis=1), 1.0)
    for node in range(len(mass)):
        children = np.flatnonzero(groups.parent == node)
        if groups.size[children].sum():
            mean = (groups.size[children, None] * mass[children]).sum(axis=0) / groups.size[children].sum()
            np.testing.assert_allclose(mean, mass[node], atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), strength=st.sampled_from([0.5, 5.0]))
def test_those_who_hang_at_an_inner_node_count_as_one_more_child(seed: int, strength: float) -> None:
    groups, _ = forest(seed, strength, inner_members=True)
    mass = groups.rows(np.arange(len(groups.parent))).toarray()
    for node in range(len(mass)):
        children = np.flatnonzero(groups.parent == node)
        rest = groups.size[node] * mass[node] - (groups.size[children, None] * mass[children]).sum(axis=0)
        assert (rest >= -1e-9).all()
        np.testing.assert_allclose(rest.sum(), groups.members[node], atol=1e-9)


def test_plain_means_without_shrinkage_and_sisters_alike_with_all_of_it() -> None:
    groups, own = forest(3, 0.0, inner_members=True)
    mass = groups.rows(np.arange(len(groups.parent))).toarray()
    np.testing.assert_allclose(mass[0], own.mean(axis=0))
    leaf = int(np.flatnonzero(groups.members * (groups.parent > 0))[0])
    np.testing.assert_allclose(mass[leaf], groups.sums[[leaf]].toarray()[0] / groups.members[leaf])
    alike, _ = forest(3, 1e12, inner_members=False)
    flat = alike.rows(np.flatnonzero(alike.size > 0)).toarray()
    np.testing.assert_allclose(flat, np.tile(flat[0], (len(flat), 1)), atol=1e-9)


def test_the_smaller_group_moves_further() -> None:
    parent = np.array([-1, 0, 0], dtype=np.int32)
    sums = sp.csr_array(np.array([[0.0, 0.0], [30.0, 0.0], [0.0, 3.0]]))
    groups = GroupMasses(parent, sums, np.array([0, 30, 3]), np.array([0, 30, 3]), 5.0)
    big, small = groups.rows(np.array([1, 2])).toarray()
    weight = np.array([30 * 5 / 35, 3 * 5 / 8])
    target = weight[0] / weight.sum()  # of product 0
    np.testing.assert_allclose(big[0], 30 / 35 + 5 / 35 * target)
    np.testing.assert_allclose(small[0], 5 / 8 * target)
    np.testing.assert_allclose(30 * big[0] + 3 * small[0], 30.0)
