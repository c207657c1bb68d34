"""Trees of categories or groups: every level keyed by its full path, and parents that exist and end."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl

from aisle.data.schema import PATH
from aisle.types import Bools


def levels(columns: list[str], prefix: str) -> list[str]:
    """``category_1 … category_n`` among the columns, top to leaf."""
    found = [c for c in columns if c.startswith(prefix) and c[len(prefix) :].isdigit()]
    return sorted(found, key=lambda c: int(c[len(prefix) :]))


def full_paths(table: pl.DataFrame, prefix: str) -> tuple[pl.DataFrame, Bools]:
    """The table with each level as its full path (``Clothing > Mens``), and rows (N,) with an empty level inside.

    Names repeat under different parents, so that a name alone is no key. Below an empty level the branch ends.
    Levels that are full paths already stay as they are.
    """
    names = levels(table.columns, prefix)
    broken = np.zeros(table.height, dtype=bool)
    if not names:
        return table, broken
    table = table.with_columns(pl.col(c).cast(pl.String).replace("", None) for c in names)
    for upper, lower in pairwise(names):
        above, mine = table[upper], table[lower]
        broken |= (above.is_null() & mine.is_not_null()).to_numpy()
        # a level that already starts with the path above it is a full path (our own files, read again)
        known = table.select(pl.col(lower).str.starts_with(pl.col(upper) + PATH)).to_series()
        if known.drop_nulls().all() and known.drop_nulls().len():
            table = table.with_columns(pl.when(pl.col(upper).is_not_null()).then(pl.col(lower)).alias(lower))
        else:
            table = table.with_columns((pl.col(upper) + PATH + pl.col(lower)).alias(lower))
    return table, broken


def check_parents(table: pl.DataFrame, key: str, parent: str) -> tuple[pl.DataFrame, Bools, Bools]:
    """The table with bad parents blanked, rows (N,) whose parent is missing, and rows that are their own ancestor."""
    ids = table[key].cast(pl.String)
    place = pl.DataFrame({"id": ids, "at": np.arange(len(ids))}).unique("id", keep="first")
    asked = pl.DataFrame({"id": table[parent].cast(pl.String)})
    up = asked.join(place, on="id", how="left", maintain_order="left")["at"]
    orphan = (up.is_null() & asked["id"].is_not_null()).to_numpy()
    cyclic = _on_cycles(up.fill_null(-1).to_numpy())
    blank = pl.Series(orphan | cyclic)
    if blank.any():
        table = table.with_columns(table[parent].cast(pl.String).set(blank, None).alias(parent))
    return table, orphan, cyclic


def _on_cycles(up: np.ndarray) -> Bools:
    """(N,) True for nodes on a cycle of the parent links ``up`` (N,), -1 = a root."""
    state = [0] * len(up)  # 0 new, 1 on the current walk, 2 done
    cyclic = np.zeros(len(up), dtype=bool)
    parents = up.tolist()
    for start in np.flatnonzero(up >= 0).tolist():
        walk: list[int] = []
        node = start
        while node >= 0 and state[node] == 0:
            state[node] = 1
            walk.append(node)
            node = parents[node]
        if node >= 0 and state[node] == 1:
            cyclic[walk[walk.index(node) :]] = True
        for seen in walk:
            state[seen] = 2
    return cyclic
