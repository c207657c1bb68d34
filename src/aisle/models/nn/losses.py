"""Ranking losses over scores, each a pure function with one number out and a gradient.

Targets are pairs: target p says that row ``row[p]`` of the batch bought product ``column[p]``; it has ``weight[p]``.
The weights of all targets are expected to sum to 1, so that every loss is a weighted mean over targets.

Sampled losses see Z distinct negatives, drawn from the I products of the catalogue and shared by the whole batch. A
true purchase among a row's negatives is masked out: it is no negative. Losses that estimate a sum over the catalogue
(the softmax's, the rank of WMRB) undo uneven draws by their log-expectation ``log_q``; BPR, WARP and gBCE do not: there
the draw is part of the loss, and likely draws are meant to be pushed down harder.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from aisle.errors import UsageError

Loss: TypeAlias = Literal[
    "auto",
    "softmax",
    "sampled_softmax",
    "wmrb",
    "balanced_wmrb",
    "bpr",
    "warp",
    "gbce",
    "rmse",
    "rmse_dense",
    "separation",
    "separation_dense",
]
"""``auto`` is the full softmax up to ``FULL_SOFTMAX`` products and the sampled one above."""
FULL_SOFTMAX = 20_000
CALIBRATION = 0.75
"""t of gBCE: 0 is plain cross-entropy, which is overconfident under sampling; 1 undoes all of that."""
EULER = 0.5772156649015329


@dataclass(frozen=True, eq=False)
class Sample:
    """What a sampled loss sees: the targets of B rows and Z negatives."""

    positive: Tensor
    """(P,) scores of the targets."""
    row: Tensor
    """(P,)."""
    weight: Tensor
    """(P,) sums to 1 over a batch."""
    negative: Tensor
    """(B, Z) scores of the drawn negatives, in the order they were drawn."""
    hit: Tensor
    """(B, Z) True where a negative must not count: it is a target of the row."""
    size: int
    """I."""
    log_q: Tensor | None = None
    """(Z,) or (B, Z) log of the expected number of times each negative is in the draw; None = uniform, log(Z / I)."""
    share: Tensor | None = None
    """(P,) for ``balanced_wmrb``: the row's part in all purchases of the product, ``r_ui / Σ_u' r_u'i``."""

    @property
    def left(self) -> Tensor:
        """(B,) negatives of the row that count."""
        return (~self.hit).sum(dim=1)


