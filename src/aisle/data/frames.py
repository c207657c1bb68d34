"""Frames at the door: pandas, Polars and Arrow come in, and the caller gets back the kind that was given."""

from __future__ import annotations

from typing import Any

import polars as pl

from aisle.errors import DataError, UsageError


def as_polars(frame: Any) -> pl.DataFrame:
    """A Polars frame of a pandas, Polars or Arrow one.

    Raises UsageError for anything else, DataError for a column that mixes kinds of values.
    """
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    module = type(frame).__module__.split(".")[0]
    if module in ("pandas", "pyarrow") or hasattr(frame, "__arrow_c_stream__"):
        try:
            converted = pl.from_pandas(frame) if module == "pandas" else pl.DataFrame(frame)
        except (ValueError, TypeError) as error:  # what Arrow raises for a column of numbers and texts
            raise DataError(f"a column mixes kinds of values ({error}); make it text with .astype(str)") from error
        if isinstance(converted, pl.DataFrame):
            return converted
    raise UsageError(f"cannot read a {type(frame).__name__}; give a path, or a pandas, Polars or Arrow frame")


def like(frame: pl.DataFrame, given: Any) -> Any:
    """``frame`` as the kind of frame or series that was given: pandas, Arrow, and else Polars."""
    module = type(given).__module__.split(".")[0]
    if module == "pandas":
        return frame.to_pandas()
    if module == "pyarrow":
        return frame.to_arrow()
    return frame
