"""Exact top-k where each customer has scores of a few products, and all others score what they score for everybody.

The answer is that of ``top_k`` on the dense scores, ties included, and nothing dense is made of them. Within a row,
maxima of groups of its cells give a threshold that the best of them reach. What scores the same for everybody is looked
into for rows alone whose own cells do not fill the list above it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from aisle.kernels.topk import NO_KEY, NOTHING, sort_keys
from aisle.types import Bools, Codes, Doubles, Floats, Ints, Sparse

MARKS = 4_000_000
"""Places of customers and products marked at once, a byte each."""
GROUP, LEAST_GROUP = 64, 4
"""Most cells whose largest score alone is compared first; where fewer than the least fit, all are."""
HEAD = 256
"""Products that sell best by what is the same for everybody, looked into first."""
SHARE, LEAST_ROWS = 1 / 8, 16
"""Share of all scores that are cells of their own, up to which the cells alone are the quicker way; fewer rows than
the least do not pay for the order of what all others score."""
Found: TypeAlias = tuple[Ints, Codes, Floats]
"""Rows, columns and scores of cells (P,)."""


def are_few(cells: Sparse) -> bool:
    """Whether ``top_few`` takes less time than ``top_k`` on all scores."""
    return cells.shape[0] >= LEAST_ROWS and bool(cells.nnz <= SHARE * cells.shape[0] * cells.shape[1])


def top_few(
    cells: Sparse,
    rest: Floats,
    k: int,
    tie_rank: Codes,
    *,
    own: Sparse | None = None,
    allowed: Bools | None = None,
    barred: Sparse | None = None,
) -> tuple[Codes, Floats]:
    """The k best columns of each row: codes (B, k) and scores (B, k), best first.

    ``cells`` (B, I) stores scores, a column once in a row; a column that a row does not store scores ``rest`` (I,).
    ``own`` (B, I), columns sorted, is added to either. Only columns ``allowed`` (I,) may be listed, None = all, and
    none that ``barred`` (B, I) stores for the row. Scores of -inf and NaN are not listed: such places get code -1 and
    score -inf at the end of the row. Ties go to the smaller ``tie_rank`` (I,).
    """
    n_rows, n_columns = cells.shape
    codes = np.full((n_rows, k), NOTHING, dtype=np.int32)
    values = np.full((n_rows, k), -np.inf, dtype=np.float32)
    common = _Common(rest if allowed is None else np.where(allowed, rest, np.float32(-np.inf)), tie_rank)
    step = max(1, MARKS // max(n_columns, 1))
    marks = np.zeros((min(step, n_rows), n_columns), dtype=bool)
    for at in range(0, n_rows if k else 0, step):
        rows = slice(at, min(at + step, n_rows))
        there = () if barred is None else rows_and_columns(barred[rows])
        part = _Part.of(cells[rows], None if own is None else own[rows], common, marks)
        codes[rows], values[rows] = part.without(allowed, there).best(common, k)
    return codes, values


@dataclass(eq=False)
class _Common:
    """What scores the same for everybody, best first, sorted as far as it was asked for."""

    scores: Floats
    """(I,)"""
    tie_rank: Codes

    def __post_init__(self) -> None:
        self.scores = _numbers(self.scores)
        self.keys = sort_keys(self.scores, self.tie_rank, len(self.tie_rank))
        self.size = int((self.scores > -np.inf).sum())
        self.sorted: Ints = np.zeros(0, dtype=np.int64)

    def head(self, size: int) -> Ints:
        """The best ``size`` columns, fewer where no more have a score."""
        size = min(size, self.size)
        if len(self.sorted) < size:
            best = np.argpartition(self.keys, len(self.keys) - size)[len(self.keys) - size :]
            self.sorted = best[np.argsort(self.keys[best])[::-1]]
        return self.sorted[:size]


@dataclass(frozen=True, eq=False)
class _Part:
    """Some rows of the cells."""

    cells: Found
    """In the order of the rows; a score is -inf where a cell must not be listed."""
    indptr: Ints
    more: Found
    """Cells that only what is added has made."""
    marks: Bools
    """(R, I) False throughout between any two uses."""
    barred: tuple[Ints, Codes] | tuple[()] = ()

    @classmethod
    def of(cls, cells: Sparse, own: Sparse | None, common: _Common, marks: Bools) -> _Part:
        row, code = rows_and_columns(cells)
        found, none = (row, code, _numbers(cells.data)), np.zeros(0, dtype=np.int64)
        more: Found = (none, none.astype(np.int32), none.astype(np.float32))
        if own is not None:
            found, more = _added(found, own, common, marks)
        return cls(found, cells.indptr.astype(np.int64), more, marks)

    def without(self, allowed: Bools | None, barred: tuple[Ints, Codes] | tuple[()]) -> _Part:
        """The same without what must not be listed."""
        kinds = []
        for row, code, score in (self.cells, self.more):
            never = np.zeros(len(code), dtype=bool) if allowed is None else ~allowed[code]
            if barred:
                self.marks[barred] = True
                never |= self.marks[row, code]
                self.marks[barred] = False
            kinds.append((row, code, np.where(never, np.float32(-np.inf), score)))
        return replace(self, cells=kinds[0], more=kinds[1], barred=barred)

    def best(self, common: _Common, k: int) -> tuple[Codes, Floats]:
        """Codes and scores (R, k)."""
        n_rows, first = len(self.indptr) - 1, common.head(1)
        found = [_picked(self.cells, self._contenders(k)), _picked(self.more, np.flatnonzero(self.more[2] > -np.inf))]
        if len(first):
            above = [row[score > common.scores[first[0]]] for row, _, score in found]
            short = np.bincount(np.concatenate(above), minlength=n_rows) < k
            found += self._of_the_rest(common, short, k) if short.any() else []
        return _ordered(found, n_rows, k, common.tie_rank)

    def _contenders(self, k: int) -> Ints:
        """(M,) places of cells that may be among the k best of their rows."""
        (row, _, score), count = self.cells, np.diff(self.indptr)
        group = np.minimum(count // max(2 * k, 1), GROUP)
        many = group >= LEAST_GROUP
        group = np.where(many, group, np.maximum(count, 1))
        number = -(-count // group)
        owner = np.repeat(np.arange(len(count)), number)
        place = np.arange(len(owner)) - (np.cumsum(number) - number)[owner]
        low = np.full(len(count), -np.inf, dtype=np.float32)
        if many.any():
            most = np.full((len(count), int(number.max())), -np.inf, dtype=np.float32)
            most[owner, place] = np.maximum.reduceat(score, self.indptr[owner] + place * group[owner])
            low[many] = np.partition(most[many], most.shape[1] - k, axis=1)[:, most.shape[1] - k]
        return np.flatnonzero((score >= low[row]) & (score > -np.inf))

    def _of_the_rest(self, common: _Common, short: Bools, k: int) -> list[Found]:
        """The best k columns, at most, of which the rows that are ``short`` (R,) store nothing."""
        found, size, rows = [], max(HEAD, 4 * k), np.flatnonzero(short)
        stored = [(row[short[row]], code[short[row]]) for row, code, _ in (self.cells, self.more)]
        if self.barred:
            stored.append(self.barred)
        for there in stored:
            self.marks[there] = True
        while len(rows):
            head = common.head(size)
            free = ~self.marks[rows[:, None], head]
            done = (free.sum(axis=1) >= k) | (len(head) == common.size)
            free &= done[:, None] & (np.cumsum(free, axis=1) <= k)
            row, place = np.nonzero(free)
            found.append((rows[row], head[place].astype(np.int32), common.scores[head[place]]))
            rows, size = rows[~done], 4 * size
        for there in stored:
            self.marks[there] = False
        return found


def _picked(found: Found, kept: Ints) -> Found:
    row, code, score = found
    return row[kept], code[kept], score[kept]


def _added(found: Found, own: Sparse, common: _Common, marks: Bools) -> tuple[Found, Found]:
    """Cells with what is added to them, and the cells that are new by it."""
    row, code, score = found
    there = rows_and_columns(own)
    marks[there] = True
    hit = np.flatnonzero(marks[row, code])
    marks[there] = False
    width = np.int64(marks.shape[1])
    place = np.searchsorted(there[0] * width + there[1], row[hit] * width + code[hit])
    score = score.copy()
    score[hit] += own.data[place]
    alone = np.ones(own.nnz, dtype=bool)
    alone[place] = False
    new_row, new_code = there[0][alone], there[1][alone]
    return (row, code, _numbers(score)), (new_row, new_code, _numbers(common.scores[new_code] + own.data[alone]))


def rows_and_columns(x: Sparse) -> tuple[Ints, Codes]:
    """(P,) rows and (P,) columns of the cells that x stores, zeros among them, in the order in which they lie."""
    return np.repeat(np.arange(x.shape[0]), np.diff(x.indptr)), x.indices


def _ordered(found: list[Found], n_rows: int, k: int, tie_rank: Codes) -> tuple[Codes, Floats]:
    """Codes and scores (R, k) of the best cells of each row."""
    row, code, score = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(row, kind="stable")
    row, code, score = row[order], code[order], score[order]
    count = np.bincount(row, minlength=n_rows)
    place = np.arange(len(row)) - (np.cumsum(count) - count)[row]
    keys = np.full((n_rows, max(k, int(count.max(initial=0)))), NO_KEY)
    keys[row, place] = sort_keys(score, tie_rank[code], len(tie_rank))
    columns = np.full(keys.shape, NOTHING, dtype=np.int32)
    columns[row, place] = code
    values = np.full(keys.shape, -np.inf, dtype=np.float32)
    values[row, place] = score
    best = np.argpartition(keys, keys.shape[1] - k, axis=1)[:, keys.shape[1] - k :]
    order = np.argsort(np.take_along_axis(keys, best, axis=1), axis=1)[:, ::-1]
    best = np.take_along_axis(best, order, axis=1)
    return np.take_along_axis(columns, best, axis=1), np.take_along_axis(values, best, axis=1)


def _numbers(scores: Floats | Doubles) -> Floats:
    """The scores in float32, -inf where they are no number."""
    scores = scores.astype(np.float32, copy=False)
    return np.where(np.isnan(scores), np.float32(-np.inf), scores) if np.isnan(scores).any() else scores
