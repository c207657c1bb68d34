"""Exact top-k and exact ranks of a block of scores, with one rule for ties.

Each score and its tie rank are packed into one int64 key, so that every key is unique: the answer cannot depend on
block size, thread count or the order of partial sorts.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from aisle.types import Codes, Floats, Ints

NOTHING = -1
"""Fills the places of a list for which no product could be scored."""
CELLS = 1_000_000
"""Scores worked on at once; their keys and places take some 30 bytes each."""


def top_k(scores: Floats, k: int, tie_rank: Codes) -> tuple[Codes, Floats]:
    """The k best columns of each row: codes (B, k) and scores (B, k), best first.

    ``scores`` (B, I) may hold -inf = not listed: such places get code -1 and score -inf at the end of the row. NaN
    counts as -inf. Ties go to the smaller ``tie_rank`` (I,), which must be a permutation of 0 … I-1.
    """
    n_rows, n_columns = scores.shape
    codes = np.full((n_rows, k), NOTHING, dtype=np.int32)
    values = np.full((n_rows, k), -np.inf, dtype=np.float32)
    step = max(1, CELLS // max(n_columns, 1))
    for at in range(0, n_rows, step):
        found = _top_k(scores[at : at + step], min(k, n_columns), tie_rank)
        codes[at : at + step, :n_columns], values[at : at + step, :n_columns] = found
    return codes, values


def ranks(scores: Floats, row: Ints, code: Codes, tie_rank: Codes) -> Codes:
    """(P,) place, 1 = best, of product ``code`` (P,) among all columns of its ``row`` (P,); 0 where it has none.

    The place a full sort by ``top_k``'s rule would give, found by counting what is better: each row's keys are sorted
    into the few that are asked for. Scores of -inf and NaN have no place.
    """
    places = np.zeros(len(row), dtype=np.int32)
    order = np.argsort(row, kind="stable")
    step = max(1, CELLS // max(scores.shape[1], 1))
    for at in range(0, len(scores), step):
        block = scores[at : at + step]
        keys = _keys(block, tie_rank)
        low, high = np.searchsorted(row[order], (at, at + step))
        mine = order[low:high]
        asked = keys[row[mine] - at, code[mine]]
        edges = np.flatnonzero(np.diff(row[mine], prepend=-1, append=-1)) if len(mine) else np.zeros(1, dtype=np.int64)
        for start, stop in pairwise(edges.tolist()):
            places[mine[start:stop]] = _better(keys[row[mine[start]] - at], asked[start:stop]) + 1
        places[mine[~(block[row[mine] - at, code[mine]] > -np.inf)]] = 0
    return places


def _better(keys: Ints, asked: Ints) -> Ints:
    """(M,) how many of the keys (I,) lie above each of those asked for (M,)."""
    order = np.argsort(asked)
    below = np.bincount(np.searchsorted(asked[order], keys), minlength=len(asked) + 1)
    better = np.empty(len(asked), dtype=np.int64)
    better[order] = np.cumsum(below[::-1])[::-1][1:]
    return better


def _top_k(scores: Floats, width: int, tie_rank: Codes) -> tuple[Codes, Floats]:
    """The best ``width`` columns of each row, ``width`` at most the number of columns."""
    n_rows, n_columns = scores.shape
    keys = _keys(scores, tie_rank)
    if width < n_columns:
        best = np.argpartition(keys, n_columns - width, axis=1)[:, n_columns - width :]
    else:
        best = np.broadcast_to(np.arange(n_columns), (n_rows, n_columns))
    order = np.argsort(np.take_along_axis(keys, best, axis=1), axis=1)[:, ::-1]
    codes = np.take_along_axis(best, order, axis=1).astype(np.int32)
    values = np.take_along_axis(scores, codes, axis=1).astype(np.float32)
    nothing = ~(values > -np.inf)
    codes[nothing], values[nothing] = NOTHING, -np.inf
    return codes, values


def _keys(scores: Floats, tie_rank: Codes) -> Ints:
    """(B, I) unique int64 keys that sort like (score, -tie_rank)."""
    return sort_keys(scores, tie_rank, len(tie_rank))


def sort_keys(scores: Floats, tie_rank: Codes, n_products: int) -> Ints:
    """(B, M) int64 keys that sort like (score, -tie_rank), of some columns with their tie ranks (M,) < n_products."""
    clean = np.nan_to_num(scores.astype(np.float32, copy=True), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    clean += np.float32(0)  # -0.0 and 0.0 are one score
    bits = clean.view(np.int32)
    ordered = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int64)
    keys: Ints = (ordered << 32) | (n_products - 1 - tie_rank.astype(np.int64))
    return keys
