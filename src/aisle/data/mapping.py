"""From a source's own names to canonical ones: find the mapping, then apply it block by block.

``resolve`` answers which file is which table and which column is which; ``apply`` renames. Neither changes a value
beyond joining the parts of a composite id or of a date and its hour: cleaning is the doctor's work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from aisle.data.mapping_infer import infer
from aisle.data.mapping_toml import from_toml, to_toml
from aisle.data.names import Columns, did_you_mean, plain, tokens
from aisle.data.presets import PRESETS
from aisle.data.schema import KEY, KINDS, Join, Kind, Mapping, TableMapping, TableName
from aisle.data.sources import DiskSource, Source, files_of, relative
from aisle.data.synonyms import HOURS
from aisle.errors import DataError, UsageError

_EMPTY: dict[Kind, pl.DataType] = {
    "id": pl.String(),
    "text": pl.String(),
    "number": pl.Float64(),
    "time": pl.Datetime("us"),
    "integer": pl.Int64(),
    "flag": pl.Boolean(),
}
_SECONDS = {"s": 1_000_000, "ms": 1_000}
"""Microseconds in a tick of ``time_from``."""


def resolve(
    source: Path, *, pinned: Mapping | None = None, reader: Source | None = None
) -> tuple[Mapping, dict[TableName, list[Path]]]:
    """The mapping of a source and the files of each table: pinned by the user, a known preset, or inferred.

    A ``pinned`` mapping without tables only sets options (``date_order`` …) over what is found; its name may choose a
    preset. The mapping returned names columns as the files spell them, so that it can be shown and pinned.

    Raises:
        DataError: No files, a pinned file or column is not there, or customer, product or time cannot be found.
        UsageError: The pinned name is no preset and no tables are given.

    """
    reader = reader or DiskSource()
    files = reader.list_files(source)
    root = source if source.is_dir() else source.parent
    if not files:
        raise DataError(f"{source} holds no data files. Give a folder or file with .csv, .xlsx or .parquet tables.")
    if pinned is not None and pinned.tables:
        return _check_pinned(pinned, root, files, reader)
    presets = PRESETS
    if pinned is not None and pinned.name:
        presets = tuple(p for p in PRESETS if p.mapping.name == pinned.name)
        if not presets:
            names = sorted({p.mapping.name for p in PRESETS})
            raise UsageError(
                f'[data] name = "{pinned.name}" is no known source.{did_you_mean(pinned.name, names)} '
                f"Known: {', '.join(names)}. For your own source add [data.transactions] with files and columns."
            )
    found = next((hit for p in presets if (hit := p.detect(root, files, reader)) is not None), None)
    if found is None and pinned is not None and pinned.name:
        wanted = "; ".join(p.signature for p in presets)
        raise DataError(f'{source} does not look like "{pinned.name}", which has {wanted}.')
    mapping, chosen = found or _infer(root, files, reader)
    return (_overlay(mapping, pinned) if pinned is not None else mapping), chosen


def _infer(root: Path, files: list[Path], reader: Source) -> tuple[Mapping, dict[TableName, list[Path]]]:
    try:
        return infer(root, files, reader)
    except DataError as error:
        complaints = getattr(reader, "unreadable", {})
        if not complaints:
            raise
        path, complaint = next(iter(complaints.items()))
        raise DataError(f"{error}\nNot readable: {relative(path, root)}: {complaint}") from error


def _overlay(mapping: Mapping, options: Mapping) -> Mapping:
    """The mapping with the options that the user set."""
    plainly = Mapping(name="", tables=())
    names = ("numeric_ids", "date_order", "product_pattern", "cancel_prefix")
    changed = {n: getattr(options, n) for n in names if getattr(options, n) != getattr(plainly, n)}
    return replace(mapping, **changed)


def _check_pinned(
    pinned: Mapping, root: Path, files: list[Path], reader: Source
) -> tuple[Mapping, dict[TableName, list[Path]]]:
    """The pinned mapping and its files; every file and column named must be there."""
    chosen: dict[TableName, list[Path]] = {}
    for table in pinned.tables:
        hits = files_of(table.files, root, files)
        if not hits:
            there = ", ".join(relative(f, root) for f in files[:12])
            raise DataError(
                f"[data.{table.table}] files = {list(table.files)} matches nothing in {root}. Found: {there}."
            )
        names = list(table.header) or reader.columns_of(hits[0])
        for join in table.joins:
            names = [*names, *join.take]
        have = Columns(names)
        wanted = [c for parts in table.columns.values() for c in parts]
        wanted += [] if table.attributes == "rest" else table.attributes
        missing = next((c for c in wanted if have.find(c) is None), None)
        if missing is not None:
            raise DataError(
                f'[data.{table.table}]: {relative(hits[0], root)} has no column "{missing}".'
                f"{did_you_mean(missing, names)} Its columns: {', '.join(names[:40])}."
            )
        chosen[table.table] = hits
    return pinned, chosen


def load_joins(table: TableMapping, source: Path, *, reader: Source | None = None) -> tuple[pl.DataFrame, ...]:
    """One frame per join of a table: its key columns and the columns taken, keys unique and never null.

    Raises:
        DataError: No file matches, a column is missing, or one key carries different values.

    """
    reader = reader or DiskSource()
    if not table.joins:
        return ()
    root = source if source.is_dir() else source.parent
    files = reader.list_files(root)
    return tuple(_load_join(join, root, files, reader) for join in table.joins)


def _load_join(join: Join, root: Path, files: list[Path], reader: Source) -> pl.DataFrame:
    hits = files_of(join.files, root, files)
    if not hits:
        raise DataError(f"The join on {', '.join(join.on)} needs {' or '.join(join.files)}, not found in {root}.")
    keys = [key.split("=")[-1] for key in join.on]
    frames = []
    for path in hits:
        frame = reader.read_all(path)
        names = Columns(frame.columns).all([*keys, *join.take])
        if names is None:
            raise DataError(f"{path.name} needs columns {', '.join([*keys, *join.take])}; it has {frame.columns}.")
        frames.append(frame.select(pl.col(n).alias(to) for n, to in zip(names, [*keys, *join.take], strict=True)))
    stacked = pl.concat(frames, how="vertical_relaxed").drop_nulls(keys).unique(maintain_order=True)
    twice = stacked.filter(stacked.select(keys).is_duplicated())
    if twice.height:
        raise DataError(
            f"{', '.join(h.name for h in hits)}: {twice.select(keys).n_unique()} keys stand on several different rows, "
            f"for example {dict(zip(keys, twice.select(keys).row(0), strict=True))}. Keep one row for each "
            f"{' + '.join(keys)}."
        )
    return stacked


def apply(table: TableMapping, frame: pl.DataFrame, joined: Sequence[pl.DataFrame] = ()) -> pl.DataFrame:
    """The frame under canonical names, row for row: mapped columns first, then attributes under their own names.

    Several source columns of an id are joined with ``/``, of a time with a space (a typed date and an hour become a
    Datetime); a part that is missing makes the whole null. Values and types are otherwise untouched; a column this
    piece lacks is null. An attribute whose name has a canonical meaning it was not mapped to ends in ``_raw``.

    Args:
        table: The mapping of this table.
        frame: Rows under source names, all String or typed.
        joined: The frames of ``load_joins``, when the table has joins.

    Raises:
        DataError: The frame lacks the product or time column that its mapping names.

    """
    frame = _borrow(table, frame, joined)
    have = Columns(frame.columns)
    schema = frame.schema
    text_only = all(kind == pl.String for kind in schema.dtypes())
    out: list[pl.Expr] = []
    for name, parts in table.columns.items():
        found = have.all(parts)
        if found is not None:
            out.append(_expression(table, name, found, schema).alias(name))
        elif name in ("product_id", "timestamp", "sequence"):
            raise DataError(f"No column {' + '.join(parts)} for {name}; this piece has {', '.join(frame.columns)}.")
        else:
            out.append(pl.lit(None, dtype=pl.String() if text_only else _EMPTY[kind_of(table.table, name)]).alias(name))
    for column in attributes_of(table, frame.columns):
        out.append(pl.col(column).alias(_attribute_name(table, column)))
    return frame.select(out)


def attributes_of(table: TableMapping, columns: Sequence[str]) -> list[str]:
    """The source columns that become attributes, as this piece spells them."""
    have = Columns(columns)
    if table.attributes != "rest":
        return [c for name in table.attributes if (c := have.find(name)) is not None]
    if table.table in ("transactions", "availability"):
        return []
    used = {plain(c) for parts in table.columns.values() for c in parts} | {plain(c) for c in table.ignore}
    return [c for c in columns if plain(c) not in used]


def kind_of(table: TableName, name: str) -> Kind:
    """What a canonical column holds; levels, facts and attributes are text."""
    return KINDS[table].get(name, "text")


def _attribute_name(table: TableMapping, column: str) -> str:
    """Attributes keep their name, unless it has a canonical meaning that they were not mapped to."""
    level = column.startswith(("category_", "group_"))
    return f"{column}_raw" if level or column in KINDS[table.table] or column in table.columns else column


def _borrow(table: TableMapping, frame: pl.DataFrame, joined: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The frame with the columns of its joins; rows, and their order, stay."""
    if len(joined) != len(table.joins):
        raise DataError(f"{table.table}: {len(table.joins)} joins are mapped but {len(joined)} were loaded.")
    for join, other in zip(table.joins, joined, strict=True):
        mine = [key.split("=")[0] for key in join.on]
        keys = Columns(frame.columns).all(mine)
        if keys is None:
            raise DataError(f"{table.table} has no {' + '.join(mine)} to join {join.files[0]} on: {frame.columns}.")
        theirs = [key.split("=")[-1] for key in join.on]
        right = other.select(
            *(_key(other.schema[t], t).alias(f"\0{i}") for i, t in enumerate(theirs)),
            *(pl.col(c) for c in join.take if c not in frame.columns),
        )
        left = frame.with_columns(_key(frame.schema[k], k).alias(f"\0{i}") for i, k in enumerate(keys))
        on = [f"\0{i}" for i in range(len(keys))]
        frame = left.join(right, on=on, how="left", maintain_order="left").drop(on)
    return frame


