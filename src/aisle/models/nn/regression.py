"""Losses that fit the values of interactions themselves, over the stored cells of a batch or over all B x I of them.

The dense ones read a missing cell as 0. They never build (B, I): all they need of the missing cells are the sums of
scores and of squared scores, which are closed forms where scores are inner products. Sums are kept in float64, since
what is known of the stored cells is taken off them again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from aisle.errors import UsageError

FLAT = 1e-6
"""Variances of scores are at least this: the separation of equal scores has a slope, and a bounded one."""
TINY = 1e-16
"""Mean squared errors are at least this: the root of a perfect fit has no slope instead of an endless one."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Stored interactions of a batch, and sums over all of its B x I cells where a loss is dense."""

    score: Tensor
    """(P,)."""
    value: Tensor
    """(P,) what happened; returns and dislikes are negative."""
    weight: Tensor
    """(P,) relative weights of the stored cells, of any scale; their mean counts as much as a missing cell."""
    count: int = 0
    """B · I."""
    total: Tensor | None = None
    """Σ s over all cells."""
    squares: Tensor | None = None
    """Σ s² over all cells."""


def rmse(cells: Cells) -> Tensor:
    """``√mean (r - s)²`` over the stored cells."""
    weight = _weights(cells)
    error = (cells.value.double() - cells.score.double()).square()
    return _root((weight * error).sum() / weight.sum().clamp(min=1.0)).to(cells.score.dtype)


def rmse_dense(cells: Cells) -> Tensor:
    """``√mean (r - s)²`` over all cells, r = 0 where nothing is stored."""
    _, squares = _sums(cells)
    score, weight = cells.score.double(), _weights(cells)
    error = (cells.value.double() - score).square()
    missing = squares - score.square().sum()
    return _root((missing + (weight * error).sum()) / cells.count).to(cells.score.dtype)


def separation(cells: Cells) -> Tensor:
    """Chance that a negative outscores a positive if both were normal: ``1 - Φ((μ₊ - μ₋) / √(σ₊² + σ₋²))``.

    Positives are the stored cells with a value above 0, negatives the other stored cells; one mean and one variance
    each. 0 where there are none of either: nothing to tell apart.
    """
    return _overlap(cells, _moments(cells, cells.value > 0), _moments(cells, cells.value <= 0))


def separation_dense(cells: Cells) -> Tensor:
    """``separation`` where every cell that is not a stored positive is a negative."""
    total, squares = _sums(cells)
    score = cells.score.double()
    mass, first, second = _moments(cells, cells.value <= 0)
    first = total - score.sum() + first
    second = squares - score.square().sum() + second
    return _overlap(cells, _moments(cells, cells.value > 0), (mass + cells.count - len(score), first, second))


REGRESSION: dict[str, Callable[[Cells], Tensor]] = {
    "rmse": rmse,
    "rmse_dense": rmse_dense,
    "separation": separation,
    "separation_dense": separation_dense,
}


def dot_totals(
    customers: Tensor, products: Tensor, customer_bias: Tensor, product_bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Σ s and Σ s² over all cells of ``s_ui = ⟨u, v_i⟩ + a_u + c_i``, without any (B, I).

    ``customers`` (B, D), ``products`` (I, D), ``customer_bias`` a (B,), ``product_bias`` c (I,). The biases ride as two
    more dimensions; then ``Σ s = ⟨Σ u, Σ v⟩`` and ``Σ s² = Σ_de (UᵀU ∘ VᵀV)_de``, in ``(B + I) · D²`` flops.
    """
    a, c = customer_bias.double()[:, None], product_bias.double()[:, None]
    u = torch.cat((customers.double(), a, torch.ones_like(a)), dim=1)  # (B, D + 2)
    v = torch.cat((products.double(), torch.ones_like(c), c), dim=1)  # (I, D + 2)
    return u.sum(dim=0) @ v.sum(dim=0), ((u.T @ u) * (v.T @ v)).sum()


def block_totals(score_block: Callable[[slice], Tensor], size: int, block: int) -> tuple[Tensor, Tensor]:
    """Σ s and Σ s² over all cells of any score; ``score_block(products)`` gives the columns (B, block) of a slice.

    For the gradient each block is scored a second time instead of being kept, so that memory is one block; the scores
    must therefore not depend on chance.
    """

    def sums(part: slice) -> Tensor:
        scores = score_block(part).double()
        return torch.stack((scores.sum(), scores.square().sum()))

    parts = [slice(start, min(start + block, size)) for start in range(0, size, block)]
    both = torch.stack([checkpoint(sums, part, use_reentrant=False, preserve_rng_state=False) for part in parts])
    total, squares = both.sum(dim=0)
    return total, squares


def _weights(cells: Cells) -> Tensor:
    """(P,) weights with the mean 1, as much as a missing cell has."""
    weight = cells.weight.double()
    return weight * (len(weight) / weight.sum()) if len(weight) else weight


def _sums(cells: Cells) -> tuple[Tensor, Tensor]:
    if cells.total is None or cells.squares is None:
        raise UsageError("a dense loss needs the sums of scores over all cells; give total, squares and count")
    return cells.total.double(), cells.squares.double()


def _moments(cells: Cells, some: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weight, weighted sum of scores and of squared scores of some stored cells."""
    weight, score = _weights(cells) * some, cells.score.double()
    return weight.sum(), (weight * score).sum(), (weight * score.square()).sum()


def _overlap(cells: Cells, positive: tuple[Tensor, Tensor, Tensor], negative: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """The chance of ``separation`` from the moments of both sides."""
    if float(positive[0]) <= 0 or float(negative[0]) <= 0:
        return cells.score.sum() * 0.0
    (above, spread), (below, other) = ((s / n, q / n - (s / n).square()) for n, s, q in (positive, negative))
    z = (above - below) / (spread.clamp(min=0.0) + other.clamp(min=0.0)).clamp(min=FLAT).sqrt()
    return (0.5 * torch.erfc(z / 2.0**0.5)).to(cells.score.dtype)


def _root(squared: Tensor) -> Tensor:
    return squared.clamp(min=TINY).sqrt()
