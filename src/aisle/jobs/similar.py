"""Similar products: bought by the same customers, the query itself left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from aisle.bundle import Recommender
from aisle.errors import UsageError

SIMILAR = pl.Schema({"product_id": pl.String, "rank": pl.Int32, "similar_id": pl.String, "score": pl.Float32})


def similar(recommender: Recommender, product_ids: Sequence[str], *, k: int = 10) -> pl.DataFrame:
    """Up to k products a query by the cosine of who bought them; products gone from sale are not listed.

    Raises UsageError for an id that is not in the catalogue, and for k below 1.
    """
    if k < 1:
        raise UsageError(f"k is {k}; give a whole number of at least 1")
    vocab = recommender.dataset.products.vocab
    codes = vocab.codes(product_ids)
    if (codes < 0).any():
        wrong = product_ids[int(np.flatnonzero(codes < 0)[0])]
        example = vocab.ids[0] if len(vocab) else "none"
        raise UsageError(f"{wrong!r} is not a known product; ids look like {example!r}")
    frames = []
    for product_id, code in zip(product_ids, codes.tolist(), strict=True):
        near, strength = recommender.evidence.neighbours[code], recommender.evidence.strength[code]
        keep = (near >= 0) & (near != code) & recommender.on_sale[np.maximum(near, 0)]
        found, scores = near[keep], strength[keep]
        order = np.lexsort((recommender.dataset.tie_rank[found], -scores))[:k]
        frames.append(
            pl.DataFrame(
                {
                    "product_id": [product_id] * len(order),
                    "rank": np.arange(1, len(order) + 1),
                    "similar_id": vocab.names(found[order].astype(np.int32)),
                    "score": scores[order],
                },
                schema=SIMILAR,
                strict=False,
            )
        )
    return pl.concat(frames) if frames else pl.DataFrame(schema=SIMILAR)
