"""The fast reader: Polars, for pieces that it is certain to read exactly as the careful one would.

Certain means: whole UTF-8 lines, LF or CRLF, quotes only around whole fields, and on every line the same number of
delimiters. Afterwards every byte must be accounted for: what came out plus delimiters, line ends and quotes is the
piece.
"""

from __future__ import annotations

import io
import re
from collections import Counter

import numpy as np
import polars as pl

from aisle.data.read.careful import BLANKS, SPACES, Part
from aisle.data.read.dialect import Dialect
from aisle.data.read.records import MAX_FIELD
from aisle.types import Ints

_BLANK_LINE = re.compile(rb"(?:\A|\n)[ \t\r]*\n")


def fast(piece: bytes, line: int, dialect: Dialect) -> Part | None:
    """The rows of a piece; None where that is not certain. A quoted field cut at the end is left to the next piece."""
    if len(dialect.delimiter) > 1 or not piece.endswith(b"\n") or b"\0" in piece or not _plain_line_ends(piece):
        return None
    if b'"' in piece:
        return _quoted(piece, line, dialect)
    data = np.frombuffer(piece, dtype=np.uint8)
    width, count = len(dialect.columns), int(np.count_nonzero(data == 10))
    delimiters = int(np.count_nonzero(data == ord(dialect.delimiter)))
    if delimiters != count * (width - 1) or _has_long_line(piece) or (width == 1 and _BLANK_LINE.search(piece)):
        return None
    # The total is right and Polars refuses lines that are too long, so none can be too short.
    content = len(piece) - count - delimiters - piece.count(b"\r")
    lines = pl.int_range(line, line + count, dtype=pl.Int64, eager=True)
    return _parse(piece, dialect, lines, content, None)


def without_odd_lines(piece: bytes, dialect: Dialect) -> tuple[bytes, Ints, list[tuple[int, bytes]]] | None:
    """A piece without quotes, less its few lines of another width: (text left, numbers of its lines, the odd lines).

    Lines are numbered from 0. None where quotes stand in it, or where odd lines are none or more than a tenth.
    """
    if len(dialect.delimiter) > 1 or not piece.endswith(b"\n") or b'"' in piece or not _plain_line_ends(piece):
        return None
    data = np.frombuffer(piece, dtype=np.uint8)
    ends = np.flatnonzero(data == 10)
    upto = np.searchsorted(np.flatnonzero(data == ord(dialect.delimiter)), ends)
    odd = np.flatnonzero(np.diff(upto, prepend=0) != len(dialect.columns) - 1)
    if not 0 < len(odd) * 10 <= len(ends):
        return None
    starts = np.concatenate(([0], ends[:-1] + 1))
    lines = [(int(n), piece[starts[n] : ends[n] + 1]) for n in odd]
    cuts = zip([0, *(int(ends[n]) + 1 for n in odd)], [*(int(starts[n]) for n in odd), len(piece)], strict=True)
    left = b"".join(piece[a:b] for a, b in cuts)
    return left, np.delete(np.arange(len(ends)), odd), lines


def _plain_line_ends(piece: bytes) -> bool:
    returns = piece.count(b"\r")
    return not returns or (returns == piece.count(b"\r\n") and b"\r\r" not in piece)


def _has_long_line(piece: bytes) -> bool:
    """Whether some line may be longer than the longest field accepted."""
    step = MAX_FIELD // 2
    return any(piece.find(b"\n", at, at + step) < 0 for at in range(0, len(piece) - step, step))


