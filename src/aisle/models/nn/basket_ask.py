"""Requests to a basket transformer: all scores of a batch, and how well they answer what is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aisle.data.entities import Features
from aisle.data.events import Batch
from aisle.models.base import Dots
from aisle.models.nn.basket_net import COUNTS, EVER, BasketNet, Pairs
from aisle.models.nn.journeys import FACTS, Comers, Journeys, Own, own, spans
from aisle.models.nn.rows import Rows
from aisle.models.nn.shelf import SPANS
from aisle.models.nn.tokens import Stretch, Tokens, question_calendar
from aisle.types import Floats, Ints, Sparse

ROWS = 256
"""Journeys encoded at a time."""
PLACES = 10


@dataclass(frozen=True, eq=False)
class Request:
    """B customers, seen as of a moment."""

    rows: Ints
    """(B,) their rows in the batch that was asked."""
    tokens: Tokens
    calendar: Tensor | None
    mine: Own | None
    """Own products; None where people do not buy again."""

    @classmethod
    def of(cls, batch: Batch, rows: Ints, people: Rows, length: int, comers: Comers | None) -> Request:
        """Some rows of a batch, all described by ``people``; without ``comers`` own products are like any other."""
        cells, sizes = spans(batch.indptr[rows], batch.indptr[rows + 1])
        indptr = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        customers, lines = batch.customers[rows], batch.lines.take(cells)
        part = Batch(customers, indptr, lines, Features(), batch.at, batch.n_products, batch.clock)
        journeys = Journeys.of(part)
        tokens = Tokens.of(journeys, Stretch.ends(journeys, length), people.take(torch.from_numpy(rows)))
        ends = journeys.ends()
        return cls(rows, tokens, question_calendar(journeys, ends), own(journeys, ends, comers) if comers else None)

    def states(self, net: BasketNet, vectors: Tensor) -> Tensor:
        """(B, D) as they meet ``vectors`` (I, D)."""
        if not bool(net.awake):
            return vectors.new_zeros(len(self.rows), net.shape.dim)
        tokens = self.tokens.to(net.device)
        states = net.encode(tokens, vectors[tokens.product])
        ends = tokens.size - 1
        calendar = None if self.calendar is None else self.calendar.to(net.device)
        return net.ask(states[torch.arange(len(ends), device=net.device), ends], calendar)

    def scores(self, net: BasketNet, vectors: Tensor, sold: Tensor) -> Tensor:
        """(B, I) from ``vectors`` (I, D) and what sells now, ``sold`` (1, 4, I)."""
        h, prior = self.states(net, vectors), net.prior(sold)
        scores = h @ vectors.T + prior
        row, product, own = self.own_scores(net, h, vectors, prior[0])
        return scores.index_put((row, product), own) if len(row) else scores

    def own_scores(self, net: BasketNet, h: Tensor, vectors: Tensor, prior: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Row, product and score (P,) of own products; ``h`` (B, D) states, ``prior`` (I,) what what sells says."""
        mine = self.mine or Own(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros((0, len(FACTS)), np.float32))
        parts = (mine.row, mine.product.astype(np.int64), mine.facts)
        row, product, facts = (torch.from_numpy(part).to(net.device) for part in parts)
        explore = (h[row] * vectors[product]).sum(dim=1) + prior[product]
        return row, product, net.again(h, vectors, Pairs(row, product, facts, explore))


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
        vectors, total = net.tower.everything(), 0.0
        sold = self.sold.to(net.device)
        discount = 1.0 / np.log2(np.arange(PLACES) + 2.0)
        ideal = np.cumsum(discount)
        for request in self.requests:
            scores = request.scores(net, vectors, sold)
            rows = request.rows
            if self.owned is not None:
                row, column = (torch.from_numpy(part.astype(np.int64)) for part in self.owned[rows].nonzero())
                scores[row.to(net.device), column.to(net.device)] = -torch.inf
            top = torch.topk(scores, min(PLACES, scores.shape[1]), dim=1).indices.cpu().numpy()
            wanted = self.wanted[rows]
            real = np.take_along_axis(wanted.toarray() > 0, top, axis=1)
            best = ideal[np.clip(np.diff(wanted.indptr), 1, PLACES) - 1]
            total += float(((real @ discount[: top.shape[1]]) / best).sum())
        return total / max(self.wanted.shape[0], 1)

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


def together(parts: list[tuple[Ints, Tensor]], size: int) -> Floats:
    """(B, …) the parts in the order of their rows."""
    out = np.empty((size, *parts[0][1].shape[1:]), dtype=np.float32)
    for rows, part in parts:
        out[rows] = part.float().cpu().numpy()
    return out


@torch.no_grad()
def told(requests: list[Request], size: int, net: BasketNet, vectors: Tensor, sold: Tensor) -> Dots:
    """Scores of the ``size`` customers of some requests as vectors; own products have scores of their own."""
    queries, prior = np.zeros((size, net.shape.dim), dtype=np.float32), net.prior(sold.to(net.device))[0]
    pairs = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))]
    for request in requests:
        h = request.states(net, vectors)
        queries[request.rows] = h.cpu().numpy()
        row, product, score = (part.cpu().numpy() for part in request.own_scores(net, h, vectors, prior))
        pairs.append((request.rows[row], product, score))
    return Dots(queries, *(np.concatenate(part) for part in zip(*pairs, strict=True)))
