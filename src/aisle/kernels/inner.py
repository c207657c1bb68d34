"""Exact top-k of inner products: narrow products choose, a bound proves the choice, wide products order it.

A block of customers meets all products in bfloat16. The narrow scores are kept as int16 keys that sort like them;
maxima over nested groups of products lead to the best few of each customer. These are scored again in float64, in an
order that no block size and no thread changes, and rounded to float32. A list is proven where its last score lies above
the best narrow score that was not taken by more than narrow and exact scores can differ; where it does not, more are
taken, in the end all. Where torch sees a GPU with room for the products, it chooses (``tiles``); bound and order are
the same, and so are the lists.

For every pair ``|⟨q, p⟩ - ⟨q', p'⟩| <= |q - q'| |p| + |q'| |p - p'|`` (Cauchy and Schwarz), q' and p' being q and p as
rounded; the lengths are computed from the vectors at hand. To that come the rounding of the narrow score itself and of
its sum. Products and customers are scaled by powers of two to lengths near 1, which moves no bit and no rank, so that
nothing overflows, and what is too small for a bfloat16 is too small to count.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aisle.kernels import tiles
from aisle.kernels.targets import GROUP, SPARE, Pairs, Targets, lengths, of_some, to_one
from aisle.kernels.topk import NOTHING
from aisle.kernels.workers import by_parts
from aisle.types import Codes, Doubles, Floats, Ints, Shorts, Sparse

__all__ = ["Targets", "top_inner"]

ROWS = 256
"""Customers a block: as many as keep the matrix units busy while a group of their scores stays in cache."""
MORE = 8
"""Customers whose list is not proven are asked again with so many times as many candidates."""
TILE = 2**16
"""Products whose narrow scores are held at once: places in a tile are 16 bits."""
SLAB = 2_048
"""Products multiplied at once: their scores stay in cache until the maxima of their groups are known."""
ROUNDED, SUMMED, TINY = 2.0**-8, 2.0**-23, 2.0**-100
"""Relative error of a bfloat16, and of a step of a float32 sum; more than a sum of numbers too small for either."""
LOWEST = -(2**15)


def top_inner(
    queries: Floats,
    targets: Targets,
    k: int,
    *,
    barred: Sparse | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> tuple[Codes, Floats]:
    """The k best products of each customer: codes (N, k) and scores (N, k), best first.

    Where fewer may be listed, codes are -1 and scores -inf at the end. ``queries`` (N, D). ``barred`` (N, I) stores
    what a customer must not get. The answer is that of a full sort of the exact scores, whatever the number of
    ``threads``, None = as many as torch takes, and whatever torch ``device`` chooses the candidates; None = a GPU with
    room for it, else the processor by a way of its own. Raises UsageError where sizes do not fit, or a query is no
    finite number.
    """
    targets.check_fit(queries, barred)
    codes = np.full((len(queries), k), NOTHING, dtype=np.int32)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    width = min(k, len(targets))
    chosen = tiles.chosen_device(targets) if device is None else torch.device(device)
    size = ROWS if chosen is None else tiles.ROWS

    def fill(at: int) -> None:
        part = slice(at, at + size)
        room = _room(targets) if chosen is None else None
        try:
            block = _Block.of(queries[part], targets, None if barred is None else barred[part], room, chosen)
            for rows, place, score in block.best(width, width + max(SPARE, width)):
                codes[at + rows, :width] = np.where(np.isneginf(score), NOTHING, targets.code[place])
                scores[at + rows, :width] = score
        finally:
            if room is not None:
                targets.rooms.append(room)

    if chosen is not None:
        targets.narrow_on(chosen)  # once, before the workers would each move it
        threads = min(threads or torch.get_num_threads(), tiles.WORKERS)
    with nullcontext() if chosen is None else tiles.wide_sums():
        by_parts(fill, range(0, len(queries), size) if width else (), threads)
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
    barred: Pairs
    """Rows of ``targets`` and customers of the pairs that must not be listed, by row of ``targets``."""
    signed: bool
    """Sort scores below zero too; else nothing is proven where they are needed."""
    room: Tensor | None
    """Where the narrow scores go; None where another device holds them."""

    @classmethod
    def of(
        cls, queries: Floats, targets: Targets, barred: Sparse | None, room: Tensor | None, device: torch.device | None
    ) -> _Block:
        exact = np.ascontiguousarray(queries, dtype=np.float32)
        given = np.hstack((exact, np.ones((len(exact), targets.columns), np.float32)))
        scale = to_one(lengths(given))
        whole = torch.from_numpy(given * scale[:, None].astype(np.float32))
        narrow = whole.bfloat16()
        lost, length = (lengths(part.numpy()) for part in (whole - narrow.float(), narrow.float()))
        slack = lost * targets.length + length * targets.lost
        step = SUMMED if device is None else SUMMED * tiles.STEPS
        slack = slack + length * targets.whole * step * narrow.shape[1] + TINY
        products = targets.narrow if device is None else targets.narrow_on(device)
        narrow = narrow.T.contiguous().to(products.dtype).to(products.device)
        signed = targets.columns > 0 or device is not None
        return cls(targets, exact, narrow, scale * targets.scale, slack, targets.barred(barred), signed, room)

    def best(self, k: int, taken: int) -> Iterator[tuple[Ints, Ints, Floats]]:
        """Customers (m,), rows of ``targets`` (m, k) and their scores (m, k), of all customers in one or more parts."""
        place, least = self._candidates(taken)
        place, score = self.targets.best_of(self.exact, place, self.barred, k)
        least = least if self.signed else np.maximum(least, 0.0)  # scores below zero are in no order
        over = np.isneginf(least) | (taken >= len(self.targets))  # nothing is left that could be listed
        least = np.where(over, 0.0, least)
        bound = (least + np.abs(least) * ROUNDED + self.slack) / self.scale
        proven = over | (score[:, -1] > bound.astype(np.float32))
        rows = np.flatnonzero(proven)
        yield rows, place[rows], score[rows]
        if len(rows) < len(proven):
            again = np.flatnonzero(~proven)
            for some, where, values in self._only(again).best(k, min(taken * MORE, len(self.targets))):
                yield again[some], where, values

    def _only(self, rows: Ints) -> _Block:
        """The block of some customers, asked with more care."""
        narrow = self.narrow[:, torch.from_numpy(rows).to(self.narrow.device)].contiguous()
        barred, scale, slack = of_some(self.barred, rows), self.scale[rows], self.slack[rows]
        return _Block(self.targets, self.exact[rows], narrow, scale, slack, barred, True, self.room)

    def _candidates(self, taken: int) -> tuple[Ints, Doubles]:
        """(M, C) rows of ``targets``, the best by narrow score; (M,) a narrow score that no other one lies above."""
        if self.room is None:
            return tiles.candidates(self.targets, self.narrow, self.barred, taken)
        places, keys = [], []
        for at in range(0, len(self.targets.narrow), TILE):
            place, key = _top_keys(*self._keys(at, self.room), taken)
            places.append(place + at)
            keys.append(key)
        place, key = np.hstack(places), np.hstack(keys)
        if len(places) > 1 and taken < key.shape[1]:
            best = np.argpartition(key, -taken, axis=1)[:, -taken:]
            place, key = np.take_along_axis(place, best, axis=1), np.take_along_axis(key, best, axis=1)
        least = torch.from_numpy(key.min(axis=1))
        least = _turn(least) if self.signed else least
        return place, least.view(torch.bfloat16).double().numpy()

    def _keys(self, at: int, room: Tensor) -> tuple[Tensor, Tensor]:
        """int16 that sort like the narrow scores of a tile of products (J, M), and the maxima of its groups."""
        rows, size = self.targets.narrow[at : at + TILE], len(self.exact)
        scores = room[: len(rows) * size].view(len(rows), size)
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


def _room(targets: Targets) -> Tensor:
    """Space for the narrow scores of a block, to be put back into ``rooms``."""
    size = min(len(targets.narrow), TILE) * ROWS
    try:
        room = targets.rooms.pop()
    except IndexError:
        room = torch.empty(size, dtype=torch.bfloat16)
    return room if len(room) >= size else torch.empty(size, dtype=torch.bfloat16)
