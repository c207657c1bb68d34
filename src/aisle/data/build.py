"""Clean tables to coded arrays: the only place where Polars frames become what models see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from aisle.data.entities import ALWAYS, Entities, Level
from aisle.data.events import Events, changes, new_in, order_by, sorted_set
from aisle.data.hierarchy import levels
from aisle.data.schema import KINDS
from aisle.data.tags import pieces, tagged
from aisle.data.vocab import Vocab
from aisle.types import DAY, NEVER, UNKNOWN, Clock, Codes, Floats, Ints, Sparse, Times

MAX_CATEGORIES = 1_000
"""A text attribute with more distinct values than this is a name, not a category …"""
MAX_TAGS = 5_000
"""… but one that holds tags (``Action|Comedy``) may have so many different ones."""
SPECIAL = {"name", "valid_from", "no_profile", "in_stock"}


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
        start = _ticks(table["from"], "time", ALWAYS)
        stop = _ticks(table["to"], "time", NEVER)
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
    table = table.with_columns(pl.col(key).cast(pl.String))
    rows = pl.DataFrame({key: ids}).join(table, on=key, how="left", maintain_order="left")
    tree = levels(rows.columns, level_prefix)
    known = KINDS["products" if key == "product_id" else "customers"]
    free = [c for c in rows.columns if c != key and c not in tree and c not in SPECIAL]
    categories = [c for c in free if rows[c].dtype in (pl.String, pl.Categorical, pl.Enum, pl.Boolean)]
    numbers = [c for c in free if rows[c].dtype.is_numeric() or rows[c].dtype.is_temporal()]
    categories = [c for c in categories if c in known or _is_category(rows[c])]
    return Entities(
        vocab=vocab,
        tree=tuple(_level(rows[c]) for c in tree),
        categories=tuple(_level(rows[c]) for c in categories),
        numbers={c: _number(rows[c]) for c in numbers},
        flags={
            c: rows[c].fill_null(c == "in_stock").to_numpy() for c in ("no_profile", "in_stock") if c in rows.columns
        },
        names=rows["name"].cast(pl.String) if "name" in rows.columns else None,
        valid_from=_ticks(rows["valid_from"], "time", ALWAYS) if "valid_from" in rows.columns else None,
    )


def _is_category(values: pl.Series) -> bool:
    """Whether an attribute tells groups apart, by its values or by the tags in them."""
    count = values.n_unique()
    if count <= MAX_CATEGORIES or values.dtype != pl.String:
        return 1 < count <= MAX_CATEGORIES
    distinct = values.drop_nulls().unique().to_list()
    return tagged(distinct) and len(set(pieces(distinct))) <= MAX_TAGS


def build_events(
    lines: pl.DataFrame, clock: Clock, customers: Entities, products: Entities, stores: Vocab, channels: Vocab
) -> Events:
    """Events of clean transactions, sorted by (customer, time, basket, product).

    Columns are taken out of ``lines`` on the way: who needs them gives a clone, who does not saves their memory.

    Lines of customers who opted out (``no_profile``) become anonymous here, so that no model can learn from them as
    persons. Under a sequence clock time counts baskets back from each customer's last one (0): one cut then holds for
    all.
    """
    customer = customers.vocab.codes(lines.drop_in_place("customer_id"))
    if "no_profile" in customers.flags:
        out = np.append(customers.flags["no_profile"], False)  # the last one answers anonymous lines
        customer = np.where(out[customer], np.int32(UNKNOWN), customer)
    count = lines.height
    time = _ticks(lines.drop_in_place("timestamp" if clock == "time" else "sequence"), clock, 0)
    void = np.full(count, NEVER)
    if "void_at" in lines.columns:
        void = _ticks(lines.drop_in_place("void_at"), clock, NEVER)
    if clock == "sequence":
        time, void = _count_back(customer, time, void)
    columns: dict[str, np.ndarray] = {
        "customer": customer,
        "product": products.vocab.codes(lines.drop_in_place("product_id")),
        "time": time,
        "quantity": lines.drop_in_place("quantity").to_numpy().astype(np.float32),
        "amount": _amounts(lines, count),
        "store": _codes(lines, "store_id", stores, count),
        "channel": _codes(lines, "channel", channels, count),
        "void_at": void,
    }
    del customer, time, void
    order = _order_codes(lines, count)
    place = _canonical_order(columns, order)
    for name in columns:
        columns[name] = columns[name][place]
    order = order[place]
    del place
    basket = _baskets(columns["customer"], columns["time"], order, clock)
    del order
    new = changes(columns["customer"]) | changes(columns["time"])
    if not (new[1:] | (basket[1:] >= basket[:-1])).all():
        again = order_by(np.cumsum(new, dtype=np.int64), basket)  # stable: the products of a basket stay in order
        basket = basket[again]
        for name in columns:
            columns[name] = columns[name][again]
    return Events(basket=basket, **columns)


def _count_back(customer: Codes, time: Times, void: Times) -> tuple[Times, Times]:
    """Sequence numbers as baskets counted back from each customer's last (0, -1, -2, …), whatever their gaps.

    The same for the basket that undoes a sale; a number beyond the last basket becomes 1.
    """
    numbers = sorted_set(time)
    width = len(numbers) + 1
    start = (customer.astype(np.int64) + 1) * width
    visits = sorted_set(start + np.searchsorted(numbers, time))
    last = np.searchsorted(visits, start + width) - 1
    undone = void != NEVER
    void = void.copy()
    void[undone] = np.searchsorted(visits, start[undone] + np.searchsorted(numbers, void[undone])) - last[undone]
    return np.searchsorted(visits, start + np.searchsorted(numbers, time)) - last, void


def _canonical_order(columns: dict[str, np.ndarray], order: Codes) -> Ints:
    """(E,) lines by (customer, time, product), and lines alike in that by all else, never by their place."""
    main = (columns["customer"], columns["time"], columns["product"])
    place = order_by(*main)
    run = np.cumsum(new_in(place, *main))
    alike = np.bincount(run)[run] > 1
    tied = place[alike]
    rest = [columns[name][tied] for name in ("void_at", "amount", "quantity", "channel", "store")]
    place[alike] = tied[np.lexsort([*rest, order[tied], run[alike]])]
    return place


def _order_codes(lines: pl.DataFrame, count: int) -> Codes:
    """(E,) place of each order id, shorter ids first so that 99 comes before 100; -1 without one."""
    if "order_id" not in lines.columns:
        return np.full(count, UNKNOWN, dtype=np.int32)
    orders = lines.drop_in_place("order_id")
    ids = orders.unique().cast(pl.String).drop_nulls().sort()
    return Vocab(ids.gather(ids.str.len_bytes().arg_sort())).codes(orders)


def _baskets(customer: Codes, time: Times, order: Codes, clock: Clock) -> Codes:
    """(E,) basket codes of lines sorted by (customer, time); they rise with time within a customer.

    A basket is an order; without an order id it is a customer's day, and an anonymous line by itself.
    """
    day = time // DAY if clock == "time" else time
    day = day - day.min(initial=0)
    first_day = int(order.max(initial=UNKNOWN)) + 1
    first_line = first_day + int(day.max(initial=0)) + 1
    alone = np.where(customer >= 0, first_day + day, first_line + np.arange(len(time)))
    what = np.where(order >= 0, order, alone)  # orders, days and lines under one number
    grouped = order_by(customer, what)
    new = new_in(grouped, customer, what)
    first = grouped[new]  # the sort is stable: the earliest line of each basket
    rank = np.empty(len(first), dtype=np.int32)
    rank[order_by(customer[first], time[first], what[first])] = np.arange(len(first), dtype=np.int32)
    basket = np.empty(len(time), dtype=np.int32)
    basket[grouped] = rank[np.cumsum(new) - 1]
    return basket


def _amounts(lines: pl.DataFrame, count: int) -> Floats:
    if "amount" not in lines.columns:
        return np.full(count, np.nan, dtype=np.float32)
    return lines.drop_in_place("amount").cast(pl.Float32).fill_null(np.nan).to_numpy()


def _codes(lines: pl.DataFrame, column: str, vocab: Vocab, count: int) -> Codes:
    if column not in lines.columns:
        return np.full(count, UNKNOWN, dtype=np.int32)
    return vocab.codes(lines.drop_in_place(column))


def _level(values: pl.Series) -> Level:
    text = values.cast(pl.String)
    vocab = Vocab(text.drop_nulls().unique().sort().alias("id"))
    return Level(values.name, vocab, vocab.codes(text))


def _number(values: pl.Series) -> np.ndarray:
    if values.dtype.is_temporal():
        values = values.cast(pl.Datetime("us")).cast(pl.Int64) / DAY
    return values.cast(pl.Float32).fill_null(np.nan).to_numpy()


def _ticks(values: pl.Series, clock: Clock, blank: int) -> Times:
    if clock == "time":
        values = values.cast(pl.Datetime("us"))
    return values.cast(pl.Int64).fill_null(blank).to_numpy()
