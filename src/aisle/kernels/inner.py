"""Exact top-k of inner products: narrow products choose, a bound proves the choice, wide products order it.

A block of customers meets all products in bfloat16. The narrow scores are kept as int16 keys that sort like them;
maxima over nested groups of products lead to the best few of each customer. These are scored again in float64, in an
order that no block size and no thread changes, and rounded to float32. A list is proven where its last score lies above
the best narrow score that was not taken by more than narrow and exact scores can differ; where it does not, more are
taken, in the end all.

For every pair ``|⟨q, p⟩ - ⟨q', p'⟩| <= |q - q'| |p| + |q'| |p - p'|`` (Cauchy and Schwarz), q' and p' being q and p as
rounded; the lengths are computed from the vectors at hand. To that come the rounding of the narrow score itself and of
its sum. Products and customers are scaled by powers of two to lengths near 1, which moves no bit and no rank, so that
nothing overflows, and what is too small for a bfloat16 is too small to count.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from aisle.errors import UsageError
from aisle.kernels.device import multiplies_bfloat16
from aisle.kernels.topk import NOTHING, sort_keys
from aisle.types import Bools, Codes, Doubles, Floats, Ints, Shorts, Sparse

ROWS = 256
"""Customers a block: as many as keep the matrix units busy while a group of their scores stays in cache."""
GROUP = 16
"""Products in a group, and groups in a group of groups."""
SPARE = 14
"""Products taken beyond k at first, or k where that is more; customers who need more are asked again …"""
MORE = 8
"""… with so many times as many."""
TILE = 2**16
"""Products whose narrow scores are held at once: places in a tile are 16 bits."""
SLAB = 2_048
"""Products multiplied at once: their scores stay in cache until the maxima of their groups are known."""
CELLS = 4_000_000
"""Numbers of candidates' vectors held at once."""
ROUNDED, SUMMED, TINY = 2.0**-8, 2.0**-23, 2.0**-100
"""Relative error of a bfloat16, and of a step of a float32 sum; more than a sum of numbers too small for either."""
LOWEST = -(2**15)


