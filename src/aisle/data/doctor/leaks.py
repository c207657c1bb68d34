"""Attributes computed after the fact: "last purchase", "total spend" and the like would tell a model its own answer."""

from __future__ import annotations

import numpy as np
import polars as pl

from aisle.types import Doubles

TOO_CLOSE = 0.98
"""Rank correlation with a total of the purchases from which an attribute is taken for that total."""
LEAST_ROWS = 30
LEAST_VALUES = 15


def suspects(table: pl.DataFrame) -> list[str]:
    """Columns that could be such totals: numbers and dates."""
    return [
        c
        for c in table.columns
        if (table.schema[c].is_numeric() or table.schema[c].is_temporal())
        and not c.startswith("keep_")
        and c not in ("valid_from", "price", "cost")
    ]


def after_the_fact(table: pl.DataFrame, lines: pl.DataFrame, key: str, clock: str) -> dict[str, str]:
    """Columns that rank the rows as a total of their purchases does, and which total; ``keep_…`` columns are exempt."""
    numbers = suspects(table)
    if not numbers or key not in lines.columns:
        return {}
    totals = _totals(lines, key, clock)
    joined = table.select(pl.col(key).cast(pl.String), *numbers).join(totals, on=key, how="inner")
    found = {}
    for column in numbers:
        values = joined[column].cast(pl.Int64 if joined.schema[column].is_temporal() else pl.Float64).cast(pl.Float64)
        scores = {what: _rank_correlation(values, joined[what]) for what in totals.columns if what != key}
        birth = scores.pop("first purchase")  # since when someone buys is known before the fact
        best = max(scores, key=lambda what: scores[what])
        if scores[best] >= TOO_CLOSE and scores[best] > birth:
            found[column] = best
    return found


def _totals(lines: pl.DataFrame, key: str, clock: str) -> pl.DataFrame:
    return (
        lines.filter(pl.col(key).is_not_null())
        .group_by(key)
        .agg(
            pl.len().alias("number of purchases"),
            _exact("quantity").alias("total quantity"),
            _exact("amount").alias("total spend"),
            pl.col(clock).max().cast(pl.Int64).alias("last purchase"),
            pl.col(clock).min().cast(pl.Int64).alias("first purchase"),
        )
        .with_columns(pl.col(key).cast(pl.String))
    )


def _exact(column: str) -> pl.Expr:
    """A sum of short numbers in long ones: the same in any order of the lines, so that ties stay ties."""
    return pl.col(column).cast(pl.Float32).cast(pl.Float64).sum()


def _rank_correlation(left: pl.Series, right: pl.Series) -> float:
    """Absolute Spearman correlation of the rows where both are known; 0 where there is too little to tell."""
    frame = pl.DataFrame({"left": left, "right": right.cast(pl.Float64)}).drop_nulls()
    if frame.height < LEAST_ROWS or min(frame["left"].n_unique(), frame["right"].n_unique()) < LEAST_VALUES:
        return 0.0
    ranks = frame.select(pl.all().rank()).to_numpy()
    centred: Doubles = ranks - ranks.mean(axis=0)
    scale = float(np.sqrt((centred**2).sum(axis=0).prod()))
    return abs(float((centred[:, 0] * centred[:, 1]).sum())) / scale if scale else 0.0
