"""What the protocols share in reading: files of a data set, lines by place, leave-one-out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from aisle.config import RunConfig
from aisle.data.dataset import Dataset
from aisle.data.events import Events, order_by
from aisle.data.schema import CleanTables
from aisle.data.split import Window
from aisle.errors import UsageError
from aisle.jobs.bench.split import Split, window_split
from aisle.jobs.ingest import build_dataset, clean_source
from aisle.progress import Progress
from aisle.types import NEVER, UNKNOWN, Bools

LAST, BEFORE_LAST = Window(cut=0, end=1), Window(cut=-1, end=0)
"""Under a sequence clock the last basket of every customer lies at 0."""


def file(folder: Path, *names: str) -> Path:
    """A file of a data set; raises UsageError where it is missing."""
    path = folder.joinpath(*names)
    if not path.exists():
        raise UsageError(f"there is no {path}; AISLE_DATA must hold {'/'.join(names)}")
    return path


def shop(folder: Path, name: str) -> Dataset:
    """A shop as ``aisle run`` reads it: preset, doctor, returns."""
    config = RunConfig()
    return build_dataset(clean_source(file(folder, name), config, Progress()), config)


def text(column: str, name: str) -> pl.Expr:
    """An id as text."""
    return pl.col(column).cast(pl.String).alias(name)


def ordered(lines: pl.DataFrame, product: str) -> pl.DataFrame:
    """Lines by ``position``: each product is a basket of its own."""
    return lines.select(
        text("user_id", "customer_id"),
        text(product, "product_id"),
        sequence=pl.col("position").cast(pl.Int64),
        quantity=pl.lit(1.0),
    )


def dataset(
    lines: pl.DataFrame, products: pl.DataFrame | None = None, customers: pl.DataFrame | None = None
) -> Dataset:
    """A Dataset of lines (customer_id, product_id, sequence, quantity) and what is known of both sides."""
    named = lines.select(pl.col("product_id").unique().sort()) if products is None else products
    people = lines.select(pl.col("customer_id").drop_nulls().unique().sort()) if customers is None else customers
    return Dataset.of(CleanTables(transactions=lines, products=named, customers=people))


def sasrec(**published: Any) -> dict[str, Any]:
    """The basket transformer as plain next-item prediction, with the shape and the loss of a published network.

    Distances take the place of absolute positions, negatives are shared by a batch, and batches are as everywhere here.
    The second last product (of up to 8,000 customers) says when to stop and teaches the weights nothing; histories and
    what sells hold it when the last one is asked for. A run ends after 100 epochs, or 20 without progress, sooner than
    published ones: it is the best epoch that counts.
    """
    plain = {"content": False, "repeat": False, "gated": False, "rare": 1, "id_dropout": 0.0, "average": 0.0}
    return plain | {"refit": False, "epochs": 100, "patience": 20} | published


def leave_one_out(data: Dataset) -> Split:
    """The last product of everybody, from those before; the second last one to tune on. Seen products are masked."""
    inner = partial(window_split, data, BEFORE_LAST, repeats=False, whole=True)
    return replace(window_split(data, LAST, repeats=False, whole=True), inner=inner)


def anonymous(data: Dataset, unknown: Bools) -> Dataset:
    """The baskets of these customers (U,) told without their customer: they teach what sells, nobody's taste."""
    events = data.all_events
    hidden = np.append(unknown, True)[events.customer]
    changed = replace(events, customer=np.where(hidden, np.int32(UNKNOWN), events.customer))
    order = order_by(changed.customer, changed.time, changed.basket, changed.product)
    return replace(data, all_events=changed.take(order))


def without(data: Dataset, lines: Bools) -> Dataset:
    """The data as if these lines (E,) had never been; products that lose all of them were never sold."""
    events: Events = data.all_events.take(~lines)
    first = np.full(data.shape[1], NEVER, dtype=np.int64)
    bought = events.quantity > 0
    np.minimum.at(first, events.product[bought], events.time[bought])
    return replace(data, all_events=events, first_sale=first)
