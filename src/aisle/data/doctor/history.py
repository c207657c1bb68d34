"""The history as a whole: silent weeks, and a break in how many products are sold for the first time."""

from __future__ import annotations

import polars as pl

PERIODS = 24
"""The history is cut into this many spans, or fewer where they would be shorter than a week."""
WARM_UP = 0.3
"""Share of the history in which most products are new by nature."""
JUMP = 4.0
"""A span breaks when its share of new products exceeds this many times the median of the spans before …"""
LEAST = 0.25
"""… and this share; a season's arrivals stay below it."""


def silent_weeks(lines: pl.DataFrame) -> tuple[int, str]:
    """Weeks without a line between the first and the last, and the first few of them."""
    if "timestamp" not in lines.columns or not lines.height:
        return 0, ""
    # weeks are counted from the first line, so that a shop's own week does not matter
    day = lines.select(pl.col("timestamp").dt.epoch("d").alias("day"))["day"].unique().sort()
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
    start, stop = lines["timestamp"].min(), lines["timestamp"].max()
    span = (stop - start).total_seconds() / 86_400 + 1  # type: ignore[operator, union-attr]
    periods = min(PERIODS, int(span // 7))
    if periods < 8:
        return 0, ""
    width = span / periods * 86_400_000_000
    sold = (
        lines.lazy()
        .filter(pl.col("quantity") > 0)
        .select(
            pl.col("product_id").to_physical().alias("product"),
            ((pl.col("timestamp") - pl.lit(start)).dt.total_microseconds() // width).cast(pl.Int32).alias("period"),
        )
        .group_by("product", "period")
        .agg(pl.len().alias("lines"))
        .collect(engine="streaming")  # a piece at a time: nothing as long as the lines is made
        .with_columns((pl.col("period") == pl.col("period").min().over("product")).alias("new"))
    )
    by_period = sold.group_by("period").agg(
        pl.col("new").mean().alias("share"), pl.col("lines").sum(), pl.len().alias("products")
    )
    by_period = by_period.sort("period").with_columns(usual=pl.col("share").shift(1).rolling_median(4, min_samples=2))
    broken = by_period.filter(
        (pl.col("period") >= WARM_UP * periods)
        & (pl.col("products") >= 10)
        & (pl.col("share") > LEAST)
        & (pl.col("share") > JUMP * pl.col("usual"))
    )
    if not broken.height:
        return 0, ""
    row = broken.row(0, named=True)
    when = lines.select(pl.lit(start) + pl.duration(microseconds=int(row["period"] * width))).item().date()
    shares = f"{row['share']:.0%} of {row['products']} products were never sold before, usually {row['usual']:.0%}"
    return int(broken["lines"].sum()), f"from {when}: {shares}"
