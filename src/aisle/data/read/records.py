"""The grammar of a delimited text: one record at an offset, with strict quotes.

A field that begins with ``"`` ends at the next ``"`` that is not doubled, and a delimiter or a line end must follow;
it may hold delimiters and line ends. A ``"`` inside any other field is text. LF, CRLF and CR end a line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_FIELD = 1 << 20
"""Longest field accepted, in characters; a quoted field that runs over line ends for longer counts as unclosed."""
_EOL = re.compile(r"\r\n?|\n")


@dataclass(slots=True)
class Record:
    """One record, or the one physical line that is none."""

    fields: list[str]
    """The fields; where ``fault`` is set those before the faulty one."""
    stop: int
    """Offset of its line end."""
    end: int
    """Offset just after its line end."""
    lines: int = 1
    """Physical lines it spans."""
    fault: bool = False
    """A quote is not closed, or text follows the closing one."""
    open: bool = False
    """The text ends within a quoted field that more text may close."""
    stray: bool = False
    """A quote stands inside a field that is not quoted."""


def read_record(text: str, at: int, delimiter: str) -> Record:
    """The record that begins at offset ``at`` of ``text``."""
    found = _EOL.search(text, at)
    stop, end = (found.start(), found.end()) if found else (len(text), len(text))
    if len(delimiter) > 1 or text.find('"', at, stop) < 0:
        return Record(text[at:stop].split(delimiter), stop, end)
    return _quoted(text, at, delimiter, Record([], stop, end))


def count_lines(text: str) -> int:
    """Line ends in a text."""
    return len(_EOL.findall(text)) if "\r" in text else text.count("\n")


def _quoted(text: str, at: int, delimiter: str, record: Record) -> Record:
    """The same for a line with quotes; a fault leaves the first line's end in ``record``."""
    shape = re.compile(f"[{re.escape(delimiter)}\r\n]")
    i = at
    while True:
        if text.startswith('"', i):
            close = _closing(text, i, max(record.stop, i + MAX_FIELD))
            if close < 0:
                record.fault, record.open = True, len(text) - i < MAX_FIELD
                return record
            if text[close + 1 : close + 2] not in ("", delimiter, "\r", "\n"):
                record.fault = True
                return record
            record.fields.append(text[i + 1 : close].replace('""', '"'))
            i = close + 1
        else:
            found = shape.search(text, i)
            stop = found.start() if found else len(text)
            record.fields.append(text[i:stop])
            record.stray = record.stray or text.find('"', i, stop) >= 0
            i = stop
        if not text.startswith(delimiter, i):
            break
        i += 1
    ending = _EOL.match(text, i)
    record.stop, record.end = i, ending.end() if ending else i
    record.lines = count_lines(text[at:i]) + 1
    return record


def _closing(text: str, opening: int, limit: int) -> int:
    """Offset of the quote that closes the one at ``opening``; -1 where there is none before ``limit``."""
    i = text.find('"', opening + 1, limit)
    while i >= 0 and text.startswith('"', i + 1):
        i = text.find('"', i + 2, limit)
    return i
