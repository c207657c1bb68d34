"""How well the hybrid answers the questions of the latest window: what chooses the start and says when to stop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aisle.models.nn import losses
from aisle.models.nn.hybrid_net import HybridNet, Scorer
from aisle.models.nn.tasks import BLOCK, Tasks
from aisle.types import Bools, Doubles, Ints

HEATS = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)
"""Logarithms of 1 / τ, and of the scale of the repeat head, tried for the start."""
BOOST = 6
"""Beyond this the repeat head is all there is, or nothing."""
FLOOR = 0.05
"""Keeps either part of the judgement from being all of it."""
PLACES = 10
DISCOUNT = 1.0 / np.log2(np.arange(PLACES) + 2.0)
IDEAL = np.concatenate(([np.nan], np.cumsum(DISCOUNT)))


@dataclass(frozen=True, eq=False)
class Sitting:
    """What is left of the scores of N judges: the best new products and all own ones, however strong they are made."""

    best: Doubles
    """(N, K) scores of the best products new to the judge, -inf where there are fewer."""
    best_real: Bools
    """(N, K) whether they were bought."""
    row: Ints
    """(P,) judge of each own product."""
    base: Doubles
    """(P,) its score without the repeat head."""
    again: Doubles
    """(P,) what the repeat head adds, unboosted."""
    real: Bools
    """(P,) whether it was bought."""
    shift: float
    """What own products are set back by."""
    wanted: Ints
    """(N,) products bought."""

    @classmethod
    @torch.no_grad()
    def of(cls, net: HybridNet, tasks: Tasks) -> Sitting:
        """Ask the judges once."""
        parts, start, shift = [], 0, float(net.own_shift)
        for scorer, scores, bought in blocks(net, tasks, tasks.judges):
            history = scorer.ask.history
            own = history.row, history.column
            base, mine = scores[own].double().numpy(), bought[own[0].numpy(), own[1].numpy()]
            extra = (scorer.parts["own"] - net.own_shift).double() * torch.exp(-net.boost.double())
            scores[own] = -torch.inf
            top = torch.topk(scores, min(PLACES, scores.shape[1]), dim=1)
            hits = np.take_along_axis(bought, top.indices.numpy(), axis=1) & np.isfinite(top.values.numpy())
            place = history.row.numpy() + start
            parts.append((top.values.double().numpy(), hits, place, base, extra.numpy(), mine, bought.sum(axis=1)))
            start += len(bought)
        best, real, row, base, again, mine, wanted = (np.concatenate(part) for part in zip(*parts, strict=True))
        return cls(best, real, row, base, again, mine, shift, wanted)

    def judgement(self, boost: float) -> Doubles:
        """(2, N) each judge's NDCG@10 over all products and over those new to the judge; NaN without an answer."""
        size, width = self.best.shape
        own = self.base + self.again * np.exp(boost) + self.shift
        row = np.concatenate((np.repeat(np.arange(size), width), self.row))
        order = np.lexsort((-np.concatenate((self.best.ravel(), own)), row))
        row, hit = row[order], np.concatenate((self.best_real.ravel(), self.real))[order]
        place = np.arange(len(row)) - np.searchsorted(row, np.arange(size))[row]
        listed = place < PLACES
        gain = np.bincount(row[listed], weights=(hit * DISCOUNT[np.minimum(place, PLACES - 1)])[listed], minlength=size)
        fresh = self.wanted - np.bincount(self.row, weights=self.real, minlength=size).astype(np.int64)
        new = (self.best_real * DISCOUNT[:width]).sum(axis=1)
        return np.stack((gain / IDEAL[np.minimum(self.wanted, PLACES)], new / IDEAL[np.minimum(fresh, PLACES)]))

    def worth(self, boost: float, new_only: bool) -> float:
        """Geometric mean of the judges' NDCG@10 and of their NDCG@10 over products new to them.

        Repeats decide the first alone; of the second, a tenth more is worth as much as a tenth more of the first. Where
        nobody buys anything twice, the second is all.
        """
        means = [_mean(values) for values in self.judgement(boost)]
        return means[1] if new_only else ((means[0] + FLOOR) * (means[1] + FLOOR)) ** 0.5


