"""A tree of levels as one numbered set of nodes, each with the node above it: what sums up a tree work with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from aisle.data.entities import Level
from aisle.types import UNKNOWN, Codes, Sparse

ROOT = 0
"""The node above all others."""


@dataclass(frozen=True, eq=False)
class Nodes:
    """N nodes of a tree over R rows (products or customers); parents come before their children."""

    parent: Codes
    """(N,) the node above; -1 for the root, which is node 0."""
    depth: Codes
    """(N,) 0 for the root, 1 … L for the levels from top to leaf."""
    place: Codes
    """(R,) the deepest known node of each row: the root where no level is known."""

    @classmethod
    def of(cls, levels: Sequence[Level], rows: int) -> Nodes:
        """From the levels, top to leaf, of R rows; a row whose branch ends early hangs where it ends."""
        sizes = [len(level.vocab) for level in levels]
        parent = np.full(1 + sum(sizes), ROOT, dtype=np.int32)
        parent[ROOT] = UNKNOWN
        place = np.full(rows, ROOT, dtype=np.int32)
        start = 1
        for level, size in zip(levels, sizes, strict=True):
            known = level.codes >= 0
            node = (start + level.codes[known]).astype(np.int32)
            parent[node] = place[known]
            place[known] = node
            start += size
        depth = np.repeat(np.arange(len(sizes) + 1), [1, *sizes]).astype(np.int32)
        return cls(parent, depth, place)

    def __len__(self) -> int:
        return len(self.parent)

    def level(self, depth: int) -> slice:
        """The nodes of one depth; they lie together, in the order of the vocabulary of the level."""
        start, stop = np.searchsorted(self.depth, (depth, depth + 1))
        return slice(int(start), int(stop))

    def inside(self) -> Sparse:
        """(R, N) 1 where the row lies in or below the node: a product with it sums rows to every level at once."""
        up = self.place
        rows, nodes = [], []
        for _ in range(int(self.depth[-1]) + 1):
            there = np.flatnonzero(up >= 0)
            rows.append(there)
            nodes.append(up[there])
            up = np.where(up >= 0, self.parent[up], UNKNOWN).astype(np.int32)
        row, node = np.concatenate(rows), np.concatenate(nodes)
        shape = (len(self.place), len(self))
        found = sp.csr_array((np.ones(len(row), dtype=np.float32), (row, node)), shape=shape)
        found.sort_indices()
        return found
