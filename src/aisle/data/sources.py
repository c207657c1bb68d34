"""What the mapping needs to see of a source: its files, their columns, a sample. Tests inject their own."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

import polars as pl

from aisle.data import read
from aisle.errors import DataError

SAMPLE_ROWS = 2_000
"""Rows looked at to tell a date from a name."""


class Source(Protocol):
    """The part of the reader that finds a mapping."""

    def list_files(self, source: Path) -> list[Path]:
        """Every data file of a folder, sorted, or the one file given."""
        ...

    def columns_of(self, path: Path) -> list[str]:
        """The column names of a file (of its first sheet)."""
        ...

    def sample_of(self, path: Path, rows: int) -> pl.DataFrame:
        """The first rows of a file."""
        ...

    def read_all(self, path: Path) -> pl.DataFrame:
        """A whole (small) file, for joins."""
        ...


class DiskSource:
    """The files of a disk, through ``aisle.data.read``; columns are looked up once."""

    def __init__(self) -> None:
        self._columns: dict[Path, list[str]] = {}
        self.unreadable: dict[Path, str] = {}
        """Files that are no tables, with the reader's complaint."""

    def list_files(self, source: Path) -> list[Path]:
        """Every data file of a folder, sorted, or the one file given."""
        return read.list_files(source)

    def columns_of(self, path: Path) -> list[str]:
        """The column names of a file; empty for a file that cannot be read as a table."""
        if path not in self._columns:
            try:
                self._columns[path] = read.columns_of(path)
            except DataError as error:
                self._columns[path] = []
                self.unreadable[path] = str(error)
        return self._columns[path]

    def sample_of(self, path: Path, rows: int) -> pl.DataFrame:
        """The first rows of a file."""
        return read.sample_of(path, rows)

    def read_all(self, path: Path) -> pl.DataFrame:
        """A whole file."""
        return read.sample_of(path, 2**40)


def relative(path: Path, root: Path) -> str:
    """The path below the root with forward slashes, or its name when it lies elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def files_of(globs: Sequence[str], root: Path, files: Sequence[Path]) -> list[Path]:
    """The files that match any pattern, without regard to case, in the order given."""
    patterns = [g.casefold() for g in globs]
    return [f for f in files if any(fnmatchcase(relative(f, root).casefold(), p) for p in patterns)]


def first_line(path: Path) -> str:
    """The first line of a text file, at most 4 096 bytes, for files without a header line."""
    with path.open("rb") as file:
        return file.readline(4096).decode("utf-8", errors="replace").rstrip("\r\n")
