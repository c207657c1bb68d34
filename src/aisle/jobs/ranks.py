"""The place of given products in the lists of given customers, were those lists to go on to the last product."""

from __future__ import annotations

import numpy as np
import polars as pl

from aisle.bundle import Recommender
from aisle.data.vocab import Vocab
from aisle.rank.rules import Rules

RANKS = pl.Schema({"customer_id": pl.String, "product_id": pl.String, "rank": pl.Int32, "candidates": pl.Int32})


def ranks_for(recommender: Recommender, customer_ids: pl.Series, product_ids: pl.Series, rules: Rules) -> pl.DataFrame:
    """Ranks of the pairs (N,) in their order; null where the product is unknown or must not be listed.

    Customers are scored a block at a time, each once; unknown ones are ranked for like a newcomer without attributes.
    """
    dataset, size = recommender.dataset, recommender.block_size
    asked = Vocab.of(customer_ids)
    customer = asked.codes(customer_ids)
    code = dataset.products.vocab.codes(product_ids)
    rank, candidates = np.zeros((2, len(code)), dtype=np.int32)
    order = np.argsort(customer, kind="stable")
    codes = dataset.customers.vocab.codes(asked.ids)
    for at in range(0, len(codes), size):
        low, high = np.searchsorted(customer[order], (at, at + size))
        mine = order[low:high]
        batch = dataset.batch(codes[at : at + size])
        pairs = (customer[mine].astype(np.int64) - at, np.maximum(code[mine], 0))
        found = recommender.places(batch, pairs, rules)
        rank[mine], candidates[mine] = found.rank, found.candidates
    rank[code < 0] = 0
    places = pl.Series("rank", rank)
    return pl.DataFrame(
        {"customer_id": customer_ids, "product_id": product_ids, "rank": places.set(places == 0, None)}
        | {"candidates": candidates},
        schema=RANKS,
    )
