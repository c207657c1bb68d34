"""Text tables in blocks: Polars for chunks it reads exactly, the careful reader for the rest.

A chunk is exact when every quoted field is simple (no line end or quote inside), nothing but quotes and delimiters
shapes it, and delimiters and lines match in number: Polars refuses lines that are too long, so that an equal total
leaves none too short.
"""

from __future__ import annotations

import io
import re
from collections.abc import Generator
from pathlib import Path

import polars as pl

from aisle.data.read.bytes import CHUNK, Text
from aisle.data.read.careful import MAX_FIELD, Careful
from aisle.data.read.dialect import Dialect, sniff
from aisle.data.schema import REJECTS, Finding, TextBlock

FOOTER = re.compile(rb"[^\w,;|\t]*(grand\s+)?(sub)?(total|sum|summe|gesamt|rows|records|eof|end of)\b", re.IGNORECASE)
BLANK = re.compile(rb"\n[ \t\r]*\n")


def read_text(
    path: Path,
    *,
    rows: int,
    required: frozenset[str] = frozenset(),
    header: tuple[str, ...] = (),
    separator: str = "",
) -> Generator[TextBlock, None, None]:
    """Blocks of String columns exactly as written (null = empty) with the physical line of every row.

    Raises DataError for files that cannot be trusted; rows that cannot be placed into columns are in ``rejects``.
    """
    text = Text(path)
    chunks = text.chunks(min(CHUNK, max(rows * 64, 1 << 16)))
    start = next(chunks, b"")
    dialect = sniff(path, start, required, header=header, separator=separator)
    careful = Careful(path.name, dialect)
    first_line = _skip(start, dialect.header_line + 1)
    findings = (*text.findings, *_shape_findings(path.name, dialect))
    line = dialect.header_line + 2
    chunk: bytes | None = start[first_line:]
    while chunk is not None:
        following = next(chunks, None)
        block = _fast(path.name, chunk, line, dialect) or careful.block(chunk, line, last=following is None)
        yield TextBlock(block.file, block.frame, block.line, block.rejects, (*findings, *block.findings))
        findings = ()
        line += chunk.count(b"\n")
        chunk = following


def _fast(name: str, chunk: bytes, line: int, dialect: Dialect) -> TextBlock | None:
    """The block of a chunk that Polars reads exactly; None where that is not certain."""
    delimiter = dialect.delimiter.encode()
    if len(delimiter) > 1 or not chunk.endswith(b"\n") or b"\x00" in chunk or BLANK.search(chunk):
        return None
    if chunk.startswith((b"\n", b"\r\n")) or chunk.count(b"\r") != chunk.count(b"\r\n"):
        return None
    bare = chunk
    if b'"' in chunk:
        cell = delimiter if delimiter != b"|" else rb"\|"
        quoted = rb"(?:(?<=^)|(?<=[\n" + cell + rb']))"[^"\n]*"(?=[\r\n' + cell + rb"])"
        bare = re.sub(quoted, b"", chunk)
        if b'"' in bare:
            return None
    count = chunk.count(b"\n")
    if bare.count(delimiter) != count * (len(dialect.columns) - 1):
        return None
    repeated = dialect.delimiter.join(dialect.raw_header).encode()
    if repeated in chunk or _has_long_line(chunk) or FOOTER.match(chunk[chunk.rfind(b"\n", 0, -1) + 1 :][:200]):
        return None
    try:
        frame = pl.read_csv(
            io.BytesIO(chunk),
            has_header=False,
            new_columns=list(dialect.columns),
            separator=dialect.delimiter,
            infer_schema=False,
            truncate_ragged_lines=False,
            raise_if_empty=False,
        )
    except pl.exceptions.PolarsError:
        return None
    if frame.height != count or frame.width != len(dialect.columns):
        return None
    lines = pl.int_range(line, line + count, dtype=pl.Int64, eager=True).alias("line")
    return TextBlock(name, frame, lines, pl.DataFrame(schema=REJECTS))


def _has_long_line(chunk: bytes) -> bool:
    """Whether some line may be longer than the longest field accepted."""
    step = MAX_FIELD // 2
    return any(chunk.find(b"\n", at, at + step) < 0 for at in range(0, len(chunk) - step, step))


def _skip(text: bytes, lines: int) -> int:
    """Offset just after this many line ends."""
    at = 0
    for _ in range(lines):
        at = text.find(b"\n", at) + 1 or len(text)
    return at


def _shape_findings(file: str, dialect: Dialect) -> list[Finding]:
    """What was unusual about delimiter and header, and was coped with."""
    found = []
    if dialect.delimiter != ",":
        shown = {"\t": "tab"}.get(dialect.delimiter, dialect.delimiter)
        what = f"the columns of {file} are separated by {shown!r} instead of a comma; read as such"
        found.append(Finding("DELIM_SNIFFED", 0, "warning", "repaired", what, file=file))
    if dialect.header_line > 0:
        what = f"{dialect.header_line} lines stand before the header of {file}; passed over"
        found.append(Finding("PREAMBLE", dialect.header_line, "warning", "repaired", what, file=file))
    odd = [name for name, raw in zip(dialect.columns, dialect.raw_header, strict=True) if name != raw.strip("\ufeff")]
    if odd:
        what = f"column names of {file} carry stray spaces; read without them"
        found.append(Finding("HEADER_NORM", len(odd), "warning", "repaired", what, example=odd[0], file=file))
    return found
