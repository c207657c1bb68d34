"""The same sale seen twice: equal lines, orders that stand in two files, order ids with contradicting contents."""

from __future__ import annotations

import numpy as np
import polars as pl

from aisle.data.doctor.codes import Issue
from aisle.data.schema import PART
from aisle.types import Bools

LINE_ID_SHARE = 0.98
"""An order id is taken for a line id where this share of ids stands on one sale only, in files of some size."""


def repeated_orders(lines: pl.DataFrame) -> list[Issue]:
    """Whole orders (same order id, same multiset of lines) that stand in two files, sheets or exports: ``DUP_FILE``.

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
    slim = lines.select(key.alias("key"), parts, "_hash", pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"))
    slim = slim.filter(pl.col("key").is_not_null())
    twice = slim.group_by("key").agg(pl.col("part").n_unique().alias("n")).filter(pl.col("n") > 1)
    slim = slim.join(twice.select("key"), on="key", how="semi")
    if not slim.height:
        return []
    signature = slim.group_by("key", "part").agg(
        pl.len().alias("size"),
        pl.col("_hash").sort().hash().sum().alias("sum"),  # wraps around: order-free
        pl.col("_hash").min().alias("low"),
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


def equal_rows(lines: pl.DataFrame) -> list[Issue]:
    """Lines equal in every source column: ``DUP_ROW`` within an order, else ``DUP_KEPT``."""
    again = ~lines["_hash"].is_first_distinct()
    if not again.any():
        return []
    rows = again.to_numpy()
    if "order_id" not in lines.columns:
        return [Issue("DUP_KEPT", rows)]
    ordered = lines["order_id"].is_not_null().to_numpy()
    return [Issue("DUP_ROW", rows & ordered), Issue("DUP_KEPT", rows & ~ordered)]


def contradicting_ids(lines: pl.DataFrame) -> list[Issue]:
    """Lines whose order id already stands on another customer, or on any other sale where each sale has its own id.

    A return may share the id of its sale, and baskets of several products share one id: neither is a contradiction.
    Anonymous lines contradict nobody.
    """
    if "order_id" not in lines.columns or "customer_id" not in lines.columns:
        return []
    slim = lines.select(
        pl.col("order_id").to_physical().alias("order"),
        pl.col("customer_id").to_physical().alias("customer"),
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"),
        (pl.col("quantity") > 0).alias("sale"),
    ).filter(pl.col("order").is_not_null())
    owned = slim.filter(pl.col("customer").is_not_null())
    owners = owned.group_by("order").agg(pl.col("customer").n_unique().alias("n")).filter(pl.col("n") > 1)
    owned = owned.join(owners, on="order", how="semi", maintain_order="left")
    owned = owned.filter(pl.col("customer") != pl.col("customer").first().over("order"))
    rows = owned["row"].to_numpy()
    sales = slim.filter("sale")
    again = ~sales["order"].is_first_distinct()
    if sales.height and float(again.mean() or 0) <= _allowed(sales.height):
        rows = np.union1d(rows, sales.filter(again)["row"].to_numpy())
    return [Issue("DUP_ID_CONFLICT", _mask(rows, lines.height), "order_id")] if len(rows) else []


def _allowed(sales: int) -> float:
    """Share of repeated ids up to which they are conflicts and not baskets; tiny files may hold one conflict."""
    return 1 - LINE_ID_SHARE if sales >= 100 else 0.0


def _mask(rows: np.ndarray, height: int) -> Bools:
    out = np.zeros(height, dtype=bool)
    out[rows] = True
    return out
