"""Which files a source has, what their columns are, and their rows in blocks."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from aisle.data.read.text import read_text
from aisle.data.schema import REJECTS, TextBlock
from aisle.errors import DataError, UsageError

SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".data", ".item", ".user", ".gz", ".parquet", ".xlsx", ".xls")


def list_files(source: Path) -> list[Path]:
    """Data files of a folder (one level deep) or the file itself, sorted; raises UsageError where there are none."""
    if source.is_file():
        return [source]
    found = sorted(p for p in (*source.glob("*"), *source.glob("*/*")) if p.is_file())
    found = [p for p in found if p.name.lower().endswith(SUFFIXES) and not p.name.startswith(".")]
    if not found:
        raise UsageError(f"no data files in {source}; aisle reads {', '.join(SUFFIXES)}")
    return found


def columns_of(path: Path) -> list[str]:
    """Column names of a file."""
    if path.suffix == ".parquet":
        return list(_parquet(path).schema_arrow.names)
    return sample_of(path, 50).columns


def sample_of(path: Path, rows: int = 1_000) -> pl.DataFrame:
    """At most the first ``rows`` rows of a file (of its first sheet)."""
    frames: list[pl.DataFrame] = []
    file = ""
    with closing(read_blocks(path, rows=min(rows, 250_000))) as blocks:
        for block in blocks:
            if frames and block.file != file:
                break
            file = block.file
            frames.append(block.frame)
            if sum(frame.height for frame in frames) >= rows:
                break
    return pl.concat(frames, how="vertical_relaxed").head(rows) if frames else pl.DataFrame()


def read_blocks(
    path: Path,
    *,
    rows: int = 250_000,
    required: frozenset[str] = frozenset(),
    header: tuple[str, ...] = (),
    separator: str = "",
) -> Generator[TextBlock, None, None]:
    """The rows of a file in blocks of at most ``rows``; raises DataError for a file that cannot be trusted.

    Of a text file, ``required`` columns help to find the header line; ``header`` names the columns of a file that has
    none; a ``separator`` given is not looked for.
    """
    if path.suffix == ".parquet":
        line = 1
        for batch in _parquet(path).iter_batches(batch_size=rows):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            lines = pl.Series("line", range(line, line + frame.height), dtype=pl.Int64)
            line += frame.height
            yield TextBlock(path.name, frame, lines, pl.DataFrame(schema=REJECTS))
    elif path.suffix.lower() in (".xlsx", ".xls"):
        sheets = pl.read_excel(path, sheet_id=0, infer_schema_length=0)
        for name, frame in sheets.items():
            lines = pl.Series("line", range(2, frame.height + 2), dtype=pl.Int64)
            yield TextBlock(f"{path.name}#{name}", frame, lines, pl.DataFrame(schema=REJECTS))
    else:
        yield from read_text(path, rows=rows, required=required, header=header, separator=separator)


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (OSError, ValueError) as error:
        raise DataError(f"NOT_PARQUET: {path.name} cannot be read as Parquet: {error}; export it again") from error
