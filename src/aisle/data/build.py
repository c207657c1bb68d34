"""Clean tables to coded arrays: the only place where Polars frames become what models see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from aisle.data.entities import ALWAYS, Entities, Level
from aisle.data.events import Events
from aisle.data.schema import KINDS
from aisle.data.vocab import Vocab
from aisle.types import DAY, NEVER, UNKNOWN, Clock, Codes, Sparse, Times

MAX_CATEGORIES = 1_000
"""A text attribute with more distinct values than this is a name, not a category."""
SPECIAL = {"name", "valid_from", "no_profile", "in_stock", "variant_of"}


@dataclass(frozen=True, eq=False)
class Assortment:
    """What can be bought where: N spans of (store, product, from, to)."""

    store: Codes
    product: Codes
    start: Times
    stop: Times
    shape: tuple[int, int]

    @classmethod
    def of(cls, table: pl.DataFrame, stores: Vocab, products: Vocab) -> Assortment:
        """From the availability table; an open start or end means always."""
        start = _ticks(table, "from", "time", ALWAYS)
        stop = _ticks(table, "to", "time", NEVER)
        store, product = stores.codes(table["store_id"]), products.codes(table["product_id"])
        keep = (store >= 0) & (product >= 0)
        return cls(store[keep], product[keep], start[keep], stop[keep], (len(stores), len(products)))

    def at(self, moment: int) -> Sparse:
        """(S, I) 1 where the store sells the product at the moment."""
        keep = (self.start <= moment) & (moment < self.stop)
        ones = np.ones(int(keep.sum()), dtype=np.float32)
        return sp.csr_array((ones, (self.store[keep], self.product[keep])), shape=self.shape).sign()


def build_entities(table: pl.DataFrame, key: str, level_prefix: str, used: pl.Series) -> Entities:
    """Customers or products of a clean table, ids used in transactions alone appended; rows sorted by id."""
    ids = pl.concat([table[key].cast(pl.String), used.unique().cast(pl.String)]).drop_nulls().unique().sort()
    vocab = Vocab(ids.alias("id"))
    rows = pl.DataFrame({key: ids}).join(table.with_columns(pl.col(key).cast(pl.String)), on=key, how="left")
    levels = sorted((c for c in rows.columns if c.startswith(level_prefix)), key=lambda c: (len(c), c))
    known = KINDS["products" if key == "product_id" else "customers"]
    free = [c for c in rows.columns if c != key and c not in levels and c not in SPECIAL]
    categories = [c for c in free if rows[c].dtype in (pl.String, pl.Categorical, pl.Boolean)]
    numbers = [c for c in free if rows[c].dtype.is_numeric() or rows[c].dtype.is_temporal()]
    categories = [c for c in categories if 1 < rows[c].n_unique() <= MAX_CATEGORIES or c in known]
    return Entities(
        vocab=vocab,
        tree=tuple(_level(rows[c]) for c in levels),
        categories=tuple(_level(rows[c]) for c in categories),
        numbers={c: _number(rows[c]) for c in numbers},
        flags={
            c: rows[c].fill_null(c == "in_stock").to_numpy() for c in ("no_profile", "in_stock") if c in rows.columns
        },
        names=rows["name"].cast(pl.String) if "name" in rows.columns else None,
        valid_from=_ticks(rows, "valid_from", "time", ALWAYS) if "valid_from" in rows.columns else None,
    )


def build_events(
    lines: pl.DataFrame, clock: Clock, customers: Entities, products: Entities, stores: Vocab, channels: Vocab
) -> Events:
    """Events of clean transactions, sorted by (customer, time, basket, product).

    Lines of customers who opted out (``no_profile``) become anonymous here, so that no model can learn from them as
    persons. Under a sequence clock time counts back from each customer's last basket (0): one cut then holds for all.
    """
    customer = customers.vocab.codes(lines["customer_id"])
    if "no_profile" in customers.flags:
        customer = np.where((customer >= 0) & customers.flags["no_profile"][customer], UNKNOWN, customer).astype(
            np.int32
        )
    column = "timestamp" if clock == "time" else "sequence"
    time = _ticks(lines, column, clock, 0)
    void = _ticks(lines, "void_at", clock, NEVER) if "void_at" in lines.columns else np.full(len(time), NEVER)
    if clock == "sequence":
        last = np.zeros(len(customers) + 1, dtype=np.int64)
        np.maximum.at(last, customer, time)
        void = np.where(void == NEVER, NEVER, void - last[customer])
        time = time - last[customer]
    product = products.vocab.codes(lines["product_id"])
    quantity = lines["quantity"].to_numpy().astype(np.float32)
    amount = lines["amount"].cast(pl.Float32).fill_null(np.nan).to_numpy() if "amount" in lines.columns else None
    basket = _baskets(lines, customer, time, clock)
    events = Events(
        customer=customer,
        product=product,
        time=time,
        quantity=quantity,
        amount=np.full(len(time), np.nan, dtype=np.float32) if amount is None else amount,
        basket=basket,
        store=_codes(lines, "store_id", stores),
        channel=_codes(lines, "channel", channels),
        void_at=void.astype(np.int64),
    )
    return events.take(np.lexsort((product, basket, time, customer)))


def _baskets(lines: pl.DataFrame, customer: Codes, time: Times, clock: Clock) -> Codes:
    """(E,) basket codes that rise with time within a customer."""
    day = time // DAY if clock == "time" else time
    frame = pl.DataFrame({"customer": customer, "day": day, "time": time, "line": np.arange(len(time))})
    frame = frame.with_columns(order=lines["order_id"].to_physical() if "order_id" in lines.columns else pl.lit(None))
    has_order = pl.col("order").is_not_null()
    alone = (pl.col("customer") < 0) & ~has_order
    frame = frame.with_columns(
        day=pl.when(has_order).then(None).otherwise(pl.col("day")),
        line=pl.when(alone).then(pl.col("line")).otherwise(None),
    )
    keys = ["customer", "order", "day", "line"]
    baskets = frame.group_by(keys).agg(pl.col("time").min()).sort("customer", "time", "order", "day", "line")
    baskets = baskets.with_columns(basket=pl.int_range(pl.len(), dtype=pl.Int32)).drop("time")
    joined = frame.join(baskets, on=keys, how="left", nulls_equal=True, maintain_order="left")
    return joined["basket"].to_numpy()


def _codes(lines: pl.DataFrame, column: str, vocab: Vocab) -> Codes:
    if column not in lines.columns:
        return np.full(lines.height, UNKNOWN, dtype=np.int32)
    return vocab.codes(lines[column])


def _level(values: pl.Series) -> Level:
    text = values.cast(pl.String)
    vocab = Vocab(text.drop_nulls().unique().sort().alias("id"))
    return Level(values.name, vocab, vocab.codes(text))


def _number(values: pl.Series) -> np.ndarray:
    if values.dtype.is_temporal():
        values = values.cast(pl.Datetime("us")).cast(pl.Int64) / DAY
    return values.cast(pl.Float32).fill_null(np.nan).to_numpy()


def _ticks(table: pl.DataFrame, column: str, clock: Clock, blank: int) -> Times:
    values = table[column]
    if clock == "time":
        values = values.cast(pl.Datetime("us"))
    return values.cast(pl.Int64).fill_null(blank).to_numpy()
