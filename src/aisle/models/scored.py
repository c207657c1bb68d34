"""What a model says of customers, and the best of it: by few cells where most products score alike, else by all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from aisle.data.events import Batch
from aisle.kernels.few import are_few, rows_and_columns, top_few
from aisle.kernels.topk import NOTHING, top_k
from aisle.models.base import Few, Model, ScoresFew
from aisle.types import Bools, Codes, Floats, Ints, Sparse

SORTED = 64
"""Cells a row, up to which single scores are looked up among them; of more, all scores are made."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of B customers."""

    told: Few | Floats

    @classmethod
    def of(cls, model: Model, batch: Batch) -> Scored:
        """What a model says of a batch."""
        return cls(model.few(batch) if isinstance(model, ScoresFew) else model.score(batch))

    @property
    def by_cells(self) -> bool:
        """Whether cells alone are the quicker way to the best."""
        return isinstance(self.told, Few) and are_few(self.told.cells)

    @cached_property
    def dense(self) -> Floats:
        """(B, I) all scores."""
        return self.told.dense() if isinstance(self.told, Few) else self.told

    def at(self, row: Ints, code: Codes) -> Floats:
        """(P,) scores of single pairs of a row (P,) and a product (P,)."""
        if not isinstance(self.told, Few) or self.told.cells.nnz > SORTED * len(self.told.silent):
            return np.asarray(self.dense[row, code])
        few = self.told
        found = _looked_up(few.cells, row, code, few.rest[code])
        if few.own is not None:
            found = found + _looked_up(few.own, row, code, np.zeros(len(code), dtype=np.float32))
        return np.where(few.silent[row], np.float32(-np.inf), found)

    def best(
        self, k: int, tie_rank: Codes, *, listed: Bools | None = None, barred: Sparse | None = None
    ) -> tuple[Codes, Floats]:
        """The k best products of each customer, as ``top_k`` has them: codes (B, k) and scores (B, k).

        Only those ``listed`` (I,), None = all, and none that ``barred`` (B, I) stores: ``dense`` may be without the
        others afterwards.
        """
        if self.by_cells and isinstance(self.told, Few):
            few = self.told
            codes, values = top_few(few.cells, few.rest, k, tie_rank, own=few.own, allowed=listed, barred=barred)
            codes[few.silent], values[few.silent] = NOTHING, -np.inf
            return codes, values
        scores = self.dense
        if listed is not None:
            scores[:, ~listed] = -np.inf
        if barred is not None:
            scores[rows_and_columns(barred)] = -np.inf
        return top_k(scores, k, tie_rank)


def _looked_up(cells: Sparse, row: Ints, code: Codes, rest: Floats) -> Floats:
    """(P,) cells of pairs of a row (P,) and a column (P,), ``rest`` (P,) where nothing is stored."""
    if not cells.nnz:
        return rest
    (rows, columns), width = rows_and_columns(cells), np.int64(cells.shape[1])
    keys, asked = rows * width + columns, row * width + code
    order = np.argsort(keys)
    place = order[np.minimum(np.searchsorted(keys, asked, sorter=order), len(keys) - 1)]
    return np.where(keys[place] == asked, cells.data[place], rest)
