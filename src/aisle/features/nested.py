"""Groups of customers one inside the other: the customer tree, or attributes crossed where there is no tree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aisle.data.entities import Features
from aisle.types import UNKNOWN, Codes, Ints

MOST_CROSSED = 3
"""Attributes crossed at most: each further one leaves less in a group."""


@dataclass(frozen=True, eq=False)
class NestedGroups:
    """G groups of D levels, each level inside the one before it."""

    names: tuple[str, ...]
    """(D,) columns, widest groups first."""
    crossed: bool
    """The groups of a level are combinations of its column with all before it; those of a tree are nested as they
    are."""
    keys: Ints
    """(G,) what a group is known by, sorted within its level."""
    starts: Ints
    """(D + 1,) groups of level d are ``starts[d] … starts[d + 1]``."""
    widths: Ints
    """(D,) values of each column."""

    @classmethod
    def of(cls, features: Features) -> NestedGroups:
        """The levels of the customer tree; without a tree the attributes with the fewest values, crossed one by one."""
        levels = features.tree
        if not levels:
            useful = [level for level in features.categories if len(level.vocab) > 1]
            levels = tuple(sorted(useful, key=lambda level: len(level.vocab))[:MOST_CROSSED])
        names = tuple(level.name for level in levels)
        widths = np.array([len(level.vocab) for level in levels], dtype=np.int64)
        blank = cls(names, not features.tree, np.zeros(0, np.int64), np.zeros(len(names) + 1, np.int64), widths)
        found = [np.unique(key[key >= 0]) for key in blank._keys(features)]
        starts = np.concatenate(([0], np.cumsum([len(key) for key in found]))).astype(np.int64)
        return cls(names, blank.crossed, np.concatenate([*found, np.zeros(0, np.int64)]), starts, widths)

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, features: Features, size: int) -> Codes:
        """(B, D) group of each of the B customers at each level; -1 from where it is not known."""
        found = np.full((size, len(self.names)), UNKNOWN, dtype=np.int32)
        for depth, key in enumerate(self._keys(features)):
            start, stop = int(self.starts[depth]), int(self.starts[depth + 1])
            if stop == start:
                break
            at = np.minimum(start + np.searchsorted(self.keys[start:stop], key), stop - 1)
            found[:, depth] = np.where(self.keys[at] == key, at, UNKNOWN)
        return found

    def _keys(self, features: Features) -> list[Ints]:
        """(B,) key of each customer at each level; -1 = unknown. Columns that are not there end the list."""
        columns = {level.name: level.codes for level in features.levels}
        keys: list[Ints] = []
        for name, width in zip(self.names, self.widths.tolist(), strict=True):
            if name not in columns:
                break
            code = columns[name].astype(np.int64)
            code[code >= width] = UNKNOWN
            if self.crossed and keys:
                code = np.where((code >= 0) & (keys[-1] >= 0), keys[-1] * width + code, UNKNOWN)
            keys.append(code)
        return keys
