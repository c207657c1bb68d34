"""Checks that need all lines: each sees only the columns it asks for, of the lines that those before it have left.

All lines at once are most of what reading holds; no check may copy them whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl

from aisle.data.doctor import duplicates, references
from aisle.data.doctor.amounts import policy_issues
from aisle.data.doctor.codes import Issue
from aisle.data.schema import PART
from aisle.types import Bools

HOLES, MOST_HOLES = 0.05, 10
"""Lines without order id up to this share (or number) are holes and rejected; beyond, it is the source's habit."""
CLOCKS = ("timestamp", "sequence")
WHERE = ("_file", "_line")
"""Columns that say where a line stands."""
Judge: TypeAlias = Callable[[pl.DataFrame, Sequence[Issue]], Bools]
"""Given where some lines stand and the issues among them, tells which of them to keep."""


@dataclass(frozen=True)
class Check:
    """Finds issues among lines."""

    find: Callable[[pl.DataFrame], list[Issue]]
    columns: tuple[str, ...]
    """Those it looks at, where the source has them."""


def checks(products: pl.DataFrame | None, customers: pl.DataFrame | None, *, composite: bool) -> tuple[Check, ...]:
    """All of them, in their order; ``composite``: ids of products are joined from several columns."""
    return (
        Check(order_holes, ("order_id",)),
        Check(duplicates.repeated_orders, ("_file", PART, "order_id", *duplicates.SALE)),
        Check(duplicates.equal_rows, ("_hash", "order_id")),
        Check(lambda lines: policy_issues(lines["_policy"].to_numpy()), ("_policy",)),
        Check(duplicates.contradicting_ids, ("order_id", "customer_id", "quantity", *CLOCKS)),
        Check(lambda lines: references.unknown_products(lines, products, composite=composite), ("product_id",)),
        Check(lambda lines: references.unknown_customers(lines, customers), ("customer_id",)),
    )


def survivors(lines: pl.DataFrame, wanted: Sequence[Check], judge: Judge) -> Bools:
    """(E,) lines that no check rejects; what was found is told to ``judge``, such as ``Ledger.judge_late``."""
    keep = np.ones(lines.height, dtype=bool)
    for check in wanted:
        near = _left(lines, keep, check.columns)
        issues = [issue for issue in check.find(near) if issue.rows.any()]
        if issues:
            good = judge(_left(lines, keep, WHERE), issues)
            keep[np.flatnonzero(keep)[~good]] = False
    return keep


def joined_up(pieces: list[pl.DataFrame]) -> pl.DataFrame:
    """All lines of pieces with the same columns, which are emptied: a column at a time, each in one stretch."""
    names = pieces[0].columns
    return pl.DataFrame([pl.concat([piece.drop_in_place(name) for piece in pieces]).rechunk() for name in names])


def only(lines: pl.DataFrame, keep: Bools) -> pl.DataFrame:
    """The lines to keep, taken out of the frame given a column after the other: it is empty afterwards."""
    if keep.all():
        return lines
    mask = pl.Series(keep)
    return pl.DataFrame([lines.drop_in_place(name).filter(mask) for name in lines.columns])


def order_holes(lines: pl.DataFrame) -> list[Issue]:
    """Lines whose order id is empty where nearly every other line has one."""
    if "order_id" not in lines.columns:
        return []
    empty = lines["order_id"].is_null()
    count = int(empty.sum())
    if not count or count == lines.height or count > max(HOLES * lines.height, MOST_HOLES):
        return []
    return [Issue("ID_MISSING", empty.to_numpy(), "order_id")]


def _left(lines: pl.DataFrame, keep: Bools, columns: Sequence[str]) -> pl.DataFrame:
    near = lines.select(name for name in columns if name in lines.columns)
    return near if keep.all() else near.filter(pl.Series(keep))
