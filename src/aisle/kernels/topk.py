"""Exact top-k and exact ranks of a block of scores, with one rule for ties.

Each score and its tie rank are packed into one int64 key, so that every key is unique: the answer cannot depend on
block size, thread count or the order of partial sorts. Keys are made of few cells: the largest scores of groups of
columns give a threshold that all of the best reach.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from aisle.types import Codes, Floats, Ints

NOTHING = -1
"""Fills the places of a list for which no product could be scored."""
CELLS = 1_000_000
"""Scores worked on at once; their keys and places take some 30 bytes each."""
GROUP, LEAST_GROUP = 64, 4
"""Most columns whose largest score alone is compared first; where fewer than the least fit, whole rows are sorted."""
CROWD, LEAST_CROWD = 4, 256
"""A row where more than so many times the places asked for reach the threshold holds many equal scores."""
NO_KEY = np.iinfo(np.int64).min
"""Below all keys."""


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
    group = min(GROUP, scores.shape[1] // max(2 * width, 1))
    if group < LEAST_GROUP:
        return _sorted_whole(scores, width, tie_rank)
    scores = scores.astype(np.float32, copy=False)
    low = _threshold(scores, width, group)
    if np.isnan(low).any():
        scores = np.nan_to_num(scores, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        low = _threshold(scores, width, group)
    columns, keys = _contenders(scores, low, width, tie_rank)
    best = np.argsort(keys, axis=1)[:, ::-1][:, :width]
    codes = np.take_along_axis(columns, best, axis=1)
    values = np.take_along_axis(scores, codes, axis=1)
    nothing = np.take_along_axis(keys, best, axis=1) == NO_KEY
    codes[nothing], values[nothing] = NOTHING, -np.inf
    return codes, values


def _threshold(scores: Floats, width: int, group: int) -> Floats:
    """(B,) a score that at least ``width`` cells of each row reach, or the least finite number; NaN if a cell is.

    The ``width``-th largest of the maxima of as many groups of columns: one pass over the scores, no sort of them.
    """
    groups = scores.shape[1] // group
    most = scores[:, : groups * group].reshape(len(scores), group, groups).max(axis=1)
    if groups * group < scores.shape[1]:
        most = np.column_stack([most, scores[:, groups * group :].max(axis=1)])
    low = np.partition(most, most.shape[1] - width, axis=1)[:, most.shape[1] - width]
    blank = np.isnan(most).any(axis=1)
    return np.where(blank, np.float32(np.nan), np.maximum(low, np.finfo(np.float32).min))


def _contenders(scores: Floats, low: Floats, width: int, tie_rank: Codes) -> tuple[Codes, Ints]:
    """(B, M) columns, and their keys, of cells that may be among the best: those above ``low`` (B,), and as many at it
    as there is room for. Rows with fewer end in ``NO_KEY``.
    """
    reached = scores >= low[:, None]
    count = np.array([np.count_nonzero(line) for line in reached])
    crowded = np.flatnonzero(count > max(CROWD * width, LEAST_CROWD))
    reached[crowded], count[crowded] = False, 0
    flat, start = np.flatnonzero(reached), np.cumsum(count) - count
    row, code = np.divmod(flat, scores.shape[1])
    place = np.arange(len(flat)) - start[row]
    columns = np.zeros((len(scores), max(width, int(count.max(initial=0)))), dtype=np.int32)
    keys = np.full(columns.shape, NO_KEY)
    columns[row, place] = code
    keys[row, place] = sort_keys(scores[row, code], tie_rank[code], len(tie_rank))
    if len(crowded):
        by_rank = np.empty(len(tie_rank), dtype=np.int64)
        by_rank[tie_rank] = np.arange(len(tie_rank))
        for at in crowded.tolist():
            few, ordered = _of_a_crowd(scores[at], low[at], width, (tie_rank, by_rank))
            columns[at, : len(few)], keys[at, : len(few)] = few, ordered
    return columns, keys


def _of_a_crowd(scores: Floats, low: Floats, width: int, order: tuple[Codes, Ints]) -> tuple[Ints, Ints]:
    """The best ``width`` columns of one row (I,), at most, and their keys; ``order``: tie ranks, columns by them."""
    tie_rank, by_rank = order
    code: Ints = np.flatnonzero(scores > low)
    if len(code) < width:  # the rest are equals, of which tie ranks choose
        near = by_rank[: CROWD * width]
        equals: Ints = near[scores[near] == low]
        if len(equals) < width - len(code):
            equals = by_rank[scores[by_rank] == low]
        code = np.concatenate([code, equals[: width - len(code)]])
    keys = sort_keys(scores[code], tie_rank[code], len(tie_rank))
    best = np.argsort(keys)[::-1][:width]
    return code[best], keys[best]


def _sorted_whole(scores: Floats, width: int, tie_rank: Codes) -> tuple[Codes, Floats]:
    """As ``_top_k``, by the keys of all cells: for lists that are long beside the catalogue."""
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
