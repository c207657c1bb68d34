"""How often customers bought the listed products: times, last time, and the usual gap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aisle.data.events import Batch
from aisle.types import DAY, Bools, Codes, Doubles, Ints

MIN_TIMES = 3
"""Purchases, on different days, before an interval is spoken of."""
MAX_SPREAD = 0.5
"""Mean absolute deviation of the gaps from their median, as a share of the median, up to which they are regular."""
MAX_OVERDUE = 3.0
"""A habit is over when the last purchase lies more than this many median gaps back."""


@dataclass(frozen=True, eq=False)
class Cadence:
    """The customer's own purchases of N listed products."""

    times: Ints
    """(N,) days (visits, under a sequence clock) on which the product was bought."""
    last: Ints
    """(N,) the last of them: days since 1970, or the visit; 0 where there is none."""
    gap: Doubles
    """(N,) median gap in days (visits); NaN with fewer than two purchases."""
    regular: Bools
    """(N,) bought at least three times, evenly, and not long over."""


def bought(batch: Batch, row: Ints, code: Codes) -> Cadence:
    """Cadence of product ``code`` (N,) for the customer in batch row ``row`` (N,)."""
    unit = DAY if batch.clock == "time" else 1
    day = batch.lines.time // unit
    order = np.lexsort((day, batch.lines.product, batch.row))
    key = batch.row[order] * batch.n_products + batch.lines.product[order]
    day = day[order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (key[1:] != key[:-1]) | (day[1:] != day[:-1])  # one day counts once, however many baskets
    key, day = key[fresh], day[fresh]
    starts = np.flatnonzero(np.append(True, key[1:] != key[:-1])) if len(key) else np.zeros(0, dtype=np.int64)
    times = np.diff(np.append(starts, len(key)))
    gap, spread = _gaps(day, starts, times)
    last = day[starts + times - 1]
    active = batch.at / unit - last <= MAX_OVERDUE * np.nan_to_num(gap)
    regular = (times >= MIN_TIMES) & (np.nan_to_num(spread, nan=np.inf) <= MAX_SPREAD) & active
    return _look_up(key[starts], row * batch.n_products + code, Cadence(times, last, gap, regular))


def _gaps(day: Ints, starts: Ints, times: Ints) -> tuple[Doubles, Doubles]:
    """Median gap of each run of days (P,), and the mean absolute deviation from it as a share of it."""
    gap, spread = np.full(len(starts), np.nan), np.full(len(starts), np.nan)
    some = times > 1
    if not some.any():
        return gap, spread
    owner = np.repeat(np.arange(len(starts)), times)
    inner = owner[1:] == owner[:-1]
    gaps, owner = np.diff(day)[inner], owner[1:][inner]
    gaps = gaps[np.lexsort((gaps, owner))]
    count = times[some] - 1
    begin = np.cumsum(count) - count
    gap[some] = (gaps[begin + (count - 1) // 2] + gaps[begin + count // 2]) / 2
    spread[some] = np.add.reduceat(np.abs(gaps - gap[owner]), begin) / count / gap[some]
    return gap, spread


def _look_up(keys: Ints, asked: Ints, known: Cadence) -> Cadence:
    """The rows of ``known`` whose sorted key is asked for; blanks where there is none."""
    if len(keys) == 0:
        zeros = np.zeros(len(asked), dtype=np.int64)
        return Cadence(zeros, zeros, np.full(len(asked), np.nan), np.zeros(len(asked), dtype=bool))
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    hit = keys[at] == asked
    return Cadence(
        np.where(hit, known.times[at], 0),
        np.where(hit, known.last[at], 0),
        np.where(hit, known.gap[at], np.nan),
        hit & known.regular[at],
    )
