"""``aisle explain``: what a customer bought, what is listed, and why."""

from __future__ import annotations

import numpy as np
import polars as pl

from aisle.bundle import Recommender
from aisle.errors import UsageError


def explain(recommender: Recommender, customer_id: str, *, k: int = 10) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(history, list) of one customer: products with times bought and last time; the list with names and reasons.

    Raises UsageError for an id that is not known, and for k below 1.
    """
    dataset = recommender.dataset
    codes = dataset.customers.vocab.known([customer_id], "customer")
    if k < 1:
        raise UsageError(f"k is {k}; give a whole number of at least 1")
    batch = dataset.batch(codes)
    products = batch.history.indices
    last = np.full(dataset.shape[1], np.iinfo(np.int64).min)
    np.maximum.at(last, batch.lines.product, batch.lines.time)
    order = products[np.lexsort((dataset.tie_rank[products], -last[products]))]
    counts = batch.history.toarray()[0]
    history = pl.DataFrame(
        {
            "product_id": dataset.products.vocab.names(order.astype(np.int32)),
            "name": [dataset.products.label(int(code)) for code in order],
            "times": counts[order].astype(np.int64),
            "last": [dataset.moment(int(last[code])) for code in order],
        },
        schema={"product_id": pl.String, "name": pl.String, "times": pl.Int64, "last": pl.String},
    )
    listed = recommender.frame(batch, k, recommender.rules())
    names = [dataset.products.label(int(c)) for c in dataset.products.vocab.codes(listed["product_id"])]
    listed = listed.select("rank", "product_id", pl.Series("name", names, dtype=pl.String), "reason", "source", "score")
    return history, listed