def judgement(net: HybridNet, tasks: Tasks) -> Doubles:
    """(2, N) each judge's NDCG@10 over all products and over those new to the judge; NaN without an answer."""
    return Sitting.of(net, tasks).judgement(float(net.boost))


def boosted(net: HybridNet, tasks: Tasks) -> float:
    """The judgement with the repeat head as strong as the judges like it, which is left in ``net.boost``.

    What fits the answers best is not what ranks them best: a likelihood counts every product, a list the first few.
    """
    sitting, boost, climbing = Sitting.of(net, tasks), round(float(net.boost)), not tasks.new_only
    found = {boost: sitting.worth(boost, tasks.new_only)}
    while climbing:
        for near in (boost - 1, boost + 1):
            if near not in found and abs(near) <= BOOST:
                found[near] = sitting.worth(near, tasks.new_only)
        best = max(found, key=lambda value: found[value])
        boost, climbing = best, best != boost
    net.boost.fill_(boost)
    return found[boost]


def clearly_better(one: Doubles, other: Doubles, new_only: bool) -> bool:
    """Whether the judgement ``one`` (2, N) beats another by more than a standard error of their paired difference.

    Among settings that cannot be told apart the first tried stands (the one-standard-error rule of Breiman et al.,
    "Classification and Regression Trees", 1984, with the default for the simplest).
    """
    gains = [(one[part] - other[part]) / (_mean(other[part]) + FLOOR) for part in ((1,) if new_only else (0, 1))]
    gain = np.nansum(gains, axis=0)[~np.isnan(gains).all(axis=0)]
    return len(gain) > 1 and float(gain.mean()) > float(gain.std(ddof=1)) / len(gain) ** 0.5


@torch.no_grad()
def fit_heats(net: HybridNet, tasks: Tasks) -> dict[str, float]:
    """How hot the start should be to fit some judges' answers: taste on what is new to them, then own products."""
    for name, fresh in (("heat", True), ("own_heat", False)) if not tasks.new_only else (("heat", True),):
        cost: dict[float, float] = {}
        for heat in HEATS:
            getattr(net, name).fill_(heat)
            for scorer, scores, real in blocks(net, tasks, tasks.judges[:BLOCK]):
                own = scorer.ask.history.row, scorer.ask.history.column
                scores[own] += scorer.parts["own"]
                if fresh:
                    scores[own], real[own] = -torch.inf, False
                row, column = (torch.from_numpy(part) for part in real.nonzero())
                weight = torch.full((len(row),), 1.0 / max(len(row), 1))
                cost[heat] = float(losses.softmax(scores, row, column, weight))
        getattr(net, name).fill_(min(cost, key=lambda heat: cost[heat]))
    return {"heat": float(net.heat), "own_heat": float(net.own_heat)}


def blocks(net: HybridNet, tasks: Tasks, judges: Ints) -> Iterator[tuple[Scorer, Tensor, Bools]]:
    """Block by block: the scorer, scores (B, I) without the repeat head, and what was bought (B, I)."""
    vectors = net.product_vectors(torch.ones(tasks.n_products))
    for rows in np.split(judges, range(BLOCK, len(judges), BLOCK)):
        ask = tasks.ask(rows)
        scorer = Scorer(net, ask, vectors, tasks.shares, torch.ones(len(rows)))
        yield scorer, scorer.base().masked_fill(tasks.absent[ask.cut], -torch.inf), tasks.bought[rows].toarray() > 0


def _mean(values: Doubles) -> float:
    some = values[~np.isnan(values)]
    return float(some.mean()) if len(some) else 0.0
