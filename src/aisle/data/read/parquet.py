"""Parquet in blocks: flat columns with their types, page checksums verified, damage refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from aisle.data.read.dialect import check_names, check_width, tidy_names
from aisle.data.schema import REJECTS, TextBlock
from aisle.errors import DataError, UsageError


def parquet_columns(path: Path) -> tuple[str, ...]:
    """Column names of a Parquet file."""
    with _open(path) as file:
        return tidy_names(file.schema_arrow.names, frozenset())


def parquet_rows(path: Path) -> int:
    """Number of rows of a Parquet file."""
    with _open(path) as file:
        return int(file.metadata.num_rows)


def read_parquet_blocks(path: Path, *, rows: int, required: frozenset[str] = frozenset()) -> Iterator[TextBlock]:
    """Blocks of at most ``rows`` rows; ``line`` is the 1-based row number.

    Raises DataError: NOT_PARQUET (damaged or encrypted), NESTED_COLUMN, TOO_MANY_COLUMNS, DUP_COLUMN, MISSING_COLUMN.
    """
    with _open(path) as file:
        columns = tidy_names(file.schema_arrow.names, required)
        check_width(path.name, len(columns))
        check_names(path.name, columns, required, line=0)
        schema = pl.Schema({})
        line = 1
        batches = file.iter_batches(batch_size=rows)
        while True:
            try:
                batch = next(batches, None)
                frame = None if batch is None else _frame(batch, columns)
            except (OSError, ValueError, pa.ArrowException, pl.exceptions.PolarsError) as error:
                _refuse(path, f"after row {line - 1:,}: {error}", error)
            if frame is None:
                break
            schema = frame.schema
            lines = pl.Series("line", range(line, line + frame.height), dtype=pl.Int64)
            line += frame.height
            yield TextBlock(path.name, frame, lines, pl.DataFrame(schema=REJECTS))
        if not schema:
            frame = _frame(file.schema_arrow.empty_table(), columns)
            yield TextBlock(path.name, frame, pl.Series("line", [], pl.Int64), pl.DataFrame(schema=REJECTS))


def _open(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        _refuse(path, str(error), error)
    for column in file.schema_arrow:
        if pa.types.is_nested(column.type):
            file.close()
            raise DataError(
                f"NESTED_COLUMN: {path.name} column {column.name!r} is nested ({column.type}); columns must be flat; "
                "export it without that column or with its parts as columns"
            )
    return file


def _refuse(path: Path, what: str, error: Exception) -> NoReturn:
    raise DataError(
        f"NOT_PARQUET: {path.name} cannot be read as Parquet ({what.splitlines()[0][:300]}); it may be damaged or "
        "encrypted; export it again"
    ) from error


def _frame(batch: pa.RecordBatch | pa.Table, columns: tuple[str, ...]) -> pl.DataFrame:
    """Columns under tidy names; columns without a type become text, as does binary (text written without its mark)."""
    frame = pl.DataFrame(pl.from_arrow(batch)).rename(dict(zip(batch.schema.names, columns, strict=True)))
    return frame.with_columns(pl.col(pl.Null, pl.Binary).cast(pl.String))
