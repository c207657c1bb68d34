"""Approximate top-k of inner products: the cells of an inverted file choose candidates, wide products order them.

Products are divided into cells by direction (spherical k-means, Dhillon and Modha, "Concept Decompositions for Large
Sparse Text Data Using Clustering", Machine Learning 2001), and a customer meets only those of the few cells that lie
best (Sivic and Zisserman, "Video Google", ICCV 2003; Jégou, Douze, Schmid, "Product Quantization for Nearest Neighbor
Search", PAMI 2011). faiss holds and scans the cells. What it finds is scored and sorted as the exact search does it, so
that only *which* candidates come back is approximate. Whoever has more barred products than an over-fetch can make up
for, or too few products in the cells, is searched exactly.

How good that is depends wholly on the vectors, so an index is used only after ``tuned`` has measured it: more cells
are looked into until the recall asked for is reached by one half of some real customers and confirmed by the other. An
index that reaches it only where exact search would be as quick is refused.

Cells were chosen before a graph (HNSW) by measurement (``benchmarks/approximate_speed.py``): over 100,000 clustered
vectors they are built in a tenth of the time and answer 1.8 times as many customers a second at a higher recall; and a
graph that several threads build is never the same twice. Cells are found here and not by faiss, whose k-means takes
nearly five times as long, in sums that depend on its threads.
"""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from aisle.errors import UsageError
from aisle.kernels.device import multiplies_bfloat16
from aisle.kernels.inner import top_inner
from aisle.kernels.targets import SPARE, Targets, lengths, of_some, to_one
from aisle.kernels.topk import NOTHING
from aisle.kernels.workers import by_parts
from aisle.types import Codes, Doubles, Floats, Ints, Sparse

