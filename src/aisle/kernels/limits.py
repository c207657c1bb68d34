"""What a machine can do at most: products of large matrices, and memory read from end to end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch

from aisle.kernels.device import multiplies_bfloat16

SLOW_EDGE = 512
"""Edge of a bfloat16 product where the processor has no instructions for it: it would take many times as long."""


def square_product(kind: Literal["float32", "bfloat16"], edge: int) -> tuple[Callable[[], object], float]:
    """A product of two square matrices on the processor, to be called again and again, and its 10⁹ operations.

    One multiplication and one addition a term: ``2 edge³`` operations.
    """
    edge = min(edge, SLOW_EDGE) if kind == "bfloat16" and not multiplies_bfloat16() else edge
    left, right = (torch.randn(edge, edge).to(getattr(torch, kind)) for _ in range(2))
    found = torch.empty_like(left)
    return (lambda: torch.mm(left, right, out=found)), 2.0 * edge**3 / 1e9


def reading(size: int) -> tuple[Callable[[], object], float]:
    """A sum over ``size`` bytes, to be called again and again, and its 10⁹ bytes.

    More than the caches hold must be read for the speed to be that of the memory.
    """
    values = torch.ones(size // 4, dtype=torch.float32)
    return values.sum, size / 1e9
