"""The history as a whole: silent weeks, and a break in how many products are sold for the first time."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl

from aisle.data.events import slices
from aisle.types import DAY, Bools, Ints

PERIODS = 24
"""The history is cut into this many spans, or fewer where they would be shorter than a week."""
WARM_UP = 0.3
"""Share of the history in which most products are new by nature."""
JUMP = 4.0
"""A span breaks when its share of new products exceeds this many times the median of the spans before …"""
LEAST = 0.25
"""… and this share; a season's arrivals stay below it."""
STRETCH = 1_000_000
"""Lines that are counted at a time: few enough for memory to be used again."""


def silent_weeks(lines: pl.DataFrame) -> tuple[int, str]:
    """Weeks without a line between the first and the last, and the first few of them."""
    if "timestamp" not in lines.columns or not lines.height:
        return 0, ""
    # weeks are counted from the first line, so that a shop's own week does not matter
    time = lines["timestamp"]
    ticks = time.to_physical()
    start, last = pl.Series([ticks.min(), ticks.max()]).cast(time.dtype).dt.epoch("d").to_list()
    there = np.zeros(last - start + 1, dtype=bool)
    for part in slices(lines.height, STRETCH):
        there[time[part].dt.epoch("d").to_numpy() - start] = True
    day = pl.Series(np.flatnonzero(there) + start).cast(pl.Int32)
    gaps = pl.DataFrame({"day": day, "step": day.diff()}).filter(pl.col("step") > 7)
    if not gaps.height:
        return 0, ""
    weeks = int((gaps["step"] // 7).sum())
    first = gaps.head(4).select(
        (pl.from_epoch(pl.col("day") - pl.col("step") + 1, time_unit="d")).alias("from"),
        pl.from_epoch(pl.col("day") - 1, time_unit="d").alias("to"),
    )
    return weeks, ", ".join(f"{start} to {stop}" for start, stop in first.iter_rows())


def first_time_break(lines: pl.DataFrame) -> tuple[int, str]:
    """Lines in spans where the share of never-sold products jumps, and the first such span in words."""
    if "timestamp" not in lines.columns or not lines.height:
        return 0, ""
    ticks = lines["timestamp"].cast(pl.Int64)
    start, stop = int(ticks.min()), int(ticks.max())  # type: ignore[arg-type]
    span = (stop - start) / DAY + 1
    periods = min(PERIODS, int(span // 7))
    if periods < 8:
        return 0, ""
    width = span / periods * DAY
    counts, active = _sold(lines, start, width, periods)
    first = np.bincount(active.argmax(axis=1)[active.any(axis=1)], minlength=periods)
    by_period = pl.DataFrame({"lines": counts, "products": active.sum(axis=0), "new": first})
    by_period = by_period.with_row_index("period").filter(pl.col("products") > 0)
    by_period = by_period.with_columns(share=pl.col("new") / pl.col("products")).with_columns(
        usual=pl.col("share").shift(1).rolling_median(4, min_samples=2)
    )
    broken = by_period.filter(
        (pl.col("period") >= WARM_UP * periods)
        & (pl.col("products") >= 10)
        & (pl.col("share") > LEAST)
        & (pl.col("share") > JUMP * pl.col("usual"))
    )
    if not broken.height:
        return 0, ""
    row = broken.row(0, named=True)
    when = datetime.fromtimestamp((start + int(row["period"] * width)) / 1e6, UTC).date()
    shares = f"{row['share']:.0%} of {row['products']} products were never sold before, usually {row['usual']:.0%}"
    return int(broken["lines"].sum()), f"from {when}: {shares}"


def _sold(lines: pl.DataFrame, start: int, width: float, periods: int) -> tuple[Ints, Bools]:
    """(T,) sale lines of each span, ``width`` microseconds long, and (I, T) the products sold."""
    product = lines["product_id"].to_physical()
    last: int = product.max()  # type: ignore[assignment]
    there = np.zeros(last + 1, dtype=bool)
    for part in slices(lines.height, STRETCH):
        there[product[part].to_numpy()] = True
    place = (np.cumsum(there) - 1) * periods
    counts = np.zeros(periods, dtype=np.int64)
    active = np.zeros(int(there.sum()) * periods, dtype=bool)
    for part in slices(lines.height, STRETCH):
        sold = (lines["quantity"][part] > 0).to_numpy()
        time = lines["timestamp"][part].cast(pl.Int64).to_numpy()[sold]
        period = ((time - start) / width).astype(np.int64)
        counts += np.bincount(period, minlength=periods)
        active[place[product[part].to_numpy()[sold]] + period] = True
    return counts, active.reshape(-1, periods)
