"""Returns meet their sales: when is a sale undone whole?

A return (negative quantity) is matched to the latest earlier sale of the same customer and product that still has
enough unreturned quantity; a sale with the same order id comes first. Where most returns of a source share the order
id of their sale, the id is taken at its word: a return that names no sale, or one that is used up, stays unmatched
instead of undoing another sale. An anonymous return finds its sale by order id alone. A sale returned whole carries
the moment in ``void_at``; a partial return lowers the money only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from aisle.types import Bools, Doubles, Ints

SLACK = 1e-9
"""Unreturned quantity below which a sale counts as returned whole (weighed goods are fractions)."""


@dataclass(frozen=True, eq=False)
class Netted:
    """The outcome, aligned to the lines (E,)."""

    void_at: pl.Series
    """Dtype of the clock column: the moment from which a sale is undone whole, else null."""
    unmatched: Bools
    """Returns without a sale that covers them."""


def names_sales(named: int, returns: int) -> bool:
    """Whether a source with so many returns, so many of which share the order id of a sale, is taken at its word."""
    return returns > 0 and named >= 0.5 * returns


class Returns:
    """The returns among lines (E,). No answer depends on the order of the lines.

    Who knows more of the source than these lines says whether its returns name their sales (``names_sales``).
    """

    def __init__(self, lines: pl.DataFrame, clock: str) -> None:
        """``clock`` names the time column."""
        self.height, self.kind = lines.height, lines.schema[clock]
        self.back = (lines["quantity"] < 0).to_numpy()
        self.close, self.near = _near_returns(lines)
        self.slim = _keyed(self.close, clock)

    @cached_property
    def named(self) -> int:
        """Returns that share order id and product with a sale."""
        back = self.slim.filter("back").select("order", "product")
        if not back.height:
            return 0
        sales = self.slim.filter(~pl.col("back")).join(back.unique(), on=["order", "product"], how="semi")
        return back.join(sales.select("order", "product").unique(), on=["order", "product"], how="semi").height

    @property
    def by_order(self) -> bool:
        """Whether these returns name their sales."""
        return names_sales(self.named, int(self.back.sum()))

    def with_sale(self, *, by_order: bool) -> Bools:
        """(E,) returns that have a sale of the same customer (or order, see above) and product no later than them."""
        slim = _with_buyers(self.slim, by_order)
        back = slim.filter("back").drop_nulls("buyer")
        wanted = back.select("buyer", "product").unique()
        sales = slim.filter(~pl.col("back")).join(wanted, on=["buyer", "product"], how="semi", nulls_equal=False)
        first = sales.group_by("buyer", "product").agg(pl.col("time").min().alias("first"))
        met = back.join(first, on=["buyer", "product"], how="inner").filter(pl.col("first") <= pl.col("time"))
        out = np.zeros(self.height, dtype=bool)
        out[self.near[met["row"].to_numpy()]] = True
        return out

    def net(self, *, by_order: bool) -> Netted:
        """Match every return."""
        void = np.zeros(self.height, dtype=np.int64)
        done = np.zeros(self.height, dtype=bool)
        unmatched = self.back.copy()
        slim = _with_buyers(self.slim, by_order)
        wanted = slim.filter(pl.col("back") & pl.col("buyer").is_not_null()).select("buyer", "product").unique()
        group = _in_order(slim.join(wanted, on=["buyer", "product"], how="semi"), self.close)
        if group.height:
            found = _match(
                np.flatnonzero(_starts(group)),
                group["quantity"].to_numpy(),
                group["order"].fill_null(-1).to_numpy(),
            )
            rows, time = self.near[group["row"].to_numpy()], group["time"].to_numpy()
            unmatched[rows[found.sale_of >= 0]] = False
            whole = np.flatnonzero(found.voided_by >= 0)
            void[rows[whole]], done[rows[whole]] = time[found.voided_by[whole]], True
        return Netted(pl.Series("void_at", void).set(pl.Series(~done), None).cast(self.kind), unmatched)


def _starts(group: pl.DataFrame) -> Bools:
    """(N,) True for the first line of each (buyer, product)."""
    first = (pl.col("buyer") != pl.col("buyer").shift()) | (pl.col("product") != pl.col("product").shift())
    return group.select(first.fill_null(True).alias("start"))["start"].to_numpy()


def _near_returns(lines: pl.DataFrame) -> tuple[pl.DataFrame, Ints]:
    """Returns, and lines that share customer and product, or order and product, with one: (these, where they stand).

    Returns are few; what follows costs as much as they are.
    """
    columns = [name for name in ("customer_id", "order_id", "product_id") if name in lines.columns]
    numbers = [pl.col(c).to_physical() if lines.schema[c] == pl.Categorical else pl.col(c) for c in columns]
    back = lines.filter(pl.col("quantity") < 0).select(numbers)
    near = (lines["quantity"] < 0).to_numpy().copy()
    for who in columns[:-1]:
        pair = [who, "product_id"]
        met = lines.lazy().select(numbers).with_row_index("row").join(back.lazy().select(pair), on=pair, how="semi")
        near[met.select("row").collect(engine="streaming")["row"].to_numpy()] = True
    return lines.filter(pl.Series(near)), np.flatnonzero(near)


def _in_order(group: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Each (buyer, product) in time, sales first; ties by the text of ids, which no order of reading can change."""
    ties = [c for c in ("order_id", "customer_id") if c in lines.columns]
    values = [c for c in ("amount",) if c in lines.columns]
    text = lines[group["row"]].select(*(pl.col(c).cast(pl.String) for c in ties), *values)
    return group.hstack(text).sort("buyer", "product", "time", "back", *ties[:1], "quantity", *ties[1:], *values, "row")


