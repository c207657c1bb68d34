"""Exact top-k of inner products: narrow products choose, a bound proves the choice, wide products order it.

A block of customers meets all products in bfloat16, where the hardware multiplies it. The narrow scores are kept as
int16 keys that sort like them; maxima over nested groups of products lead to the best few of each customer. These are
scored again in float64, in an order that no block size and no thread changes, and rounded to float32. A list is proven
where its last score lies above the best narrow score that was not taken by more than narrow and exact scores can
differ; where it does not, more are taken, in the end all.

For every pair ``|⟨q, p⟩ - ⟨q', p'⟩| <= |q - q'| |p| + |q'| |p - p'|`` (Cauchy and Schwarz), q' and p' being q and p as
rounded; the lengths are computed from the vectors at hand. To that come the rounding of the narrow score itself and of
its sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
import torch
from torch import Tensor

from aisle.kernels.topk import NOTHING, sort_keys
from aisle.types import Bools, Codes, Doubles, Floats, Ints, Shorts, Sparse

ROWS = 256
"""Customers a block: as many as keep the matrix units busy while a group of their scores stays in cache."""
GROUP = 16
"""Products in a group, and groups in a group of groups."""
SPARE = 14
"""Products taken beyond k at first; a customer who needs more is asked again with ``MORE`` times as many."""
MORE = 8
TILE = 2**16
"""Products whose narrow scores are held at once: places in a tile are 16 bits."""
SLAB = 2_048
"""Products multiplied at once: their scores stay in cache until the maxima of their groups are known."""
ROUNDED, SUMMED = 2.0**-8, 2.0**-23
"""Relative error of a bfloat16, and of a step of a float32 sum."""
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
    """(J', D') rounded vectors, the bias in columns of their own; J' is a multiple of ``GROUP²``."""
    length: float
    """Largest length of a vector with its bias."""
    lost: float
    """Largest length of what rounding took from one."""

    def __len__(self) -> int:
        return len(self.code)

    @classmethod
    def of(
        cls, vectors: Floats, tie_rank: Codes, *, bias: Floats | None = None, allowed: Bools | None = None
    ) -> Targets:
        """Products with ``vectors`` (I, D), of which ``allowed`` (I,) may be listed; None = all.

        Score = inner product + ``bias`` (I,). Ties go to the smaller ``tie_rank`` (I,), a permutation of 0 … I-1.
        """
        code = np.argsort(tie_rank, kind="stable")
        code = code if allowed is None else code[allowed[code]]
        exact = np.ascontiguousarray(vectors[code], dtype=np.float32)
        added = np.zeros(len(code), np.float32) if bias is None else bias[code].astype(np.float32)
        whole = torch.from_numpy(exact if bias is None else np.column_stack((exact, added)))
        narrow = whole.bfloat16()
        lost = whole - narrow.float()
        if (
            bias is not None
        ):  # the rest of the bias, in two more columns: it is the same for everybody, so it must not blur
            rest = torch.stack((lost[:, -1].bfloat16(), (lost[:, -1] - lost[:, -1].bfloat16().float()).bfloat16()), 1)
            narrow = torch.cat((narrow, rest), dim=1)
            lost[:, -1] -= rest.float().sum(dim=1)
        rows = -(-max(len(code), 1) // GROUP**2) * GROUP**2
        padded = torch.zeros(rows, narrow.shape[1], dtype=torch.bfloat16)
        padded[: len(code)] = narrow
        length, lost_length = (float(part.double().norm(dim=1).max()) if len(code) else 0.0 for part in (whole, lost))
        return cls(code, exact, added, padded, length, lost_length)

    @property
    def columns(self) -> int:
        """Columns of the bias in ``narrow``."""
        return int(self.narrow.shape[1] - self.exact.shape[1])


def top_inner(
    queries: Floats, targets: Targets, k: int, *, barred: Sparse | None = None, threads: int | None = None
) -> tuple[Codes, Floats]:
    """The k best products of each customer: codes (N, k) and scores (N, k), best first.

    Where fewer may be listed, codes are -1 and scores -inf at the end. ``queries`` (N, D). ``barred`` (N, I) stores
    what a customer must not get. The answer is that of a full sort of the exact scores, whatever the number of
    ``threads``, None = as many as torch takes.
    """
    codes = np.full((len(queries), k), NOTHING, dtype=np.int32)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    width = min(k, len(targets))
    if not width:
        return codes, scores
    before = torch.get_num_threads()
    threads = before if threads is None else threads

    rooms: SimpleQueue[Tensor] = SimpleQueue()
    for _ in range(threads):
        rooms.put(torch.empty(min(len(targets.narrow), TILE) * ROWS, dtype=torch.bfloat16))

    def fill(at: int) -> None:
        part, room = slice(at, at + ROWS), rooms.get()
        block = _Block.of(queries[part], targets, None if barred is None else barred[part], room)
        for rows, place, score in block.best(width, width + SPARE):
            codes[at + rows, :width] = np.where(np.isneginf(score), NOTHING, targets.code[place])
            scores[at + rows, :width] = score
        rooms.put(room)

    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for _ in pool.map(fill, range(0, len(queries), ROWS)):
                pass
    finally:
        torch.set_num_threads(before)
    return codes, scores


@dataclass(frozen=True, eq=False)
class _Block:
    """M customers who are asked about together."""

    targets: Targets
    exact: Floats
    """(M, D)."""
    narrow: Tensor
    """(D', M) rounded, with ones where the bias is."""
    slack: Doubles
    """(M,) by how much an exact score can lie above the sum over the rounded vectors."""
    barred: tuple[Ints, Ints]
    """Rows of ``targets`` and customers of the pairs that must not be listed, by row of ``targets``."""
    signed: bool
    """Sort scores below zero too; else nothing is proven where they are needed."""
    room: Tensor
    """Where the narrow scores go: fresh memory for every block would take as long as filling it."""

    @classmethod
    def of(cls, queries: Floats, targets: Targets, barred: Sparse | None, room: Tensor) -> _Block:
        exact = np.ascontiguousarray(queries, dtype=np.float32)
        ones = np.ones((len(exact), targets.columns), np.float32)
        whole = torch.from_numpy(np.hstack((exact, ones)))
        narrow = whole.bfloat16()
        lost, length = (part.double().norm(dim=1).numpy() for part in (whole - narrow.float(), narrow))
        slack = lost * targets.length + length * targets.lost
        slack = slack + length * targets.length * SUMMED * narrow.shape[1]
        signed = targets.columns > 0
        return cls(targets, exact, narrow.T.contiguous(), slack, _barred(barred, targets), signed, room)

    def best(self, k: int, taken: int) -> Iterator[tuple[Ints, Ints, Floats]]:
        """Customers (m,), rows of ``targets`` (m, k) and their scores (m, k), of all customers in one or more parts."""
        place, least = self._candidates(taken)
        place, score = self._order(place, k)
        least = least if self.signed else np.maximum(least, 0.0)  # scores below zero are in no order
        bound = least + np.abs(least) * ROUNDED + self.slack
        proven = score[:, -1] > bound.astype(np.float32)
        if taken >= len(self.targets):
            proven[:] = True
        rows = np.flatnonzero(proven)
        yield rows, place[rows], score[rows]
        for row in np.flatnonzero(~proven).tolist():  # few, and each may need room for all products
            for one, where, values in self._only(row).best(k, min(taken * MORE, len(self.targets))):
                yield one + row, where, values

    def _only(self, row: int) -> _Block:
        """The block of one customer."""
        one, mine = slice(row, row + 1), self.barred[1] == row
        barred = self.barred[0][mine], np.zeros(int(mine.sum()), dtype=np.int64)
        narrow = self.narrow[:, one].contiguous()
        return _Block(self.targets, self.exact[one], narrow, self.slack[one], barred, True, self.room)

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
            torch.mm(rows[slab], self.narrow, out=scores[slab])
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
        size = len(self.targets)
        nothing = place >= size  # what fills the last group is no product
        place = np.minimum(place, size - 1)
        vectors = self.targets.exact[place].astype(np.float64)  # (M, C, D)
        found = np.einsum("mcd,md->mc", vectors, self.exact.astype(np.float64)) + self.targets.bias[place]
        score = found.astype(np.float32)
        score[nothing | self._is_barred(place)] = -np.inf
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
