"""The files of a run: recommendations in three forms, customers, rejects; joined from the parts of ``lists``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from aisle.bundle import RECOMMENDATIONS, Recommender
from aisle.features.customers import RFMV, rfmv
from aisle.files import atomic, join_parquet, read_parquet

FORMULA = r"^[=+\-@\t\r\n]"
"""A text cell that starts like this would be run by a spreadsheet …"""
NUMBER = r"^[+-]?\d+(?:[.,]\d+)?$"
"""… unless it is a number, which an id may be."""


def publish_lists(parts: list[Path], out: Path, k: int) -> int:
    """Join the parts into ``recommendations.parquet``, ``.csv`` and one row per customer; returns the rows written."""
    rows = 0
    with (
        atomic(out / "recommendations.parquet") as parquet,
        atomic(out / "recommendations.csv") as csv,
        atomic(out / "recommendations_wide.csv") as wide,
    ):
        schema: pa.Schema = pl.DataFrame(schema=RECOMMENDATIONS).to_arrow().schema
        with (
            csv.open("wb") as long_file,
            wide.open("wb") as wide_file,
            pq.ParquetWriter(parquet, schema, compression="zstd", write_page_checksum=True) as writer,
        ):
            for index, frame in enumerate(_frames(parts)):
                writer.write_table(frame.to_arrow())
                escape_formulas(frame).write_csv(long_file, include_header=index == 0)
                escape_formulas(one_row_each(frame, k)).write_csv(wide_file, include_header=index == 0)
                rows += frame.height
    return rows


def join_lists(parts: list[Path], out: Path) -> int:
    """Join parts of lists of any kind into one file, .parquet or .csv; returns the rows written."""
    if out.suffix == ".parquet":
        return join_parquet(out, parts)
    rows = 0
    with atomic(out) as temporary, temporary.open("wb") as file:
        for index, path in enumerate(parts):
            frame = read_parquet(path)
            escape_formulas(frame).write_csv(file, include_header=index == 0)
            rows += frame.height
    return rows


def _frames(parts: list[Path]) -> Iterator[pl.DataFrame]:
    """The parts one after the other; an empty frame where there are none, so that every file has its columns."""
    if not parts:
        yield pl.DataFrame(schema=RECOMMENDATIONS)
    for path in parts:
        yield read_parquet(path)


def one_row_each(frame: pl.DataFrame, k: int) -> pl.DataFrame:
    """One row a customer for mail tools: customer_id, product_1 … product_k, reason_1 … reason_k."""
    at = [pl.col("rank") == place for place in range(1, k + 1)]
    return frame.group_by("customer_id", maintain_order=True).agg(
        *(pl.col("product_id").filter(mask).first().alias(f"product_{i + 1}") for i, mask in enumerate(at)),
        *(pl.col("reason").filter(mask).first().alias(f"reason_{i + 1}") for i, mask in enumerate(at)),
    )


def escape_formulas(frame: pl.DataFrame) -> pl.DataFrame:
    """Text cells that a spreadsheet would run as a formula get a leading apostrophe; numbers stay as they are."""
    text = pl.col(pl.String)
    hostile = text.str.contains(FORMULA) & ~text.str.contains(NUMBER)
    return frame.with_columns(pl.when(hostile).then("'" + text).otherwise(text).name.keep())


def customers_frame(recommender: Recommender, lists: list[Path]) -> pl.DataFrame:
    """``customers.parquet``: RFMV values, segment and the source of each customer's list."""
    dataset = recommender.dataset
    values = dataset.ask(rfmv)
    segments = recommender.fallback.segments
    names = pl.Series("segment", [None] * len(values), dtype=pl.String)
    if segments is not None:
        codes = pl.Series("segment", dataset.ask(segments.predict))
        names = pl.Series("segment", segments.names).gather(codes.set(codes < 0, None))
    frame = pl.DataFrame(
        {"customer_id": dataset.customers.vocab.ids}
        | {name: pl.Series(values[:, i]).fill_nan(None) for i, name in enumerate(RFMV)}
        | {"segment": names}
    )
    if not lists:
        return frame.with_columns(source=pl.lit(None, dtype=pl.String))
    first = pl.concat([read_parquet(p).filter(pl.col("rank") == 1).select("customer_id", "source") for p in lists])
    return frame.join(first, on="customer_id", how="left", maintain_order="left")
