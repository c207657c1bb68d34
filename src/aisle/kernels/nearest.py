"""The k nearest by cosine, block by block: Q queries against N candidates, never all Q x N cosines at once.

A cosine is worked out in float64 and then rounded to float32: matrix products differ in their last bits with the size
of the block, which would decide ties between candidates alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp

from aisle.kernels.topk import NOTHING, top_k
from aisle.types import Bools, Codes, Doubles, Floats, Ints, Sparse

CELLS = 4_000_000
"""Cosines worked on at once; each takes some 50 bytes with the keys of ``top_k``."""
Cosines: TypeAlias = Callable[[slice], Floats]
"""(b, N) cosines of some neighbouring queries."""


def nearest(cosines: Cosines, own: Ints, allowed: Bools, k: int, tie_rank: Codes) -> tuple[Codes, Floats]:
    """Candidates (Q, K) nearest to each query and their cosines (Q, K), best first; -1 and -inf where there are fewer.

    K is k, or N where that is smaller.
    Listed are candidates ``allowed`` (N,) with a cosine above 0, never the query itself: ``own`` (Q,) is its place
    among the candidates, -1 = none. Ties go to the smaller ``tie_rank`` (N,), a permutation of 0 … N-1.
    """
    k = min(k, len(allowed))
    codes = np.full((len(own), k), NOTHING, dtype=np.int32)
    values = np.full((len(own), k), -np.inf, dtype=np.float32)
    step = max(1, CELLS // max(len(allowed), 1))
    for at in range(0, len(own), step):
        part = slice(at, min(at + step, len(own)))
        block = cosines(part)
        block[:, ~allowed] = -np.inf
        known = np.flatnonzero(own[part] >= 0)
        block[known, own[part][known]] = -np.inf
        block[~(block > 0)] = -np.inf
        codes[part], values[part] = top_k(block, k, tie_rank)
    return codes, values


def of_vectors(queries: Floats, candidates: Floats) -> Cosines:
    """Cosines of vectors (Q, T, D) and (N, T, D): the largest over the tastes of both; 0 for a vector of zeros."""

    def block(part: slice) -> Floats:
        asked = _unit(queries[part])
        size, tastes = asked.shape[:2]
        out = np.empty((size, len(candidates)), dtype=np.float32)
        step = max(1, CELLS // max(size * tastes * tastes, 1))
        for at in range(0, len(candidates), step):
            near = _unit(candidates[at : at + step])
            both = asked.reshape(size * tastes, -1) @ near.reshape(len(near) * tastes, -1).T
            out[:, at : at + step] = both.reshape(size, tastes, len(near), tastes).max(axis=(1, 3))
        return out

    return block


def of_sets(queries: Sparse, candidates: Sparse) -> Cosines:
    """Cosines of the sets of columns that rows of (Q, F) and (N, F) hold: |both| / √(|one| · |other|); 0 if empty."""
    asked, across = queries.sign(), sp.csr_array(candidates.sign().T)
    sizes, others = (np.diff(part.indptr).astype(np.float64) for part in (queries, candidates))

    def block(part: slice) -> Floats:
        shared: Floats = (asked[part] @ across).toarray()  # whole numbers: exact
        root = np.sqrt(sizes[part, None] * others)
        return np.divide(shared, root, out=np.zeros(shared.shape, np.float32), where=root > 0, casting="same_kind")

    return block


def _unit(vectors: Floats) -> Doubles:
    """(…, D) vectors of length 1; zeros stay zeros."""
    wide = vectors.astype(np.float64)
    length = np.sqrt((wide**2).sum(axis=-1, keepdims=True))
    np.divide(wide, length, out=wide, where=length > 0)
    return wide
