"""Association rules as a table: what is bought together, how often, and how much oftener than by chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from aisle.bundle import Recommender
from aisle.features.copurchase import Contents, Limits, Measure, associations
from aisle.features.pairs import basket_contents

RULES = pl.Schema(
    {
        "product_id": pl.String,
        "rank": pl.Int32,
        "with_id": pl.String,
        "baskets": pl.Int64,
        "support": pl.Float64,
        "confidence": pl.Float64,
        "lift": pl.Float64,
        "leverage": pl.Float64,
    }
)


def together(
    recommender: Recommender,
    product_ids: Sequence[str] | None = None,
    *,
    k: int | None = 10,
    by: Measure = "lift",
    limits: Limits | None = None,
) -> pl.DataFrame:
    """Up to k rules a product, best first, in the order of ``product_ids``; None = all products, by id as they come.

    Every basket counts, those of customers unknown among them; products gone from sale are not listed. Raises
    UsageError for an id that is not in the catalogue, an unknown measure, and k below 1.
    """
    dataset = recommender.dataset
    vocab = dataset.products.vocab
    asked = np.arange(len(vocab), dtype=np.int32) if product_ids is None else vocab.known(product_ids, "product")
    found = associations(
        Contents.of(basket_contents(dataset)),
        dataset.tie_rank,
        limits or Limits(),
        by=by,
        k=k,
        first=asked,
        second=recommender.on_sale,
    )
    start, stop = (np.searchsorted(found.first, asked, side=side) for side in ("left", "right"))
    place = np.concatenate([np.arange(low, high) for low, high in zip(start, stop, strict=True)] + [start[:0]])
    rules = found.take(place)
    return pl.DataFrame(
        {
            "product_id": vocab.names(rules.first),
            "rank": place - np.repeat(start, stop - start) + 1,
            "with_id": vocab.names(rules.second),
            "baskets": rules.baskets,
            "support": rules.support,
            "confidence": rules.confidence,
            "lift": rules.lift,
            "leverage": rules.leverage,
        },
        schema=RULES,
        strict=False,
    )
