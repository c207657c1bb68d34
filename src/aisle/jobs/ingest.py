"""Source to Dataset: resolve the mapping, let the doctor clean, build."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from aisle.config import RunConfig
from aisle.data.dataset import Dataset
from aisle.data.doctor import clean
from aisle.data.doctor.pieces import Pieces
from aisle.data.mapping import from_toml, resolve
from aisle.data.read import lines_in
from aisle.data.read.sql import export_tables
from aisle.data.schema import CleanTables, Mapping, TableName
from aisle.errors import DataError, ResourceError, UsageError
from aisle.files import write_parquet
from aisle.progress import Progress

BYTES_HELD, BYTES_A_LINE = 450_000_000, 150
"""What reading holds at its peak, beside and for each line (``aisle bench speed``)."""
SMALL = 500_000
"""Lines that are read under any budget."""
HEADERS = {"id", "customer", "customerid", "product", "productid", "stockcode"}


def clean_source(
    source: str | Path,
    config: RunConfig,
    progress: Progress,
    kept: Pieces | None = None,
    today: date | None = None,
) -> CleanTables:
    """Read and clean a folder, a file or a database URL; of files whose lines are ``kept``, those are taken.

    Raises DataError for data that cannot be trusted, UsageError for a wrong path.
    """
    if "://" in str(source):
        with TemporaryDirectory(prefix="aisle-sql-") as folder:
            export_tables(str(source), Path(folder))
            return clean_source(Path(folder), config, progress)
    path = existing(source)
    mapping, files = resolved(path, config)
    check_room(files.get("transactions", []), config)
    with progress.step("Reading and checking") as tick:
        order, at = config.date_order, config.at_moment
        return clean(path, mapping, files, date_order=order, at=at, progress=tick, kept=kept, today=today)


def resolved(path: Path, config: RunConfig) -> tuple[Mapping, dict[TableName, list[Path]]]:
    """Which column is which in a folder or file, and the files of each table; raises as ``mapping.resolve``."""
    return resolve(path, pinned=from_toml(config.data) if config.data else None)


def check_room(files: Sequence[Path], config: RunConfig) -> None:
    """Raise ResourceError, with the numbers, where reading so many lines would take more than ``config.memory``."""
    lines = sum(map(lines_in, files))
    need = BYTES_HELD + lines * BYTES_A_LINE
    if need > config.memory_bytes and lines > SMALL:
        raise ResourceError(
            f"reading about {lines:,} lines takes about {need / 1e9:,.1f} GB of memory; {config.memory} are allowed. "
            f"Give --memory {need / 1e9 + 0.5:.0f}GB where the machine has it, or fewer lines (a shorter history)."
        )


def existing(source: str | Path) -> Path:
    """The path of a source on disk; raises UsageError where there is none."""
    path = Path(source)
    if not path.exists():
        raise UsageError(f"there is no {path}; give a folder or file with transactions, or a database URL")
    return path


def check_out(source: str | Path, out: Path) -> None:
    """Raise UsageError where results would be written over, or around, the files they are made from."""
    if "://" in str(source):
        return
    given, target = Path(source).resolve(), out.resolve()
    if target == given or target in given.parents:
        raise UsageError(
            f"--out {out} is the source or holds it; give a folder of its own, for example {out / 'results'}"
        )


def clean_frames(frames: dict[str, pl.DataFrame], config: RunConfig) -> CleanTables:
    """Clean canonical tables given as frames; they take the same road as Parquet files."""
    with TemporaryDirectory(prefix="aisle-frames-") as folder:
        for name, frame in frames.items():
            write_parquet(Path(folder) / f"{name}.parquet", frame)
        return clean_source(folder, config, Progress())


def build_dataset(tables: CleanTables, config: RunConfig, *, consume: bool = False) -> Dataset:
    """The Dataset of a run: opted-out customers marked, everything at or after ``--at`` forgotten.

    ``consume`` empties the transactions on the way, which halves the memory that is needed.

    Raises DataError where no line was accepted, UsageError for an ``--at`` before the first line.
    """
    if not tables.transactions.height:
        raise DataError("no transaction line was accepted; aisle check SOURCE shows what is wrong with each")
    if config.no_profile:
        tables = replace(tables, customers=_opt_out(tables, read_ids(Path(config.no_profile))))
    if config.at_moment is None:
        return Dataset.of(tables, consume=consume)
    return Dataset.of(_forget(tables, config.at_moment)).until(ticks(config.at_moment))


def _forget(tables: CleanTables, moment: datetime) -> CleanTables:
    """The tables without lines at or after a moment, and without products that only such lines speak of.

    Customers stay, since every customer gets a list.
    """
    if "timestamp" not in tables.transactions.columns:
        raise UsageError("--at needs timestamps; this source orders baskets by a sequence number")
    lines = tables.transactions.filter(pl.col("timestamp") < moment)
    if not lines.height:
        first = tables.transactions.select(pl.col("timestamp").min().dt.to_string()).item()
        raise UsageError(f"--at {moment} lies before the first line ({first}); give a later date")
    if "void_at" in lines.columns:
        lines = lines.with_columns(pl.when(pl.col("void_at") < moment).then(pl.col("void_at")).alias("void_at"))
    # A product is listed by its table or known from lines; all nulls mean that it stands on lines alone.
    later = tables.transactions.select(pl.col("product_id").unique().cast(pl.String))
    later = later.join(lines.select(pl.col("product_id").unique().cast(pl.String)), on="product_id", how="anti")
    told = pl.any_horizontal(pl.lit(value=False), *(pl.col(c).is_not_null() for c in tables.products.columns[1:]))
    unknown = ~told & pl.col("product_id").cast(pl.String).is_in(later["product_id"].to_list())
    return replace(tables, transactions=lines, products=tables.products.filter(~unknown))


def ticks(moment: datetime) -> int:
    """Microseconds since 1970 of a naive UTC moment."""
    return int(np.datetime64(moment, "us").astype(np.int64))


def read_ids(path: Path) -> pl.Series:
    """Ids of a text or CSV file: one a line, first column, a header such as ``customer_id`` skipped."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; give a text file with one id a line") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text ({error.reason}); save it as text or CSV in UTF-8") from error
    head = text.split("\n", 1)[0]
    separator = next((s for s in "\t;," if s in head), ",")
    ids = [row[0].strip() for row in csv.reader(text.splitlines(), delimiter=separator) if row and row[0].strip()]
    if ids and re.sub("[^a-z]", "", ids[0].lower()) in HEADERS:
        ids = ids[1:]
    return pl.Series("id", ids, dtype=pl.String)


def _opt_out(tables: CleanTables, ids: pl.Series) -> pl.DataFrame:
    customers = tables.customers.with_columns(pl.col("customer_id").cast(pl.String))
    buyers = tables.transactions.select(pl.col("customer_id").drop_nulls().unique().cast(pl.String))
    customers = pl.concat([customers, buyers.join(customers, on="customer_id", how="anti")], how="diagonal")
    given = pl.col("no_profile").fill_null(value=False) if "no_profile" in customers.columns else pl.lit(value=False)
    return customers.with_columns(no_profile=given | pl.col("customer_id").is_in(ids.to_list()))
