"""Returns meet their sales: when is a sale undone whole?

A return (negative quantity) is matched to the latest earlier sale of the same customer and product that still has
enough unreturned quantity; a sale with the same order id comes first. Where most returns of a source share the order
id of their sale, the id is taken at its word: a return that names no sale, or one that is used up, stays unmatched
instead of undoing another sale. An anonymous return finds its sale by order id alone. A sale returned whole carries
the moment in ``void_at``; a partial return lowers the money only.
"""

from __future__ import annotations

from dataclasses import dataclass

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


def with_sale(lines: pl.DataFrame, clock: str) -> Bools:
    """(E,) returns that have a sale of the same customer (or order, see above) and product no later than them."""
    close, near = _near_returns(lines)
    slim = _keyed(close, clock)
    back = slim.filter("back").drop_nulls("buyer")
    wanted = back.select("buyer", "product").unique()
    sales = slim.filter(~pl.col("back")).join(wanted, on=["buyer", "product"], how="semi", nulls_equal=False)
    first = sales.group_by("buyer", "product").agg(pl.col("time").min().alias("first"))
    met = back.join(first, on=["buyer", "product"], how="inner").filter(pl.col("first") <= pl.col("time"))
    out = np.zeros(lines.height, dtype=bool)
    out[near[met["row"].to_numpy()]] = True
    return out


def net(lines: pl.DataFrame, clock: str) -> Netted:
    """Match every return; ``clock`` names the time column. The answer does not depend on the order of the lines."""
    close, near = _near_returns(lines)
    slim = _keyed(close, clock)
    void = np.zeros(lines.height, dtype=np.int64)
    done = np.zeros(lines.height, dtype=bool)
    unmatched = (lines["quantity"] < 0).to_numpy().copy()
    wanted = slim.filter(pl.col("back") & pl.col("buyer").is_not_null()).select("buyer", "product").unique()
    group = _in_order(slim.join(wanted, on=["buyer", "product"], how="semi"), close)
    if group.height:
        start = group.select(
            ((pl.col("buyer") != pl.col("buyer").shift()) | (pl.col("product") != pl.col("product").shift()))
            .fill_null(True)
            .alias("start")
        )["start"].to_numpy()
        found = _match(
            np.flatnonzero(start),
            group["quantity"].to_numpy(),
            group["order"].fill_null(-1).to_numpy(),
        )
        rows, time = near[group["row"].to_numpy()], group["time"].to_numpy()
        sale, last = found.sale_of, found.voided_by
        unmatched[rows[sale >= 0]] = False
        whole = np.flatnonzero(last >= 0)
        void[rows[whole]], done[rows[whole]] = time[last[whole]], True
    column = pl.Series("void_at", void).set(pl.Series(~done), None)
    return Netted(column.cast(lines.schema[clock]), unmatched)


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
    """Lines as numbers: buyer, product, order, time, quantity, whether they are returns, and their row.

    The buyer is the customer, and where orders tell (anonymous lines; sources whose returns name their sale) the
    order, below zero to stay apart from customers.
    """
    order = _number(lines, "order_id")
    slim = lines.select(
        _number(lines, "customer_id").alias("buyer"),
        _number(lines, "product_id").alias("product"),
        order.alias("order"),
        pl.col(clock).cast(pl.Int64).alias("time"),
        "quantity",
        (pl.col("quantity") < 0).alias("back"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
    )
    by_order = -2 - pl.col("order")
    if _returns_name_their_sale(slim):
        return slim.with_columns(buyer=pl.coalesce(by_order, "buyer"))
    return slim.with_columns(buyer=pl.coalesce("buyer", by_order))


def _returns_name_their_sale(slim: pl.DataFrame) -> bool:
    """Whether at least half of the returns share order id and product with a sale."""
    back = slim.filter("back").select("order", "product")
    if not back.height:
        return False
    sales = slim.filter(~pl.col("back")).join(back.unique(), on=["order", "product"], how="semi")
    named = back.join(sales.select("order", "product").unique(), on=["order", "product"], how="semi").height
    return named >= 0.5 * back.height


def _number(lines: pl.DataFrame, column: str) -> pl.Expr:
    if column not in lines.columns:
        return pl.lit(None, dtype=pl.Int64)
    if lines.schema[column] == pl.Categorical:
        return pl.col(column).to_physical().cast(pl.Int64)
    return pl.col(column).cast(pl.String).cast(pl.Categorical).to_physical().cast(pl.Int64)
