"""Text tables in blocks: Polars for pieces it reads exactly, the careful reader for the rest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import polars as pl

from aisle.data.read.bytes import CHUNK, FIRST, Text
from aisle.data.read.careful import RAW, Part, Reject, careful, rejects_frame
from aisle.data.read.dialect import Dialect, sniff
from aisle.data.read.fast import fast, without_odd_lines
from aisle.data.read.records import MAX_FIELD
from aisle.data.schema import Finding, Severity, TextBlock

MAX_ROW = 16 << 20
"""Bytes of the longest line held in memory; a longer one is rejected and passed over."""
SMALL = 1 << 14
"""A piece that cannot be read fast is halved down to about this many bytes; most of its parts can."""
_FOOTER = re.compile(
    r"\W*(grand\s+)?(sub)?(totals?|sum|summe|gesamt|insgesamt|rows|records|eof|end of)\b", re.IGNORECASE
)


def read_text(
    path: Path,
    *,
    rows: int = 250_000,
    required: frozenset[str] = frozenset(),
    header: Sequence[str] = (),
    separator: str = "",
) -> Generator[TextBlock, None, None]:
    """Blocks of String columns exactly as written (null = empty) with the physical line of every row.

    Raises DataError for files that cannot be trusted; rows that cannot be placed into columns are in ``rejects``.
    """
    reader = _Reader.open(path, required, header, separator)
    reader.text.size = min(CHUNK, max(FIRST, rows * reader.bytes_a_line))
    held: TextBlock | None = None
    tail = ""
    findings = reader.shape_findings()
    for part, ending in reader.parts():
        if not part.frame.height and not part.rejects:
            reader.counts += part.counts
            continue
        for block in _cut(path.name, part, rows):
            if held is not None:
                yield replace(held, findings=(*findings, *reader.text.findings))
                findings = []
                reader.text.findings.clear()
            held = block
        reader.counts += part.counts
        tail = ending
    if held is None:
        empty = Part(
            pl.DataFrame(schema=dict.fromkeys(reader.dialect.columns, pl.String)), pl.Series("line", [], pl.Int64)
        )
        held = next(_cut(path.name, empty, rows))
        findings.append(_info("NO_ROWS", 0, path.name, "has column names but no rows"))
    held = _without_footer(held, tail)
    yield replace(held, findings=(*findings, *reader.text.findings, *reader.closing_findings()))


def header_of(path: Path) -> tuple[str, ...]:
    """The column names of a text file, read off its first bytes; raises DataError as ``read_text``."""
    return _Reader.open(path, frozenset(), (), "").dialect.columns


@dataclass
class _Reader:
    """One pass over a text file."""

    text: Text
    pieces: Iterator[bytes]
    buffer: bytes
    dialect: Dialect
    line: int
    bytes_a_line: int
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def open(cls, path: Path, required: frozenset[str], header: Sequence[str], separator: str) -> _Reader:
        """Read the first bytes and find the shape of the table."""
        text = Text(path, size=FIRST)
        pieces = text.pieces()
        start = b""
        for piece in pieces:
            start += piece
            if len(start) >= FIRST and (b"\n" in start or len(start) > MAX_ROW):
                break
        whole = _utf8(text, start[: start.rfind(b"\n") + 1] or start)
        start = text.recode(start) if whole is None else start
        dialect = sniff(path.name, start[: start.rfind(b"\n") + 1] or start, required, header, separator)
        average = len(start) // (start.count(b"\n") + 1) + 1
        begun = (start[at : at + CHUNK] for at in range(dialect.skip, len(start), CHUNK))
        return cls(text, chain(begun, pieces), b"", dialect, dialect.lines + 1, average)

    def parts(self) -> Iterator[tuple[Part, str]]:
        """Pieces read, each with the raw text of its last line."""
        following = next(self.pieces, None)
        while True:
            last = following is None
            cut = len(self.buffer) if last else self.buffer.rfind(b"\n") + 1
            if _utf8(self.text, self.buffer[:cut]) is None:
                self.buffer, following = self.text.recode(self.buffer), following and self.text.recode(following)
                cut = len(self.buffer) if last else self.buffer.rfind(b"\n") + 1
            used = 0
            if cut:
                piece = self.buffer[:cut]
                patient = not last and len(self.buffer) < MAX_ROW
                part = _merged(self._read(piece, last=last, patient=patient), self.dialect)
                used = part.used
                self.counts["LF"] += part.lines
                self.counts["CRLF"] += piece.count(b"\r\n", 0, used) if b"\r" in piece else 0
                yield part, _last_line(piece, used)
            if last:
                self.counts["NO_EOL"] = int(bool(self.buffer) and not self.buffer.endswith((b"\n", b"\r")))
                return
            self.buffer = self.buffer[used:] + (following or b"")
            following = next(self.pieces, None)
            if len(self.buffer) > MAX_ROW and following is not None and b"\n" not in self.buffer:
                yield self._pass_over(following)
                following = next(self.pieces, None)

    def _read(self, piece: bytes, *, last: bool, patient: bool) -> list[Part]:
        """Read a piece fast; one that cannot be is halved until the careful reader has only what surrounds the damage.

        ``last``: the file ends with it. ``patient``: a quoted field that is open at its end is left unread.
        """
        part = fast(piece, self.line, self.dialect) or self._read_around(piece)
        if part is None or (part.used < len(piece) and not patient):
            middle = piece.find(b"\n", len(piece) // 2) + 1
            if len(piece) > SMALL and 0 < middle < len(piece):
                parts = self._read(piece[:middle], last=False, patient=True)
                used = sum(p.used for p in parts)
                if used:
                    return [*parts, *self._read(piece[used:], last=last, patient=patient)]
            part = careful(piece, self.line, self.dialect, last=last, patient=patient)
        self.line += part.lines
        return [part]

    def _read_around(self, piece: bytes) -> Part | None:
        """Read a piece fast but for its few lines of another width; None where that is not certain."""
        split = without_odd_lines(piece, self.dialect)
        part = split and fast(split[0], 0, self.dialect)
        if not split or not part:
            return None
        part.line = pl.Series("line", split[1] + self.line, dtype=pl.Int64)
        odd = [careful(raw, self.line + n, self.dialect, last=False, patient=False) for n, raw in split[2]]
        lines = part.lines + len(odd)
        part = _merged([part, *odd], self.dialect)
        part.used, part.lines = len(piece), lines
        return part

    def _pass_over(self, following: bytes | None) -> tuple[Part, str]:
        """Reject a line that is too long to hold, reading on to its end."""
        raw = self.buffer[: RAW * 4].decode("utf-8", "replace")[:RAW]
        while following is not None and b"\n" not in following:
            following = next(self.pieces, None)
        self.buffer = following[following.find(b"\n") + 1 :] if following is not None else b""
        column = self.dialect.columns[min(raw.count(self.dialect.delimiter), len(self.dialect.columns) - 1)]
        part = _merged([], self.dialect)
        part.rejects.append(Reject(self.line, "FIELD_TOO_LONG", column, raw))
        self.line += 1
        return part, raw

    def shape_findings(self) -> list[Finding]:
        """How the file is written, and what was unusual about delimiter and header and was coped with."""
        name, dialect = self.text.path.name, self.dialect
        shown = {"\t": "tab"}.get(dialect.delimiter, dialect.delimiter)
        packed = ", gzip" if self.text.zipped else ""
        what = f"is {self.text.encoding}{packed}, {len(dialect.columns)} columns separated by {shown!r}"
        found = [_info("FORMAT", 0, name, what)]
        if dialect.delimiter != dialect.expected:
            what = f"has columns separated by {shown!r} where its name promises {dialect.expected!r}; read as such"
            found.append(_repaired("DELIM_SNIFFED", 0, name, what))
        if dialect.before:
            what = f"has {dialect.before} lines before the column names; passed over"
            found.append(_repaired("PREAMBLE", dialect.before, name, what))
        pairs = zip(dialect.columns, dialect.raw_header, strict=False)
        odd = [raw for column, raw in pairs if column != raw.strip("\ufeff")]
        if odd:
            what = "has column names with stray spaces, other case, or none; read without them"
            found.append(replace(_repaired("HEADER_NORM", len(odd), name, what), example=odd[0]))
        return found

    def closing_findings(self) -> list[Finding]:
        """Habits of the file seen on the way, all harmless."""
        name, counts = self.text.path.name, self.counts
        found = []
        if counts["BLANK"]:
            found.append(_info("BLANK", counts["BLANK"], name, "has blank lines, which are no rows"))
        if counts["STRAY_QUOTE"]:
            what = "has quotes inside fields that are not quoted, read as text"
            found.append(_info("STRAY_QUOTE", counts["STRAY_QUOTE"], name, what))
        if 0 < counts["CRLF"] < counts["LF"]:
            found.append(_info("MIXED_EOL", counts["CRLF"], name, "has lines that end in CRLF beside others"))
        if counts["NO_EOL"]:
            found.append(_info("NO_EOL", 0, name, "has no line end after its last line"))
        return found


def _utf8(text: Text, piece: bytes) -> bytes | None:
    """The piece; None where it is no UTF-8 and is to be read as Windows-1252."""
    if piece.isascii():
        return piece
    try:
        piece.decode()
    except UnicodeDecodeError:
        return None if text.fallback() else piece
    return piece


def _merged(parts: list[Part], dialect: Dialect) -> Part:
    if len(parts) == 1:
        return parts[0]
    schema = dict.fromkeys(dialect.columns, pl.String)
    frames = [pl.DataFrame(schema=schema), *(p.frame for p in parts)]
    lines = [pl.Series("line", [], dtype=pl.Int64), *(p.line for p in parts)]
    return Part(
        pl.concat(frames),
        pl.concat(lines),
        [reject for p in parts for reject in p.rejects],
        sum(p.used for p in parts),
        sum(p.lines for p in parts),
        sum((p.counts for p in parts), Counter()),
    )


def _cut(file: str, part: Part, rows: int) -> Iterator[TextBlock]:
    """Blocks of at most ``rows`` rows; a reject goes with the rows before it."""
    rejects = part.rejects
    for at in range(0, max(part.frame.height, 1), rows):
        stop = part.line[at + rows] if at + rows < part.frame.height else None
        here = [r for r in rejects if stop is None or r.line < stop]
        rejects = rejects[len(here) :]
        yield TextBlock(file, part.frame[at : at + rows], part.line[at : at + rows], rejects_frame(file, here))


def _last_line(piece: bytes, used: int) -> str:
    """The last line that is not blank among the bytes used."""
    end = piece[max(0, used - MAX_FIELD) : used].rstrip(b"\r\n \t")
    return end[max(end.rfind(b"\n"), end.rfind(b"\r")) + 1 :][: RAW * 4].decode("utf-8", "replace")[:RAW]


def _without_footer(block: TextBlock, tail: str) -> TextBlock:
    """The last block of a file, its last row rejected where it is a line of totals."""
    line = max([*block.line[-1:], *block.rejects["line"]], default=0)
    if not line or not _FOOTER.match(tail):
        return block
    if len(block.line) and block.line[-1] == line:
        filled = [i for i, value in enumerate(block.frame.row(-1)) if value is not None]
        if block.frame.width < 3 or len(filled) * 2 > block.frame.width:
            return block
        reject = rejects_frame(block.file, [Reject(line, "FOOTER", block.frame.columns[filled[0]], tail)])
        return TextBlock(block.file, block.frame[:-1], block.line[:-1], pl.concat([block.rejects, reject]))
    short = (pl.col("line") == line) & pl.col("code").is_in(["TOO_FEW", "TOO_MANY", "TRUNCATED"])
    first = pl.lit(block.frame.columns[0])
    rejects = block.rejects.with_columns(
        code=pl.when(short).then(pl.lit("FOOTER")).otherwise("code"),
        column=pl.when(short).then(first).otherwise("column"),
    )
    return replace(block, rejects=rejects)


def _info(code: str, rows: int, file: str, what: str) -> Finding:
    severity: Severity = "info"
    return Finding(code, rows, severity, "kept", f"{file} {what}", file=file)


def _repaired(code: str, rows: int, file: str, what: str) -> Finding:
    return Finding(code, rows, "warning", "repaired", f"{file} {what}", file=file)
