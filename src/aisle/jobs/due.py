"""What customers run out of: own products with the date they are expected and the chance in the next window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from aisle.bundle import Recommender
from aisle.errors import UsageError
from aisle.models.repeat_hazard import RepeatHazard
from aisle.types import DAY, Codes

DUE = pl.Schema(
    {
        "customer_id": pl.String,
        "rank": pl.Int32,
        "product_id": pl.String,
        "chance": pl.Float32,
        "window_days": pl.Float64,
        "times": pl.Int32,
        "last_date": pl.Date,
        "usual_gap": pl.Float64,
        "due_date": pl.Date,
        "due_in": pl.Float64,
    }
)
"""Days, baskets under a sequence clock, where dates are null."""


def due(recommender: Recommender, customer_ids: Sequence[str], *, k: int = 10) -> pl.DataFrame:
    """Up to k own products on sale a customer, those of the largest chance first; in the order of the ids.

    A recommender of another model fits a ``repeat_hazard`` for the question. Customers who opted out of profiling get
    no rows. Raises UsageError for an id that is not known, and for k below 1.
    """
    if k < 1:
        raise UsageError(f"k is {k}; give a whole number of at least 1")
    dataset = recommender.dataset
    asked = dataset.customers.vocab.known(customer_ids, "customer")
    asked = asked[~dataset.flag("no_profile")[asked]]
    model = recommender.model if isinstance(recommender.model, RepeatHazard) else RepeatHazard().fit(dataset)
    size = recommender.block_size
    parts = [_block(recommender, model, asked[at : at + size], k) for at in range(0, len(asked), size)]
    return pl.concat(parts) if parts else pl.DataFrame(schema=DUE)


def _block(recommender: Recommender, model: RepeatHazard, customers: Codes, k: int) -> pl.DataFrame:
    dataset = recommender.dataset
    found = model.due(dataset.batch(customers))
    order = np.lexsort((dataset.tie_rank[found.product], -found.chance, found.row))
    order = order[recommender.on_sale[found.product[order]]]
    row = found.row[order]
    place = np.arange(len(order)) - np.searchsorted(row, row)
    order, place = order[place < k], place[place < k]
    product, wait = found.product[order], found.wait[order]
    dates = {
        name: pl.Series(dataset.as_of + days * DAY).cast(pl.Int64).cast(pl.Datetime("us")).cast(pl.Date)
        if dataset.clock == "time"
        else None
        for name, days in (("last_date", -found.last[order]), ("due_date", wait))
    }
    return pl.DataFrame(
        {
            "customer_id": dataset.customers.vocab.names(customers[found.row[order]]),
            "rank": place + 1,
            "product_id": dataset.products.vocab.names(product),
            "chance": found.chance[order],
            "window_days": np.full(len(order), model.window_days_),
            "times": found.times[order].astype(np.int32),
            "last_date": dates["last_date"],
            "usual_gap": found.gap[order],
            "due_date": dates["due_date"],
            "due_in": wait,
        },
        schema=DUE,
        strict=False,
    )
