"""Tables of a database by URL, through SQLAlchemy: written to Parquet once, then read like any file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from aisle.data.schema import KINDS
from aisle.errors import DataError, UsageError

ROWS = 100_000
"""Rows fetched at a time."""


def export_tables(url: str, folder: Path) -> list[Path]:
    """Write every table or view with a canonical name (``transactions``, ``products``, …) as Parquet into ``folder``.

    Raises UsageError where SQLAlchemy is not installed or the URL does not connect, DataError without transactions.
    """
    try:
        import sqlalchemy
    except ImportError as error:
        raise UsageError("reading a database needs SQLAlchemy: pip install 'aisle[sql]'") from error
    try:
        engine = sqlalchemy.create_engine(url)
        inspector = sqlalchemy.inspect(engine)
        names = [*inspector.get_table_names(), *inspector.get_view_names()]
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise UsageError(f"cannot open the database {_without_password(url)}: {error}") from error
    wanted = {name.lower(): name for name in names if name.lower() in KINDS}
    if "transactions" not in wanted:
        seen = ", ".join(sorted(names)[:20]) or "none"
        raise DataError(
            f"the database has no table or view named transactions; it has {seen}; create a view of that name"
        )
    written = []
    with engine.connect().execution_options(stream_results=True) as connection:
        for table, name in sorted(wanted.items()):
            result = connection.execute(sqlalchemy.select(sqlalchemy.text("*")).select_from(sqlalchemy.table(name)))
            written.append(_write(result, list(result.keys()), folder / f"{table}.parquet"))
    engine.dispose()
    return written


def _write(result: Any, columns: list[str], path: Path) -> Path:
    writer: pq.ParquetWriter | None = None
    while rows := result.fetchmany(ROWS):
        frame = pl.DataFrame([tuple(row) for row in rows], schema=columns, orient="row", infer_schema_length=None)
        table: pa.Table = frame.to_arrow()
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table.cast(writer.schema))
    if writer is None:
        pl.DataFrame(schema=dict.fromkeys(columns, pl.String)).write_parquet(path)
    else:
        writer.close()
    return path


def _without_password(url: str) -> str:
    head, _, tail = url.rpartition("@")
    return f"{head.split('://')[0]}://…@{tail}" if head else url
