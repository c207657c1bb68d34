"""Exact top-k of a block of scores, with one rule for ties.

Each score and its tie rank are packed into one int64 key, so that every key is unique: the answer cannot depend on
block size, thread count or the order of partial sorts.
"""

from __future__ import annotations

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
    clean = np.nan_to_num(scores.astype(np.float32, copy=True), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    clean += np.float32(0)  # -0.0 and 0.0 are one score
    bits = clean.view(np.int32)
    ordered = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int64)
    keys: Ints = (ordered << 32) | (len(tie_rank) - 1 - tie_rank.astype(np.int64))
    return keys
