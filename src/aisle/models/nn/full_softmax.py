"""Cross-entropy over all products that never holds all scores, and computes each of them once.

The gradient of a softmax is the softmax itself, so both are taken from a block of scores while it is there: no score is
kept for the way back, and none is computed twice. A block fits a processor's cache; most of the time of a plain softmax
over thousands of products goes into moving its scores to memory and back.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

CELLS = {"cpu": 1_000_000, "cuda": 64_000_000}
"""Scores held at once, by kind of device."""


class Listed(NamedTuple):
    """P pairs of a moment and a product, by moment, whose scores are given; some of them are answers."""

    row: Tensor
    """(P,)."""
    product: Tensor
    """(P,)."""
    weight: Tensor
    """(P,) weight as an answer, 0 for those that are none."""


class How(NamedTuple):
    """In what blocks, and how exactly."""

    cells: int | None = None
    """Scores held at once; None = as fits the device."""
    bfloat16: bool = False
    """Multiply gradients in bfloat16; scores and loss stay in full."""


def full_softmax(
    h: Tensor, vectors: Tensor, prior: Tensor, cut: Tensor, score: Tensor, pairs: Listed, how: How
) -> Tensor:
    """``Σ_p weight_p · (log Σ_j exp s_j - s_p)``, a number with a gradient.

    Moment q scores product i by ``⟨h_q, v_i⟩ + prior[cut_q, i]``, and the listed pairs by ``score`` instead. ``h``
    (Q, D), ``vectors`` (M, D), ``prior`` (C, M), ``cut`` (Q,), ``score`` (P,).
    """
    cells = CELLS.get(h.device.type, CELLS["cpu"]) if how.cells is None else how.cells
    block = max(1, cells // len(vectors))
    loss: Tensor = _FullSoftmax.apply(h, vectors, prior, score, cut, *pairs, block, how.bfloat16)  # type: ignore[no-untyped-call]
    return loss


class _FullSoftmax(torch.autograd.Function):
    """Loss and gradients in one pass over blocks of moments."""

    @staticmethod
    def forward(ctx: FunctionCtx, *given: Tensor) -> Tensor:
        """See ``full_softmax``; the last arguments are the number of moments in a block, and whether in bfloat16."""
        h, vectors, prior, score, cut, row, product, weight, block, bfloat16 = given
        size, narrow = int(block), torch.bfloat16 if bfloat16 else h.dtype
        taste = vectors.to(narrow)
        left = torch.cat((h, torch.nn.functional.one_hot(cut, len(prior)).to(h.dtype)), dim=1)  # (Q, D + C)
        right = torch.cat((vectors, prior.T), dim=1)  # (M, D + C)
        rate = h.new_zeros(len(h)).index_add_(0, row, weight)  # (Q,)
        d_h, d_right, d_score = torch.empty_like(h), torch.zeros_like(right), torch.empty_like(score)
        bounds = [0, len(row)]
        if size < len(h):  # else a GPU need not be waited for
            starts = torch.arange(0, len(h) + size, size, device=h.device)
            bounds = torch.searchsorted(row, starts).tolist()
        loss = h.new_zeros(())
        for number, (low, high) in enumerate(pairwise(bounds)):
            some = slice(number * size, (number + 1) * size)
            at = row[low:high] - number * size, product[low:high]
            scores = left[some] @ right.T
            scores[at] = score[low:high]
            share = torch.log_softmax(scores, dim=1)
            loss -= weight[low:high] @ share[at]
            share.exp_().mul_(rate[some, None])
            d_score[low:high] = share[at] - weight[low:high]
            share[at] = 0.0  # these scores do not come from the vectors
            share = share.to(narrow)
            d_h[some] = share @ taste
            d_right += share.T @ left[some].to(narrow)
        width = h.shape[1]
        ctx.save_for_backward(d_h, d_right[:, :width], d_right[:, width:].T, d_score)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, out: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients are there: scale them."""
        found: tuple[Tensor, ...] = ctx.saved_tensors  # type: ignore[attr-defined]
        return (*(out * part for part in found), None, None, None, None, None, None)
