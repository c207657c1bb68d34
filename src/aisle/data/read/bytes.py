"""The bytes of a text file as UTF-8 pieces: compression, encodings, and what is no text at all."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from aisle.data.schema import Finding
from aisle.errors import DataError, UsageError

CHUNK = 16 << 20
"""Most bytes read at a time."""
FIRST = 1 << 16
"""Bytes of the first piece, enough to see the shape of the table."""
INFLATE_FLOOR = 50 << 20
"""A compressed file may inflate to this size whatever the ratio …"""
INFLATE_RATIO = 100
"""… and beyond it by at most this factor."""

_MAGIC = (
    (b"PK\x03\x04", "an Excel workbook or zip archive under a text name", "rename it to .xlsx or unpack it"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook under a text name", "rename it to .xls"),
    (b"PAR1", "a Parquet file under a text name", "rename it to .parquet"),
    (b"%PDF", "a PDF", "export the table as CSV"),
    (b"SQLite format 3", "an SQLite database", "give it as sqlite:///path"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it"),
    (b"BZh", "a bzip2 archive", "unpack it"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
)
_PAGE = re.compile(rb"\s*<(!doctype|html|head|body|\?xml)", re.IGNORECASE)
_JSON = re.compile(rb"\s*(\{\s*(\"|\})|\[\s*[\[{\"\]])")
_HIGH = re.compile(rb"[\x80-\xff]+")
_SIGNS = re.compile(rb"[\xc0-\xd6\xd8-\xf6\xf8-\xfe\x80\x8a\x8c\x8e\x91-\x97\x99\x9a\x9c\x9e\x9f\xa0-\xbf]{1,3}")
_TORN_LETTER = re.compile(rb"[a-z][\xc2-\xde](?![A-Z\xc0-\xde])")
"""The first half of a UTF-8 letter after a small letter: damage, where a code page would show a capital."""


@dataclass
class Text:
    """A text file being read, and what was found on the way."""

    path: Path
    size: int = FIRST
    """Bytes of the next piece; may be changed while reading."""
    encoding: str = "UTF-8"
    zipped: bool = False
    findings: list[Finding] = field(default_factory=list)
    _cp1252: bool | None = None

    def pieces(self) -> Iterator[bytes]:
        """UTF-8 pieces cut anywhere, without a byte order mark; line ends stay, but for those of old Macs (CR alone).

        Bytes that are no UTF-8 stay as they are. Raises DataError: EMPTY, NOT_CSV, ENC_UNKNOWN, TORN_TAIL,
        INFLATE_LIMIT, GZ_TORN; UsageError where the file cannot be opened.
        """
        raw = self._raw()
        first = next((block for block in raw if block), b"")
        skip = self._examine(first)
        decoder = codecs.getincrementaldecoder(self.encoding)("surrogatepass") if skip == 2 else None
        old_mac: bool | None = None
        tail = b""
        for block in _chain(first[skip:], raw):
            piece = block if decoder is None else decoder.decode(block).encode("utf-8", "surrogatepass")
            piece = self.recode(piece) if self._cp1252 else piece
            if old_mac is None:
                old_mac = self._is_old_mac(piece)
            tail = (tail + piece[-2:])[-2:]
            yield piece.replace(b"\r", b"\n") if old_mac else piece
        if tail == b"\0\0" or (decoder is not None and decoder.getstate()[0]):
            self._refuse_tail()

    def fallback(self) -> bool:
        """Whether the file, which is no UTF-8, reads well as Windows-1252 throughout; looks through it once.

        It does where nearly nothing is UTF-8 and everything else is letters and signs of the code page. A file with
        damage in a few rows does not: those rows are rejected instead.
        """
        if self._cp1252 is None:
            self._cp1252 = self.encoding == "UTF-8" and self._reads_as_cp1252()
            if self._cp1252:
                self.encoding = "Windows-1252"
                self.note("ENC_FALLBACK", "is no UTF-8 but reads well as Windows-1252; read as such")
        return self._cp1252

    def recode(self, piece: bytes) -> bytes:
        """Windows-1252 as UTF-8."""
        return piece.decode("cp1252", "replace").encode()

    def note(self, code: str, what: str) -> None:
        """Remember something that was repaired while reading."""
        name = self.path.name
        self.findings.append(Finding(code, 0, "warning", "repaired", f"{name} {what}", file=name))

    def _refuse(self, code: str, what: str, fix: str) -> NoReturn:
        raise DataError(f"{code}: {self.path.name} {what}; {fix}")

    def _refuse_tail(self) -> NoReturn:
        what = "ends in NUL bytes or half a character, as after a crash while it was written; a text file has none"
        self._refuse("TORN_TAIL", what, "export it again")

    def _raw(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                self.zipped = file.read(2) == b"\x1f\x8b"
                file.seek(0)
                if self.zipped:
                    yield from self._inflated()
                else:
                    while block := file.read(self.size):
                        yield block
        except OSError as error:
            raise UsageError(f"{self.path} cannot be read: {error.strerror or error}") from error

    def _inflated(self) -> Iterator[bytes]:
        limit = max(INFLATE_FLOOR, self.path.stat().st_size * INFLATE_RATIO)
        done = 0
        try:
            with gzip.open(self.path) as file:
                while block := file.read(min(self.size, 4 << 20)):
                    done += len(block)
                    if done > limit:
                        what = f"inflates to over {limit >> 20} MB, above {INFLATE_RATIO} times its size"
                        self._refuse("INFLATE_LIMIT", what, "unpack it yourself if it is genuine")
                    yield block
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            what = f"ends early or is damaged ({error}); a gzip file ends with its checksum"
            raise DataError(f"GZ_TORN: {self.path.name} {what}; copy or export it again") from error

    def _examine(self, first: bytes) -> int:
        """Bytes of the mark to skip; refuses what is no text."""
        for magic, what, fix in _MAGIC:
            if first.startswith(magic):
                self._refuse("NOT_CSV", f"is {what}", fix)
        if first.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
            self._refuse("ENC_UNKNOWN", "is written in UTF-32; UTF-8 and UTF-16 are read", "save it as UTF-8")
        if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            self.encoding = "UTF-16-LE" if first.startswith(codecs.BOM_UTF16_LE) else "UTF-16-BE"
            self.note("ENC_UTF16", f"is written in {self.encoding}; read as such")
            return 2
        skip = 3 if first.startswith(codecs.BOM_UTF8) else 0
        head = first[skip : skip + 4096]
        if not first[skip:].strip():
            self._refuse("EMPTY", "is empty; a table has at least a line with the column names", "export it again")
        if _PAGE.match(head):
            self._refuse("NOT_CSV", "line 1 is a web page, most likely a download that failed", "download it again")
        if _JSON.match(head):
            self._refuse("NOT_CSV", "line 1 is JSON, not a table", "export it as CSV or Parquet")
        bare = head.rstrip(b"\0")
        if max(bare[::2].count(0), bare[1::2].count(0)) * 5 > len(bare):
            self._refuse("ENC_UNKNOWN", "looks like UTF-16 without a byte order mark", "save it as UTF-8")
        if not self.zipped and self._tail() == b"\0\0":
            self._refuse_tail()
        return skip

    def _tail(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - 2))
            return file.read(2)

    def _is_old_mac(self, piece: bytes) -> bool:
        old = b"\r" in piece[:-1] and b"\n" not in piece
        if old:
            self.note("CR", "has lines that end with a carriage return alone, as on old Macs; read as line ends")
        return old

    def _reads_as_cp1252(self) -> bool:
        good = bad = 0
        carry = b""
        for block in self._raw():
            data = carry + block
            carry = data[len(data.rstrip(bytes(range(128, 256)))) :] if data[-1] > 127 else b""
            data = data[: len(data) - len(carry)]
            if _TORN_LETTER.search(data) and not _no_torn_letters(data):
                return False
            for run in _HIGH.findall(data):
                if _is_utf8(run):
                    good += 1
                elif _SIGNS.fullmatch(run):
                    bad += 1
                else:
                    return False
            if good > 1_000 + bad:
                return False
        return good * 20 < bad or (not good and (not carry or _SIGNS.fullmatch(carry) is not None))


def _no_torn_letters(data: bytes) -> bool:
    """Whether every suspect pair of bytes is whole UTF-8 after all."""
    return all(_is_utf8(_HIGH.match(data, m.start() + 1)[0]) for m in _TORN_LETTER.finditer(data))  # type: ignore[index]


def _is_utf8(run: bytes) -> bool:
    try:
        run.decode()
    except UnicodeDecodeError:
        return False
    return True


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
