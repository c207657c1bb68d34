"""Products that may be listed, prepared once for any number of customers, and the exact order of candidates.

Whoever chooses the candidates, a processor, a GPU or an index: they are scored here in float64, in an order that no
block size and no thread changes, rounded to float32 and sorted, ties by row.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from aisle.errors import UsageError
from aisle.kernels.device import multiplies_bfloat16
from aisle.kernels.topk import sort_keys
from aisle.types import Bools, Codes, Doubles, Floats, Ints, Sparse

GROUP = 16
"""Products in a group, and groups in a group of groups."""
SPARE = 14
"""Candidates beyond k at first, or k where that is more."""
CELLS = 4_000_000
"""Numbers of candidates' vectors held at once."""
Pairs = tuple[Ints, Ints]
"""Rows of ``Targets`` and customers that must not meet, by row of ``Targets``."""


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
    elsewhere: dict[str, Tensor] = field(default_factory=dict, repr=False)
    """``narrow`` on other devices, kept for the next call."""

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
        check_finite(product_vectors=exact, product_biases=added)
        given = exact if bias is None else np.column_stack((exact, added))
        scale = float(to_one(np.array([_longest(given)]))[0])
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

    def narrow_on(self, device: torch.device) -> Tensor:
        """``narrow`` on a device; bfloat16 on a GPU, which multiplies it whatever the processor can."""
        if device.type == "cpu":
            return self.narrow
        found = self.elsewhere.get(str(device))
        if found is None:
            found = self.elsewhere[str(device)] = self.narrow.bfloat16().to(device)
        return found

    def barred(self, barred: Sparse | None) -> Pairs:
        """The stored pairs (M, I) of which these products are part."""
        if barred is None or not barred.nnz:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        row_of = np.full(barred.shape[1], -1, dtype=np.int64)
        row_of[self.code] = np.arange(len(self))
        customer = np.repeat(np.arange(barred.shape[0]), np.diff(barred.indptr))
        row = row_of[barred.indices]
        order = np.argsort(row, kind="stable")
        order = order[np.searchsorted(row[order], 0) :]
        return row[order], customer[order]

    def best_of(self, queries: Floats, place: Ints, barred: Pairs, k: int) -> tuple[Ints, Floats]:
        """The best k of the candidates (M, C) by exact score, ties by row; with their scores, both (M, k), k <= C.

        ``place`` are rows of these products, each once a customer; others, and ``barred`` pairs, score -inf.
        """
        size, query = len(self), queries.astype(np.float64)
        nothing = (place < 0) | (place >= size) | _among(place, barred)
        place = np.clip(place, 0, size - 1)
        score = np.empty(place.shape, dtype=np.float32)
        step = max(1, CELLS // max(place.shape[1] * query.shape[1], 1))
        for at in range(0, len(place), step):
            part = slice(at, at + step)
            vectors = self.exact[place[part]].astype(np.float64)  # (m, C, D)
            score[part] = np.einsum("mcd,md->mc", vectors, query[part]) + self.bias[place[part]]
        score[nothing] = -np.inf
        order = np.argsort(sort_keys(score, place.astype(np.int32), size), axis=1)[:, ::-1][:, :k]
        return np.take_along_axis(place, order, axis=1), np.take_along_axis(score, order, axis=1)

    def check_fit(self, queries: Floats, barred: Sparse | None) -> None:
        """Raise UsageError where sizes do not fit, or a query (N, D) is no finite number."""
        if queries.shape[1:] != self.exact.shape[1:] or (barred is not None and barred.shape[0] != len(queries)):
            said = "none" if barred is None else f"{barred.shape}"
            raise UsageError(f"queries {queries.shape}, barred {said} and products {self.exact.shape} do not fit")
        check_finite(customer_vectors=queries)


def of_some(pairs: Pairs, rows: Ints) -> Pairs:
    """The pairs of some customers, who are numbered by their place among ``rows`` (M,), which rise."""
    mine = np.isin(pairs[1], rows)
    return pairs[0][mine], np.searchsorted(rows, pairs[1][mine])


def check_finite(**given: Floats) -> None:
    """Raise UsageError where some vectors are no finite numbers."""
    for name, values in given.items():
        if not np.isfinite(values).all():
            raise UsageError(f"{name.replace('_', ' ')} hold what is no finite number; fit the model again")


def lengths(vectors: Floats) -> Doubles:
    """(N,) of vectors (N, D)."""
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)))


def to_one(sizes: Doubles) -> Doubles:
    """(N,) powers of two that bring lengths to between 1/2 and 1; 1 for those of 0."""
    power = -np.frexp(sizes)[1].astype(np.float64)
    return np.where(sizes > 0, np.exp2(np.clip(power, -120.0, 120.0)), 1.0)


def _longest(vectors: Floats) -> float:
    return float(lengths(vectors).max(initial=0.0))


def _among(place: Ints, barred: Pairs) -> Bools:
    """(M, C) whether a candidate must not be listed; the keys of such pairs are the lowest, but may be taken."""
    if not len(barred[0]):
        return np.zeros(place.shape, dtype=bool)
    size = np.int64(len(place))
    return np.isin(place * size + np.arange(size)[:, None], barred[0] * size + barred[1])
