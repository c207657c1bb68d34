"""Bytes of a text file as UTF-8 chunks that end at a line: compression, encodings, line ends, and what is no text."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from aisle.data.schema import Finding
from aisle.errors import DataError

CHUNK = 16 << 20
"""Bytes read at a time."""
INFLATE_FLOOR = 50 << 20
"""A compressed file may inflate to this size whatever the ratio …"""
INFLATE_RATIO = 100
"""… and beyond it by at most this factor."""
STRETCH = 1 << 20
"""A chunk with an open quote is stretched by at most this much to find the closing one."""


@dataclass
class Text:
    """A text file being read: what was found on the way, and its chunks."""

    path: Path
    findings: list[Finding] = field(default_factory=list)

    def chunks(self, size: int = CHUNK) -> Iterator[bytes]:
        """UTF-8 chunks with line feeds as line ends, each ending after a line except perhaps the last one.

        Bytes that are no UTF-8 stay as they are, for the careful reader to reject by row. Raises DataError
        (EMPTY, NOT_CSV, ENC_UNKNOWN, TORN_TAIL, INFLATE_LIMIT, GZ_TORN) for files that cannot be trusted.
        """
        with self.path.open("rb") as raw:
            blocks = _inflated(self.path, raw) if _is_gzip(raw) else iter(lambda: raw.read(size), b"")
            yield from self._lines(blocks)

    def _lines(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        first = next((block for block in blocks if block), b"")
        decode = self._decoder(first)
        cr_only = b"\r" in first and b"\n" not in first
        if cr_only:
            self.note("CR", "lines end with a carriage return alone, as on old Macs; read as line ends")
        rest = b""
        for block in _chain(first, blocks):
            text = rest + decode(block)
            if cr_only:
                text = text.replace(b"\r", b"\n")
            end = text.rfind(b"\n") + 1
            if text[:end].count(b'"') % 2 and len(text) - end < STRETCH and len(text) < CHUNK + STRETCH:
                rest = text
                continue
            rest = text[end:]
            if end:
                yield text[:end]
        if rest:
            if rest.endswith(b"\x00\x00"):
                self.refuse("TORN_TAIL", "ends in a run of NUL bytes, as after a crash while it was written")
            yield rest

    def _decoder(self, first: bytes) -> _Decoder:
        if not first.strip():
            self.refuse("EMPTY", "is empty")
        if first.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
            self.refuse("NOT_CSV", "is an Excel workbook or archive under a text name; rename it to .xlsx")
        if re.match(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|\?xml)", first[:200], re.IGNORECASE):
            self.refuse("NOT_CSV", "is a web page, most likely a download that failed")
        if first.startswith((b"\xff\xfe", b"\xfe\xff")):
            name = "utf-16-le" if first.startswith(b"\xff\xfe") else "utf-16-be"
            self.note("ENC_UTF16", f"is written in {name.upper()}; read as such")
            return _Decoder(name, skip=2)
        if first.rstrip(b"\r\n").endswith(b"\x00\x00"):
            self.refuse("TORN_TAIL", "ends in a run of NUL bytes, as after a crash while it was written")
        if first.startswith(b"\xef\xbb\xbf"):
            return _Decoder(None, skip=3)
        if first[:4000].count(b"\x00") > len(first[:4000]) // 4:
            self.refuse("ENC_UNKNOWN", "looks like UTF-16 without a byte order mark; save it as UTF-8")
        if self._is_cp1252(first):
            self.note("ENC_FALLBACK", "is no UTF-8 but reads well as Windows-1252; read as such")
            return _Decoder("cp1252", skip=0)
        return _Decoder(None, skip=0)

    @staticmethod
    def _is_cp1252(first: bytes) -> bool:
        """Bytes above 127 that are nowhere UTF-8, and everywhere letters or signs of Windows-1252 beside text."""
        high = re.findall(rb"[\x80-\xff]+", first)
        if not high:
            return False
        for run in high:
            try:
                run.decode("utf-8")
            except UnicodeDecodeError:
                continue
            return False  # some of it is UTF-8: what is not is damage, row by row
        signs = rb"[\xc0-\xd6\xd8-\xf6\xf8-\xff\x80\x91-\x97\x99\xa0-\xbf]"
        return all(
            len(run) <= 2 and re.fullmatch(signs + rb"+", run) and run not in (b"\xff\xfe", b"\xfe\xff", b"\xff")
            for run in high
        )

    def note(self, code: str, what: str) -> None:
        """Remember something that was repaired while reading."""
        self.findings.append(Finding(code, 0, "warning", "repaired", f"{self.path.name} {what}", file=self.path.name))

    def refuse(self, code: str, what: str) -> None:
        """Refuse the whole file."""
        raise DataError(f"{code}: {self.path.name} {what}; export the file again or take it out of the folder")


class _Decoder:
    """Turns blocks of one encoding into UTF-8; None leaves bytes as they are."""

    def __init__(self, encoding: str | None, skip: int) -> None:
        import codecs

        self.skip = skip
        self.decoder = codecs.getincrementaldecoder(encoding)(errors="replace") if encoding else None

    def __call__(self, block: bytes) -> bytes:
        block, self.skip = block[self.skip :], 0
        return self.decoder.decode(block).encode() if self.decoder else block


def _is_gzip(raw: BinaryIO) -> bool:
    magic = raw.read(2)
    raw.seek(0)
    return magic == b"\x1f\x8b"


def _inflated(path: Path, raw: BinaryIO) -> Iterator[bytes]:
    limit = max(INFLATE_FLOOR, path.stat().st_size * INFLATE_RATIO)
    done = 0
    try:
        with gzip.GzipFile(fileobj=raw) as file:
            while block := file.read(4 << 20):
                done += len(block)
                if done > limit:
                    raise DataError(
                        f"INFLATE_LIMIT: {path.name} inflates to over {limit >> 20} MB, above {INFLATE_RATIO} times "
                        "its size; unpack it yourself if it is genuine"
                    )
                yield block
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"GZ_TORN: {path.name} ends early or is damaged ({error}); copy or export it again") from error


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
