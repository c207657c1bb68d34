"""Sparse feature rows as network input: what a tower sees of a customer or a product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from aisle.kernels.device import moved


@dataclass(frozen=True, eq=False)
class Rows:
    """N sparse rows of F feature columns: the cells of row n are ``[indptr[n]:indptr[n + 1]]``."""

    indptr: Tensor
    """(N + 1,) int64."""
    column: Tensor
    """(P,) int64."""
    value: Tensor
    """(P,) float32; cells of one row and column add up."""
    width: int
    """F."""

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def row(self) -> Tensor:
        """(P,) row of each cell."""
        rows = torch.arange(len(self), device=self.indptr.device)
        return torch.repeat_interleave(rows, self.indptr.diff(), output_size=len(self.column))

    @property
    def keys(self) -> Tensor:
        """(P,) ``row * F + column`` of each cell; they rise where the columns of each row do."""
        return self.row * self.width + self.column

    @classmethod
    def of(cls, matrix: Any) -> Rows:
        """The rows of a SciPy sparse matrix or array (N, F) of any format; nothing is shared with it."""
        csr = sp.csr_array(matrix)
        return cls(
            torch.from_numpy(csr.indptr.astype(np.int64)),
            torch.from_numpy(csr.indices.astype(np.int64)),
            torch.from_numpy(csr.data.astype(np.float32)),
            int(csr.shape[1]),
        )

    @classmethod
    def join(cls, parts: Sequence[Rows]) -> Rows:
        """The rows of all parts, one below the other; at least one part, all of one width."""
        sizes = torch.cat([part.indptr.diff() for part in parts])
        return cls(
            _starts(sizes),
            torch.cat([part.column for part in parts]),
            torch.cat([part.value for part in parts]),
            parts[0].width,
        )

    def cells(self, rows: Tensor) -> Tensor:
        """Places of the cells of some rows (M,), row by row."""
        sizes = self.indptr.diff()[rows]
        ahead = torch.repeat_interleave(self.indptr[rows] - _starts(sizes)[:-1], sizes)
        return ahead + torch.arange(len(ahead), device=ahead.device)

    def take(self, rows: Tensor) -> Rows:
        """Some rows (M,), in the order asked for; a row may be asked for twice."""
        cells = self.cells(rows)
        return Rows(_starts(self.indptr.diff()[rows]), self.column[cells], self.value[cells], self.width)

    def keep(self, mask: Tensor) -> Rows:
        """The same rows without the cells where ``mask`` (P,) is False."""
        sizes = torch.zeros(len(self), dtype=torch.int64).index_add(0, self.row, mask.to(torch.int64))
        return Rows(_starts(sizes), self.column[mask], self.value[mask], self.width)

    def with_values(self, value: Tensor) -> Rows:
        """The same cells with other values (P,)."""
        return replace(self, value=value)

    def to(self, device: torch.device) -> Rows:
        """The same rows on a device."""
        return Rows(moved(self.indptr, device), moved(self.column, device), moved(self.value, device), self.width)

    def dense(self) -> Tensor:
        """(N, F), with a gradient to the values."""
        empty = self.value.new_zeros(len(self), self.width)
        return empty.index_put((self.row, self.column), self.value, accumulate=True)


def _starts(sizes: Tensor) -> Tensor:
    """(N + 1,) where each row starts, and the end."""
    return torch.cat((sizes.new_zeros(1), sizes.cumsum(0)))
