"""The shape of a text table, read off its first lines: delimiter, header, and what stands before the header."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from aisle.data.read.records import Record, count_lines, read_record
from aisle.errors import DataError

DELIMITERS = (",", ";", "\t", "|", "::")
MAX_COLUMNS = 2_000
LOOK_AHEAD = 100
"""Records looked at."""
HEADER_WITHIN = 50
"""The header stands among this many first records."""
_DATA = re.compile(r"[-+(]?[\d.,/:\-T ]*\d[\d.,/:\-T Z)]*")
_DAMAGE = re.compile("[\ud800-\udfff]")
_SEP = re.compile(r'"?sep=(.)"?\Z', re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """How the lines of one file are to be read."""

    delimiter: str
    columns: tuple[str, ...]
    """Names without stray spaces, in the spelling of the required ones; ``column_3`` where the third has none."""
    raw_header: tuple[str, ...] = ()
    """The names as they stand in the file; empty where the file has no header line."""
    before: int = 0
    """Physical lines before the header."""
    lines: int = 0
    """Physical lines up to the first data row."""
    skip: int = 0
    """Bytes up to the first data row."""
    expected: str = ","
    """The delimiter that the file's name promises."""


def sniff(
    name: str, start: bytes, required: frozenset[str] = frozenset(), header: Sequence[str] = (), separator: str = ""
) -> Dialect:
    """The dialect of a file from its first bytes (UTF-8, whole lines).

    ``header`` names the columns of a file that has no header line; ``separator`` forces the delimiter.
    Raises DataError: TOO_MANY_COLUMNS, NO_HEADER, DUP_COLUMN, MISSING_COLUMN.
    """
    text = start[: 4 << 20].decode("utf-8", "surrogateescape")
    expected = _expected(name)
    hint = None if header else _SEP.match(text.split("\n", 1)[0].strip())
    delimiter = separator or (hint[1] if hint else _delimiter(text, expected, required))
    if header:
        check_names(name, header, required, line=0)
        return Dialect(delimiter, tuple(header), expected=delimiter)
    records = _records(text, delimiter)
    if not records:
        raise DataError(
            f"EMPTY: {name} holds nothing but spaces; a table begins with its column names; export it again"
        )
    number = _header([record for _, record in records], required)
    at, record = records[number]
    line = count_lines(text[:at]) + 1
    raw = tuple(_DAMAGE.sub("\ufffd", name) for name in record.fields)
    check_width(name, len(raw))
    columns = tidy_names(raw, required)
    if not required <= set(columns) and looks_like_data(raw):
        found = delimiter.join(raw)[:80]
        raise DataError(
            f"NO_HEADER: {name} line {line} looks like data ({found!r}), not like column names; put a line with the "
            "column names first"
        )
    check_names(name, columns, required, line=line)
    skip = len(text[: record.end].encode("utf-8", "surrogateescape"))
    return Dialect(delimiter, columns, raw, line - 1 if number else 0, line - 1 + record.lines, skip, expected)


def tidy_names(raw: Sequence[str], required: frozenset[str]) -> tuple[str, ...]:
    """Names without stray spaces; a required one is spelt as required whatever its case in the file."""
    spelling = {name.strip().casefold(): name for name in required}
    names = [re.sub(r"\s+", " ", name.strip("\ufeff \t\r\n\u00a0")) for name in raw]
    tidy = [name if name in required else spelling.get(name.casefold(), name) for name in names]
    return tuple(name or f"column_{i}" for i, name in enumerate(tidy, start=1))


def looks_like_data(names: Sequence[str]) -> bool:
    """Whether a third of the names or more are numbers or dates."""
    return sum(bool(_DATA.fullmatch(name.strip())) for name in names) * 3 >= len(names) or not any(names)


def check_width(name: str, width: int) -> None:
    """Raise DataError TOO_MANY_COLUMNS beyond the limit."""
    if width > MAX_COLUMNS:
        raise DataError(
            f"TOO_MANY_COLUMNS: {name} line 1 has {width:,} columns; at most {MAX_COLUMNS:,} are read; check the "
            "delimiter, or leave out columns"
        )


def check_names(name: str, columns: Sequence[str], required: frozenset[str], line: int) -> None:
    """Raise DataError DUP_COLUMN for names that differ at most in case, MISSING_COLUMN for required ones not there."""
    where = f"{name} line {line}" if line else name
    twice = [column for column, count in Counter(c.casefold() for c in columns).items() if count > 1]
    if twice:
        raise DataError(f"DUP_COLUMN: {where} names the column {twice[0]!r} twice; names must differ; rename one")
    missing = sorted(required - set(columns))
    if missing:
        raise DataError(
            f"MISSING_COLUMN: {where} has no column {missing[0]!r}; its columns are {', '.join(columns)[:300]}; add "
            "the column or pin the mapping in the [data] section of aisle.toml"
        )


def _expected(name: str) -> str:
    plain = name.lower().removesuffix(".gz")
    return "\t" if plain.endswith(".tsv") else ","


def _records(text: str, delimiter: str) -> list[tuple[int, Record]]:
    """The first records that hold anything, with their offsets."""
    found: list[tuple[int, Record]] = []
    at = 0
    while at < len(text) and len(found) < LOOK_AHEAD:
        record = read_record(text, at, delimiter)
        if record.fault:
            record.fields = text[at : record.stop].split(delimiter)
        if text[at : record.stop].strip():
            found.append((at, record))
        at = record.end
    return found


def _width(records: Sequence[Record]) -> tuple[int, float]:
    """The most common number of fields, and the share of records with it; the first record decides ties."""
    counts = Counter(len(r.fields) for r in records)
    first = len(records[0].fields)
    width = max(counts, key=lambda w: (counts[w], w == first, w))
    return width, counts[width] / len(records)


def _delimiter(text: str, expected: str, required: frozenset[str]) -> str:
    """The delimiter under which the required names stand in a line, else the one that cuts most records alike.

    The first record counts most, and the expected delimiter wins ties.
    """
    best, best_score = expected, (0.0, False, 0)
    for delimiter in DELIMITERS:
        records = [record for _, record in _records(text, delimiter)] if delimiter in text else []
        if not records:
            continue
        if required and any(required <= set(tidy_names(r.fields, required)) for r in records[:HEADER_WITHIN]):
            return delimiter
        width, share = _width(records)
        starts_well = 0.25 * (len(records[0].fields) == width)
        score = (share + starts_well, delimiter == expected, width)
        if width > 1 and score > best_score:
            best, best_score = delimiter, score
    return best


def _header(records: Sequence[Record], required: frozenset[str]) -> int:
    """The record with the required names, else the first one as wide as most."""
    for number, record in enumerate(records[:HEADER_WITHIN]):
        if required and required <= set(tidy_names(record.fields, required)):
            return number
    width, _ = _width(records)
    return next((n for n, r in enumerate(records[:HEADER_WITHIN]) if len(r.fields) == width), 0)
