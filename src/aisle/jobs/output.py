"""The files of a run: recommendations in three forms, customers, rejects. Lists are written in parts with receipts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from aisle.bundle import RECOMMENDATIONS, Recommender
from aisle.errors import BundleError
from aisle.features.customers import RFMV, rfmv
from aisle.files import atomic, read_parquet, write_parquet
from aisle.progress import Tick
from aisle.rank.rules import Rules
from aisle.types import Codes

CUSTOMERS_A_PART = 50_000
FORMULA = r"^[=+\-@\t\r\n]"
"""A text cell that starts like this would be run by a spreadsheet …"""
NUMBER = r"^[+-]?\d+(?:[.,]\d+)?$"
"""… unless it is a number, which an id may be."""


def write_parts(
    recommender: Recommender, customers: Codes, k: int, rules: Rules, folder: Path, tick: Tick
) -> list[Path]:
    """Lists of all customers as Parquet parts in ``folder``; parts that are there and whole are kept as they are."""
    paths = []
    for start in range(0, len(customers), CUSTOMERS_A_PART):
        path = folder / f"part-{start // CUSTOMERS_A_PART:05d}.parquet"
        paths.append(path)
        mine = customers[start : start + CUSTOMERS_A_PART]
        if not _whole(path):
            blocks = recommender.blocks(mine, k, rules, _shifted(tick, start, len(customers)))
            write_parquet(path, pl.concat(list(blocks)))
        tick(start + len(mine), len(customers))
    return paths


def _shifted(tick: Tick, start: int, total: int) -> Tick:
    return lambda done, _: tick(start + done, total)


def _whole(path: Path) -> bool:
    try:
        read_parquet(path)
    except (BundleError, FileNotFoundError):
        return False
    return True


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
    everyone = dataset.batch(np.arange(dataset.shape[0], dtype=np.int32))
    values = rfmv(everyone)
    segments = recommender.fallback.segments
    names = pl.Series("segment", [None] * len(everyone), dtype=pl.String)
    if segments is not None:
        codes = segments.predict(everyone)
        names = pl.Series("segment", [segments.names[c] if c >= 0 else None for c in codes.tolist()], dtype=pl.String)
    frame = pl.DataFrame(
        {"customer_id": dataset.customers.vocab.ids}
        | {name: pl.Series(values[:, i]).fill_nan(None) for i, name in enumerate(RFMV)}
        | {"segment": names}
    )
    if not lists:
        return frame.with_columns(source=pl.lit(None, dtype=pl.String))
    first = pl.concat([read_parquet(p).filter(pl.col("rank") == 1).select("customer_id", "source") for p in lists])
    return frame.join(first, on="customer_id", how="left", maintain_order="left")
