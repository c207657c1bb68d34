"""Ids are text: leading zeros stay, lost digits are refused, invisible characters go."""

from __future__ import annotations

import numpy as np
import polars as pl

from aisle.data.doctor.codes import Issue
from aisle.data.doctor.numbers import FOREIGN_DIGIT, INVISIBLE
from aisle.types import Bools

NULL_WORDS = ["", "null", "none", "nan", "n/a", "#n/a", "nil", "<na>", r"\n", "-", "--", "?"]
"""Words that stand for no id, in small letters. ``NA`` is an id unless ids must be numbers."""
NULL_FORMS = sorted({f for w in NULL_WORDS for f in (w, w.upper(), w.capitalize(), w.title())} | {"NaN"})
PLAIN = r"^[0-9A-Za-z_/-]+$"
EXACT_FLOAT = 2.0**53


def parse_ids(raw: pl.Series, column: str, *, numeric: bool = False) -> tuple[pl.Series, list[Issue]]:
    """(N,) Categorical ids, null where empty or bad, and the issues.

    ``numeric`` demands digits alone (after repairs) and reports other text as ``CUST_BAD``.
    """
    text, issues = _as_text(raw, column)
    strange = ~text.str.contains(PLAIN).fill_null(True) | text.is_in(NULL_FORMS).fill_null(False)
    if numeric:
        strange |= ~text.str.contains(r"^[0-9]+$").fill_null(True)
    if not strange.any():
        return text.cast(pl.Categorical), issues
    rows = np.flatnonzero(strange.to_numpy())
    repaired, notes = _repair(text.gather(rows), numeric)
    text = text.scatter(rows, repaired)
    for code, mask in notes.items():
        if mask.any():
            spread = np.zeros(len(raw), dtype=bool)
            spread[rows[mask]] = True
            issues.append(Issue(code, spread, column))
    return text.cast(pl.Categorical), issues


def _as_text(raw: pl.Series, column: str) -> tuple[pl.Series, list[Issue]]:
    """Typed ids as text: 13085.0 becomes 13085; floats beyond 2**53 cannot be exact."""
    if not raw.dtype.is_float():
        return raw.cast(pl.String), []
    values = raw.cast(pl.Float64).fill_nan(None)
    lost = (values.abs() > EXACT_FLOAT).fill_null(False)
    whole = (values == values.floor()).fill_null(False) & ~lost
    frame = pl.DataFrame({"value": values.set(lost, None), "whole": whole})
    text = frame.select(
        pl.when("whole")
        .then(pl.col("value").cast(pl.Int64, strict=False).cast(pl.String))
        .otherwise(pl.col("value").cast(pl.String))
        .alias("id")
    )["id"]
    issues = [Issue("ID_DIGITS_LOST", lost.to_numpy(), column)] if lost.any() else []
    return text, issues


def _repair(text: pl.Series, numeric: bool) -> tuple[pl.Series, dict[str, Bools]]:
    bare = text.str.replace_all(INVISIBLE, "").str.strip_chars()
    foreign = _mask(bare.str.contains(FOREIGN_DIGIT))
    scientific = _mask(bare.str.contains(r"^[-+]?\d+(?:\.\d+)?[eE]\+?\d+$") & bare.str.contains(r"[.+]"))
    floats = _mask(bare.str.contains(r"^\d+\.0+$"))
    missing = _mask(bare.str.to_lowercase().is_in(NULL_WORDS))
    body = bare.str.replace(r"^(\d+)\.0+$", "$1")
    bad = np.zeros(len(text), dtype=bool)
    if numeric:
        bad = ~_mask(body.str.contains(r"^[0-9]+$")) & ~missing & ~scientific & ~foreign
    fine = ~(foreign | scientific | missing | bad)
    notes = {
        "NON_ASCII_DIGIT": foreign,
        "ID_SCIENTIFIC": scientific,
        "CUST_BAD": bad,
        "ID_FLOAT": floats & fine,
        "INVISIBLE_CHAR": _mask(text.str.contains(INVISIBLE)) & fine,
    }
    return body.set(pl.Series(~fine), None), notes


def _mask(values: pl.Series) -> Bools:
    return values.fill_null(False).to_numpy()


def parse_text(raw: pl.Series) -> pl.Series:
    """(N,) Categorical labels such as a store or channel, trimmed; words for nothing are null; the rest stays."""
    text, _ = _as_text(raw, raw.name)
    strange = ~text.str.contains(PLAIN).fill_null(True) | text.is_in(NULL_FORMS).fill_null(False)
    if strange.any():
        rows = np.flatnonzero(strange.to_numpy())
        bare = text.gather(rows).str.replace_all(INVISIBLE, " ").str.strip_chars()
        text = text.scatter(rows, bare.set(bare.str.to_lowercase().is_in(NULL_WORDS), None))
    return text.cast(pl.Categorical)
