"""``aisle check``: the data doctor alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aisle.config import RunConfig
from aisle.data.schema import CleanTables, TableName
from aisle.files import write_parquet
from aisle.jobs.ingest import check_out, clean_source
from aisle.progress import Progress


def check(
    source: str | Path, *, out: Path | None = None, config: RunConfig | None = None, progress: Progress | None = None
) -> CleanTables:
    """Clean a source and, with ``out``, write the canonical tables and ``rejects.parquet`` there."""
    if out is not None:
        check_out(source, out)
    tables = clean_source(source, config or RunConfig(), progress or Progress())
    if out is not None:
        for name in ("transactions", "products", "customers", "rejects"):
            write_parquet(out / f"{name}.parquet", getattr(tables, name))
    return tables


def data_summary(tables: CleanTables, with_lines: Mapping[TableName, int] | None = None) -> dict[str, Any]:
    """The ``data`` object of the certificate.

    ``with_lines``: how many products and customers have lines, where the transactions are used up.
    """
    report = tables.report
    if with_lines is None:
        lines = tables.transactions
        with_lines = {
            "products": lines["product_id"].n_unique(),
            "customers": lines["customer_id"].drop_nulls().n_unique(),
        }
    return {
        "rows_read": report.total("read"),
        "rows_accepted": report.total("accepted"),
        "rows_rejected": report.total("rejected"),
        "customers": tables.customers.height,
        "products": tables.products.height,
        "customers_with_lines": with_lines["customers"],
        "products_with_lines": with_lines["products"],
        "duplicates": report.duplicates,
        "returns": report.returns,
        "returns_matched": report.returns_matched,
        "date_order": report.date_order,
        "date_proof": report.date_proof,
        "preset": report.preset,
        "mapping": report.mapping,
        "files": [asdict(f) for f in report.files],
        "findings": [asdict(f) for f in report.findings],
    }
