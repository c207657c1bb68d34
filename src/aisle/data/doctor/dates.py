"""Dates as text to ticks. Shapes whose order of day and month must be proven stay packed until all files are read.

A date is ``exact`` (year first, month named, a day number, a typed column) or *ordered*: three numbers ``a-b-c`` whose
meaning depends on an order. Ordered dates keep ``a, b, c`` and the time of day packed in one int64, so that
``order.py`` can choose the order from the evidence of the whole source, and ``resolve`` applies it by arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from aisle.data.doctor.codes import Issue
from aisle.data.doctor.ids import NULL_WORDS
from aisle.data.doctor.numbers import FOREIGN_DIGIT, INVISIBLE
from aisle.types import Bools, Ints

Order: TypeAlias = Literal["dmy", "mdy", "ymd"]

MISSING, EXACT = 0, 1
SHAPES: dict[int, tuple[str, int]] = {
    2: ("-", 4), 3: ("/", 4), 4: (".", 4), 5: (" ", 4), 6: ("-", 2), 7: ("/", 2), 8: (".", 2), 9: (" ", 2)
}  # fmt: skip
"""Ordered shapes: separator and digits of the year."""
CLOCK = 100_000_000
"""Room for milliseconds of a day in a packed date."""
NUMERIC = (
    r"^(\d{1,4})([-/. ])(\d{1,2})([-/. ])(\d{1,4})"
    r"(?:[T ]+(\d{1,2})(?::(\d{2}))?(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*([AaPp])?\.?(?:[Mm]\.?)?)?"
    r"\s*(Z|z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})?$"
)
TIME = r"(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2}))?)?$"
NAMED = r"^(?:[A-Za-z]{3,9},?\s+)?(\d{1,2})(?:st|nd|rd|th)?[-\s/.]*([A-Za-z]{3,9})\.?[-\s,/]*(\d{4}|\d{2})" + TIME
NAMED_FIRST = r"^([A-Za-z]{3,9})\.?\s+(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})" + TIME
MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS = {name: number for number, name in enumerate(MONTH_NAMES, 1)}
FAST = {"%Y-%m-%d": 10, "%Y-%m-%d %H:%M:%S": 19, "%Y-%m-%dT%H:%M:%S": 19, "%Y-%m-%d %H:%M": 16}
"""ISO formats and their length in bytes: without the length, 28-02-14 would pass for a day of the year 28."""


@dataclass(frozen=True, eq=False)
class Parsed:
    """(N,) dates: ``ticks`` in microseconds where ``shape`` is EXACT, packed where it is a key of SHAPES."""

    ticks: Ints
    shape: np.ndarray
    issues: list[Issue]


def parse_dates(raw: pl.Series, column: str) -> Parsed:
    """Read a column of dates; empty ones have shape MISSING, unreadable ones also an issue ``DATE_INVALID``."""
    if raw.dtype.is_temporal():
        values = raw.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if _zoned(raw) else raw
        micros = values.cast(pl.Datetime("us")).cast(pl.Int64)
        return Parsed(micros.fill_null(0).to_numpy(), micros.is_not_null().cast(pl.UInt8).to_numpy(), [])
    if raw.dtype.is_float():
        raw = raw.fill_nan(None)
    text = raw.cast(pl.String)
    ticks = np.zeros(len(text), dtype=np.int64)
    shape = np.zeros(len(text), dtype=np.uint8)
    fast = _fast(text)
    if fast is not None:
        shape = fast.is_not_null().cast(pl.UInt8).to_numpy().copy()
        ticks = fast.fill_null(0).to_numpy().copy()
    rest = np.flatnonzero((shape == MISSING) & text.is_not_null().to_numpy())
    if not len(rest):
        return Parsed(ticks, shape, [])
    return _slow(text, rest, ticks, shape, column)


def _slow(text: pl.Series, rest: Ints, ticks: Ints, shape: np.ndarray, column: str) -> Parsed:
    table = pl.DataFrame({"text": text.gather(rest)})
    unique = table.unique(maintain_order=True).with_row_index("at")
    place = table.join(unique, on="text", how="left", maintain_order="left")["at"].to_numpy()
    found = _Work(unique["text"])
    found.read()
    ticks[rest], shape[rest] = found.ticks[place], found.shape[place]
    issues = []
    for code, mask in found.notes.items():
        if mask.any():
            rows = np.zeros(len(text), dtype=bool)
            rows[rest] = mask[place]
            issues.append(Issue(code, rows, column))
    return Parsed(ticks, shape, issues)


def _zoned(raw: pl.Series) -> bool:
    return isinstance(raw.dtype, pl.Datetime) and raw.dtype.time_zone is not None


def _fast(text: pl.Series) -> pl.Series | None:
    """(N,) microseconds by the ISO format of the first value, null where it does not fit; None if it is not ISO."""
    first = next(iter(text.drop_nulls().head(1).to_list()), "")
    for form, length in FAST.items():
        probe = pl.Series([first]).str.to_datetime(form, strict=False, time_unit="us")
        if len(first) == length and probe[0] is not None:
            ticks = text.str.to_datetime(form, strict=False, time_unit="us").cast(pl.Int64)
            return ticks.set((text.str.len_bytes() != length).fill_null(True), None)
    return None


class _Work:
    """Distinct texts (M,) on their way to dates."""

    def __init__(self, text: pl.Series) -> None:
        size = len(text)
        self.text = text.str.replace_all(INVISIBLE, " ").str.strip_chars()
        self.ticks: Ints = np.zeros(size, dtype=np.int64)
        self.shape = np.zeros(size, dtype=np.uint8)
        codes = ("NON_ASCII_DIGIT", "DATE_INVALID", "DATE_YY", "DATE_SERIAL", "DATE_UNIX", "DATE_TZ", "DATE_NAME")
        self.notes: dict[str, Bools] = {code: np.zeros(size, dtype=bool) for code in codes}

    def read(self) -> None:
        """Try each form on what the ones before have left."""
        missing = self.text.str.to_lowercase().is_in([*NULL_WORDS, "na", "nat"]).to_numpy()
        self.notes["NON_ASCII_DIGIT"] = self.text.str.contains(FOREIGN_DIGIT).to_numpy() & ~missing
        for step in (self._numeric, self._named, self._digits):
            left = np.flatnonzero((self.shape == MISSING) & ~missing & ~self.notes["NON_ASCII_DIGIT"])
            if len(left):
                step(left, self.text.gather(left))
        self.notes["DATE_INVALID"] = (self.shape == MISSING) & ~missing & ~self.notes["NON_ASCII_DIGIT"]

    def _numeric(self, rows: Ints, text: pl.Series) -> None:
        g = _groups(text, NUMERIC)
        hit = g["1"].is_not_null().to_numpy() & (g["2"] == g["4"]).fill_null(False).to_numpy()
        if not hit.any():
            return
        rows, g = rows[hit], g.filter(pl.Series(hit))
        a, b, c = (_ints(g[k]) for k in ("1", "3", "5"))
        wide_a, wide_c = (g[k].str.len_chars().to_numpy() for k in ("1", "5"))
        clock, clock_ok = _clock(g)
        iso = (wide_a == 4) & (wide_c <= 2)
        day, exists = days(a, b, c)
        good = iso & exists & clock_ok
        shift, zoned = _offset(g["11"])
        self._settle(rows[good], (day * 86_400_000_000 + clock - shift)[good])
        self.notes["DATE_TZ"][rows[good & zoned]] = True
        digits = np.where((wide_a <= 2) & (wide_c == 4), 4, np.where((wide_a <= 2) & (wide_c == 2), 2, 0))
        packed = pack(a, b, c, clock)
        for code, (separator, width) in SHAPES.items():
            mine = (g["2"] == separator).to_numpy() & (digits == width) & clock_ok & (shift == 0)
            orders: tuple[Order, ...] = ("dmy", "mdy") if width == 4 else ("dmy", "mdy", "ymd")
            some = np.zeros(len(rows), dtype=bool)
            for order in orders:
                some |= valid(packed, order, width)
            self.ticks[rows[mine & some]] = packed[mine & some]
            self.shape[rows[mine & some]] = code
            self.notes["DATE_TZ"][rows[mine & some & zoned]] = True
            if width == 2:
                self.notes["DATE_YY"][rows[mine & some]] = True

    def _named(self, rows: Ints, text: pl.Series) -> None:
        for pattern, (d, m, y, h) in ((NAMED, ("1", "2", "3", 4)), (NAMED_FIRST, ("2", "1", "3", 4))):
            g = _groups(text, pattern)
            month = g[m].str.to_lowercase().str.slice(0, 3).replace_strict(MONTHS, default=0, return_dtype=pl.Int64)
            month_number = month.fill_null(0).to_numpy()
            year = _four(_ints(g[y]), g[y].str.len_chars().fill_null(0).to_numpy())
            day, exists = days(year, month_number, _ints(g[d]))
            seconds = sum(_ints(g[str(h + i)]) * 60 ** (2 - i) for i in range(3))
            good = exists & (month_number > 0) & g[d].is_not_null().to_numpy() & (seconds < 86_400)
            self._settle(rows[good], (day * 86_400 + seconds)[good] * 1_000_000)
            self.notes["DATE_NAME"][rows[good]] = True

    def _digits(self, rows: Ints, text: pl.Series) -> None:
        value = text.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
        width = text.str.split(".").list.first().str.len_chars().to_numpy()
        plain = text.str.contains(r"^\d+(?:\.\d+)?$").to_numpy()
        whole = np.where(plain & (width <= 14), np.nan_to_num(value), 0).astype(np.int64)
        serial = plain & (width == 5) & (value >= 20_000)
        self._settle(rows[serial], np.rint((value[serial] - 25_569) * 86_400).astype(np.int64) * 1_000_000)
        self.notes["DATE_SERIAL"][rows[serial]] = True
        stamp = plain & ((width == 8) | (width == 14))
        date = np.where(width == 14, whole // 1_000_000, whole)
        clock = np.where(width == 14, whole % 1_000_000, 0)
        seconds = clock // 10_000 * 3_600 + clock // 100 % 100 * 60 + clock % 100
        day, exists = days(date // 10_000, date // 100 % 100, date % 100)
        good = stamp & exists & (seconds < 86_400)
        self._settle(rows[good], (day * 86_400 + seconds)[good] * 1_000_000)
        unix = plain & ((width == 9) | (width == 10) | (width == 13))
        factor = np.where(width == 13, 1_000, 1_000_000)
        self._settle(rows[unix], (value[unix] * factor[unix]).astype(np.int64))
        self.notes["DATE_UNIX"][rows[unix]] = True

    def _settle(self, rows: Ints, ticks: Ints) -> None:
        self.ticks[rows], self.shape[rows] = ticks, EXACT


def pack(a: Ints, b: Ints, c: Ints, clock: Ints) -> Ints:
    """Three numbers and the microseconds of the day (kept to the millisecond) in one int64."""
    return ((a * 100 + b) * 10_000 + c) * CLOCK + clock // 1_000


def valid(packed: Ints, order: Order, width: int) -> Bools:
    """(N,) whether the packed date exists when read in this order."""
    return days(*_parts(packed, order, width))[1]


def resolve(packed: Ints, order: Order, width: int) -> tuple[Ints, Bools]:
    """(N,) microseconds of packed dates in this order, and whether each date exists."""
    day, exists = days(*_parts(packed, order, width))
    return day * 86_400_000_000 + packed % CLOCK * 1_000, exists


def first_second(packed: Ints) -> tuple[Ints, Ints]:
    """The first two numbers of packed dates."""
    head = packed // CLOCK // 10_000
    return head // 100, head % 100


def days(year: Ints, month: Ints, day: Ints) -> tuple[Ints, Bools]:
    """(N,) days since 1970-01-01 and whether the date exists; 0 where it does not."""
    fine = (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (year >= 1) & (year <= 9999)
    y, m, d = np.where(fine, year, 1970), np.where(fine, month, 1), np.where(fine, day, 1)
    months = (y - 1970) * 12 + m - 1
    start = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    length = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) - start
    fine &= d <= length
    return np.where(fine, start + d - 1, 0), fine


def _parts(packed: Ints, order: Order, width: int) -> tuple[Ints, Ints, Ints]:
    a, b = first_second(packed)
    c = packed // CLOCK % 10_000
    year = a if order == "ymd" else c
    if width == 2:
        year = _four(year, np.full(len(packed), 2))
    if order == "ymd":
        return year, b, c
    return (year, b, a) if order == "dmy" else (year, a, b)


def _four(year: Ints, digits: np.ndarray) -> Ints:
    return np.where(digits == 2, np.where(year >= 70, 1900, 2000) + year, year)


def _groups(text: pl.Series, pattern: str) -> pl.DataFrame:
    return text.str.extract_groups(pattern).struct.unnest()


def _ints(text: pl.Series) -> Ints:
    return text.cast(pl.Int64, strict=False).fill_null(0).to_numpy()


def _clock(g: pl.DataFrame) -> tuple[Ints, Bools]:
    """(N,) microseconds of the day and whether the time exists."""
    hour, minute, second = (_ints(g[k]) for k in ("6", "7", "8"))
    half = g["10"].str.to_lowercase().fill_null("").to_numpy()
    fine = (hour < 24) & (minute < 60) & (second < 60) & ((half == "") | ((hour >= 1) & (hour <= 12)))
    hour = np.where(half == "p", hour % 12 + 12, np.where(half == "a", hour % 12, hour))
    micros = _ints(g["9"].fill_null("0").str.pad_end(6, "0").str.slice(0, 6))
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros, np.asarray(fine)


def _offset(zone: pl.Series) -> tuple[Ints, Bools]:
    """(N,) microseconds to take away for UTC, and whether an offset was written."""
    parts = _groups(zone.fill_null(""), r"^([+-])(\d{2}):?(\d{2})?$")
    size = (_ints(parts["2"]) * 60 + _ints(parts["3"])) * 60_000_000
    sign = np.where((parts["1"] == "-").fill_null(False).to_numpy(), -1, 1)
    return sign * size, zone.is_not_null().to_numpy()
