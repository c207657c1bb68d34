"""Tables of a database by URL, through SQLAlchemy: written to Parquet once, then read like any file."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from aisle.data.schema import KINDS
from aisle.errors import DataError, UsageError

ROWS = 100_000
"""Rows fetched at a time."""
_TYPES: dict[type, pl.DataType] = {
    bool: pl.Boolean(),
    int: pl.Int64(),
    float: pl.Float64(),
    datetime.datetime: pl.Datetime("us"),
    datetime.date: pl.Date(),
}
"""Column types kept; everything else (decimals too, which keep every digit that way) becomes text."""


class _Mistyped(Exception):
    """A value does not fit the type that the database declares for its column."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


def export_tables(url: str, folder: Path) -> list[Path]:
    """Write every table or view with a canonical name (``transactions``, ``products``, …) as Parquet into ``folder``.

    Types are those the database declares; a column that breaks its own type is written as text.
    Raises UsageError where SQLAlchemy is not installed or the URL does not connect, DataError without transactions
    and for a query that fails.
    """
    try:
        import sqlalchemy
    except ImportError as error:
        raise UsageError("reading a database needs SQLAlchemy: pip install 'aisle[sql]'") from error
    try:
        engine = sqlalchemy.create_engine(url)
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError) as error:
        raise UsageError(f"cannot open the database {_without_password(url)}: {_first_line(error, url)}") from error
    try:
        inspector = sqlalchemy.inspect(engine)
        names = [*inspector.get_table_names(), *inspector.get_view_names()]
        wanted = {name.lower(): name for name in names if name.lower() in KINDS}
        if "transactions" not in wanted:
            seen = ", ".join(sorted(names)[:20]) or "none"
            raise DataError(
                f"NO_TABLE: {_without_password(url)} has no table or view named transactions; it has {seen}; create a "
                "view of that name"
            )
        written = []
        with engine.connect().execution_options(stream_results=True) as connection:
            for table, name in sorted(wanted.items()):
                types = {c["name"]: _polars_type(c["type"]) for c in inspector.get_columns(name)}
                target = folder / f"{table}.parquet"
                query = sqlalchemy.select(sqlalchemy.text("*")).select_from(sqlalchemy.table(name))
                _write(lambda query=query: connection.execute(query), types, target)
                written.append(target)
        return written
    except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError) as error:
        raise UsageError(f"cannot read the database {_without_password(url)}: {_first_line(error, url)}") from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise DataError(f"SQL: {_without_password(url)}: {_first_line(error, url)}; check the table or view") from error
    finally:
        engine.dispose()


def _write(run: Any, types: dict[str, pl.DataType], path: Path) -> None:
    """Stream a query into Parquet; columns that break their type become text and the query runs again."""
    while True:
        try:
            result = run()
            schema = {name: types.get(name, pl.String()) for name in result.keys()}  # noqa: SIM118 (no dict)
            empty = pl.DataFrame(schema=schema).to_arrow()
            with pq.ParquetWriter(path, empty.schema) as writer:
                for frame in _frames(result, schema):
                    writer.write_table(frame.to_arrow().cast(empty.schema))
            return
        except _Mistyped as wrong:
            types = types | {wrong.column: pl.String()}


def _frames(result: Any, schema: dict[str, pl.DataType]) -> Iterator[pl.DataFrame]:
    while rows := result.fetchmany(ROWS):
        columns = zip(*rows, strict=True)
        yield pl.DataFrame([_series(n, t, values) for (n, t), values in zip(schema.items(), columns, strict=True)])


def _series(name: str, dtype: pl.DataType, values: Sequence[Any]) -> pl.Series:
    """Values under a type; text takes everything as it prints, any other type only its own values."""
    if dtype == pl.String:
        return pl.Series(name, [None if v is None else _text(v) for v in values], dtype=dtype)
    kinds = {type(v) for v in values} - {type(None)}
    own = next(kind for kind, known in _TYPES.items() if known == dtype)
    allowed = {own, int} if own is float else {own}
    zoned = own is datetime.datetime and any(v is not None and getattr(v, "tzinfo", None) for v in values)
    if not kinds <= allowed or zoned:
        raise _Mistyped(name)
    try:
        return pl.Series(name, values, dtype=dtype)
    except (OverflowError, TypeError, pl.exceptions.PolarsError) as error:
        raise _Mistyped(name) from error


def _text(value: Any) -> str:
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).decode("utf-8", "replace")
    return value.isoformat() if isinstance(value, (datetime.date, datetime.time)) else str(value)


def _polars_type(declared: Any) -> pl.DataType:
    try:
        return _TYPES.get(declared.python_type, pl.String())
    except NotImplementedError:
        return pl.String()


def _first_line(error: Exception, url: str) -> str:
    """The complaint in one line, without the password should the driver repeat the URL."""
    line = str(error).splitlines()[0] if str(error) else type(error).__name__
    return line.replace(url, _without_password(url))


def _without_password(url: str) -> str:
    head, _, tail = url.rpartition("@")
    return f"{head.split('://')[0]}://…@{tail}" if head else url
