"""Which files a source has, what their columns are, and their rows in blocks."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

import polars as pl

from aisle.data.read.parquet import parquet_columns, parquet_rows, read_parquet_blocks
from aisle.data.read.text import header_of, read_text
from aisle.data.read.workbook import read_workbook, workbook_columns
from aisle.data.schema import TextBlock
from aisle.errors import UsageError

TEXT = (".csv", ".tsv", ".txt", ".dat", ".data", ".item", ".user", ".csv.gz", ".tsv.gz", ".txt.gz", ".dat.gz")
SUFFIXES = (*TEXT, ".parquet", ".xlsx", ".xls")
BLOCK = 250_000
"""Rows of a block."""
SEEN, UNPACKED, PACKED_ROW = 1 << 20, 5, 20
"""Bytes at the start that tell how long lines are; by what a packed file grows; bytes of a row in a workbook."""


def list_files(source: Path) -> list[Path]:
    """Data files of a folder and of the folders in it, sorted, or the file itself; hidden and lock files left out.

    Raises UsageError where the path does not exist or holds no data file.
    """
    if not source.exists():
        raise UsageError(f"there is no {source}; give a folder or a file with transactions")
    if source.is_file():
        return [source]
    found = sorted(p for p in (*source.glob("*"), *source.glob("*/*")) if p.is_file())
    found = [p for p in found if p.name.lower().endswith(SUFFIXES) and not _is_hidden(p, source)]
    if not found:
        raise UsageError(f"no data files in {source}; aisle reads {', '.join(SUFFIXES)}")
    return found


def columns_of(path: Path) -> list[str]:
    """Column names of a file (of its first sheet), read off its start; raises DataError as ``read_blocks``."""
    kind = _kind(path)
    if kind == "parquet":
        return list(parquet_columns(path))
    return list(workbook_columns(path) if kind == "workbook" else header_of(path))


def sample_of(path: Path, rows: int = 1_000) -> pl.DataFrame:
    """At most the first ``rows`` rows of a file (of its first sheet), rejects left out."""
    frames: list[pl.DataFrame] = []
    file = ""
    with closing(read_blocks(path, rows=min(rows, BLOCK))) as blocks:
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
    rows: int = BLOCK,
    required: frozenset[str] = frozenset(),
    header: Sequence[str] = (),
    separator: str = "",
) -> Generator[TextBlock, None, None]:
    """The rows of a file in blocks of at most ``rows``; every row is in a block's frame or among its rejects.

    Args:
        path: A text file, Parquet file or workbook.
        rows: Most rows of a block.
        required: Names that must be in the header, whatever their case there; the frames spell them as given here.
        header: Column names of a text file that has no header line.
        separator: Column separator of a text file, of any length; empty = found by looking.

    Raises:
        DataError: The file cannot be trusted as a whole; the text starts with a reason code.
        UsageError: The file cannot be opened.

    """
    if rows < 1:
        raise UsageError(f"rows is {rows}; a block has at least 1")
    kind = _kind(path)
    if kind == "parquet":
        yield from read_parquet_blocks(path, rows=rows, required=required)
    elif kind == "workbook":
        yield from read_workbook(path, rows=rows, required=required)
    else:
        yield from read_text(path, rows=rows, required=required, header=header, separator=separator)


def lines_in(path: Path) -> int:
    """About how many rows a file has, told by its size and, of a text, by its start."""
    kind = _kind(path)
    if kind == "parquet":
        return parquet_rows(path)
    if kind == "workbook":
        return path.stat().st_size // PACKED_ROW
    packed = path.suffix.lower() == ".gz"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            start = file.read(SEEN)
    except (OSError, EOFError, zlib.error):  # damaged: whoever reads it says how
        return 0
    size = path.stat().st_size * (UNPACKED if packed else 1)
    return round(max(size, len(start)) * start.count(b"\n") / max(len(start), 1))


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    return "parquet" if suffix == ".parquet" else "workbook" if suffix in (".xlsx", ".xls") else "text"


def _is_hidden(path: Path, root: Path) -> bool:
    """Hidden and lock files, and whatever lies in a folder of results of ours (the default one is below the source)."""
    if any(part.startswith((".", "~$", "__MACOSX")) for part in path.relative_to(root).parts):
        return True
    return path.parent != root and any(
        (path.parent / mark).exists() for mark in ("certificate.json", "rejects.parquet", ".work")
    )
