"""The slow reader for pieces that need care: record by record, right line numbers, and a reason for every reject."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

import polars as pl

from aisle.data.read.dialect import Dialect
from aisle.data.read.records import MAX_FIELD, Record, read_record
from aisle.data.schema import REJECTS

RAW = 200
"""Most characters kept of a rejected row."""
BLANKS = " \t\r"
"""A line of these alone is no row."""
SPACES = " \t\r\n\u00a0\ufeff"
"""What may stand around a column name."""
_DAMAGE = re.compile("[\ud800-\udfff]")
"""What is left of bytes that are no UTF-8."""


@dataclass(frozen=True, slots=True)
class Reject:
    """One row that cannot be placed into columns."""

    line: int
    code: str
    column: str
    raw: str


@dataclass
class Part:
    """What a piece of a file came to."""

    frame: pl.DataFrame
    """String columns, null = empty."""
    line: pl.Series
    """(rows,) Int64, the physical line on which each row begins."""
    rejects: list[Reject] = field(default_factory=list)
    used: int = 0
    """Bytes read; the rest belongs to a record that the next piece completes."""
    lines: int = 0
    """Line ends in them."""
    counts: Counter[str] = field(default_factory=Counter)
    """Things worth a note: ``BLANK``, ``STRAY_QUOTE``."""


def careful(piece: bytes, line: int, dialect: Dialect, *, last: bool, patient: bool) -> Part:
    """Rows and rejects of a piece whose first line has the number ``line``.

    ``last``: the file ends with it. ``patient``: leave a quoted field that is open at the end to the next piece.
    """
    text = piece.decode("utf-8", "surrogateescape")
    judge = _Judge(dialect)
    part = Part(pl.DataFrame(), pl.Series())
    rows: list[list[str]] = []
    numbers: list[int] = []
    start = line
    at = 0
    while at < len(text):
        record = read_record(text, at, dialect.delimiter)
        if record.open and patient:
            break
        if record.lines > 1 and judge.swallows(record):
            record = Record([], *first_line(text, at), fault=True)
        raw = text[at : record.stop]
        if not raw.strip(BLANKS):
            part.counts["BLANK"] += 1
        elif verdict := judge(record, raw, torn=last and record.end == record.stop):
            part.rejects.append(Reject(line, *verdict, shown(raw)))
        else:
            part.counts["STRAY_QUOTE"] += record.stray
            rows.append(record.fields)
            numbers.append(line)
        line += record.lines if record.end > record.stop else record.lines - 1
        at = record.end
    part.used = len(piece) - len(text[at:].encode("utf-8", "surrogateescape"))
    part.lines = line - start
    part.frame = _frame(rows, dialect.columns)
    part.line = pl.Series("line", numbers, dtype=pl.Int64)
    return part


def first_line(text: str, at: int) -> tuple[int, int]:
    """Offsets of the end of the physical line at ``at`` and of the next line."""
    plain = read_record(text, at, "::")  # a delimiter without quotes
    return plain.stop, plain.end


def shown(raw: str) -> str:
    """At most 200 characters of a row, damage shown as U+FFFD."""
    return _DAMAGE.sub("\ufffd", raw[:RAW])


def rejects_frame(file: str, rejects: list[Reject]) -> pl.DataFrame:
    """Rejects as a table."""
    rows = [(file, r.line, r.column, r.code, "rejected", r.raw) for r in rejects]
    return pl.DataFrame(rows, schema=REJECTS, orient="row")


@dataclass(frozen=True)
class _Judge:
    """Says why a record is no row of the table."""

    dialect: Dialect

    def __call__(self, record: Record, raw: str, *, torn: bool) -> tuple[str, str] | None:
        """(code, column to blame), or None for a good row."""
        fields, columns = record.fields, self.dialect.columns
        if "\0" in raw:
            return "NUL", self._holder(fields, "\0")
        if record.fault:
            return "QUOTE", self._name(len(fields))
        if not raw.isascii() and (damage := _DAMAGE.search(raw)):
            return "ENC_ROW", self._holder(fields, damage[0])
        if len(raw) > MAX_FIELD and max(map(len, fields)) > MAX_FIELD:
            return "FIELD_TOO_LONG", self._name(max(range(len(fields)), key=lambda i: len(fields[i])))
        if len(fields) == len(columns):
            return ("REPEAT_HEADER", columns[0]) if self._is_header(fields) else None
        if len(fields) > len(columns):
            return "TOO_MANY", columns[-1]
        return ("TRUNCATED", self._name(len(fields) - 1)) if torn else ("TOO_FEW", self._name(len(fields)))

    def swallows(self, record: Record) -> bool:
        """Whether a record over several lines is rather an unclosed quote: its width is wrong, or it holds rows."""
        width = len(self.dialect.columns)
        if len(record.fields) != width:
            return True
        inner = [line for f in record.fields for line in f.split("\n")[1:-1]]
        return width > 2 and len(inner) > 1 and all(line.count(self.dialect.delimiter) == width - 1 for line in inner)

    def _is_header(self, fields: list[str]) -> bool:
        raw = self.dialect.raw_header
        return bool(raw) and [f.strip(SPACES) for f in fields] == [f.strip(SPACES) for f in raw]

    def _holder(self, fields: list[str], mark: str) -> str:
        return self._name(next((i for i, value in enumerate(fields) if mark in value), len(fields)))

    def _name(self, index: int) -> str:
        return self.dialect.columns[min(index, len(self.dialect.columns) - 1)]


def _frame(rows: list[list[str]], columns: tuple[str, ...]) -> pl.DataFrame:
    values = zip(*rows, strict=True) if rows else ((),) * len(columns)
    series = [
        pl.Series(name, [v or None for v in column], dtype=pl.String)
        for name, column in zip(columns, values, strict=True)
    ]
    return pl.DataFrame(series)
