"""Everybody's ten best of inner products: ours beside implicit, faiss and the peak of matrix products.

Vectors are drawn normal, the worst case for any bound: nothing is far ahead. Ours are exact; the share of places that
others fill alike is told.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aisle.jobs.bench.speed.rivals import K
from aisle.jobs.bench.speed.task import Json, Pair, Place, Side, Task, Work
from aisle.types import Codes, Floats

PRODUCTS, DIM, CUSTOMERS = 50_000, 128, 200_000
"""Sizes asked for; the customers are those of the retailer where it has fewer."""
WARM = 4 * K
"""Customers of the first call, for which nobody pays."""


def vectors(place: Place) -> tuple[Floats, Floats]:
    """Customers (N, D) and products (J, D), float32."""
    rng, customers = np.random.default_rng(0), min(place.size.customers, CUSTOMERS)
    queries, products = (rng.standard_normal((rows, DIM), np.float32) for rows in (customers, PRODUCTS))
    return queries, products


def ours(place: Place) -> Work:
    """The lists of ``kernels.inner``."""
    from aisle.kernels.device import multiplies_bfloat16
    from aisle.kernels.inner import Targets, top_inner

    queries, products = vectors(place)
    targets, threads = Targets.of(products, np.arange(len(products), dtype=np.int32)), place.size.threads
    top_inner(queries[:WARM], targets, K, threads=threads)

    def tell(codes: Codes) -> Json:
        return _told(place, codes) | {"bfloat16": multiplies_bfloat16()}

    return Work(lambda: top_inner(queries, targets, K, threads=threads)[0], tell)


def _implicit(place: Place) -> Work:
    from implicit.cpu.topk import topk

    queries, products = vectors(place)
    topk(products, queries[:WARM], K, num_threads=place.size.threads)
    return Work(
        lambda: topk(products, queries, K, num_threads=place.size.threads)[0], lambda codes: _told(place, codes)
    )


def _faiss(place: Place) -> Work:
    import faiss

    queries, products = vectors(place)
    faiss.omp_set_num_threads(place.size.threads)
    flat = faiss.IndexFlatIP(DIM)
    flat.add(products)
    flat.search(queries[:WARM], K)
    return Work(lambda: flat.search(queries, K)[1], lambda codes: _told(place, codes))


def _told(place: Place, codes: Any) -> Json:
    path = place.path("answers")
    known = np.load(path, allow_pickle=False) if path.exists() else codes
    return {
        "customers": len(codes),
        "gflop": 2.0 * len(codes) * PRODUCTS * DIM / 1e9,
        "places_as_ours": round(float((codes == known).mean()), 6),
    }


TASK = Task(
    name="topk",
    title="Ten best of inner products, exact",
    about=f"Normal vectors, {PRODUCTS:,} products × {DIM} dimensions, at most {CUSTOMERS:,} customers.",
    sides=(
        Side(name="aisle", ready=ours, pieces=("answers",), imports=("aisle.kernels.inner",)),
        Side(name="implicit topk", ready=_implicit, pieces=("answers",), rival="implicit"),
        Side(name="faiss flat", ready=_faiss, pieces=("answers",), rival="faiss"),
    ),
    pairs=(
        Pair(ours="aisle", theirs="implicit topk", most=0.40, bfloat16=True),
        Pair(ours="aisle", theirs="faiss flat", most=0.75, bfloat16=True),
        Pair(ours="aisle", theirs="bfloat16 product", limit="gflop"),
        Pair(ours="aisle", theirs="float32 product", limit="gflop", most=1.176, bfloat16=False),
    ),
)
