"""How sure is a mean? Percentile bootstrap over customers, paired by using one set of draws for everything.

All columns of a table share the same resampled customers, so the interval of a difference of two columns is that of
the paired difference. Small samples get the wider percentiles of Hesterberg ("What Teachers Should Know About the
Bootstrap", The American Statistician 2015), which make up for the bootstrap's narrowness.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from aisle.types import Codes, Doubles

DRAWS = 2_000
LEVEL = 0.95
MIN_VALUES = 10
"""Fewer customers than this have no interval: ten lucky ones prove nothing."""
MAX_UNITS = 20_000
"""More customers than this are drawn in random groups of equal size; the interval of a mean stays the same."""
CELLS = 4_000_000
"""Weights held at a time."""


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % bootstrap interval; NaN where there are too few customers to say."""

    mean: float
    low: float
    high: float

    @property
    def above_zero(self) -> bool:
        """True where the whole interval lies above 0; False where there is none."""
        return self.low > 0

    def to_json(self) -> dict[str, float | None]:
        """``{mean, low, high}``, with null for what is not known."""
        values = {"mean": self.mean, "low": self.low, "high": self.high}
        return {key: None if np.isnan(value) else round(float(value), 6) for key, value in values.items()}


def intervals(values: Doubles, draws: int = DRAWS, seed: int = 0, customer: Codes | None = None) -> list[Interval]:
    """The mean of each column of ``values`` (N, M) with its interval; NaN cells are customers without a value.

    Where a customer has several rows, ``customer`` (N,) says whose each is: customers are drawn, not rows.
    """
    table = np.atleast_2d(values.T).T
    usable = ~np.isnan(table)
    total, size = np.where(usable, table, 0.0), usable.astype(np.float64)
    if customer is not None:
        total, size = _by_customer(total, customer), _by_customer(size, customer)
    counts = (size > 0).sum(axis=0)
    sums, sizes = _grouped(total, seed), _grouped(size, seed)
    means = [float(s / c) if c else float("nan") for s, c in zip(sums.sum(axis=0), sizes.sum(axis=0), strict=True)]
    if not len(sums) or not (counts >= MIN_VALUES).any():
        return [Interval(mean, float("nan"), float("nan")) for mean in means]
    drawn = np.empty((draws, table.shape[1]))
    start = 0
    for weights in _weights(len(sums), draws, seed):
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn[start : start + len(weights)] = (weights @ sums) / (weights @ sizes)
        start += len(weights)
    return [
        _interval(mean, column, int(count), min(int(count), len(sums)))
        for mean, column, count in zip(means, drawn.T, counts, strict=True)
    ]


def interval(values: Doubles, draws: int = DRAWS, seed: int = 0) -> Interval:
    """The mean of ``values`` (N,) with its interval."""
    return intervals(values[:, None], draws, seed)[0]


def paired(first: Doubles, second: Doubles, draws: int = DRAWS, seed: int = 0) -> Interval:
    """The mean of ``first - second`` (N,) over the same customers, with its interval."""
    return interval(first - second, draws, seed)


def _interval(mean: float, drawn: Doubles, count: int, units: int) -> Interval:
    if count < MIN_VALUES:
        return Interval(mean, float("nan"), float("nan"))
    tail = (1 - LEVEL) / 2
    wide = stats.norm.cdf(-np.sqrt(units / (units - 1)) * stats.t.ppf(1 - tail, units - 1))
    low, high = np.nanquantile(drawn, [wide, 1 - wide])
    return Interval(mean, float(low), float(high))


def _by_customer(table: Doubles, customer: Codes) -> Doubles:
    """(U, M) sums of the rows of each customer."""
    order = np.argsort(customer, kind="stable")
    starts = np.flatnonzero(np.diff(customer[order], prepend=-2))
    return np.add.reduceat(table[order], starts, axis=0) if len(starts) else table


def _grouped(table: Doubles, seed: int) -> Doubles:
    """(G, M) sums over at most MAX_UNITS random groups of rows; the rows themselves where they are fewer."""
    if len(table) <= MAX_UNITS:
        return table
    group = np.random.default_rng(seed).permutation(len(table)) % MAX_UNITS
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(MAX_UNITS))
    return np.add.reduceat(table[order], starts, axis=0)


def _weights(size: int, draws: int, seed: int) -> Iterator[Doubles]:
    """Blocks (b, size) of how often each unit is drawn: rows are multinomial with ``size`` trials."""
    rng = np.random.default_rng(seed)
    block = max(1, CELLS // size)
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        picks = rng.integers(0, size, (rows, size)) + np.arange(rows)[:, None] * size
        yield np.bincount(picks.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)
