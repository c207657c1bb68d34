"""How far ahead to ask, and on which windows: the shop's own rhythm, within what the data can bear."""

from __future__ import annotations

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.split import Window, rolling_windows
from aisle.errors import DataError
from aisle.features.customers import usual_gap
from aisle.types import DAY

CANDIDATES = (7, 14, 30, 60, 90, 180)
"""Horizons in days that a retailer plans by."""
MIN_CUSTOMERS = 200
"""Known customers who should buy in the last window, so that an interval can say something."""
MAX_TUNING, MIN_TUNING = 3, 2
"""Windows to choose models on, before the last one; data that cannot bear two gets one."""


def choose_horizon(dataset: Dataset) -> tuple[int, str]:
    """Days to look ahead (baskets, under a sequence clock) and a plain sentence why.

    The candidate nearest, by ratio, to the median gap between two consecutive shopping days of a customer, as long as
    two tuning windows and the last one fit into half of the history and the last one holds 200 known customers.
    Otherwise the nearest candidate that does, or else the one with most customers.
    """
    if dataset.clock == "sequence":
        return 1, "1 basket: the source orders baskets but does not date them"
    span = _span_days(dataset)
    fitting = [days for days in CANDIDATES if (MIN_TUNING + 1) * days <= span / 2]
    if not fitting:
        days = max(1, min(CANDIDATES[0], span // 4))
        return days, f"{days} days: the whole history is {span} days"
    gap = usual_gap(dataset) / dataset.unit
    if not gap:
        target, why = fitting[-1], "no customer came on two days"
    else:
        target = min(CANDIDATES, key=lambda days: (abs(np.log(days / gap)), days))
        why = f"half of all customers' next visits come within {gap:.0f} days"
    near = sorted(fitting, key=lambda days: (abs(np.log(days / target)), days))
    enough = [days for days in near if _known_buyers(dataset, days) >= MIN_CUSTOMERS]
    if enough:
        days = enough[0]
        reason = "" if days == target else f"; {target} days would leave too little history or too few customers"
        return days, f"{days} days: {why}{reason}"
    days = max(near, key=lambda d: _known_buyers(dataset, d))
    return days, f"{days} days: {why}, and no horizon finds {MIN_CUSTOMERS} known customers in its last window"


def choose_windows(dataset: Dataset, horizon: int) -> tuple[tuple[Window, ...], Window]:
    """The one to three tuning windows, oldest first, and the last window, back to back and ending at ``as_of``.

    Three tuning windows where all four fit into half of the history, two where three do, else one; under a sequence
    clock as many as leave enough customers with so many baskets. Raises DataError for a horizon below 1.
    """
    if horizon < 1:
        raise DataError(f"the horizon is {horizon}; it must be at least 1 day (1 basket without dates)")
    if dataset.clock == "sequence":
        fits = [n for n in (3, 2) if _long_histories(dataset, horizon * (n + 1)) >= MIN_CUSTOMERS]
    else:
        fits = [n for n in (MAX_TUNING, MIN_TUNING) if (n + 1) * horizon <= _span_days(dataset) / 2]
    count = fits[0] if fits else 1
    windows = rolling_windows(dataset.as_of, horizon * dataset.unit, count + 1)
    return windows[:-1], windows[-1]


def _span_days(dataset: Dataset) -> int:
    """Days from the first purchase to ``as_of``."""
    times = dataset.purchases.time
    return int(-(-(dataset.as_of - int(times.min())) // DAY)) if len(times) else 0


def _known_buyers(dataset: Dataset, days: int) -> int:
    """Customers with a purchase both in and before the last window of so many days."""
    cut = dataset.as_of - days * DAY
    events = dataset.purchases
    late = np.zeros(dataset.shape[0] + 1, dtype=bool)
    early = late.copy()
    late[events.customer[events.time >= cut]] = True
    early[events.customer[events.time < cut]] = True
    return int((late & early)[:-1].sum())


def _long_histories(dataset: Dataset, baskets: int) -> int:
    """Customers with more than so many baskets, under a sequence clock."""
    events = dataset.purchases
    oldest = np.zeros(dataset.shape[0] + 1, dtype=np.int64)
    np.minimum.at(oldest, events.customer, events.time)
    return int((oldest[:-1] <= -baskets).sum())
