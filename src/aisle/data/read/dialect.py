"""The shape of a text table, read off its first lines: delimiter, header, and what stands before the header."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from aisle.errors import DataError

DELIMITERS = (",", ";", "\t", "|", "::")
MAX_COLUMNS = 2_000
DATA_LIKE = re.compile(r"^\s*[-+(]?[\d.,/:\-T ]*\d[\d.,/:\-T Z)]*\s*$")
LOOK_AHEAD = 200
"""Lines looked at."""


@dataclass(frozen=True)
class Dialect:
    """How the lines of one file are to be read."""

    delimiter: str
    columns: tuple[str, ...]
    header_line: int
    """0-based physical line of the header; -1 where the file has none and its names were given."""
    raw_header: tuple[str, ...]
    """The names as they stand in the file."""


def sniff(
    path: Path, start: bytes, required: frozenset[str], *, header: tuple[str, ...] = (), separator: str = ""
) -> Dialect:
    """The dialect of a file from its first bytes (UTF-8); a ``header`` given names the columns of a file without one.

    Raises DataError: TOO_MANY_COLUMNS, NO_HEADER, DUP_COLUMN, MISSING_COLUMN, NOT_CSV.
    """
    lines = start.decode("utf-8", errors="replace").split("\n")[:LOOK_AHEAD]
    lines = [line.rstrip("\r") for line in lines]
    if max((line.count(d) for line in lines[:5] for d in DELIMITERS), default=0) > MAX_COLUMNS:
        raise DataError(f"TOO_MANY_COLUMNS: {path.name} has more than {MAX_COLUMNS} columns; check the delimiter")
    delimiter, width = _delimiter(lines)
    delimiter = separator or delimiter
    if header:
        return Dialect(delimiter, header, -1, header)
    at = _header_line(lines, delimiter, width, required)
    raw = tuple(split(lines[at], delimiter))
    names = tuple(re.sub(r"\s+", " ", name.strip().strip("\ufeff")) for name in raw)
    if sum(bool(DATA_LIKE.match(name)) for name in names) * 3 >= len(names) or not any(names):
        raise DataError(
            f"NO_HEADER: {path.name} line {at + 1} looks like data ({delimiter.join(raw)[:80]!r}); put a line with "
            "the column names first"
        )
    _check_names(path, names, at, required)
    return Dialect(delimiter, names, at, raw)


def split(line: str, delimiter: str) -> list[str]:
    """Fields of one line without quoted line ends."""
    if delimiter == "::":
        return line.split("::")
    return next(csv.reader([line], delimiter=delimiter), [])


def _delimiter(lines: list[str]) -> tuple[str, int]:
    """The delimiter that gives most lines the same, largest number of fields; comma where nothing does."""
    best = (0.0, 0, ",")
    filled = [line for line in lines if line.strip()]
    for delimiter in reversed(DELIMITERS):
        widths = Counter(len(split(line, delimiter)) for line in filled)
        width, lines_with = max(widths.items(), key=lambda item: (item[1], item[0]), default=(1, 0))
        if width > 1:
            best = max(best, (lines_with / len(filled), width, delimiter), key=lambda b: (round(b[0], 1), b[1]))
    return best[2], max(best[1], 1)


def _header_line(lines: list[str], delimiter: str, width: int, required: frozenset[str]) -> int:
    """The line with the required names, else the first one as wide as most."""
    wanted = {name.strip().lower() for name in required}
    first = None
    for number, line in enumerate(lines[:50]):
        names = {name.strip().lower() for name in split(line, delimiter)}
        if wanted and wanted <= names:
            return number
        if first is None and line.strip() and len(split(line, delimiter)) >= width:
            first = number
    return first or 0


def _check_names(path: Path, names: tuple[str, ...], header: int, required: frozenset[str]) -> None:
    folded = [name.lower() for name in names]
    twice = [name for name, count in Counter(folded).items() if count > 1 and name]
    if twice:
        raise DataError(f"DUP_COLUMN: {path.name} line {header + 1} names the column {twice[0]!r} twice; rename one")
    missing = sorted(name for name in required if name.strip().lower() not in folded)
    if missing:
        raise DataError(
            f"MISSING_COLUMN: {path.name} has no column {missing[0]!r}; its columns are {', '.join(names)[:300]}; add "
            "the column or pin the mapping in the [data] section of aisle.toml"
        )
