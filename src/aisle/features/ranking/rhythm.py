"""How often, how recently and how regularly each row of a batch bought something: a product, or any of a category."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aisle.data.events import Batch, new_in, order_by
from aisle.features.pairs import basket_places, decay
from aisle.features.repeats import SHORTEST_GAP
from aisle.types import Clock, Codes, Doubles, Ints

LATEST = (3, 5)
"""The count in so many of the latest baskets is a feature."""
HALF_LIVES: dict[Clock, tuple[float, ...]] = {"time": (7.0, 28.0, 91.0, 365.0), "sequence": (1.0, 3.0, 8.0, 20.0)}
"""Days, or baskets where baskets are all the time there is."""


@dataclass(frozen=True, eq=False)
class Visits:
    """V different (batch row, basket, thing) with the thing bought, by row, thing and time. ``ago`` 1 = last basket."""

    row: Ints
    thing: Ints
    ago: Ints
    age: Doubles
    """(V,) days (baskets)."""


@dataclass(frozen=True, eq=False)
class Rhythms:
    """N pairs of a batch row and a thing bought before, ordered by row, then thing."""

    key: Ints
    """(N,) row x ``width`` + thing."""
    width: int
    columns: dict[str, Doubles]
    """Each (N,)."""

    def at(self, row: Ints, thing: Ints | Codes) -> tuple[dict[str, Doubles], Doubles]:
        """The columns at P pairs, NaN where the row never bought the thing, and 1 where it did (P,)."""
        key = row.astype(np.int64) * self.width + thing
        if not len(self.key):
            return {name: np.full(len(key), np.nan) for name in self.columns}, np.zeros(len(key))
        place = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        found = (self.key[place] == key) & (thing >= 0)
        return {name: np.where(found, column[place], np.nan) for name, column in self.columns.items()}, found * 1.0


def visits(batch: Batch, thing: Ints | Codes) -> Visits:
    """The visits of a batch for what each of its lines holds, ``thing`` (E,); lines of -1 are left out."""
    place, number = basket_places(batch)
    known = np.flatnonzero(thing >= 0)
    row, what, where = batch.row[known], thing[known].astype(np.int64), place[known]
    order = order_by(row, what, where)
    first = order[new_in(order, row, what, where)]
    lines = known[first]
    return Visits(row[first], what[first], (number[batch.row] - place)[lines], batch.age_days[lines])


def rhythms(batch: Batch, thing: Ints | Codes, width: int) -> Rhythms:
    """Rhythms of everything that the lines of a batch hold, ``thing`` (E,) in 0 … width-1 or -1."""
    seen = visits(batch, thing)
    new = np.ones(len(seen.row), dtype=bool)
    new[1:] = (seen.row[1:] != seen.row[:-1]) | (seen.thing[1:] != seen.thing[:-1])
    start = np.flatnonzero(new)
    pair, size = np.cumsum(new) - 1, len(start)
    end = np.append(start[1:], len(new))[:size] - 1
    count = (end - start + 1).astype(np.float64)
    baskets = basket_places(batch)[1][seen.row[start]].astype(np.float64)
    again = np.flatnonzero(~new)
    logs = np.log(np.maximum(seen.age[again - 1] - seen.age[again], SHORTEST_GAP))
    gaps = np.maximum(count - 1, 1)
    gap = np.bincount(pair[again], weights=logs, minlength=size) / gaps
    square = np.bincount(pair[again], weights=(logs - gap[pair[again]]) ** 2, minlength=size) / gaps
    first, last = seen.ago[start].astype(np.float64), seen.ago[end].astype(np.float64)
    columns = {
        "count": count,
        "share": count / baskets,
        "ago": last,
        "ago_share": last / baskets,
        "first_ago": first,
        "rate": (count - 1) / np.maximum(first - last, 1),
        "days": seen.age[end],
        "first_days": seen.age[start],
        "gap": np.where(count > 1, gap, np.nan),
        "gap_spread": np.where(count > 2, np.sqrt(square), np.nan),
        "overdue": np.where(count > 1, np.log(np.maximum(seen.age[end], SHORTEST_GAP)) - gap, np.nan),
    }
    for latest in LATEST:
        columns[f"last_{latest}"] = np.bincount(pair, weights=seen.ago <= latest, minlength=size)
    for place, half_life in enumerate(HALF_LIVES[batch.clock]):
        columns[f"decayed_{place}"] = np.bincount(pair, weights=decay(seen.age, half_life), minlength=size)
    return Rhythms(seen.row[start] * width + seen.thing[start], width, columns)
