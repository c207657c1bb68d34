"""The mass of products, categories and groups: one currency in which lists of any level can be added up.

Scores of models cannot be added (an inner product, a log-odds, a count), their *places* can. The mass of a product for
a customer is the discount of its place in the customer's list, ``1 / log2(rank + 1)`` over the first DEPTH places (that
of NDCG, Järvelin & Kekäläinen, ACM TOIS 20(4), 2002), divided by its sum, so that each customer hands out 1. It means
the same for every model and obeys every rule of the list. All else is sums and means of it:

* the mass of a category is the sum over its products, so a category weighs what its sub-categories weigh together;
* the mass of a group is the mean over its members, so a region weighs the mean of its cities, by members.

Groups of few members are shrunk towards their sisters. With λ = κ / (members with purchases + κ), group c of parent p
gets ``(1 - λ_c) m_c + λ_c t_p``, where the target ``t_p = Σ n_c λ_c m_c / Σ n_c λ_c`` is the mean that random effects
give the sisters (Gelman et al., *Bayesian Data Analysis*, chapter 5). With this target the mean of the shrunk sisters,
by members, is exactly that of the plain ones; what shrinks the parent is then handed down to its children alike, so
that sums hold along both trees with shrinkage too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp

from aisle.kernels.topk import NOTHING
from aisle.types import Codes, Doubles, Ints

Masses: TypeAlias = "sp.csr_array[np.float64]"
"""(R, I) masses of products for R customers or groups."""
DEPTH = 100
"""Places of a list that have mass."""


def place_masses(lists: Codes, n_products: int) -> Masses:
    """(B, I) masses of the products in lists (B, K), best first, -1 = an empty place; rows that list any sum to 1."""
    listed = lists != NOTHING
    weight = np.where(listed, 1.0 / np.log2(np.arange(lists.shape[1]) + 2.0), 0.0)
    weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
    indptr = np.concatenate(([0], np.cumsum(listed.sum(axis=1))))
    found = sp.csr_array((weight[listed], lists[listed], indptr), shape=(len(lists), n_products))
    found.sort_indices()
    return found


def summed(masses: Masses, place: Codes, size: int) -> Masses:
    """(R, C) masses of categories, from the category of each product (I,)."""
    one = np.ones(len(place))
    into = sp.csr_array((one, (np.arange(len(place)), place)), shape=(len(place), size))
    found = sp.csr_array(masses @ into)
    found.sort_indices()
    return found


def best_cells(masses: Masses, tie_rank: Codes, k: int) -> tuple[Ints, Ints, Codes, Doubles]:
    """(M,) rows, places (0 = best), columns and masses of the k heaviest columns of each row.

    Ties go to the smaller ``tie_rank`` (C,).
    """
    row = np.repeat(np.arange(masses.shape[0]), np.diff(masses.indptr))
    order = np.lexsort((tie_rank[masses.indices], -masses.data, row))
    place = np.arange(len(order)) - masses.indptr[row]  # rows stay side by side
    kept = (place < k) & (masses.data[order] > 0)
    order = order[kept]
    return row[kept], place[kept], masses.indices[order].astype(np.int32), masses.data[order]


@dataclass(frozen=True, eq=False)
class GroupMasses:
    """Masses of products for the N nodes of a tree of customers; the root, node 0, is everybody."""

    parent: Codes
    """(N,) the node above, -1 for the root; parents come first."""
    sums: Masses
    """(N, I) masses summed over the members that hang at the node itself, in none of its children."""
    members: Ints
    """(N,) how many those are."""
    seen: Ints
    """(N,) how many of them have purchases: the evidence."""
    strength: float
    """κ: so many members with purchases weigh as much as the sisters; 0 = no shrinkage."""

    @cached_property
    def size(self) -> Doubles:
        """(N,) members in and below each node."""
        return np.asarray(self._below @ self.members.astype(np.float64))

    def rows(self, nodes: Ints) -> Masses:
        """(R, I) mean masses of the members of these nodes, shrunk; nodes without members are empty."""
        weight = self._scale[nodes] / np.maximum(self.size[nodes], 1.0)
        return sp.csr_array(_times(weight, self._totals[nodes]) + self._lent(nodes))

    @cached_property
    def _below(self) -> Masses:
        """(N, N) 1 where the column node lies in or below the row node."""
        node = up = np.arange(len(self.parent))
        rows, columns = [], []
        while len(node):
            rows.append(up)
            columns.append(node)
            inner = up > 0
            node, up = node[inner], self.parent[up[inner]].astype(np.int64)
        row, column = np.concatenate(rows), np.concatenate(columns)
        return sp.csr_array((np.ones(len(row)), (row, column)), shape=(len(self.parent), len(self.parent)))

    @cached_property
    def _totals(self) -> Masses:
        return sp.csr_array(self._below @ self.sums)

    @cached_property
    def _shrinkage(self) -> Doubles:
        """(N,) λ; 0 for the root."""
        evidence = np.asarray(self._below @ self.seen.astype(np.float64))
        found = self._lambda(evidence)
        found[0] = 0.0
        return found

    def _lambda(self, evidence: Doubles) -> Doubles:
        return self.strength / (evidence + self.strength) if self.strength else np.zeros(len(evidence))

    @cached_property
    def _targets(self) -> Masses:
        """(N, I) t of each node that has children; those who hang at the node itself count as one more child."""
        size = len(self.parent)
        child = np.arange(1, size)
        up = sp.csr_array((self._shrinkage[1:], (self.parent[1:], child)), shape=(size, size))
        rest = self._lambda(self.seen.astype(np.float64))
        weight = np.asarray(up @ self.size) + rest * self.members
        return _times(1.0 / np.maximum(weight, 1e-300), up @ self._totals + _times(rest, self.sums))

    @cached_property
    def _scale(self) -> Doubles:
        """(N,) what of its own mean each node keeps."""
        found = np.ones(len(self.parent))
        for node in range(1, len(found)):
            found[node] = found[self.parent[node]] * (1.0 - self._shrinkage[node])
        return found

    def _lent(self, nodes: Ints) -> Masses:
        """(R, I) what nodes have from their sisters, and from the sisters of those above them."""
        if not (nodes > 0).any():
            return sp.csr_array((len(nodes), self.sums.shape[1]), dtype=np.float64)
        above = np.maximum(self.parent[nodes], 0).astype(np.int64)
        lent = _times(self._scale[above] * self._shrinkage[nodes], self._targets[above])
        return sp.csr_array(lent + self._lent(above))


def _times(weight: Doubles, rows: Masses) -> Masses:
    """Each row of a sparse array times its weight (R,)."""
    found = sp.csr_array(rows).copy()
    found.data = found.data * np.repeat(weight, np.diff(found.indptr))
    return found
