"""The same sale seen twice: equal lines, orders that stand in two files, order ids with contradicting contents."""

from __future__ import annotations

import numpy as np
import polars as pl

from aisle.data.doctor.codes import Issue
from aisle.data.events import sorted_set, sorted_values
from aisle.data.schema import PART
from aisle.types import DAY, Bools

RARE = 0.01
"""Share of the order ids up to which contradictions are accidents; beyond, ids are used again by habit."""
SALE = ("customer_id", "product_id", "timestamp", "sequence", "quantity", "amount")
"""What makes two lines of one order id the same sale, whatever their descriptions say."""


def repeated_orders(lines: pl.DataFrame) -> list[Issue]:
    """Whole orders (same order id, same multiset of lines) that stand in two files, sheets or exports: ``DUP_FILE``.

    Lines are the same when customer, product, time, quantity and amount are: descriptions get edited between exports.
    Without order ids, whole days of at least two lines. The copy in the first part is kept.
    """
    parts = _parts(lines)
    if parts is None:
        return []
    if "order_id" in lines.columns:
        key = pl.col("order_id").to_physical().cast(pl.Int64)
        least = 1
    elif "timestamp" in lines.columns:
        key = pl.col("timestamp").dt.epoch("d").cast(pl.Int64)
        least = 2
    else:
        return []
    slim = lines.select(key.alias("key"), parts, pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"))
    slim = slim.filter(pl.col("key").is_not_null())
    twice = slim.group_by("key").agg(pl.col("part").n_unique().alias("n")).filter(pl.col("n") > 1)
    slim = slim.join(twice.select("key"), on="key", how="semi")
    if not slim.height:
        return []
    sale = [c for c in SALE if c in lines.columns]
    slim = slim.with_columns(lines.select(sale)[slim["row"]].hash_rows().alias("hash"))
    signature = slim.group_by("key", "part").agg(
        pl.len().alias("size"),
        pl.col("hash").hash(1).sum().alias("sum"),  # of second hashes, wrapping around: free of order
        pl.col("hash").min().alias("low"),
    )
    same = ["key", "size", "sum", "low"]
    copies = signature.filter((pl.col("size") >= least) & (pl.col("part") > pl.col("part").min().over(same)))
    rows = slim.join(copies, on=["key", "part"], how="semi")["row"].to_numpy()
    return [Issue("DUP_FILE", _mask(rows, lines.height), "order_id" if least == 1 else "")] if len(rows) else []


def _parts(lines: pl.DataFrame) -> pl.Expr | None:
    """The part of each line as a small number in order of appearance; None when there is one part only."""
    names = ["_file", PART] if PART in lines.columns else ["_file"]
    distinct = lines.select(names).unique(maintain_order=True)
    if distinct.height < 2:
        return None
    part = pl.col("_file").cast(pl.Int64) * 1_000_000
    if PART in lines.columns:
        # rank by first appearance, since the physical value of a category depends on what was read before
        order = {v: i for i, v in enumerate(lines[PART].unique(maintain_order=True).cast(pl.String).to_list())}
        part = part + pl.col(PART).cast(pl.String).replace_strict(order, return_dtype=pl.Int64)
    return part.alias("part")


def _again(hashes: pl.Series) -> Bools:
    """(E,) lines whose hash an earlier one has; a sort of numbers finds the few hashes that are there twice."""
    ordered = sorted_values(hashes.to_numpy())
    twice = pl.Series(sorted_set(ordered[1:][ordered[1:] == ordered[:-1]]))
    places = hashes.is_in(twice.implode()).arg_true()
    rows = np.zeros(len(hashes), dtype=bool)
    rows[places.to_numpy()] = ~hashes.gather(places).is_first_distinct().to_numpy()
    return rows


def equal_rows(lines: pl.DataFrame) -> list[Issue]:
    """Lines equal in every source column: ``DUP_ROW`` within an order, else ``DUP_KEPT``."""
    rows = _again(lines["_hash"])
    if not rows.any():
        return []
    if "order_id" not in lines.columns:
        return [Issue("DUP_KEPT", rows)]
    ordered = lines["order_id"].is_not_null().to_numpy()
    return [Issue("DUP_ROW", rows & ordered), Issue("DUP_KEPT", rows & ~ordered)]


def contradicting_ids(lines: pl.DataFrame) -> list[Issue]:
    """Sales whose order id stands on several customers, or on days apart: none of them can be trusted.

    A return may share the id of its sale, and anonymous lines contradict nobody. Where this is no rare accident, order
    ids are simply used again (by store, by year): ``ORDER_ID_REUSED``, and nothing is rejected.
    """
    if "order_id" not in lines.columns:
        return []
    clock = "timestamp" if "timestamp" in lines.columns else "sequence"
    customer = pl.col("customer_id").to_physical() if "customer_id" in lines.columns else pl.lit(None, dtype=pl.UInt32)
    order = pl.col("order_id").to_physical().alias("order")
    sales = lines.lazy().with_row_index("row").filter((pl.col("quantity") > 0) & pl.col("order_id").is_not_null())
    orders = (
        sales.select(order, customer.alias("customer"), pl.col(clock).cast(pl.Int64).alias("time"))
        .group_by("order")
        .agg(
            pl.col("customer").min().alias("low"),
            pl.col("customer").max().alias("high"),
            (pl.col("time").max() - pl.col("time").min()).alias("span"),
        )
        .collect(engine="streaming")  # a piece at a time: nothing as long as the lines is made
    )
    apart = pl.col("span") > (DAY if clock == "timestamp" else 0)
    clash = orders.filter((pl.col("low") != pl.col("high")).fill_null(False) | apart)
    if not clash.height:
        return []
    code = "DUP_ID_CONFLICT" if clash.height <= max(RARE * orders.height, 3) else "ORDER_ID_REUSED"
    found = sales.select("row", order).join(clash.lazy().select("order"), on="order", how="semi")
    rows = found.collect(engine="streaming")["row"].to_numpy()
    return [Issue(code, _mask(rows, lines.height), "order_id")]


def _mask(rows: np.ndarray, height: int) -> Bools:
    out = np.zeros(height, dtype=bool)
    out[rows] = True
    return out
