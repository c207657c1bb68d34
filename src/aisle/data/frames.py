"""Frames at the door: pandas, Polars and Arrow come in, and the caller gets back the kind that was given."""

from __future__ import annotations

from typing import Any

import polars as pl

from aisle.errors import UsageError


def as_polars(frame: Any) -> pl.DataFrame:
    """A Polars frame of a pandas, Polars or Arrow one; raises UsageError for anything else."""
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    module = type(frame).__module__.split(".")[0]
    if module == "pandas":
        converted: pl.DataFrame = pl.from_pandas(frame)
        return converted
    if module == "pyarrow" or hasattr(frame, "__arrow_c_stream__"):
        return pl.DataFrame(frame)
    raise UsageError(f"cannot read a {type(frame).__name__}; give a path, or a pandas, Polars or Arrow frame")


def like(frame: pl.DataFrame, given: Any) -> Any:
    """``frame`` as the kind of frame or series that was given: pandas, Arrow, and else Polars."""
    module = type(given).__module__.split(".")[0]
    if module == "pandas":
        return frame.to_pandas()
    if module == "pyarrow":
        return frame.to_arrow()
    return frame
