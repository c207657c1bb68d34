"""Event lines: purchases and returns as parallel arrays, and histories of a batch of customers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from aisle.data.entities import Features
from aisle.types import DAY, NEVER, Bools, Clock, Codes, Doubles, Floats, Ints, Sparse, Times

SECOND = 1_000_000
"""Microseconds. Times of whole seconds are the rule: counted in these they fit into a key beside other columns."""
MISPLACED = 0.02
"""Share of lines that lie before a smaller one, up to which a sort that goes by runs is the quicker one."""
FEW_LINES = 1_000
"""Fewer are sorted by their places: what comes before a sort of numbers would take longer."""


@dataclass(frozen=True, eq=False)
class Events:
    """E lines sorted by (customer, time, basket, product); every array is (E,)."""

    customer: Codes
    """-1 = anonymous."""
    product: Codes
    time: Times
    quantity: Floats
    """Negative = a return."""
    amount: Floats
    """Line total with the sign of quantity; NaN = unknown."""
    basket: Codes
    """One code an order; where orders have no id, one a customer and day. Rises with time within a customer."""
    store: Codes
    channel: Codes
    void_at: Times
    """The moment from which returns have undone this purchase whole; ``NEVER`` otherwise."""

    def __len__(self) -> int:
        return len(self.customer)

    @property
    def nbytes(self) -> int:
        """Memory of all arrays, in bytes."""
        return sum(getattr(self, f.name).nbytes for f in fields(self))

    def take(self, rows: Bools | Ints | slice) -> Events:
        """The lines that a mask, an index or a slice picks."""
        return Events(*(getattr(self, f.name)[rows] for f in fields(self)))


def _looked_up(name: str) -> Any:
    """A column of ``Picked``."""
    return property(lambda self: self.column(name))


class Picked(Events):
    """Some lines of others, each column looked up whenever it is asked for: only the places of the lines are held.

    Of a hundred million lines that are seen at several moments, copies would be most of the memory of a run.
    """

    customer: Codes = _looked_up("customer")
    product: Codes = _looked_up("product")
    time: Times = _looked_up("time")
    quantity: Floats = _looked_up("quantity")
    amount: Floats = _looked_up("amount")
    basket: Codes = _looked_up("basket")
    store: Codes = _looked_up("store")
    channel: Codes = _looked_up("channel")
    void_at: Times = _looked_up("void_at")

    def __init__(self, lines: Events, seen: Bools, as_of: int) -> None:
        """The ``lines`` that are ``seen`` (E,); what returns undo from ``as_of`` on is not undone yet."""
        self._lines, self._as_of = lines, as_of
        self._rows = np.flatnonzero(seen).astype(np.int32 if len(seen) <= np.iinfo(np.int32).max else np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def column(self, name: str, rows: Bools | Ints | slice = slice(None)) -> np.ndarray:
        """A column, or some of it."""
        found = getattr(self._lines, name)[self._rows[rows]]
        return np.where(found >= self._as_of, NEVER, found) if name == "void_at" else found

    @property
    def nbytes(self) -> int:
        """Memory of the places, in bytes."""
        return self._rows.nbytes

    def take(self, rows: Bools | Ints | slice) -> Events:
        """The lines that a mask, an index or a slice picks, copied."""
        return Events(*(self.column(f.name, rows) for f in fields(self)))


@dataclass(frozen=True, eq=False)
class Batch:
    """The inputs of a score: B customers with their purchases before ``at``.

    Identity may be one input among others; every model must answer with customer -1 and with an empty history.
    """

    customers: Codes
    """(B,) codes, -1 = unknown to the data."""
    indptr: Ints
    """(B + 1,): purchases of row b are ``lines[indptr[b]:indptr[b + 1]]``, oldest first."""
    lines: Events
    """(E,) purchases not undone by a return before ``at``."""
    features: Features
    """Attributes and groups of the B rows."""
    at: int
    """The moment of the question; nothing at or after it is in the batch."""
    n_products: int
    clock: Clock = "time"

    def __len__(self) -> int:
        return len(self.customers)

    @cached_property
    def row(self) -> Ints:
        """(E,) batch row of each line."""
        return np.repeat(np.arange(len(self)), np.diff(self.indptr))

    @cached_property
    def age_days(self) -> Doubles:
        """(E,) days (baskets, under a sequence clock) from each line to ``at``; > 0."""
        return (self.at - self.lines.time) / (DAY if self.clock == "time" else 1)

    @cached_property
    def history(self) -> Sparse:
        """(B, I) number of baskets of the customer that hold the product."""
        first = first_of_basket(self.lines, self.row)
        return sparse_sum(self.row[first], self.lines.product[first], np.ones(int(first.sum())), self.shape)

    @property
    def shape(self) -> tuple[int, int]:
        """(B, I)."""
        return len(self), self.n_products

    @cached_property
    def empty(self) -> Bools:
        """(B,) rows without any purchase."""
        return np.asarray(np.diff(self.indptr) == 0)


def first_of_basket(lines: Events, row: Ints | Codes) -> Bools:
    """(E,) True for the first line of each (row, basket, product), so that split lines of one basket count once."""
    columns = (row, lines.basket, lines.product)
    keys = _packed(columns)
    if _rising(keys):  # as a rule: only baskets of two moments may lie otherwise
        return changes(keys[0])
    order = _order_of(keys)
    first = np.zeros(len(order), dtype=bool)
    first[order] = new_in(order, *columns)
    return first


def order_by(*columns: Ints | Codes) -> Ints:
    """(E,) stable order of lines by several integer columns (E,), the most important first.

    Columns are packed into as few int64 keys as hold them, which takes a fraction of the time of a sort by each.
    """
    return _order_of(_packed(columns))


def _order_of(keys: list[Ints]) -> Ints:
    """(E,) stable order by keys (E,), the least important first.

    A key and the place of its line in one number are sorted as plain numbers, which takes a fraction of the time of a
    stable sort of places, unless nearly all lie in order; of a key too wide for that first the lower digits, then the
    upper ones.
    """
    count = len(keys[0])
    if count < FEW_LINES:
        return np.lexsort(keys)
    if len(keys) == 1 and np.count_nonzero(keys[0][1:] < keys[0][:-1]) <= MISPLACED * count:
        return _by_places(None, keys[0])
    order, bits = None, 63 - count.bit_length()
    for key in keys:
        low, high = int(key.min()), int(key.max())
        if high - low >= 1 << 62:  # nothing can be taken away from it
            order = _by_places(order, key)
            continue
        for shift in range(0, (high - low).bit_length(), bits):
            order = _by_numbers(order, ((key - low) >> shift) & ((1 << bits) - 1))
    return np.arange(count) if order is None else order


def _by_numbers(order: Ints | None, digits: Ints) -> Ints:
    """(E,) the order, None = as they lie, with smaller digits (E,) first; these and a place fit into 63 bits."""
    places = len(digits).bit_length()
    both = (digits if order is None else digits[order]) << places
    both |= np.arange(len(digits))
    np.bitwise_and(sorted_values(both), (1 << places) - 1, out=both)
    return both if order is None else order[both]


def sorted_values(values: np.ndarray) -> np.ndarray:
    """(E,) values sorted, maybe not to be written to; of many Polars takes a third of the time of NumPy."""
    return np.sort(values) if len(values) < FEW_LINES else pl.Series(values).sort().to_numpy()


def _by_places(order: Ints | None, key: Ints) -> Ints:
    """(E,) the same for a key (E,) of any width."""
    if order is None:
        return np.argsort(key, kind="stable")
    return np.asarray(order[np.argsort(key[order], kind="stable")])


def _rising(keys: list[Ints]) -> bool:
    return len(keys) == 1 and bool((keys[0][1:] >= keys[0][:-1]).all())


def changes(key: Ints | Codes) -> Bools:
    """(E,) True where a key (E,) is not that before it."""
    return np.append(True, key[1:] != key[:-1])[: len(key)]


def _packed(columns: tuple[Ints | Codes, ...]) -> list[Ints]:
    """Keys (E,) that together sort like the columns (E,), the least important first."""
    if not len(columns[0]):
        return [np.zeros(0, dtype=np.int64)]
    keys: list[Ints] = []
    width, room = 1, 0
    for column in reversed(columns):
        low = int(column.min())
        span = int(column.max()) - low + 1
        if span >= 1 << 62:  # must not be shifted, but can be sorted as it is
            keys.append(column.astype(np.int64))
            width, room = span, 0
            continue
        key = column.astype(np.int64)  # a copy, worked on in place: new memory takes longer than the work
        key -= low
        if span > 1 << 32 and not (key % SECOND).any():
            key //= SECOND
            span = span // SECOND + 1
        if keys and span <= room:
            key *= width
            keys[-1] += key
            width, room = width * span, room // span
        else:
            keys.append(key)
            width, room = span, (1 << 62) // span
    return keys


def new_in(order: Ints, *columns: Ints | Codes) -> Bools:
    """(E,) True for each line in ``order`` that differs from the one before it in any of the columns (E,)."""
    new = np.zeros(len(order), dtype=bool)
    new[:1] = True
    for column in columns:
        ordered = column[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    return new


def sorted_set(values: Ints) -> Ints:
    """The different values, sorted: ``np.unique``, which hashes first, takes ten times as long where most differ."""
    ordered = sorted_values(values)
    return np.asarray(ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]])


def unique_pairs(first: Ints | Codes, second: Ints | Codes) -> tuple[Ints, Ints]:
    """The different pairs of two arrays (E,) of codes >= 0, sorted, as two arrays."""
    width = int(second.max(initial=0)) + 1
    found = sorted_set(first.astype(np.int64) * width + second)
    return found // width, found % width


def sparse_sum(rows: Ints | Codes, cols: Codes, values: Doubles | Floats, shape: tuple[int, int]) -> Sparse:
    """(shape) float32 CSR of the sums of values that share a cell, columns sorted; sums run in float64."""
    keys = _packed((rows, cols))
    if _rising(keys):
        head = start = np.flatnonzero(changes(keys[0]))
    else:
        order = _order_of(keys)
        start = np.flatnonzero(new_in(order, rows, cols))
        head, values = order[start], values[order]
    sums = np.add.reduceat(values.astype(np.float64), start) if len(start) else np.zeros(0)
    indptr = np.concatenate(([0], np.cumsum(np.bincount(rows[head], minlength=shape[0]))))
    return sp.csr_array((sums.astype(np.float32), cols[head].astype(np.int32), indptr.astype(np.int32)), shape=shape)


def slices(rows: int, step: int) -> list[slice]:
    """Neighbouring rows, at most ``step`` of them each, a single one at least."""
    step = max(step, 1)
    return [slice(at, min(at + step, rows)) for at in range(0, rows, step)]


def stacked(blocks: list[Sparse]) -> Sparse:
    """Blocks of rows, one or more, as one CSR array."""
    return blocks[0] if len(blocks) == 1 else sp.csr_array(sp.vstack(blocks, format="csr"))