def _quoted(piece: bytes, line: int, dialect: Dialect) -> Part | None:
    data = np.frombuffer(piece, dtype=np.uint8)
    delimiter = ord(dialect.delimiter)
    quotes = np.flatnonzero(data == 34)
    if not _quotes_are_clean(data, quotes, delimiter):
        return None
    bare = np.bitwise_xor.accumulate((data == 34).view(np.uint8)) == 0
    breaks = data == 10
    ends = np.flatnonzero(breaks & bare)
    if not len(ends):
        return None
    used = int(ends[-1]) + 1  # a quoted field may be cut at the end of the piece
    outside = np.flatnonzero((breaks | (data == delimiter))[:used] & bare[:used])
    quotes = quotes[quotes < used]
    width = len(dialect.columns)
    if len(outside) != len(ends) * width or len(quotes) % 2 or (np.diff(outside, prepend=-1) > MAX_FIELD).any():
        return None
    if (data[outside].reshape(-1, width)[:, -1] != 10).any():
        return None
    whole = piece[:used]
    if width == 1 and _BLANK_LINE.search(whole):
        return None
    newlines = np.flatnonzero(breaks[:used])
    starts = np.concatenate(([0], np.searchsorted(newlines, ends[:-1]) + 1))
    if width > 2 and (np.diff(starts, append=len(newlines)) > 3).any():
        return None  # so long a field may be an unclosed quote that swallowed rows
    doubled = int((np.diff(quotes)[1::2] == 1).sum())
    returns = int((data[ends[ends > 0] - 1] == 13).sum())
    content = used - len(outside) - returns - (len(quotes) - doubled)
    return _parse(whole, dialect, pl.Series(line + starts, dtype=pl.Int64), content, '"', lines=len(newlines))


def _quotes_are_clean(data: np.ndarray[tuple[int], np.dtype[np.uint8]], quotes: Ints, delimiter: int) -> bool:
    """Whether every quote opens or closes a whole field or is half of a doubled one."""
    opening, closing = quotes[::2], quotes[1::2]
    border = np.zeros(256, dtype=bool)
    border[[delimiter, 10]] = True
    doubled = np.zeros(len(opening), dtype=bool)
    doubled[1:] = opening[1:] == closing[: len(opening) - 1] + 1
    good_start = border[data[opening - 1]] | (opening == 0) | doubled
    if not good_start.all():
        return False
    followed = np.zeros(len(closing), dtype=bool)
    followed[: len(opening) - 1] = doubled[1:][: len(closing)]
    border[13] = True
    return bool((border[data[closing + 1]] | followed).all())  # a piece ends with a line end, never a quote


def _parse(
    piece: bytes, dialect: Dialect, line: pl.Series, content: int, quote: str | None, lines: int | None = None
) -> Part | None:
    """Let Polars read it; None where the rows or the bytes do not add up."""
    try:
        frame = pl.read_csv(
            io.BytesIO(piece),
            has_header=False,
            new_columns=list(dialect.columns),
            separator=dialect.delimiter,
            quote_char=quote,
            infer_schema=False,
            truncate_ragged_lines=False,
            raise_if_empty=False,
        )
    except pl.exceptions.PolarsError:
        return None
    if frame.shape != (len(line), len(dialect.columns)):
        return None
    if sum(frame.select(pl.all().str.len_bytes().sum()).row(0)) != content or _needs_care(frame, dialect):
        return None
    if quote:
        frame = frame.with_columns(pl.when(pl.all() != "").then(pl.all()))
    count = line.len() if lines is None else lines
    return Part(frame, line.alias("line"), used=len(piece), lines=count, counts=Counter())


def _needs_care(frame: pl.DataFrame, dialect: Dialect) -> bool:
    """Whether the header line stands among the rows, or a table of one column has lines of nothing but spaces."""
    if frame.width == 1 and (frame.to_series().str.strip_chars(BLANKS) == "").any():
        return True
    if not dialect.raw_header:
        return False
    names = [name.strip(SPACES) for name in dialect.raw_header]
    first = frame[dialect.columns[0]].str.strip_chars(SPACES).fill_null("")
    suspects = frame.filter(first == names[0])
    return any([(value or "").strip(SPACES) for value in row] == names for row in suspects.iter_rows())