def softmax(scores: Tensor, row: Tensor, column: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy of the softmax over all products: ``Σ_p weight_p · (log Σ_j exp s_j - s_p)``.

    ``scores`` (B, I), -inf where a product was not for sale; ``row``, ``column``, ``weight`` (P,).
    """
    total = torch.logsumexp(scores, dim=1)  # (B,)
    return ((total[row] - scores[row, column]) * weight).sum()


def sampled_softmax(sample: Sample) -> Tensor:
    """Softmax whose sum is estimated from the row's targets and the sampled negatives.

    Each negative stands for ``1 / q`` products (logQ correction: Bengio & Senécal, "Adaptive Importance Sampling to
    Accelerate Training of a Neural Probabilistic Language Model", 2008), which is ``I / Z`` where the draw is uniform;
    with all products drawn this is the full softmax.
    """
    negative, row = sample.negative, sample.row
    log_q = math.log(negative.shape[1] / sample.size) if sample.log_q is None else sample.log_q
    scaled = (negative - log_q).masked_fill(sample.hit, -torch.inf)
    top = torch.full_like(negative[:, 0], -torch.inf).scatter_reduce(0, row, sample.positive.detach(), "amax")
    top = torch.maximum(top, scaled.detach().amax(dim=1))  # (B,) for a stable exponential
    top = top.masked_fill(torch.isinf(top), 0.0)
    mass = torch.exp(scaled - top[:, None]).sum(dim=1)
    mass = mass.index_add(0, row, torch.exp(sample.positive - top[row]))
    return ((torch.log(mass[row]) + top[row] - sample.positive) * sample.weight).sum()


def wmrb(sample: Sample) -> Tensor:
    """Weighted margin-rank batch loss: ``log(1 + I/|Z| · Σ_j max(0, 1 - s_p + s_j))`` for each target.

    Liu & Natarajan, "WMRB: Learning to Rank in a Scalable Batch Training Approach", 2017. |Z| counts the negatives that
    are left after the row's own targets are masked out; with ``log_q`` the mean over them is weighted by ``1 / q``.
    """
    return (torch.log1p(_margin_rank(sample)) * sample.weight).sum()


def balanced_wmrb(sample: Sample) -> Tensor:
    """WMRB with the rank of each target times its ``share`` of the product's purchases: best sellers weigh less."""
    if sample.share is None:
        raise UsageError("balanced_wmrb needs each target's share of the product's purchases; give it, or take wmrb")
    return (torch.log1p(_margin_rank(sample) * sample.share) * sample.weight).sum()


def bpr(sample: Sample) -> Tensor:
    """Bayesian personalised ranking: the mean over negatives of ``-log σ(s_p - s_j)`` for each target.

    Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
    """
    each = F.softplus(_behind(sample)).masked_fill(sample.hit[sample.row], 0.0)  # (P, Z)
    return (each.sum(dim=1) / sample.left.clamp(min=1)[sample.row] * sample.weight).sum()


def warp(sample: Sample) -> Tensor:
    """Weighted approximate-rank pairwise loss: ``L(⌊(I - 1) / N⌋) · (1 - s_p + s_j)`` for each target.

    j is the first of the row's negatives with ``s_j > s_p - 1``, the N-th that counts; ``L(k) = 1 + 1/2 + … + 1/k``.
    A target without such a j costs nothing. Weston, Bengio & Usunier, "WSABIE: Scaling Up To Large Vocabulary Image
    Annotation", IJCAI 2011.
    """
    margin = F.relu(1.0 + _behind(sample)).masked_fill(sample.hit[sample.row], 0.0)  # (P, Z)
    first = (margin.detach() > 0).to(torch.uint8).argmax(dim=1, keepdim=True)  # (P, 1), the first of equals
    tries = (~sample.hit).cumsum(dim=1)[sample.row].gather(1, first)[:, 0].clamp(min=1)
    rank = torch.div(sample.size - 1, tries, rounding_mode="floor")
    harmonic = torch.digamma(rank.to(margin.dtype) + 1.0) + EULER
    return (harmonic * margin.gather(1, first)[:, 0] * sample.weight).sum()


def gbce(sample: Sample) -> Tensor:
    """Generalised binary cross-entropy: ``-(β · log σ(s_p) + Σ_j log(1 - σ(s_j))) / (|Z| + 1)`` for each target.

    ``β = α · (t · (1 - 1/α) + 1/α)`` with the sampling rate ``α = Z / I`` and t = ``CALIBRATION`` undoes most of the
    overconfidence that comes from seeing few negatives. Petrov & Macdonald, "gSASRec: Reducing Overconfidence in
    Sequential Recommendation Trained with Negative Sampling", RecSys 2023.
    """
    rate = sample.negative.shape[1] / sample.size
    beta = rate * (CALIBRATION * (1.0 - 1.0 / rate) + 1.0 / rate)
    push = F.softplus(sample.negative).masked_fill(sample.hit, 0.0).sum(dim=1)  # (B,)
    each = beta * F.softplus(-sample.positive) + push[sample.row]
    return (each / (sample.left + 1)[sample.row] * sample.weight).sum()


SAMPLED: dict[str, Callable[[Sample], Tensor]] = {
    "sampled_softmax": sampled_softmax,
    "wmrb": wmrb,
    "balanced_wmrb": balanced_wmrb,
    "bpr": bpr,
    "warp": warp,
    "gbce": gbce,
}


def dislike(disliked: Tensor, rival: Tensor, weight: Tensor) -> Tensor:
    """Negative feedback: ``Σ weight · log(1 + exp(s_disliked - s_rival))``, a returned product belongs below a rival.

    ``disliked``, ``rival`` and ``weight`` (Q,).
    """
    return (F.softplus(disliked - rival) * weight).sum()


def _behind(sample: Sample) -> Tensor:
    """(P, Z) by how much each target lies behind each of its row's negatives."""
    return sample.negative[sample.row] - sample.positive[:, None]


def _margin_rank(sample: Sample) -> Tensor:
    """(P,) I times the mean over the row's negatives of ``max(0, 1 - s_p + s_j)``; 0 where none is left.

    Of a row's negatives, best first, a prefix lies above ``s_p - 1``: two running sums over the row answer for all its
    targets, in ``(P + B · Z) · log Z`` steps and without any (P, Z).
    """
    log_q = sample.negative.new_zeros(1) if sample.log_q is None else sample.log_q.to(sample.negative.dtype)
    inverse = (-log_q).expand_as(sample.negative).masked_fill(sample.hit, -torch.inf)
    out = sample.hit | sample.negative.isneginf()
    mean = torch.softmax(inverse, dim=1).masked_fill(out, 0.0)  # (B, Z) nan -> 0 where all are hits
    score, order = sample.negative.masked_fill(out, 0.0).sort(dim=1, descending=True)
    weight = mean.gather(1, order)
    top = score[:, :1].detach()  # sums of differences to it are exact where scores are large
    behind = top - score  # (B, Z) rises from 0
    mass, sums = (F.pad(part.cumsum(dim=1), (1, 0)) for part in (weight, weight * behind))
    reach = top[sample.row, 0] - sample.positive + 1.0  # (P,)
    prefix = _prefix(behind.detach(), reach.detach(), sample.row)
    return sample.size * (mass[sample.row, prefix] * reach - sums[sample.row, prefix])


def _prefix(rising: Tensor, bound: Tensor, row: Tensor) -> Tensor:
    """(P,) how many of ``rising[row[p]]`` lie below ``bound[p]``; the rows of ``rising`` (B, Z) start at 0 or above."""
    n_rows, width = rising.shape
    span = float(rising.amax()) + 1.0 if rising.numel() else 1.0
    start = torch.arange(n_rows, dtype=torch.float64) * span  # one long rising line, a stretch for each row
    line = (rising.double() + start[:, None]).flatten()
    return torch.searchsorted(line, bound.double().clamp(0.0, span - 0.5) + start[row]) - row * width
