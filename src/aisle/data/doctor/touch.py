"""Which kept lines further ones touch: those that a check of all lines could see beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from aisle.data.doctor.pieces import PAIR, Pick, Piece, pairs_returned
from aisle.data.vocab import Vocab
from aisle.types import DAY, UNKNOWN, Bools, Ints


@dataclass(frozen=True, eq=False)
class Touch:
    """What further lines share with lines before them."""

    hashes: pl.Series
    orders: pl.Series | None
    """Order ids; None where lines have none: then whole days are compared."""
    days: Ints
    pairs: Pairs
    """Customers with products that were returned, in any file."""

    @classmethod
    def of(cls, lines: pl.DataFrame, pieces: Sequence[Piece], *, ordered: bool) -> Touch:
        """What these typed lines (E,) share with those of files."""
        orders = lines["order_id"].unique().drop_nulls().cast(pl.String) if ordered else None
        days = np.unique(lines["timestamp"].dt.epoch("d").to_numpy())
        return cls(lines["_hash"].unique(), orders, days, Pairs.of(lines, pieces))

    def of_file(self, piece: Piece) -> Pick:
        """Picks the lines of a file that are touched. Raises BundleError or FileNotFoundError as ``Piece``."""
        picks: list[Pick] = [lambda lines: lines["_hash"].is_in(self.hashes.implode()).to_numpy()]
        if self.orders is not None:
            picks.append(named(piece, "order_id", self.orders))
        else:
            picks.append(lambda lines: np.isin(lines["ticks"].to_numpy() // DAY, self.days))
        if len(self.pairs.keys):
            picks.append(self.pairs.of_file(piece))
        return lambda lines: np.logical_or.reduce([pick(lines) for pick in picks])


@dataclass(frozen=True, eq=False)
class Pairs:
    """Customers with products."""

    customers: Vocab
    products: Vocab
    keys: pl.Series
    """customer code x number of products + product code."""

    @classmethod
    def of(cls, lines: pl.DataFrame, pieces: Sequence[Piece]) -> Pairs:
        """Those of lines (E,) that were returned among them or in a file."""
        here = lines.select(list(PAIR)).drop_nulls().unique().cast(PAIR)
        known = pl.concat([piece.returned() for piece in pieces] or [pl.DataFrame(schema=PAIR)]).unique()
        pairs = pl.concat([pairs_returned(lines), here.join(known, on=list(PAIR), how="semi")]).unique()
        customers, products = (Vocab.of(pairs[name].unique().sort()) for name in PAIR)
        codes = customers.codes(pairs["customer_id"]), products.codes(pairs["product_id"])
        return cls(customers, products, _keys(*codes, len(products)))

    def of_file(self, piece: Piece) -> Pick:
        """Picks the lines of a file with one of these pairs."""
        customer = _spread(self.customers.codes(piece.texts("customer_id")), UNKNOWN)
        product = _spread(self.products.codes(piece.texts("product_id")), UNKNOWN)

        def pick(lines: pl.DataFrame) -> Bools:
            buyer = customer(lines["customer_id"])
            near = np.flatnonzero(buyer >= 0)
            bought = product(lines["product_id"].gather(near))
            keys = _keys(buyer[near], bought, len(self.products)).set(pl.Series(bought < 0), -1)
            rows = np.zeros(len(buyer), dtype=bool)
            rows[near[keys.is_in(self.keys.implode()).to_numpy()]] = True
            return rows

        return pick


def named(piece: Piece, column: str, texts: pl.Series) -> Pick:
    """Picks the lines of a file with one of the texts in a column."""
    hit = _spread(piece.texts(column).is_in(texts.implode()).to_numpy(), False)
    return lambda lines: hit(lines[column])


def _spread(values: np.ndarray, blank: Any) -> Callable[[pl.Series], np.ndarray]:
    """Gives (E,) the value at each of some places, ``blank`` where the place is null."""
    padded = np.append(values, np.asarray(blank, dtype=values.dtype))
    return lambda places: np.asarray(padded[places.fill_null(len(values)).to_numpy()])


def _keys(customer: np.ndarray, product: np.ndarray, width: int) -> pl.Series:
    return pl.Series(customer.astype(np.int64) * width + product)