def _key(dtype: pl.DataType, column: str) -> pl.Expr:
    """A column as text that compares across typed and untyped files: 7, 7.0 and `` 7 `` are one key."""
    expr = pl.col(column)
    if dtype.is_float():
        whole = expr == expr.floor()
        return pl.when(whole).then(expr.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(expr.cast(pl.String))
    return expr.cast(pl.String).str.strip_chars()


def _expression(table: TableMapping, name: str, parts: tuple[str, ...], schema: pl.Schema) -> pl.Expr:
    kind = kind_of(table.table, name)
    if kind == "time":
        return _time(table.time_from, parts, schema)
    if len(parts) == 1:
        return pl.col(parts[0])
    texts = [_key(schema[p], p) for p in parts]
    present = [pl.when(t != "").then(t) for t in texts]
    return pl.concat_str(present, separator=KEY if kind == "id" else " ")


def _time(time_from: str, parts: tuple[str, ...], schema: pl.Schema) -> pl.Expr:
    """One time from a date (or day number) and, where given, an hour, ``HHMM`` number or clock time."""
    first = pl.col(parts[0])
    dtype = schema[parts[0]]
    typed = dtype.is_temporal() or dtype.is_numeric()
    if time_from:
        number = first.cast(pl.Float64, strict=False)
        if time_from == "ymd":
            text = first.cast(pl.Int64).cast(pl.String) if dtype.is_numeric() else first.str.strip_chars()
            stamp = text.str.to_datetime("%Y%m%d", strict=False, time_unit="us")
        elif time_from in _SECONDS:
            stamp = (number * _SECONDS[time_from]).cast(pl.Int64, strict=False).cast(pl.Datetime("us"))
        else:
            origin = pl.lit(time_from).str.to_datetime("%Y-%m-%d", time_unit="us")
            stamp = origin + pl.duration(days=number.floor().cast(pl.Int64, strict=False))
        # Text that is no number stays as it was written, so that the doctor can show and reject it.
        first = stamp if typed else pl.coalesce(stamp.dt.to_string("%Y-%m-%d %H:%M:%S"), first)
    if len(parts) == 1:
        return first
    hours = [bool(HOURS & set(tokens(p))) for p in parts[1:]]
    if (dtype.is_temporal() or time_from) and typed and len(parts) == 2 and schema[parts[1]].is_integer():
        number = pl.col(parts[1]).cast(pl.Int64)
        clock = pl.duration(hours=number) if hours[0] else pl.duration(hours=number // 100, minutes=number % 100)
        return first.cast(pl.Datetime("us")) + clock
    day = first.cast(pl.String) if typed else first.str.strip_chars()
    day = day.str.slice(0, 10) if time_from else day.str.replace(r"^(\d{4})(\d{2})(\d{2})$", "$1-$2-$3")
    clocks = [_clock_text(_key(schema[p], p), hour) for p, hour in zip(parts[1:], hours, strict=True)]
    return pl.concat_str([day, *clocks], separator=" ")


def _clock_text(text: pl.Expr, hour: bool) -> pl.Expr:
    """``HH:MM`` from an hour (``14``) or an ``HHMM`` number (``1631``, ``5`` = 00:05); other text as it stands."""
    if hour:
        return pl.when(text.str.contains(r"^\d{1,2}$")).then(text.str.zfill(2) + ":00").otherwise(text)
    padded = text.str.zfill(4)
    clock = padded.str.slice(0, 2) + ":" + padded.str.slice(2, 2)
    return pl.when(text.str.contains(r"^\d{1,4}$")).then(clock).otherwise(text)


def shown(mapping: Mapping) -> dict[str, dict[str, str]]:
    """``{table: {canonical column: source column(s)}}``, for reports."""
    return {t.table: {name: " + ".join(parts) for name, parts in t.columns.items()} for t in mapping.tables}


__all__ = ["apply", "attributes_of", "files_of", "from_toml", "kind_of", "load_joins", "resolve", "shown", "to_toml"]
