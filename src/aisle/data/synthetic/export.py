"""The retailer's files: canonical columns, CSV where the shop is small and Parquet where it is not."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from aisle.data.synthetic.catalogue import SLOT, Catalogue
from aisle.data.synthetic.people import CHANNELS, People
from aisle.data.synthetic.shop import Shop
from aisle.data.synthetic.shopping import Lines

Suffix: TypeAlias = Literal["csv", "parquet"]
CSV_LINES = 3_000_000
"""Shops that expect more lines than this write Parquet."""
LINES_PER_VISIT = 2.8


def expected_lines(shop: Shop) -> int:
    """A rough forecast of the number of lines; it decides the kind of file."""
    return int(shop.customers * shop.days * shop.visits_per_day * LINES_PER_VISIT * 0.7)


class TableWriter:
    """Writes one table in pieces, holding no more than a piece; a context manager that closes the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._csv = path.open("wb") if path.suffix == ".csv" else None
        self._parquet: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._csv is not None:
            self._csv.close()
        if self._parquet is not None:
            self._parquet.close()

    def write(self, frame: pl.DataFrame) -> None:
        """Append rows; every frame must have the columns of the first."""
        if self._csv is not None:
            frame.write_csv(self._csv, include_header=self.rows == 0, datetime_format="%Y-%m-%d %H:%M:%S")
        else:
            table = frame.to_arrow()
            if self._parquet is None:
                self._parquet = pq.ParquetWriter(self.path, table.schema, compression="zstd", write_page_checksum=True)
            self._parquet.write_table(table)
        self.rows += frame.height


def transaction_table(catalogue: Catalogue, people: People, lines: Lines, stores: pl.Series) -> pl.DataFrame:
    """``transactions`` of a block: ``price`` is what was paid for a piece, ``amount`` = quantity x price."""
    origin = datetime.combine(catalogue.shop.start, datetime.min.time())
    start = int((origin - datetime(1970, 1, 1)).total_seconds())
    slots = pl.Series([f"PROMO-{slot:03d}" for slot in range(catalogue.shop.days // SLOT + 1)], dtype=pl.String)
    channels = pl.Series(CHANNELS, dtype=pl.String)
    slot = pl.Series(lines.slot).cast(pl.Int64)
    return pl.DataFrame(
        {
            "customer_id": people.ids.gather(lines.row),
            "product_id": catalogue.ids.gather(lines.product),
            "timestamp": pl.Series((start + lines.second) * 1_000_000).cast(pl.Datetime("us")),
            "quantity": lines.quantity,
            "price": lines.price,
            "amount": np.round(lines.quantity * lines.price, 2),
            "order_id": pl.Series(lines.order).cast(pl.String),
            "store_id": stores.gather(lines.store),
            "channel": channels.gather(lines.online.astype(np.int64)),
            "discount": lines.discount,
            "promotion": slots.gather(slot.set(slot < 0, None)),
        }
    )