@dataclass(frozen=True, eq=False)
class _Found:
    sale_of: Ints
    """Place of the matched sale of each return, else -1."""
    voided_by: Ints
    """Place of the return that undid each sale whole, else -1."""


def _match(starts: Ints, quantity: Doubles, order: Ints) -> _Found:
    """Walk each (customer, product) group in time; only groups that hold returns come here."""
    sale_of = np.full(len(quantity), -1, dtype=np.int64)
    voided_by = np.full(len(quantity), -1, dtype=np.int64)
    amounts, orders = quantity.tolist(), order.tolist()
    stops = [*starts[1:].tolist(), len(amounts)]
    for start, stop in zip(starts.tolist(), stops, strict=True):
        left: list[tuple[int, float]] = []  # sales with something left, oldest first
        for at in range(start, stop):
            if amounts[at] > 0:
                left.append((at, amounts[at]))
                continue
            asked = -amounts[at]
            fits = [i for i, (_, rest) in enumerate(left) if rest >= asked - SLACK]
            same = [i for i in fits if orders[at] >= 0 and orders[left[i][0]] == orders[at]]
            if not fits:
                continue
            pick = same[-1] if same else fits[-1]
            sale, rest = left[pick]
            sale_of[at] = sale
            if rest - asked <= SLACK:
                voided_by[sale] = at
                del left[pick]
            else:
                left[pick] = (sale, rest - asked)
    return _Found(sale_of, voided_by)


def _keyed(lines: pl.DataFrame, clock: str) -> pl.DataFrame:
    """Lines as numbers: customer, product, order, time, quantity, whether they are returns, and their row."""
    return lines.select(
        _number(lines, "customer_id").alias("customer"),
        _number(lines, "product_id").alias("product"),
        _number(lines, "order_id").alias("order"),
        pl.col(clock).cast(pl.Int64).alias("time"),
        "quantity",
        (pl.col("quantity") < 0).alias("back"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
    )


def _with_buyers(slim: pl.DataFrame, by_order: bool) -> pl.DataFrame:
    """With the buyer: the customer, and where orders tell (anonymous lines; sources whose returns name their sale) the
    order, below zero to stay apart from customers.
    """
    order = -2 - pl.col("order")
    return slim.with_columns(buyer=pl.coalesce(order, "customer") if by_order else pl.coalesce("customer", order))


def _number(lines: pl.DataFrame, column: str) -> pl.Expr:
    if column not in lines.columns:
        return pl.lit(None, dtype=pl.Int64)
    if lines.schema[column] == pl.Categorical:
        return pl.col(column).to_physical().cast(pl.Int64)
    return pl.col(column).cast(pl.String).cast(pl.Categorical).to_physical().cast(pl.Int64)
