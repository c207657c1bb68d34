"""Customers or products with all that is known about them, aligned to their codes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from aisle.data.schema import PATH
from aisle.data.vocab import Vocab
from aisle.types import UNKNOWN, Bools, Codes, Floats, Times

ALWAYS = np.iinfo(np.int64).min
"""``valid_from`` of a row whose table does not say since when it exists."""

VARIANT_OF = "variant_of"
"""The attribute of products that names the master a product is a variant of (another size, another colour)."""


@dataclass(frozen=True, eq=False)
class Level:
    """One categorical column: a level of a tree, or an attribute."""

    name: str
    vocab: Vocab
    codes: Codes
    """(N,) -1 where unknown."""

    def take(self, rows: Codes) -> Level:
        """The level of these rows; row -1 is unknown."""
        return Level(self.name, self.vocab, _take(self.codes, rows, UNKNOWN))


@dataclass(frozen=True, eq=False)
class Entities:
    """N customers or products. ``take`` picks rows, so that unknown customers (-1) flow through models as blanks."""

    vocab: Vocab
    tree: tuple[Level, ...] = ()
    """Hierarchy, top to leaf; values are full paths (``Food > Dairy > Milk``)."""
    categories: tuple[Level, ...] = ()
    """Categorical attributes (brand, gender, …)."""
    numbers: dict[str, Floats] = field(default_factory=dict)
    """Numeric attributes, each (N,), NaN where unknown; times are days since 1970."""
    flags: dict[str, Bools] = field(default_factory=dict)
    """``no_profile`` of customers, ``in_stock`` of products; absent where the source does not say."""
    names: pl.Series | None = None
    """(N,) String: readable names, null where unknown."""
    valid_from: Times | None = None
    """(N,) first moment the row is known; ``ALWAYS`` where the table is silent; None without such a column."""

    def __len__(self) -> int:
        return len(self.vocab)

    def take(self, rows: Codes) -> Features:
        """The features of some rows (B,), -1 giving blanks."""
        return Features(
            tree=tuple(level.take(rows) for level in self.tree),
            categories=tuple(level.take(rows) for level in self.categories),
            numbers={name: _take(values, rows, np.float32(np.nan)) for name, values in self.numbers.items()},
        )

    @cached_property
    def features(self) -> Features:
        """All rows as features."""
        return Features(self.tree, self.categories, self.numbers)

    @cached_property
    def family(self) -> Codes | None:
        """(N,) products that are variants of one master, itself included, share a number; None where nothing is.

        Chains of ``variant_of`` end at one root; a circle, which the doctor reports and breaks up, is one family.
        """
        for level in self.categories:
            if level.name == VARIANT_OF and (level.codes >= 0).any():
                master = self.vocab.codes(level.vocab.ids)[level.codes]
                child = np.flatnonzero((level.codes >= 0) & (master >= 0))
                links = sp.coo_array((np.ones(len(child)), (child, master[child])), shape=(len(self), len(self)))
                return np.asarray(connected_components(links, directed=False)[1], dtype=np.int32)
        return None

    def label(self, code: int) -> str:
        """A readable name for one row: its name, else its leaf category with the id, else its id."""
        name = self.names[code] if self.names is not None else None
        if name:
            return str(name)
        place = self.tree[-1].codes[code] if self.tree else UNKNOWN
        row_id = str(self.vocab.ids[code])
        return row_id if place < 0 else f"{leaf(str(self.tree[-1].vocab.ids[int(place)]))} ({row_id})"


@dataclass(frozen=True, eq=False)
class Features:
    """Content of B rows, without identity: what a model may use for a customer or product it never saw."""

    tree: tuple[Level, ...] = ()
    categories: tuple[Level, ...] = ()
    numbers: dict[str, Floats] = field(default_factory=dict)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Tree levels, then categorical attributes."""
        return self.tree + self.categories


def leaf(path: str) -> str:
    """The last piece of a full path: ``Food > Dairy`` gives ``Dairy``."""
    return path.rsplit(PATH, 1)[-1]


def _take(values: np.ndarray, rows: Codes, blank: object) -> np.ndarray:
    if len(values) == 0:
        return np.full(len(rows), blank, dtype=values.dtype)
    out = values[np.maximum(rows, 0)].copy()
    out[rows < 0] = blank
    return out
