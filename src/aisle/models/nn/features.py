"""Content as network input: categorical columns as codes, numbers standardised with a flag where missing.

The *form* of the features is frozen at fit: a level that is new, renamed or longer than it was gives blanks, never an
error and never somebody else's embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aisle.data.entities import Features
from aisle.types import Floats, Ints

CLIP = 5.0
"""Standard deviations beyond which a number says no more."""


@dataclass(frozen=True)
class Form:
    """What the features looked like at fit."""

    levels: dict[str, int]
    """name -> number of values."""
    numbers: dict[str, tuple[float, float]]
    """name -> mean and standard deviation of the known values."""

    @classmethod
    def of(cls, features: Features, numbers: dict[str, Floats]) -> Form:
        """Freeze the levels of ``features`` and the given numbers; columns without any value are left out."""
        form: dict[str, tuple[float, float]] = {}
        for name, values in numbers.items():
            known = values[np.isfinite(values)].astype(np.float64)
            if len(known) and known.std() > 0:
                form[name] = (float(known.mean()), float(known.std()))
        levels = {level.name: len(level.vocab) for level in features.levels if len(level.vocab) > 1}
        return cls(levels, form)

    @classmethod
    def load(cls, value: dict[str, Any]) -> Form:
        """Undo ``save``."""
        return cls(dict(value["levels"]), {name: (pair[0], pair[1]) for name, pair in value["numbers"].items()})

    def save(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"levels": self.levels, "numbers": {name: list(pair) for name, pair in self.numbers.items()}}

    def codes(self, features: Features, size: int) -> Ints:
        """(N, L) code + 1 of each frozen level, 0 = blank."""
        found = {level.name: level.codes for level in features.levels}
        out = np.zeros((size, len(self.levels)), dtype=np.int64)
        for column, (name, count) in enumerate(self.levels.items()):
            if name in found:
                codes = found[name].astype(np.int64)
                out[:, column] = np.where((codes >= 0) & (codes < count), codes + 1, 0)
        return out

    def values(self, numbers: dict[str, Floats], size: int) -> Floats:
        """(N, 2 M): the frozen numbers, standardised and clipped, 0 where missing; then M flags, 1 = missing."""
        width = len(self.numbers)
        out = np.zeros((size, 2 * width), dtype=np.float32)
        for column, (name, (mean, scale)) in enumerate(self.numbers.items()):
            values = numbers.get(name, np.full(size, np.nan, dtype=np.float32)).astype(np.float64)
            known = np.isfinite(values)
            standard = np.clip((np.where(known, values, mean) - mean) / scale, -CLIP, CLIP)
            out[:, column] = standard
            out[:, width + column] = ~known
        return out


class FeatureSum(nn.Module):
    """Sum of one embedding a level and a linear map of the numbers, each behind its own learned gate."""

    def __init__(self, levels: Sequence[int], numbers: int, dim: int, gate: float) -> None:
        """``levels``: values of each level; ``numbers``: width of the number block; ``gate``: where gates start."""
        super().__init__()
        self.levels = nn.ModuleList(start_embedding(nn.Embedding(count + 1, dim, padding_idx=0)) for count in levels)
        self.numbers = nn.Linear(numbers, dim, bias=False) if numbers else None
        self.gates = nn.Parameter(torch.full((len(levels) + bool(numbers),), gate))
        if self.numbers is not None:
            nn.init.normal_(self.numbers.weight, std=0.005)
        self.dim = dim

    def start(self, tables: Sequence[Floats]) -> None:
        """Start each level from rows (size + 1, D), with a little noise where there is nothing to start from."""
        with torch.no_grad():
            for place, rows in enumerate(tables):
                weight = self.tables[place].weight
                start = torch.from_numpy(rows)
                empty = start.abs().sum(dim=1) == 0
                weight.mul_(0.1 * empty[:, None]).add_(start)
                weight[0] = 0.0

    @property
    def tables(self) -> list[nn.Embedding]:
        """One table a level."""
        return [table for table in self.levels if isinstance(table, nn.Embedding)]

    def forward(self, codes: Tensor, values: Tensor) -> Tensor:
        """(N, D) from ``codes`` (N, L), 0 = blank, and ``values`` (N, numbers)."""
        out = torch.zeros(len(codes), self.dim)
        for column, table in enumerate(self.tables):
            out = out + self.gates[column] * table(codes[:, column])
        if self.numbers is not None:
            out = out + self.gates[-1] * self.numbers(values)
        return out


def start_embedding(table: nn.Embedding) -> nn.Embedding:
    """The table with rows of length about 1, the blank row 0."""
    with torch.no_grad():
        table.weight.normal_(0.0, table.embedding_dim**-0.5)
        if table.padding_idx is not None:
            table.weight[table.padding_idx] = 0.0
    return table
