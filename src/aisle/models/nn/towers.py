"""Towers: from sparse feature rows to vectors, by a first layer over all columns and a body of choice.

``TOWERS`` is a table to grep and to extend: ``TOWERS["mine"] = lambda dim: (dim, MyModule(dim))`` is all it takes to
train with a module of one's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aisle.errors import UsageError
from aisle.models.nn.rows import Rows
from aisle.models.nn.similarity import unit


class SparseLinear(nn.Module):
    """``y_n = Σ_f gate[group of f] · x_nf · W_f (+ b)`` over the stored cells alone; never a dense (N, F).

    Each group of columns (ids, levels, numbers …) may have a gate of its own, learned like the rest.
    """

    groups: Tensor
    """(F,) group of each column; empty without gates."""

    def __init__(
        self, width: int, out: int, *, groups: Sequence[int] = (), gates: Sequence[float] = (), bias: bool = False
    ) -> None:
        """``width`` F, ``groups`` (F,) and where the ``gates`` (G,) start; rows of W start with length 1."""
        super().__init__()
        if len(groups) != (width if gates else 0) or any(not 0 <= group < len(gates) for group in groups):
            raise UsageError(
                f"{len(groups)} groups of {width} columns and {len(gates)} gates do not fit; "
                "give each column the place of its gate, or neither groups nor gates"
            )
        self.width = width
        self.weight = nn.Parameter(unit(torch.randn(width, out)))
        self.gates = nn.Parameter(torch.tensor(gates, dtype=torch.float32)) if gates else None
        self.bias = nn.Parameter(torch.zeros(out)) if bias else None
        self.register_buffer("groups", torch.tensor(groups, dtype=torch.int64))

    def forward(self, rows: Rows) -> Tensor:
        """(N, out) from N rows; an empty row gives the bias, or 0."""
        if rows.width != self.width:
            raise UsageError(f"the rows have {rows.width} feature columns; this layer was made for {self.width}")
        value = rows.value.to(self.weight.dtype)
        if self.gates is not None:
            value = value * self.gates[self.groups[rows.column]]
        out = F.embedding_bag(
            rows.column, self.weight, rows.indptr, mode="sum", per_sample_weights=value, include_last_offset=True
        )
        return out if self.bias is None else out + self.bias


class Dense(nn.Module):
    """The rows as they are, for towers that pass features through."""

    def __init__(self, width: int, dim: int) -> None:
        """``width`` F, which must be the width ``dim`` of the vectors."""
        super().__init__()
        if width != dim:
            raise UsageError(
                f"a tower that passes features through needs as many columns as dimensions: "
                f"{width} columns, dim {dim}; set dim to {width} or take another tower"
            )
        self.width = width

    def forward(self, rows: Rows) -> Tensor:
        """(N, F)."""
        if rows.width != self.width:
            raise UsageError(f"the rows have {rows.width} feature columns; this layer was made for {self.width}")
        return rows.dense()


class Unit(nn.Module):
    """Vectors of length 1."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, D)."""
        return unit(x)


class Bias(nn.Module):
    """``x + b``: the bias of the first layer, kept in the body because the layer's sum may get additions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width)."""
        return x + self.bias


class Scale(nn.Module):
    """``x ∘ w`` with a trainable weight for each column, 1 at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width)."""
        return x * self.weight


class Residual(nn.Module):
    """``x + part(x)``."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        """As wide as ``part`` is."""
        out: Tensor = x + self.part(x)
        return out


class Gated(nn.Module):
    """``x + g · part(x)`` with a learned gate g that starts small."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part
        self.gate = nn.Parameter(torch.full((), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """As wide as ``x``."""
        out: Tensor = x + self.gate * self.part(x)
        return out


class Shrink(nn.Module):
    """``x / (|x| + 0.1)``: vectors of length below 1, short where little is known."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, D)."""
        out: Tensor = x / (x.norm(dim=-1, keepdim=True) + 0.1)
        return out


def _residual(dim: int) -> tuple[int, nn.Module]:
    bend = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
    for part in (bend[0].bias, bend[2].bias, bend[2].weight):
        nn.init.zeros_(part)  # type: ignore[arg-type]
    return dim, nn.Sequential(Gated(bend), Shrink())


def _relu(dim: int) -> tuple[int, nn.Module]:
    return 4 * dim, nn.Sequential(Bias(4 * dim), nn.ReLU(), nn.Linear(4 * dim, dim, bias=False))


def _mlp(dim: int) -> tuple[int, nn.Module]:
    hidden = 2 * dim
    middle = Residual(nn.Sequential(nn.Linear(hidden, hidden), nn.GELU()))
    return hidden, nn.Sequential(Bias(hidden), nn.GELU(), middle, nn.Linear(hidden, dim))


TOWERS: dict[str, Callable[[int], tuple[int, nn.Module]]] = {
    "linear": lambda dim: (dim, nn.Identity()),
    "normalized_linear": lambda dim: (dim, Unit()),
    "relu": _relu,
    "mlp": _mlp,
    "residual": _residual,
    "pass_through": lambda dim: (0, nn.Identity()),
    "weighted_pass_through": lambda dim: (0, Scale(dim)),
}
"""name -> make(D) = (width of the first layer's output, body from that width to D); width 0: no first layer."""


class Tower(nn.Module):
    """One side of a two-tower model: ``body(first layer(rows))``."""

    def __init__(
        self, name: str, width: int, dim: int, *, groups: Sequence[int] = (), gates: Sequence[float] = ()
    ) -> None:
        """``name`` in ``TOWERS``; ``width`` F; ``groups`` and ``gates`` as for ``SparseLinear``, if there is one."""
        super().__init__()
        if name not in TOWERS:
            raise UsageError(f"unknown tower {name!r}; known: {', '.join(TOWERS)}")
        first, self.body = TOWERS[name](dim)
        self.first = SparseLinear(width, first, groups=groups, gates=gates) if first else Dense(width, dim)

    def forward(self, rows: Rows) -> Tensor:
        """(N, D)."""
        return self.finish(self.first(rows))

    def finish(self, x: Tensor) -> Tensor:
        """(N, D) the body alone, from the first layer's sum (N, first width), to which callers may have added."""
        out: Tensor = self.body(x)
        return out
