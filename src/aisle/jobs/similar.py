"""Similar products and similar customers, the query itself left out.

A model that embeds compares its vectors; else products are alike where the same customers bought them, and customers
where they bought the same products.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from aisle.bundle import Recommender
from aisle.data.vocab import Vocab
from aisle.errors import UsageError
from aisle.jobs.vectors import customer_vectors
from aisle.kernels.nearest import Cosines, nearest, of_sets, of_vectors
from aisle.kernels.topk import NOTHING
from aisle.models.base import Embeds
from aisle.types import Codes, Floats

PRODUCTS = pl.Schema({"product_id": pl.String, "rank": pl.Int32, "similar_id": pl.String, "score": pl.Float32})
CUSTOMERS = pl.Schema({"customer_id": pl.String, "rank": pl.Int32, "similar_id": pl.String, "score": pl.Float32})


def similar(recommender: Recommender, product_ids: Sequence[str], *, k: int = 10) -> pl.DataFrame:
    """Up to k products a query with a cosine above 0; products gone from sale are not listed.

    Raises UsageError for an id that is not in the catalogue, and for k below 1.
    """
    asked = _asked(recommender.dataset.products.vocab, product_ids, "product", k)
    near, cosines = _near_products(recommender, asked, k)
    return _frame(PRODUCTS, recommender.dataset.products.vocab, asked, near, cosines)


def similar_customers(recommender: Recommender, customer_ids: Sequence[str], *, k: int = 10) -> pl.DataFrame:
    """Up to k customers with purchases a query, with a cosine above 0; ties go to more purchases, then to the id.

    Customers who opted out (``no_profile``) are never listed, and asked for they get no rows; nor does a customer of
    whom there is nothing to compare. Raises UsageError for an id that is not known, and for k below 1.
    """
    dataset = recommender.dataset
    asked = _asked(dataset.customers.vocab, customer_ids, "customer", k)
    asked = asked[~dataset.flag("no_profile")[asked]]
    bought = np.diff(dataset.indptr)
    listed = np.flatnonzero((bought > 0) & ~dataset.flag("no_profile")).astype(np.int32)
    place = np.full(dataset.shape[0], NOTHING, dtype=np.int64)
    place[listed] = np.arange(len(listed))
    order = np.lexsort((dataset.customers.vocab.ids.gather(listed).arg_sort().arg_sort().to_numpy(), -bought[listed]))
    tie_rank = np.empty(len(listed), dtype=np.int32)
    tie_rank[order] = np.arange(len(listed), dtype=np.int32)
    everyone = np.ones(len(listed), dtype=bool)
    near, cosines = nearest(_alike(recommender, asked, listed), place[asked], everyone, k, tie_rank)
    near = np.where(near == NOTHING, NOTHING, np.append(listed, NOTHING)[near]).astype(np.int32)
    return _frame(CUSTOMERS, dataset.customers.vocab, asked, near, cosines)


def _alike(recommender: Recommender, asked: Codes, listed: Codes) -> Cosines:
    """Cosines between customers: of their vectors, else of the sets of products they bought."""
    dataset = recommender.dataset
    if isinstance(recommender.model, Embeds):
        return of_vectors(*(customer_vectors(recommender, codes) for codes in (asked, listed)))
    return of_sets(*(dataset.batch(codes).history for codes in (asked, listed)))


def _near_products(recommender: Recommender, asked: Codes, k: int) -> tuple[Codes, Floats]:
    """(Q, k) codes and cosines of the nearest products on sale."""
    dataset, own = recommender.dataset, asked.astype(np.int64)
    if isinstance(recommender.model, Embeds):
        vectors = recommender.model.product_vectors()[:, None]
        return nearest(of_vectors(vectors[asked], vectors), own, recommender.on_sale, k, dataset.tie_rank)
    width = min(k, recommender.evidence.neighbours.shape[1])
    codes = np.full((len(asked), width), NOTHING, dtype=np.int32)
    cosines = np.full((len(asked), width), -np.inf, dtype=np.float32)
    for row, code in enumerate(asked.tolist()):
        near, strength = recommender.evidence.neighbours[code], recommender.evidence.strength[code]
        keep = (near >= 0) & (near != code) & recommender.on_sale[np.maximum(near, 0)]
        found, scores = near[keep], strength[keep]
        order = np.lexsort((dataset.tie_rank[found], -scores))[:k]
        codes[row, : len(order)], cosines[row, : len(order)] = found[order], scores[order]
    return codes, cosines


def _asked(vocab: Vocab, ids: Sequence[str], what: str, k: int) -> Codes:
    if k < 1:
        raise UsageError(f"k is {k}; give a whole number of at least 1")
    return vocab.known(ids, what)


def _frame(schema: pl.Schema, vocab: Vocab, asked: Codes, near: Codes, cosines: Floats) -> pl.DataFrame:
    row, place = np.nonzero(near != NOTHING)
    key = schema.names()[0]
    return pl.DataFrame(
        {
            key: vocab.names(asked[row]),
            "rank": place + 1,
            "similar_id": vocab.names(near[row, place]),
            "score": cosines[row, place],
        },
        schema=schema,
        strict=False,
    )