@dataclass(frozen=True, eq=False)
class Targets:
    """J products that may be listed, prepared once for any number of customers."""

    code: Ints
    """(J,) product of each row, rows in the order in which ties are settled."""
    exact: Floats
    """(J, D) vectors as given."""
    bias: Floats
    """(J,) what is added to each inner product; zeros where there is none."""
    narrow: Tensor
    """(J', D') rounded vectors times ``scale``, the bias in columns of their own; J' is a multiple of ``GROUP²``."""
    scale: float
    """A power of two."""
    length: float
    """Largest length of a vector times ``scale``, its bias apart."""
    whole: float
    """The same with the bias."""
    lost: float
    """Largest length of what rounding took from one."""
    rooms: list[Tensor] = field(default_factory=list, repr=False)
    """Where narrow scores go, one a thread, kept for the next call: fresh memory takes as long as filling it."""

    def __len__(self) -> int:
        return len(self.code)

    @classmethod
    def of(
        cls, vectors: Floats, tie_rank: Codes, *, bias: Floats | None = None, allowed: Bools | None = None
    ) -> Targets:
        """Products with ``vectors`` (I, D), of which ``allowed`` (I,) may be listed; None = all.

        Score = inner product + ``bias`` (I,). Ties go to the smaller ``tie_rank`` (I,), a permutation of 0 … I-1.
        Raises UsageError where a vector or a bias is no finite number.
        """
        code = np.argsort(tie_rank, kind="stable")
        code = code if allowed is None else code[allowed[code]]
        exact = np.ascontiguousarray(vectors[code], dtype=np.float32)
        added = np.zeros(len(code), np.float32) if bias is None else bias[code].astype(np.float32)
        _check_finite(product_vectors=exact, product_biases=added)
        given = exact if bias is None else np.column_stack((exact, added))
        scale = float(_to_one(np.array([_longest(given)]))[0])
        whole = torch.from_numpy(given) * scale
        narrow = whole.bfloat16()
        lost = whole - narrow.float()
        if bias is not None:  # its rest in two more columns: a large bias, the same for all, must not blur the bound
            rest = torch.stack((lost[:, -1].bfloat16(), (lost[:, -1] - lost[:, -1].bfloat16().float()).bfloat16()), 1)
            narrow = torch.cat((narrow, rest), dim=1)
            lost[:, -1] -= rest.float().sum(dim=1)
        rows = -(-max(len(code), 1) // GROUP**2) * GROUP**2
        padded = torch.zeros(rows, narrow.shape[1], dtype=torch.bfloat16)
        padded[: len(code)] = narrow
        padded = padded if multiplies_bfloat16() else padded.float()  # else it would take many times as long
        return cls(
            code, exact, added, padded, scale, _longest(exact) * scale, _longest(given) * scale, _longest(lost.numpy())
        )

    @property
    def columns(self) -> int:
        """Columns of the bias in ``narrow``."""
        return int(self.narrow.shape[1] - self.exact.shape[1])

    def room(self) -> Tensor:
        """Space for the narrow scores of a block, to be put back into ``rooms``."""
        size = min(len(self.narrow), TILE) * ROWS
        try:
            room = self.rooms.pop()
        except IndexError:
            room = torch.empty(size, dtype=torch.bfloat16)
        return room if len(room) >= size else torch.empty(size, dtype=torch.bfloat16)


def top_inner(
    queries: Floats, targets: Targets, k: int, *, barred: Sparse | None = None, threads: int | None = None
) -> tuple[Codes, Floats]:
    """The k best products of each customer: codes (N, k) and scores (N, k), best first.

    Where fewer may be listed, codes are -1 and scores -inf at the end. ``queries`` (N, D). ``barred`` (N, I) stores
    what a customer must not get. The answer is that of a full sort of the exact scores, whatever the number of
    ``threads``, None = as many as torch takes. Raises UsageError where sizes do not fit, or a query is no finite
    number.
    """
    if queries.shape[1:] != targets.exact.shape[1:] or (barred is not None and barred.shape[0] != len(queries)):
        said = "none" if barred is None else f"{barred.shape}"
        raise UsageError(f"queries {queries.shape}, barred {said} and products {targets.exact.shape} do not fit")
    _check_finite(customer_vectors=queries)
    codes = np.full((len(queries), k), NOTHING, dtype=np.int32)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    width = min(k, len(targets))
    starts = range(0, len(queries), ROWS) if width else range(0)

    def fill(at: int) -> None:
        part, room = slice(at, at + ROWS), targets.room()
        try:
            block = _Block.of(queries[part], targets, None if barred is None else barred[part], room)
            for rows, place, score in block.best(width, width + max(SPARE, width)):
                codes[at + rows, :width] = np.where(np.isneginf(score), NOTHING, targets.code[place])
                scores[at + rows, :width] = score
        finally:
            targets.rooms.append(room)

    workers = min(torch.get_num_threads() if threads is None else threads, len(starts))
    with ThreadPoolExecutor(max(workers, 1), initializer=_alone) as pool:
        for _ in pool.map(fill, starts):
            pass
    return codes, scores


@dataclass(frozen=True, eq=False)
class _Block:
    """M customers who are asked about together."""

    targets: Targets
    exact: Floats
    """(M, D)."""
    narrow: Tensor
    """(D', M) rounded vectors times ``scale``, with ones times ``scale`` where the bias is."""
    scale: Doubles
    """(M,) powers of two."""
    slack: Doubles
    """(M,) by how much an exact score can lie above the sum over the rounded vectors, in their scale."""
    barred: tuple[Ints, Ints]
    """Rows of ``targets`` and customers of the pairs that must not be listed, by row of ``targets``."""
    signed: bool
    """Sort scores below zero too; else nothing is proven where they are needed."""
    room: Tensor
    """Where the narrow scores go."""

    @classmethod
    def of(cls, queries: Floats, targets: Targets, barred: Sparse | None, room: Tensor) -> _Block:
        exact = np.ascontiguousarray(queries, dtype=np.float32)
        given = np.hstack((exact, np.ones((len(exact), targets.columns), np.float32)))
        scale = _to_one(_lengths(given))
        whole = torch.from_numpy(given * scale[:, None].astype(np.float32))
        narrow = whole.bfloat16()
        lost, length = (_lengths(part.numpy()) for part in (whole - narrow.float(), narrow.float()))
        slack = lost * targets.length + length * targets.lost
        slack = slack + length * targets.whole * SUMMED * narrow.shape[1] + TINY
        narrow = narrow.T.contiguous().to(targets.narrow.dtype)
        signed = targets.columns > 0
        return cls(targets, exact, narrow, scale * targets.scale, slack, _barred(barred, targets), signed, room)

    def best(self, k: int, taken: int) -> Iterator[tuple[Ints, Ints, Floats]]:
        """Customers (m,), rows of ``targets`` (m, k) and their scores (m, k), of all customers in one or more parts."""
        place, least = self._candidates(taken)
        place, score = self._order(place, k)
        least = least if self.signed else np.maximum(least, 0.0)  # scores below zero are in no order
        bound = (least + np.abs(least) * ROUNDED + self.slack) / self.scale
        proven = score[:, -1] > bound.astype(np.float32)
        if taken >= len(self.targets):
            proven[:] = True
        rows = np.flatnonzero(proven)
        yield rows, place[rows], score[rows]
        if len(rows) < len(proven):
            again = np.flatnonzero(~proven)
            for some, where, values in self._only(again).best(k, min(taken * MORE, len(self.targets))):
                yield again[some], where, values

    def _only(self, rows: Ints) -> _Block:
        """The block of some customers, asked with more care."""
        mine = np.isin(self.barred[1], rows)
        barred = self.barred[0][mine], np.searchsorted(rows, self.barred[1][mine])
        narrow = self.narrow[:, torch.from_numpy(rows)].contiguous()
        return _Block(
            self.targets, self.exact[rows], narrow, self.scale[rows], self.slack[rows], barred, True, self.room
        )

    def _candidates(self, taken: int) -> tuple[Ints, Doubles]:
        """(M, C) rows of ``targets``, the best by narrow score; (M,) a narrow score that no other one lies above."""
        places, keys = [], []
        for at in range(0, len(self.targets.narrow), TILE):
            place, key = _top_keys(*self._keys(at), taken)
            places.append(place + at)
            keys.append(key)
        place, key = np.hstack(places), np.hstack(keys)
        if len(places) > 1 and taken < key.shape[1]:
            best = np.argpartition(key, -taken, axis=1)[:, -taken:]
            place, key = np.take_along_axis(place, best, axis=1), np.take_along_axis(key, best, axis=1)
        least = torch.from_numpy(key.min(axis=1))
        least = _turn(least) if self.signed else least
        return place, least.view(torch.bfloat16).double().numpy()

    def _keys(self, at: int) -> tuple[Tensor, Tensor]:
        """int16 that sort like the narrow scores of a tile of products (J, M), and the maxima of its groups."""
        rows, size = self.targets.narrow[at : at + TILE], len(self.exact)
        scores = self.room[: len(rows) * size].view(len(rows), size)
        keys = scores.view(torch.int16)
        groups = torch.empty(len(rows) // GROUP, size, dtype=torch.int16)
        bounds = np.searchsorted(self.barred[0], range(at, at + len(rows) + SLAB, SLAB)).tolist()
        for number, low in enumerate(range(0, len(rows), SLAB)):
            slab = slice(low, min(low + SLAB, len(rows)))
            if rows.dtype == scores.dtype:
                torch.mm(rows[slab], self.narrow, out=scores[slab])
            else:
                scores[slab] = rows[slab] @ self.narrow
            if self.signed:
                _turn(keys[slab])
            if bounds[number] < bounds[number + 1]:
                row, column = (part[bounds[number] : bounds[number + 1]] for part in self.barred)
                keys[torch.from_numpy(row - at), torch.from_numpy(column)] = LOWEST
            if at + slab.stop > len(self.targets):
                keys[max(len(self.targets) - at, low) : slab.stop] = LOWEST
            torch.amax(keys[slab].view(-1, GROUP, size), 1, out=groups[low // GROUP : slab.stop // GROUP])
        return keys, groups

    def _order(self, place: Ints, k: int) -> tuple[Ints, Floats]:
        """The best k of the candidates (M, C) by exact score, ties by row of ``targets``; with their scores."""
        size, query = len(self.targets), self.exact.astype(np.float64)
        nothing = (place >= size) | self._is_barred(place)  # what fills the last group is no product
        place = np.minimum(place, size - 1)
        score = np.empty(place.shape, dtype=np.float32)
        step = max(1, CELLS // max(place.shape[1] * query.shape[1], 1))
        for at in range(0, len(place), step):
            part = slice(at, at + step)
            vectors = self.targets.exact[place[part]].astype(np.float64)  # (m, C, D)
            score[part] = np.einsum("mcd,md->mc", vectors, query[part]) + self.targets.bias[place[part]]
        score[nothing] = -np.inf
        order = np.argsort(sort_keys(score, place.astype(np.int32), size), axis=1)[:, ::-1][:, :k]
        return np.take_along_axis(place, order, axis=1), np.take_along_axis(score, order, axis=1)

    def _is_barred(self, place: Ints) -> Bools:
        """(M, C) whether a candidate must not be listed; the keys of such pairs are the lowest, but may be taken."""
        if not len(self.barred[0]):
            return np.zeros(place.shape, dtype=bool)
        size = np.int64(len(self.exact))
        return np.isin(place * size + np.arange(size)[:, None], self.barred[0] * size + self.barred[1])


def _top_keys(keys: Tensor, groups: Tensor, taken: int) -> tuple[Ints, Shorts]:
    """Rows (M, C) of the highest ``taken`` of each column of the keys (J, M), and their keys (M, C).

    Of the best c products each lies in one of the best c groups, by the maxima of the groups: three short searches.
    """
    size = keys.shape[1]
    outer = groups.view(-1, GROUP, size).amax(1)
    place, best = _highest(
        outer.T.numpy(), np.broadcast_to(np.arange(len(outer), dtype=np.int32), outer.T.shape), taken
    )
    column, inside = np.arange(size)[:, None, None], np.arange(GROUP, dtype=np.int32)
    for level in (groups, keys):
        place = (place[:, :, None] * GROUP + inside).reshape(size, -1)
        flat = place.astype(np.int64) * size + column[:, :, 0]
        place, best = _highest(level.numpy().ravel()[flat], place, taken)
    return place.astype(np.int64), best


def _highest(keys: Shorts, place: Codes, count: int) -> tuple[Codes, Shorts]:
    """Places (M, C) and keys (M, C) of the highest ``count`` of each row of the keys (M, N).

    ``place`` (M, N) or (N,), below 2**16, is what each key belongs to.
    """
    packed = (keys.astype(np.int32) << 16) | place
    if count < packed.shape[1]:
        packed = np.partition(packed, -count, axis=1)[:, -count:]
    return packed & 0xFFFF, (packed >> 16).astype(np.int16)


def _turn(keys: Tensor) -> Tensor:
    """Bits of bfloat16 as int16 that sort like them, in place; and back again."""
    return keys.bitwise_xor_((keys >> 15).bitwise_and_(0x7FFF))


def _barred(barred: Sparse | None, targets: Targets) -> tuple[Ints, Ints]:
    """Rows of ``targets`` and customers of the stored pairs (M, I), by row of ``targets``."""
    if barred is None or not barred.nnz:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    row_of = np.full(barred.shape[1], -1, dtype=np.int64)
    row_of[targets.code] = np.arange(len(targets))
    customer = np.repeat(np.arange(barred.shape[0]), np.diff(barred.indptr))
    row = row_of[barred.indices]
    order = np.argsort(row, kind="stable")
    order = order[np.searchsorted(row[order], 0) :]
    return row[order], customer[order]


def _alone() -> None:
    """Let a worker's own products take one thread; other threads, torch's own setting among them, keep theirs."""
    torch.get_num_threads()  # a thread that has not asked yet would be told by torch later
    threadpool_limits(1, user_api="openmp")


def _check_finite(**given: Floats) -> None:
    for name, values in given.items():
        if not np.isfinite(values).all():
            raise UsageError(f"{name.replace('_', ' ')} hold what is no finite number; fit the model again")


def _lengths(vectors: Floats) -> Doubles:
    """(N,) of vectors (N, D)."""
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)))


def _longest(vectors: Floats) -> float:
    return float(_lengths(vectors).max(initial=0.0))


def _to_one(lengths: Doubles) -> Doubles:
    """(N,) powers of two that bring lengths to between 1/2 and 1; 1 for those of 0."""
    power = -np.frexp(lengths)[1].astype(np.float64)
    return np.where(lengths > 0, np.exp2(np.clip(power, -120.0, 120.0)), 1.0)
