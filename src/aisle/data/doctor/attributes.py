"""Columns of products and customers, typed by name and content: number, date, flag or text."""

from __future__ import annotations

import re
from datetime import datetime

import numpy as np
import polars as pl

from aisle.data.doctor.codes import Issue
from aisle.data.doctor.dates import MISSING, Order, parse_dates
from aisle.data.doctor.ids import parse_ids, parse_text
from aisle.data.doctor.ledger import Ledger
from aisle.data.doctor.numbers import parse_numbers
from aisle.data.doctor.order import Evidence, apply, prove
from aisle.data.schema import Kind
from aisle.errors import DataError
from aisle.types import Bools, Ints

READABLE = 0.95
"""Share of the filled cells that must be readable for a column to count as numbers or dates."""
CODE_NAME = re.compile(r"(?i)(^|[_\W])(code|id|no|nr|zip|zipcode|postcode|phone|plz|segment|cluster|class)$|Id$|Code$")
"""Names of labels that merely look like numbers."""
DATE_NAME = re.compile(r"(?i)date|time|since|dob|birth|_at$|_on$|valid|created|joined")
BIRTH_NAME = re.compile(r"(?i)^dob$|birth|(^|_)dob(_|$)")
TRUE = ["true", "yes", "y"]
FALSE = ["false", "no", "n"]
LONGEST_LIFE_DAYS = 110 * 365.25


class AttributeTyper:
    """Types the columns of one table; ``rows`` (N) carries ``_file`` and ``_line`` of each row for the ledger."""

    def __init__(self, rows: pl.DataFrame, ledger: Ledger, given: Order | None, now: datetime) -> None:
        self.rows, self.ledger, self.given, self.now = rows, ledger, given, now

    def typed(self, raw: pl.Series, kind: Kind | None) -> pl.Series | None:
        """(N,) the column by its kind, or by its content where the kind is free; None = set aside, with a finding."""
        name = raw.name
        if kind == "id":
            values, issues = parse_ids(raw, name)
            self._blank(
                name,
                np.logical_or.reduce(
                    [i.rows for i in issues if i.code.startswith(("ID_S", "ID_D", "N"))]
                    or [np.zeros(len(raw), dtype=bool)]
                ),
            )
            return values.cast(pl.String)
        if kind == "number":
            return self._number(raw)
        if kind == "time":
            return self._date(raw)
        if kind == "flag":
            return self._flag(raw, [*TRUE, "1", "1.0"], [*FALSE, "0", "0.0"])
        if kind == "text":
            return parse_text(raw).cast(pl.String).alias(name)
        return self._free(raw)

    def _free(self, raw: pl.Series) -> pl.Series | None:
        """A free attribute."""
        name = raw.name
        label = CODE_NAME.search(name) is not None
        if raw.dtype == pl.Boolean or (raw.dtype.is_numeric() and not label):
            return raw if raw.dtype == pl.Boolean else raw.cast(pl.Float64).fill_nan(None)
        if raw.dtype.is_temporal() and raw.dtype not in (pl.Time, pl.Duration):
            return self._date(raw)
        if isinstance(raw.dtype, pl.List | pl.Array | pl.Struct):
            self.ledger.note("ATTRIBUTE_BAD", 1, column=name, what="a nested column cannot be an attribute; set aside")
            return None
        text = parse_text(raw).cast(pl.String).alias(name)
        filled = text.drop_nulls()
        if label or not len(filled):
            return text
        if filled.str.to_lowercase().is_in([*TRUE, *FALSE]).all():
            return self._flag(text, TRUE, FALSE)
        sample = filled.head(1_000)
        if (
            not sample.str.contains(r"^0\d").any()
            and _numeric_share(sample) >= READABLE
            and _numeric_share(filled) >= READABLE
        ):
            return self._number(text)
        if self._looks_like_dates(name, sample):
            return self._date(text)
        return text

    def _looks_like_dates(self, name: str, sample: pl.Series) -> bool:
        if not DATE_NAME.search(name) and sample.str.contains(r"^\d+$").any():
            return False
        parsed = parse_dates(sample, name)
        return float((parsed.shape != MISSING).mean()) >= READABLE

    def _number(self, raw: pl.Series) -> pl.Series:
        values, issues = parse_numbers(raw, "NUM", raw.name)
        bad = np.zeros(len(raw), dtype=bool)
        for issue in issues:
            bad |= issue.rows & values.is_null().to_numpy()
        values = values.set(values.is_infinite().fill_null(False), None)
        self._blank(raw.name, bad)
        return values.alias(raw.name)

    def _flag(self, raw: pl.Series, true: list[str], false: list[str]) -> pl.Series:
        word = raw.cast(pl.String).str.strip_chars().str.to_lowercase()
        yes, no = word.is_in(true).fill_null(False), word.is_in(false).fill_null(False)
        self._blank(raw.name, (word.is_not_null() & (word != "") & ~yes & ~no).fill_null(False).to_numpy())
        return yes.set(~yes & ~no, None).alias(raw.name)

    def _date(self, raw: pl.Series) -> pl.Series | None:
        """Datetime, once the order of day and month is proven for this column."""
        parsed = parse_dates(raw, raw.name)
        seen = Evidence(self.rows["_file"].to_numpy(), parsed.shape, parsed.ticks)
        try:
            proof = prove(seen, None, self.now)
        except DataError:
            if self.given is None:
                self.ledger.note("ATTRIBUTE_DATE_AMBIGUOUS", len(raw), column=raw.name)
                return None
            proof = prove(seen, self.given, self.now)
        time, exists = apply(seen, proof.orders)
        bad = ~exists
        for issue in parsed.issues:
            if issue.code in ("DATE_INVALID", "NON_ASCII_DIGIT"):
                bad |= issue.rows
        self._blank(raw.name, bad)
        known = (parsed.shape != MISSING) & ~bad
        if BIRTH_NAME.search(raw.name):
            known &= ~self._impossible_births(raw.name, time, known)
        return pl.Series(raw.name, time).set(pl.Series(~known), None).cast(pl.Datetime("us"))

    def _impossible_births(self, name: str, time: Ints, known: Bools) -> Bools:
        """Births in the future, or so long ago that nobody lives to tell."""
        age = (np.datetime64(self.now, "us").astype(np.int64) - time) / 86_400_000_000
        bad = known & ((age < 0) | (age > LONGEST_LIFE_DAYS))
        self.ledger.judge_late(self.rows, [Issue("DOB_BAD", bad, name)])
        return np.asarray(bad)

    def _blank(self, name: str, bad: Bools) -> None:
        if bad.any():
            self.ledger.judge_late(self.rows, [Issue("ATTRIBUTE_BAD", bad, name)])


def _numeric_share(text: pl.Series) -> float:
    values, _ = parse_numbers(text, "NUM", "")
    return 1 - values.null_count() / max(len(values), 1)
