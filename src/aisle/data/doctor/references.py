"""Ids of sale lines against the product and customer tables."""

from __future__ import annotations

import polars as pl

from aisle.data.doctor.codes import Issue
from aisle.data.schema import KEY
from aisle.types import Bools


def unknown_products(lines: pl.DataFrame, products: pl.DataFrame | None, *, composite: bool) -> list[Issue]:
    """``PAIR_UNKNOWN`` where the inner code of a composite id is known under other parents, else ``PROD_UNKNOWN``."""
    if products is None or not products.height:
        return []
    ids = lines["product_id"].unique().drop_nulls()
    unknown = ids.filter(~ids.cast(pl.String).is_in(products["product_id"].cast(pl.String).implode()))
    if not len(unknown):
        return []
    issues = []
    elsewhere = unknown.clear()
    if composite:
        inner = products["product_id"].cast(pl.String).str.split(KEY).list.last().unique()
        mine = unknown.cast(pl.String).str.split(KEY).list.last()
        elsewhere = unknown.filter(mine.is_in(inner.implode()))
        issues.append(Issue("PAIR_UNKNOWN", _among(lines["product_id"], elsewhere), "product_id"))
    rest = unknown.filter(~unknown.is_in(elsewhere.implode()))
    return [*issues, Issue("PROD_UNKNOWN", _among(lines["product_id"], rest), "product_id")]


def unknown_customers(lines: pl.DataFrame, customers: pl.DataFrame | None) -> list[Issue]:
    """``CUST_UNKNOWN`` for customers who are not in their table; their lines are kept."""
    if customers is None or not customers.height or "customer_id" not in lines.columns:
        return []
    ids = lines["customer_id"].unique().drop_nulls()
    unknown = ids.filter(~ids.cast(pl.String).is_in(customers["customer_id"].cast(pl.String).implode()))
    return [Issue("CUST_UNKNOWN", _among(lines["customer_id"], unknown), "customer_id")] if len(unknown) else []


def _among(column: pl.Series, ids: pl.Series) -> Bools:
    return column.is_in(ids.implode()).fill_null(False).to_numpy()
