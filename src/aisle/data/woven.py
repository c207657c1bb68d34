"""Lines before and later ones as one, a column at a time and block by block, so that none need be held whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from aisle.data.events import Events, changes, slices
from aisle.types import Bools, Codes, Ints

BLOCK = 1 << 17
"""Lines at a time: a column of so many stays in the processor's cache until it is written."""


@dataclass(frozen=True, eq=False)
class _Block:
    """Neighbouring lines of the outcome."""

    rows: slice
    """The lines before that are looked at …"""
    stay: Bools | None
    """… and which of them stay; None = all."""
    later: slice
    """The later lines among them …"""
    late: Bools
    """… and where those stand, of all lines of the block."""

    def joined(self, before: np.ndarray, later: np.ndarray) -> np.ndarray:
        """A column of the block, of those lines ``before`` that stay and the ``later`` ones."""
        if not len(later):
            return before
        values = np.empty(len(self.late), dtype=before.dtype)
        values[self.late], values[~self.late] = later, before
        return values


class Woven:
    """Lines before that stay and later ones, which come after them within a customer.

    ``places``: by column, new codes (N + 1,) of old ones, the last for -1; None where they are the same. No line of the
    customers ``anew`` (old codes) stays.
    """

    def __init__(
        self, before: Events, anew: Codes, places: dict[str, Codes | None], later: Events, customers: int
    ) -> None:
        self.before, self.later, self.places = before, later, places
        start = np.flatnonzero(changes(before.customer))
        old = before.customer[start]
        who, gone = self._coded("customer", old), np.isin(old, anew)
        first = _Baskets(who, start, before.basket, customers)
        first.count[who[gone] + 1] = 0
        heads = np.flatnonzero(changes(later.customer))
        second = _Baskets(later.customer[heads], heads, later.basket, customers)
        begin = np.cumsum(first.count + second.count) - first.count - second.count
        self.shifts = first.shift(begin), second.shift(begin + first.count)
        # a later line stands in front of the first line before of a later customer
        front = np.append(start, len(before))[np.searchsorted(who, later.customer, side="right")]
        out = np.zeros(int(old.max(initial=-1)) + 2, dtype=bool)  # the last for -1
        out[old[gone]] = True
        self.blocks = list(self._cut(front, out if gone.any() else None))

    def __len__(self) -> int:
        return sum(len(block.late) for block in self.blocks)

    def _cut(self, front: Ints, out: Bools | None) -> Iterator[_Block]:
        parts = slices(len(self.before), BLOCK) or [slice(0, 0)]
        bounds = np.append(np.searchsorted(front, [part.start for part in parts]), len(front))
        for part, low, high in zip(parts, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            stay = None if out is None else ~out[self.before.customer[part]]
            ahead = np.arange(part.stop - part.start + 1) if stay is None else np.append(0, np.cumsum(stay))
            late = np.zeros(int(ahead[-1]) + high - low, dtype=bool)
            late[ahead[front[low:high] - part.start] + np.arange(high - low)] = True
            yield _Block(part, stay, slice(low, high), late)

    def column(self, name: str) -> Iterator[np.ndarray]:
        """A column of all lines, block by block."""
        for block in self.blocks:
            first, second = self._kept(name, block), getattr(self.later, name)[block.later]
            if name == "basket":
                first = self.shifts[0][self._kept("customer", block)] + first
                second = self.shifts[1][self.later.customer[block.later]] + second
            yield block.joined(first, second)

    def _kept(self, name: str, block: _Block) -> np.ndarray:
        values: np.ndarray = getattr(self.before, name)[block.rows]
        return self._coded(name, values if block.stay is None else values[block.stay])

    def _coded(self, name: str, values: np.ndarray) -> np.ndarray:
        place = self.places.get(name)
        return values if place is None else place[values]


class _Baskets:
    """Basket codes of lines sorted by customer: those of a customer are neighbours."""

    def __init__(self, customer: Codes, start: Ints, basket: Codes, customers: int) -> None:
        """``customer``: who the lines from each ``start`` on are of."""
        self.low: Ints = np.zeros(customers + 1, dtype=np.int64)
        self.count: Ints = np.zeros(customers + 1, dtype=np.int64)
        """Of each customer, the anonymous ones first."""
        if len(start):
            self.low[customer + 1] = np.minimum.reduceat(basket, start)
            self.count[customer + 1] = np.maximum.reduceat(basket, start) - self.low[customer + 1] + 1

    def shift(self, begin: Ints) -> Codes:
        """(U + 1,) what is added to codes of customer u, the last one anonymous, for them to begin at ``begin``."""
        shift: Codes = np.roll((begin - self.low).astype(np.int32), -1)
        return shift
