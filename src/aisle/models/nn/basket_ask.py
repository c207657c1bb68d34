"""Requests to a basket transformer: all scores of a batch, and how well they answer what is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aisle.data.events import Batch
from aisle.models.nn.basket_net import COUNTS, EVER, BasketNet, Pairs
from aisle.models.nn.journeys import Comers, Journeys, Own, own
from aisle.models.nn.rows import Rows
from aisle.models.nn.shelf import SPANS
from aisle.models.nn.tokens import Stretch, Tokens, question_calendar
from aisle.types import Floats, Sparse

ROWS = 256
"""Journeys encoded at a time."""
PLACES = 10


@dataclass(frozen=True, eq=False)
class Request:
    """B customers, seen as of a moment."""

    tokens: Tokens
    calendar: Tensor | None
    mine: Own | None
    """Own products; None where people do not buy again."""

    @classmethod
    def of(cls, batch: Batch, people: Rows, length: int, comers: Comers | None) -> Request:
        """``people`` (B, F); without ``comers`` own products are products like any other."""
        journeys = Journeys.of(batch)
        tokens = Tokens.of(journeys, Stretch.ends(journeys, length), people)
        ends = journeys.ends()
        return cls(tokens, question_calendar(journeys, ends), own(journeys, ends, comers) if comers else None)

    def states(self, net: BasketNet, vectors: Tensor) -> Tensor:
        """(B, D) as they meet ``vectors`` (I, D)."""
        tokens = self.tokens.to(net.device)
        states = net.encode(tokens, vectors[tokens.product])
        ends = tokens.size - 1
        calendar = None if self.calendar is None else self.calendar.to(net.device)
        return net.ask(states[torch.arange(len(ends), device=net.device), ends], calendar)

    def scores(self, net: BasketNet, vectors: Tensor, sold: Tensor) -> Tensor:
        """(B, I) from ``vectors`` (I, D) and what sells now, ``sold`` (1, 4, I)."""
        h = self.states(net, vectors)
        scores = h @ vectors.T + net.prior(sold)
        if self.mine is None or not len(self.mine.product):
            return scores
        mine = (self.mine.row, self.mine.product.astype(np.int64), self.mine.facts)
        row, product, facts = (torch.from_numpy(part).to(net.device) for part in mine)
        pairs = Pairs(row, product, facts, scores[row, product])
        return scores.index_put((row, product), net.again(h, vectors, pairs))


@dataclass(frozen=True, eq=False)
class Judges:
    """Customers of the latest window and what they bought in it: they say when to stop."""

    requests: list[Request]
    wanted: Sparse
    """(N, I)."""
    owned: Sparse | None
    """(N, I) what they had bought before, where it is not to be listed."""
    sold: Tensor
    """(1, 4, I) before the window."""

    @torch.no_grad()
    def ndcg(self, net: BasketNet) -> float:
        """Mean NDCG@10 over the judges."""
        vectors, at, total = net.tower.everything(), 0, 0.0
        sold = self.sold.to(net.device)
        discount = 1.0 / np.log2(np.arange(PLACES) + 2.0)
        ideal = np.cumsum(discount)
        for request in self.requests:
            scores = request.scores(net, vectors, sold)
            rows = slice(at, at + len(scores))
            if self.owned is not None:
                row, column = (torch.from_numpy(part.astype(np.int64)) for part in self.owned[rows].nonzero())
                scores[row.to(net.device), column.to(net.device)] = -torch.inf
            top = torch.topk(scores, min(PLACES, scores.shape[1]), dim=1).indices.cpu().numpy()
            wanted = self.wanted[rows]
            real = np.take_along_axis(wanted.toarray() > 0, top, axis=1)
            best = ideal[np.clip(np.diff(wanted.indptr), 1, PLACES) - 1]
            total += float(((real @ discount[: top.shape[1]]) / best).sum())
            at += len(scores)
        return total / max(at, 1)

    def settle(self, net: BasketNet) -> dict[str, int]:
        """Let the judges choose the half-life of own counts and the window of what sells of an untrained network."""
        found = {"counts": COUNTS - 1, "sells": EVER}
        start(net, found)
        best = self.ndcg(net)
        for name, places in (("sells", range(SPANS - 1)), ("counts", range(COUNTS))):
            for place in places:
                trial = found | {name: place}
                start(net, trial)
                value = self.ndcg(net)
                if value > best * 1.01:
                    found, best = trial, value
        start(net, found)
        return found


def start(net: BasketNet, places: dict[str, int]) -> None:
    """Set which counts and which sales an untrained network ranks by."""
    with torch.no_grad():
        net.counts.copy_(torch.eye(COUNTS)[places["counts"]])
        net.sells.copy_(torch.eye(SPANS)[places["sells"]])


def in_blocks(parts: list[Floats]) -> Floats:
    """One array of all blocks."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
