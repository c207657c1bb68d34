"""A small source in canonical columns on disk, and its visit to the doctor."""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import polars as pl

from aisle.data.doctor import clean
from aisle.data.schema import KEY, KINDS, PART, CleanTables, Mapping, TableMapping, TableName

Rows = list[dict[str, object]]


def sale(
    order: object, customer: object, product: object, when: object, quantity: object = 1, **more: object
) -> dict[str, object]:
    """One line under canonical names."""
    line = {"order_id": order, "customer_id": customer, "product_id": product, "timestamp": when, "quantity": quantity}
    return line | more


def visit(
    folder: Path,
    transactions: Rows | Map[str, Rows],
    *,
    products: Rows | None = None,
    customers: Rows | None = None,
    options: Mapping | None = None,
    columns: dict[str, tuple[str, ...]] | None = None,
    at: datetime | None = None,
) -> CleanTables:
    """Write the tables as CSV, map every canonical name to itself (``columns`` over that), and clean."""
    pieces = transactions if isinstance(transactions, Map) else {"transactions.csv": transactions}
    files: dict[TableName, list[Path]] = {"transactions": [_write(folder / n, rows) for n, rows in pieces.items()]}
    mapped = {c: (c,) for rows in pieces.values() for c in rows[0] if c in KINDS["transactions"] or _fact(c)}
    tables = [TableMapping("transactions", ("*",), mapped | (columns or {}))]
    for name, rows in (("products", products), ("customers", customers)):
        if rows is not None:
            files[name] = [_write(folder / f"{name}.csv", rows)]  # type: ignore[index]
            known = {c: (c,) for c in rows[0] if c in KINDS[name] or c.startswith(("category_", "group_"))}  # type: ignore[index]
            tables.append(TableMapping(name, ("*",), known))  # type: ignore[arg-type]
    mapping = replace(options or Mapping("shop", ()), tables=tuple(tables))
    return clean(folder, mapping, files, at=at)


def codes(tables: CleanTables) -> dict[str, int]:
    """Rows by code of finding."""
    found: dict[str, int] = {}
    for finding in tables.report.findings:
        found[finding.code] = found.get(finding.code, 0) + finding.rows
    return found


def check_identity(tables: CleanTables) -> None:
    """Accepted + rejected = read for every file, and the frames say the same."""
    for file in tables.report.files:
        assert file.accepted + file.rejected == file.read
    rejected = tables.rejects.filter(pl.col("action") == "rejected")
    assert tables.transactions.height == tables.report.total("accepted")
    assert rejected.height == sum(file.rejected for file in tables.report.files)
    assert rejected.select("file", "line").is_duplicated().sum() == 0, "a row is rejected once"
    assert rejected["raw"].null_count() == 0


def _fact(column: str) -> bool:
    return column in ("name", "brand", PART) or column.startswith(("category_", "group_", "product.", "customer."))


def _write(path: Path, rows: Rows) -> Path:
    pl.DataFrame(rows, infer_schema_length=None).cast(pl.String).write_csv(path)
    return path


__all__ = ["KEY", "check_identity", "codes", "sale", "visit"]
