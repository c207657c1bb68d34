"""How each customer has bought each of their own products so far: how often, since when, in which rhythm."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from aisle.data.events import Batch, first_of_basket
from aisle.types import Codes, Doubles, Ints

SHORTEST_GAP = 0.5
"""Days (baskets); two baskets of one day lie this far apart."""


@dataclass(frozen=True, eq=False)
class Repeats:
    """P pairs of a batch row and a product bought before, ordered by row, then product. Ages in days (baskets)."""

    row: Ints
    """(P,)"""
    product: Codes
    """(P,)"""
    times: Doubles
    """(P,) baskets that hold the product; at least 1."""
    last: Doubles
    """(P,) age of the latest of them."""
    gap: Doubles
    """(P,) mean natural logarithm of the ``times - 1`` gaps between them; 0 where there is none."""
    spread: Doubles
    """(P,) standard deviation of these logarithms; infinite below two gaps."""

    def __len__(self) -> int:
        return len(self.row)


def joined(blocks: list[Repeats]) -> Repeats:
    """The pairs of several batches, whose rows are counted anew in each."""
    return Repeats(*(np.concatenate([getattr(block, one.name) for block in blocks]) for one in fields(Repeats)))


def repeats(batch: Batch, category: Codes | None = None) -> Repeats:
    """The pairs of a batch; one pass over its lines, sorted.

    With ``category`` (I,), the category of each product or -1, pairs of a row and a category take the place of those
    of a row and a product: ``times`` counts baskets with any product of it.
    """
    lines = batch.lines
    if category is not None:
        lines = replace(lines, product=category[lines.product])
    first = first_of_basket(lines, batch.row) & (lines.product >= 0)
    row, product, age = batch.row[first], lines.product[first], batch.age_days[first]
    order = np.lexsort((-age, product, row))
    row, product, age = row[order], product[order], age[order]
    new = np.ones(len(row), dtype=bool)
    new[1:] = (row[1:] != row[:-1]) | (product[1:] != product[:-1])
    start = np.flatnonzero(new)
    pair = np.cumsum(new) - 1
    times = np.diff(np.append(start, len(row))).astype(np.float64)
    again = np.flatnonzero(~new)
    logs = np.log(np.maximum(age[again - 1] - age[again], SHORTEST_GAP))
    known = np.maximum(times - 1, 1)
    gap = np.bincount(pair[again], weights=logs, minlength=len(start)) / known
    square = np.bincount(pair[again], weights=(logs - gap[pair[again]]) ** 2, minlength=len(start)) / known
    return Repeats(
        row=row[start],
        product=product[start],
        times=times,
        last=age[np.append(start[1:], len(row)) - 1] if len(start) else age,
        gap=gap,
        spread=np.where(times > 2, np.sqrt(square), np.inf),
    )
