"""Which kept lines further ones touch: those that a check of all lines could see beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from aisle.data.doctor.pieces import Piece
from aisle.data.vocab import Vocab
from aisle.types import DAY, Bools, Ints


@dataclass(frozen=True, eq=False)
class Touch:
    """What further lines share with lines before them."""

    hashes: pl.Series
    orders: pl.Series | None
    """Order ids; None where lines have none: then whole days are compared."""
    days: Ints
    pairs: Pairs | None
    """Customers with products; None where nothing was returned."""

    @classmethod
    def of(cls, lines: pl.DataFrame, *, ordered: bool, returns: bool) -> Touch:
        """What these typed lines (E,) share."""
        orders = lines["order_id"].unique().drop_nulls().cast(pl.String) if ordered else None
        days = np.unique(lines["timestamp"].dt.epoch("d").to_numpy())
        return cls(lines["_hash"].unique(), orders, days, Pairs.of(lines) if returns else None)

    def rows(self, piece: Piece) -> Bools:
        """(E,) lines of a file that are touched. Raises BundleError or FileNotFoundError as ``Piece``."""
        touched = piece.column("_hash").is_in(self.hashes.implode()).to_numpy().copy()
        if self.orders is not None:
            touched |= named(piece, "order_id", self.orders)
        else:
            touched |= np.isin(piece.column("ticks").to_numpy() // DAY, self.days)
        if self.pairs is not None:
            touched |= self.pairs.rows(piece)
        return touched


@dataclass(frozen=True, eq=False)
class Pairs:
    """Customers and the products on their lines."""

    customers: Vocab
    products: Vocab
    keys: pl.Series
    """customer code x number of products + product code, of all lines."""
    back: pl.Series
    """The same, of returns."""

    @classmethod
    def of(cls, lines: pl.DataFrame) -> Pairs:
        """Those of lines (E,)."""
        both = lines.select("customer_id", "product_id", "quantity").drop_nulls()
        customers, products = (Vocab.of(both[name].unique()) for name in ("customer_id", "product_id"))
        keys = _keys(customers.codes(both["customer_id"]), products.codes(both["product_id"]), len(products))
        return cls(customers, products, keys.unique(), keys.filter(both["quantity"] < 0).unique())

    def rows(self, piece: Piece) -> Bools:
        """(E,) lines of a file with a pair of these that was returned, here or there."""
        returned = np.flatnonzero((piece.column("quantity") < 0).fill_null(False).to_numpy())
        theirs = self._keys_of(piece, returned)
        pairs = pl.concat([self.back, theirs.filter(theirs.is_in(self.keys.implode()))]).unique()
        buyers = np.zeros(len(self.customers), dtype=bool)
        buyers[(pairs // max(len(self.products), 1)).to_numpy()] = True
        code = self.customers.codes(piece.texts("customer_id"))
        near = np.flatnonzero(_spread((code >= 0) & buyers[code], piece.column("customer_id"), blank=False))
        rows = np.zeros(len(piece.column("customer_id")), dtype=bool)
        rows[near[self._keys_of(piece, near).is_in(pairs.implode()).to_numpy()]] = True
        return rows

    def _keys_of(self, piece: Piece, rows: Ints) -> pl.Series:
        """The pairs of some lines of a file, -1 where customer or product is none of these."""
        customer, product = (
            _spread(vocab.codes(piece.texts(name)), piece.column(name).gather(rows))
            for name, vocab in (("customer_id", self.customers), ("product_id", self.products))
        )
        return _keys(customer, product, len(self.products)).set(pl.Series((customer < 0) | (product < 0)), -1)


def named(piece: Piece, column: str, texts: pl.Series) -> Bools:
    """(E,) lines of a file with one of the texts in a column."""
    hit = piece.texts(column).is_in(texts.implode()).to_numpy()
    return _spread(hit, piece.column(column), blank=False)


def _spread(values: np.ndarray, places: pl.Series, blank: int = -1) -> np.ndarray:
    """(E,) the value at each place, ``blank`` where the place is null."""
    padded = np.append(values, np.asarray(blank, dtype=values.dtype))
    return np.asarray(padded[places.fill_null(len(values)).to_numpy()])


def _keys(customer: np.ndarray, product: np.ndarray, width: int) -> pl.Series:
    return pl.Series(customer.astype(np.int64) * width + product)
