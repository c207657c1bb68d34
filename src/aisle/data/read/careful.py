"""The slow reader for chunks that need care: line by line, right line numbers, and a reason for every reject."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

import polars as pl

from aisle.data.read.dialect import Dialect, split
from aisle.data.schema import REJECTS, TextBlock

MAX_FIELD = 1 << 20
"""Longest field accepted, in characters."""
MAX_LINES = 200
"""A quoted field spans at most this many lines; a longer one is an unclosed quote."""
RAW = 200
FOOTER = re.compile(r"^\W*(grand\s+)?(sub)?(total|sum|summe|gesamt|insgesamt|rows|records|eof|end of)\b", re.IGNORECASE)

csv.field_size_limit(1 << 30)


@dataclass(frozen=True)
class Reject:
    """One row that cannot be placed into columns."""

    line: int
    code: str
    raw: str


class Careful:
    """Reads chunks of one file with Python's csv rules."""

    def __init__(self, file: str, dialect: Dialect) -> None:
        self.file = file
        self.dialect = dialect
        self.width = len(dialect.columns)

    def block(self, chunk: bytes, line: int, *, last: bool) -> TextBlock:
        """Rows and rejects of a chunk whose first line has the number ``line``; ``last`` = the file ends with it."""
        lines = chunk.split(b"\n")
        if lines and not lines[-1]:
            lines.pop()
        torn = last and not chunk.endswith(b"\n")
        rows: list[list[str]] = []
        numbers: list[int] = []
        rejects: list[Reject] = []
        at = 0
        while at < len(lines):
            used, fields, code = self._record(lines, at)
            raw = b"\n".join(lines[at : at + used])
            final = torn and at + used == len(lines)
            if code is None and fields is not None:
                code = self._shape(fields, final)
            if code == "BLANK":
                pass
            elif code is not None:
                rejects.append(Reject(line + at, code, raw[: 4 * RAW].decode("utf-8", errors="replace")[:RAW]))
            else:
                assert fields is not None
                rows.append(fields)
                numbers.append(line + at)
            at += used
        return self._frame(rows, numbers, rejects)

    def _record(self, lines: list[bytes], at: int) -> tuple[int, list[str] | None, str | None]:
        """(physical lines used, fields, reject code) of the record that starts at a line."""
        raw = lines[at].rstrip(b"\r")
        if b"\x00" in raw:
            return 1, None, "NUL"
        used = 1
        if b'"' in raw:
            while self._open(raw) and used < MAX_LINES and at + used < len(lines):
                raw += b"\n" + lines[at + used].rstrip(b"\r")
                used += 1
            if self._open(raw):
                return 1, None, "QUOTE"
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            return used, None, "ENC_ROW"
        if len(text) > MAX_FIELD and max(map(len, self._fields(text))) > MAX_FIELD:
            return used, None, "FIELD_TOO_LONG"
        return used, self._fields(text), None

    def _fields(self, text: str) -> list[str]:
        if self.dialect.delimiter == "::" or "\n" not in text:
            return split(text, self.dialect.delimiter)
        return next(csv.reader(text.splitlines(keepends=True), delimiter=self.dialect.delimiter), [])

    def _open(self, raw: bytes) -> bool:
        """Whether a quoted field that started in these bytes has not ended."""
        if self.dialect.delimiter == "::":
            return False
        delimiter = self.dialect.delimiter.encode()
        inside, start, i = False, True, 0
        while i < len(raw):
            char = raw[i : i + 1]
            if inside:
                if char == b'"':
                    if raw[i + 1 : i + 2] == b'"':
                        i += 1
                    else:
                        inside = False
            elif char == b'"' and start:
                inside = True
            start = not inside and char == delimiter
            i += 1
        return inside

    def _shape(self, fields: list[str], final: bool) -> str | None:
        """Why a record of these fields is no row of the table; None where it is one."""
        if not any(field.strip() for field in fields):
            return "BLANK" if len(fields) <= 1 else "TOO_FEW" if len(fields) < self.width else None
        if [f.strip().lower() for f in fields] == [c.lower() for c in self.dialect.columns]:
            return "REPEAT_HEADER"
        if (
            FOOTER.match(fields[0] or next(f for f in fields if f.strip()))
            and sum(bool(f.strip()) for f in fields) * 2 <= self.width
        ):
            return "FOOTER"
        if len(fields) > self.width:
            return "TOO_MANY"
        if len(fields) < self.width:
            return "TRUNCATED" if final else "TOO_FEW"
        return None

    def _frame(self, rows: list[list[str]], numbers: list[int], rejects: list[Reject]) -> TextBlock:
        schema = dict.fromkeys(self.dialect.columns, pl.String)
        columns = list(zip(*rows, strict=True)) if rows else [()] * self.width
        frame = pl.DataFrame(dict(zip(schema, map(list, columns), strict=True)), schema=schema)
        frame = frame.with_columns(pl.when(pl.all() == "").then(None).otherwise(pl.all()).name.keep())
        table = pl.DataFrame(
            {
                "file": [self.file] * len(rejects),
                "line": [r.line for r in rejects],
                "column": [""] * len(rejects),
                "code": [r.code for r in rejects],
                "action": ["rejected"] * len(rejects),
                "raw": [r.raw for r in rejects],
            },
            schema=REJECTS,
        )
        return TextBlock(self.file, frame, pl.Series("line", numbers, dtype=pl.Int64), table)
