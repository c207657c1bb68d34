"""Ranking losses over scores, each a pure function with one number out and a gradient.

Targets are pairs: target p says that row ``row[p]`` of the batch bought product ``column[p]``; it has ``weight[p]``.
The weights of all targets are expected to sum to 1, so that every loss is a weighted mean over targets.

Sampled losses see Z negatives drawn uniformly without replacement from the I products of the catalogue and shared by
the whole batch. A true purchase among a row's negatives is masked out: it is no negative.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

Loss: TypeAlias = Literal["auto", "softmax", "sampled_softmax", "wmrb", "bpr"]
"""``auto`` is the full softmax up to ``FULL_SOFTMAX`` products and the sampled one above."""
FULL_SOFTMAX = 20_000


def softmax(scores: Tensor, row: Tensor, column: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy of the softmax over all products: ``Σ_p weight_p · (log Σ_j exp s_j - s_p)``.

    ``scores`` (B, I), -inf where a product was not for sale; ``row``, ``column``, ``weight`` (P,).
    """
    total = torch.logsumexp(scores, dim=1)  # (B,)
    return ((total[row] - scores[row, column]) * weight).sum()


def sampled_softmax(positive: Tensor, negative: Tensor, hit: Tensor, row: Tensor, weight: Tensor, size: int) -> Tensor:
    """Softmax whose sum is estimated from the row's targets and the sampled negatives.

    ``positive`` (P,) scores of the targets, ``negative`` (B, Z) scores of the shared negatives, ``hit`` (B, Z) True
    where a negative is a target of the row, ``size`` I. Each negative stands for ``I / Z`` products, which is the
    logQ correction of uniform sampling (Bengio & Senécal, 2008); with Z = I this is the full softmax.
    """
    scaled = (negative + math.log(size / negative.shape[1])).masked_fill(hit, -torch.inf)
    top = torch.full_like(negative[:, 0], -torch.inf).scatter_reduce(0, row, positive.detach(), "amax")
    top = torch.maximum(top, scaled.detach().amax(dim=1))  # (B,) for a stable exponential
    top = top.masked_fill(torch.isinf(top), 0.0)
    mass = torch.exp(scaled - top[:, None]).sum(dim=1)
    mass = mass.index_add(0, row, torch.exp(positive - top[row]))
    return ((torch.log(mass)[row] + top[row] - positive) * weight).sum()


def wmrb(positive: Tensor, negative: Tensor, hit: Tensor, row: Tensor, weight: Tensor, size: int) -> Tensor:
    """Weighted margin-rank batch loss: ``log(1 + I/|Z| · Σ_j max(0, 1 - s_p + s_j))`` for each target.

    Liu & Natarajan, "WMRB: Learning to Rank in a Scalable Batch Training Approach", 2017. Arguments as for
    ``sampled_softmax``; |Z| counts the negatives that are left after the row's own targets are masked out.
    """
    left = (~hit).sum(dim=1).clamp(min=1)  # (B,)
    margin = F.relu(1.0 - positive[:, None] + negative[row]).masked_fill(hit[row], 0.0)  # (P, Z)
    rank = margin.sum(dim=1) * (size / left[row])
    return (torch.log1p(rank) * weight).sum()


def bpr(positive: Tensor, negative: Tensor, hit: Tensor, row: Tensor, weight: Tensor) -> Tensor:
    """Bayesian personalised ranking: the mean over negatives of ``-log σ(s_p - s_j)`` for each target.

    Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009. Arguments as above.
    """
    left = (~hit).sum(dim=1).clamp(min=1)
    each = F.softplus(negative[row] - positive[:, None]).masked_fill(hit[row], 0.0)  # (P, Z)
    return (each.sum(dim=1) / left[row] * weight).sum()


def sampled(
    loss: Loss, positive: Tensor, negative: Tensor, hit: Tensor, row: Tensor, weight: Tensor, size: int
) -> Tensor:
    """One of the sampled losses by name."""
    if loss == "sampled_softmax":
        return sampled_softmax(positive, negative, hit, row, weight, size)
    if loss == "wmrb":
        return wmrb(positive, negative, hit, row, weight, size)
    return bpr(positive, negative, hit, row, weight)
