"""Event lines: purchases and returns as parallel arrays, and histories of a batch of customers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from aisle.data.entities import Features
from aisle.types import DAY, Bools, Clock, Codes, Doubles, Floats, Ints, Sparse, Times


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

    def take(self, rows: Bools | Ints | slice) -> Events:
        """The lines that a mask, an index or a slice picks."""
        return Events(*(getattr(self, f.name)[rows] for f in fields(self)))


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
    order = np.lexsort((lines.product, lines.basket, row))
    key = np.stack((np.asarray(row)[order], lines.basket[order], lines.product[order]))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (key[:, 1:] != key[:, :-1]).any(axis=0)
    first = np.zeros(len(order), dtype=bool)
    first[order] = new
    return first


def sparse_sum(rows: Ints | Codes, cols: Codes, values: Doubles | Floats, shape: tuple[int, int]) -> Sparse:
    """(shape) CSR of the sums of values that share a cell, columns sorted; sums run in the order of the lines."""
    matrix = sp.csr_array((values.astype(np.float32), (rows, cols)), shape=shape)
    matrix.sum_duplicates()
    matrix.sort_indices()
    return matrix
