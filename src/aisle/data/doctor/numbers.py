"""Numbers as people write them: thousands, currency, brackets, decimal commas; never a guess in silence."""

from __future__ import annotations

import numpy as np
import polars as pl

from aisle.data.doctor.codes import Issue
from aisle.types import Bools

LARGEST = 1e12
INVISIBLE = "[\u00a0\u202f\u2007\u200b\u200c\u200d\u2060\ufeff\u00ad]"
"""No-break spaces, zero-width characters, byte order marks and soft hyphens."""
FOREIGN_DIGIT = r"[\p{Nd}&&[^0-9]]"
MISSING = ["", "null", "none", "n/a", "#n/a", "nil", r"\n", "-", "--", "?", "."]
"""What people write for nothing, in small letters. ``na`` is not among them: it can be an id."""
CURRENCY = r"(?i)(?:[$€£¥₹₽₺]|\b(?:usd|eur|gbp|inr|chf|jpy|cny|aud|cad)\b|\brs\.?|\bkr\.?)"
COMMA_DECIMAL = r"^[-+]?(?:0\d*,\d+|\d+,(?:\d{1,2}|\d{4,})|\d{1,3}(?:\.\d{3})+,\d+)$"
DOT_GROUPS = r"^[-+]?\d{1,3}(?:\.\d{3})+$"


def parse_numbers(raw: pl.Series, prefix: str, column: str) -> tuple[pl.Series, list[Issue]]:
    """(N,) Float64, null where empty or unreadable, and the issues with codes ``<prefix>_TEXT`` and the like.

    The whole column is cast at once; only values that fail go to the slow repairs. ``1,234`` counts as a thousands
    separator unless another value of the same block proves a decimal comma.
    """
    if raw.dtype.is_numeric() or raw.dtype == pl.Null or raw.dtype == pl.Boolean:
        values = raw.cast(pl.Float64).fill_nan(None)  # in typed files NaN is how a missing value is stored
        return values, _range_issues(values, prefix, column)
    text = raw.cast(pl.String)
    values = text.cast(pl.Float64, strict=False)
    strange = (values.is_null() & text.is_not_null()) | ~values.is_finite().fill_null(True)
    if not strange.any():
        return values, _range_issues(values, prefix, column)
    comma = bool(text.filter(strange).str.strip_chars().str.contains(COMMA_DECIMAL).any())
    if comma:
        strange |= text.str.contains(DOT_GROUPS).fill_null(False)
    rows = np.flatnonzero(strange.to_numpy())
    repaired, notes = _repair(text.gather(rows), prefix, comma)
    values = values.scatter(rows, repaired) if len(rows) else values
    issues = [Issue(code, _spread(mask, rows, len(raw)), column) for code, mask in notes.items() if mask.any()]
    return values, issues + _range_issues(values, prefix, column)


def _repair(text: pl.Series, prefix: str, comma: bool) -> tuple[pl.Series, dict[str, Bools]]:
    """Values of strange texts (M,) and which of them each code concerns."""
    bare = text.str.replace_all(INVISIBLE, "").str.strip_chars()
    word = bare.str.to_lowercase()
    notes = {
        "NON_ASCII_DIGIT": _mask(bare.str.contains(FOREIGN_DIGIT)),
        f"{prefix}_NAN": _mask(word.str.contains(r"^[-+]?nan$")),
        f"{prefix}_INF": _mask(word.str.contains(r"^[-+]?(?:inf|infinity|∞)$")),
    }
    settled = notes["NON_ASCII_DIGIT"] | notes[f"{prefix}_NAN"] | notes[f"{prefix}_INF"] | _mask(word.is_in(MISSING))
    invisible = _mask(text.str.contains(INVISIBLE))
    plain = bare.str.replace_all("[\u2212\u2013]", "-")
    paid = plain.str.replace_all(CURRENCY, "").str.strip_chars()
    currency = _mask(paid != plain)
    bracket = _mask(paid.str.contains(r"^\(.*\)$|^[0-9].*-$"))
    body = paid.str.replace(r"^\((.*)\)$", "$1").str.replace(r"^([0-9].*)-$", "$1").str.strip_chars()
    body = body.str.replace_all(CURRENCY, "").str.strip_chars()
    spaced = _mask(body.str.contains(r"^[-+]?\d{1,3}(?:[ ']\d{3})+(?:[.,]\d+)?$"))
    body = body.set(pl.Series(spaced), None).fill_null(body.str.replace_all("[ ']", ""))
    if comma:
        grouped = _mask(body.str.contains(r"\.\d{3}"))
        comma_rows = _mask(body.str.contains(r"^[-+]?\d+(?:\.\d{3})*,\d+$"))
        body = body.str.replace_all(r"\.(\d{3})", "$1").str.replace(",", ".", literal=True)
    else:
        grouped = _mask(body.str.contains(r"^[-+]?\d{1,3}(?:,\d{2,3})*,\d{3}(?:\.\d+)?$"))
        comma_rows = np.zeros(len(text), dtype=bool)
        whole = body.str.replace_all(",", "", literal=True)
        body = body.set(pl.Series(grouped), None).fill_null(whole)
    values = body.cast(pl.Float64, strict=False)
    values = values.set(pl.Series(settled), None)
    values = pl.Series(np.where(bracket, -1.0, 1.0)) * values
    fine = _mask(values.is_finite())
    notes[f"{prefix}_TEXT"] = ~fine & ~settled
    notes |= {
        "INVISIBLE_CHAR": invisible & fine,
        f"{prefix}_CURRENCY": currency & fine,
        f"{prefix}_PAREN": bracket & fine,
        f"{prefix}_THOUSANDS": (grouped | spaced) & fine,
        "DECIMAL_COMMA": comma_rows & fine,
    }
    return values.set(pl.Series(~fine), None), notes


def _range_issues(values: pl.Series, prefix: str, column: str) -> list[Issue]:
    issues = []
    infinite = _mask(values.is_infinite())
    if infinite.any():
        issues.append(Issue(f"{prefix}_INF", infinite, column))
    largest = values.abs().max()
    if isinstance(largest, float) and largest > LARGEST:
        issues.append(Issue(f"{prefix}_RANGE", _mask(values.abs() > LARGEST) & ~infinite, column))
    return issues


def _mask(values: pl.Series) -> Bools:
    return values.fill_null(False).to_numpy()


def _spread(mask: Bools, rows: np.ndarray, height: int) -> Bools:
    out = np.zeros(height, dtype=bool)
    out[rows[mask]] = True
    return out