ROWS = 256
"""Customers a block; the last one is filled up, so that nobody's answer depends on who else is asked."""
PER_ROOT = 4
"""Cells, times the square root of the number of products."""
POINTS, TURNS = 64, 8
"""Products a cell that the cells are learnt from, and turns of k-means."""
CHUNK = 1_024
"""Products whose nearest cells are searched at once."""
FILLED = 2**17
"""Products put into the file at once."""
WIDEST = 4_096
"""Candidates a customer at most; who needs more is searched exactly."""
EFFORTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Cells a customer, tried one after the other."""
DEARER = {True: 64, False: 20}
"""Products that exact search meets in the time in which the file meets one, where the processor multiplies bfloat16 and
where it does not; by ``benchmarks/approximate_speed.py``, with what else a customer costs."""
ERRORS = 2.0
"""Standard errors by which a measured recall must lie above the one asked for."""


def installed() -> bool:
    """Whether faiss is there."""
    return importlib.util.find_spec("faiss") is not None


def _faiss() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of its wrappers, about themselves
            import faiss
    except ImportError as error:
        raise UsageError(
            "approximate search needs faiss, which is not installed; pip install 'aisle[ann]', or search exactly"
        ) from error
    return faiss


@dataclass(frozen=True, eq=False)
class Index:
    """Products in cells; not to be searched with two efforts at once."""

    targets: Targets
    file: Any
    """A faiss ``IndexIVFFlat`` whose ids are rows of ``targets``."""
    centres: Tensor
    """(C, D') directions of the cells."""
    effort: int = 1
    """Cells a customer."""

    @classmethod
    def of(cls, targets: Targets, *, seed: int = 0, threads: int | None = None) -> Index:
        """Learn cells from a sample drawn by ``seed`` and put every product into its own; the same by any ``threads``.

        Raises UsageError where faiss is missing, and for products of which none may be listed.
        """
        faiss, size = _faiss(), len(targets)
        if not size:
            raise UsageError("there is no product to build an index of; list some")
        random = np.random.default_rng(seed)
        n_cells = _cells_for(size)
        sample = np.sort(random.choice(size, min(size, n_cells * POINTS), replace=False))
        points = _unit(_vectors(targets, sample))
        centres = points[random.choice(len(points), n_cells, replace=False)]
        for _ in range(TURNS):
            cell = _cells(points, _narrow(centres), threads)
            ones, shape = np.ones(len(cell), np.float32), (n_cells, len(cell))
            sums = sp.csr_array((ones, (cell, np.arange(len(cell)))), shape=shape) @ points
            centres = np.where(lengths(sums)[:, None] > 0, _unit(sums), centres)
        narrow, dim = _narrow(centres), points.shape[1]
        del points
        file = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, n_cells, faiss.METRIC_INNER_PRODUCT)
        file.quantizer.add(centres)
        file.is_trained = True
        for at in range(0, size, FILLED):
            vectors = _vectors(targets, np.arange(at, min(at + FILLED, size)))
            cell = _cells(vectors, narrow, threads)
            file.add_core(len(vectors), faiss.swig_ptr(vectors), None, faiss.swig_ptr(cell))
        return cls(targets, file, narrow)

    def search(
        self, queries: Floats, k: int, *, barred: Sparse | None = None, threads: int | None = None
    ) -> tuple[Codes, Floats]:
        """As ``top_inner``, but that a product of a cell not looked into may be missing."""
        return self._search(queries, k, barred, threads, short_too=True)

    def _search(
        self, queries: Floats, k: int, barred: Sparse | None, threads: int | None, short_too: bool
    ) -> tuple[Codes, Floats]:
        """The search; lists that come out short are left so or searched again, exactly."""
        self.targets.check_fit(queries, barred)
        codes = np.full((len(queries), k), NOTHING, dtype=np.int32)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        width, left = min(k, len(self.targets)), list[Ints]()
        self.file.nprobe = self.effort

        def fill(at: int) -> None:
            part = slice(at, at + ROWS)
            exact = np.ascontiguousarray(queries[part], dtype=np.float32)
            given, near = self._near(exact)
            pairs = self.targets.barred(None if barred is None else barred[part])
            need = width + max(SPARE, width) + np.bincount(pairs[1], minlength=len(exact))
            level = np.exp2(np.ceil(np.log2(need))).astype(np.int64)
            left.append(at + np.flatnonzero(level > WIDEST))
            for wide in np.unique(level[level <= WIDEST]).tolist():
                rows = np.flatnonzero(level == wide)
                _, place = self.file.search_preassigned(given[rows], wide, near[rows], None)
                place, score = self.targets.best_of(exact[rows], place, of_some(pairs, rows), width)
                codes[at + rows, :width] = np.where(np.isneginf(score), NOTHING, self.targets.code[place])
                scores[at + rows, :width] = score
                if short_too:
                    left.append(at + rows[np.isneginf(score[:, -1])])

        by_parts(fill, range(0, len(queries), ROWS) if width else (), threads)
        rest = np.sort(np.concatenate(left)) if left else np.zeros(0, np.int64)
        if len(rest):
            mine = None if barred is None else barred[rest]
            codes[rest], scores[rest] = top_inner(queries[rest], self.targets, k, barred=mine, threads=threads)
        return codes, scores

    @property
    def most(self) -> int:
        """Cells a customer from which on exact search is as quick."""
        return int(len(self.centres) // DEARER[multiplies_bfloat16()])

    def _near(self, queries: Floats) -> tuple[Floats, Ints]:
        """(M, D') queries as the file knows them, and the cells (M, effort) that lie best for each."""
        given = np.hstack((queries, np.ones((len(queries), int(self.targets.columns > 0)), np.float32)))
        given *= to_one(lengths(given))[:, None].astype(np.float32)
        block = np.zeros((ROWS, given.shape[1]), np.float32)
        block[: len(given)] = given
        near = (torch.from_numpy(block).to(self.centres.dtype) @ self.centres.T).topk(self.effort, dim=1).indices
        return given, near[: len(given)].numpy()


@dataclass(frozen=True)
class Measured:
    """What an index was found to be worth to customers who were not asked when its effort was chosen."""

    recall: float
    """Mean share of the exact list that is in theirs; of the most that was tried, where the index is refused."""
    asked: float
    effort: int
    """Cells a customer; 0 = none could be tried."""
    cells: int


def tuned(
    index: Index,
    queries: Floats,
    k: int,
    least: float,
    *,
    barred: Sparse | None = None,
    threads: int | None = None,
) -> tuple[Index | None, Measured]:
    """The index with the least effort that finds ``least`` of the exact lists, or None; and what was measured.

    Half of the ``queries`` (N, D), every other one, choose the effort, the others confirm it: the mean recall of each
    half must lie two standard errors above ``least``. A list that too few products were found for counts as it is,
    though ``search`` would make it anew: an index that leaves much to do anew is no help. Raises UsageError unless
    0 < least <= 1 and N >= 2.
    """
    if not 0 < least <= 1:
        raise UsageError(f"the least recall is {least!r}; give a number above 0 and up to 1, such as 0.99")
    if len(queries) < 2:
        raise UsageError(f"{len(queries)} customers cannot tell the recall of an index; give two or more")
    halves = [slice(0, None, 2), slice(1, None, 2)]
    parts = [(queries[half], None if barred is None else barred[half]) for half in halves]
    exact = [top_inner(asked, index.targets, k, barred=out, threads=threads)[0] for asked, out in parts]
    recall = Measured(0.0, least, 0, len(index.centres))
    for effort in EFFORTS:
        if effort > index.most:
            break
        tried = replace(index, effort=effort)
        for (asked, out), lists in zip(parts, exact, strict=True):
            shares = recalls(tried._search(asked, k, out, threads, short_too=False)[0], lists)
            recall = replace(recall, recall=float(shares.mean()) if len(shares) else 0.0, effort=effort)
            if not _above(shares, least):
                break
        else:
            return tried, recall
    return None, recall


def recalls(found: Codes, exact: Codes) -> Doubles:
    """(M,) share of the products of each exact list (N, k) that is among those found (N, k); of lists with any."""
    listed = exact != NOTHING
    hit = (exact[:, :, None] == found[:, None, :]).any(axis=2) & listed
    some = listed.any(axis=1)
    return np.asarray(hit.sum(axis=1)[some] / listed.sum(axis=1)[some], dtype=np.float64)


def index_bytes(targets: Targets) -> int:
    """What an index takes at most: the products in its cells, and before that those the cells are learnt from."""
    size, dim = len(targets), int(targets.exact.shape[1]) + 1
    return max(size * (4 * dim + 8), min(size, POINTS * _cells_for(size)) * 12 * dim)


def _cells_for(size: int) -> int:
    return min(int(PER_ROOT * size**0.5), size)


def _above(shares: Doubles, least: float) -> bool:
    """Whether the mean lies above what was asked by more than chance."""
    if not len(shares):
        return False
    error = shares.std() / np.sqrt(len(shares))
    return bool(shares.mean() - ERRORS * error >= least)


def _vectors(targets: Targets, rows: Ints) -> Floats:
    """(M, D') scaled vectors of some products, with their biases where there are any; what all share moves no rank."""
    exact = targets.exact[rows] * np.float32(targets.scale)
    if not targets.columns:
        return np.ascontiguousarray(exact)
    bias = (targets.bias[rows] - targets.bias.mean(dtype=np.float64)) * targets.scale
    return np.column_stack((exact, bias.astype(np.float32)))


def _unit(vectors: Floats) -> Floats:
    """(N, D) of length 1; zeros stay zeros."""
    length = lengths(vectors)[:, None]
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0, casting="same_kind")


def _narrow(centres: Floats) -> Tensor:
    """Directions as they are multiplied: any cell is a lawful one, so rounding does no harm."""
    return torch.from_numpy(centres).to(torch.bfloat16 if multiplies_bfloat16() else torch.float32)


def _cells(vectors: Floats, centres: Tensor, threads: int | None) -> Ints:
    """(N,) the cell in whose direction each vector lies farthest."""
    cell = np.empty(len(vectors), dtype=np.int64)

    def fill(at: int) -> None:
        block = torch.from_numpy(vectors[at : at + CHUNK]).to(centres.dtype)
        cell[at : at + CHUNK] = (
            (block @ centres.T).float().numpy().argmax(axis=1)
        )  # torch's own takes ten times as long

    by_parts(fill, range(0, len(vectors), CHUNK), threads)
    return cell
