"""The network of the basket transformer: what a journey says (explore), and what its own products say (repeat).

At a moment, with hidden state h of the journey, product vectors v and what sold s::

    explore(i) = awake · exp(heat) · ⟨h, v_i⟩ + Σ_m a_m · s_m(i)
    score(i)   = explore(i)                                                      never bought by the customer
    score(i)   = α · explore(i) + gate(h) · repeat(i) + shift(h)                 bought before
    repeat(i)  = 1 + Σ_t r_t · log(1 + c_t(i)) + ⟨w, v_i⟩ + MLP(facts(i))

Untrained, ``awake``, α, w, the MLP's last layer, shift and all but one of r and of a are 0 and the gate is 1: own
products come first, by decayed frequency, then what sells.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aisle.models.nn.blocks import AttentionBias, Block
from aisle.models.nn.histories import HALF_LIVES
from aisle.models.nn.journeys import FACTS
from aisle.models.nn.product_tower import HIDDEN, SPREAD, ProductTower
from aisle.models.nn.rows import Rows
from aisle.models.nn.shelf import SPANS
from aisle.models.nn.tokens import PARTS, Tokens
from aisle.models.nn.towers import SparseLinear

COUNTS = len(HALF_LIVES["time"])
EVER = 2
"""Row of what sells that counts all sales."""
FRACTION = 0.5
"""Gates of customers' attributes at the start."""


class Shape(NamedTuple):
    """What the network looks like, whatever the data."""

    dim: int
    layers: int
    heads: int
    length: int
    dropout: float
    gated: bool
    times: bool
    """The clock knows dates."""


class Pairs(NamedTuple):
    """P own products at Q moments."""

    row: Tensor
    """(P,) moment."""
    product: Tensor
    """(P,) place of the product's vector."""
    facts: Tensor
    """(P, F)."""
    explore: Tensor
    """(P,) score without regard to the product being one's own."""


class BasketNet(nn.Module):
    """See the module."""

    awake: Tensor
    fact_mean: Tensor
    fact_scale: Tensor

    def __init__(self, shape: Shape, tower: ProductTower, people_groups: list[int]) -> None:
        super().__init__()
        dim = shape.dim
        self.shape, self.tower = shape, tower
        self.prefix = nn.Parameter(torch.randn(dim) * SPREAD)
        gates = [FRACTION] * (max(people_groups) + 1 if people_groups else 0)
        self.people = SparseLinear(len(people_groups), dim, groups=people_groups, gates=gates) if gates else None
        self.calendar, self.question = (nn.ModuleList(_tables(dim, shape.times)) for _ in range(2))
        self.pool = nn.RMSNorm(dim)
        self.bias = AttentionBias(shape.heads, shape.length)
        self.blocks = nn.ModuleList(Block(dim, shape.heads, shape.dropout, shape.gated) for _ in range(shape.layers))
        self.last = nn.RMSNorm(dim)
        self.heat = nn.Parameter(torch.zeros(()))
        self.sells = nn.Parameter(torch.eye(SPANS)[EVER].clone())
        self.alpha = nn.Parameter(torch.zeros(()))
        self.counts = nn.Parameter(torch.eye(COUNTS)[-1].clone())
        self.like = nn.Parameter(torch.zeros(dim))
        self.facts = nn.Sequential(nn.Linear(len(FACTS), HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 1))
        self.gate, self.shift = nn.Linear(dim, 1), nn.Linear(dim, 1)
        for part in (*self.facts[2].parameters(), *self.gate.parameters(), *self.shift.parameters()):
            nn.init.zeros_(part)
        self.register_buffer("awake", torch.zeros(()))
        self.register_buffer("fact_mean", torch.zeros(len(FACTS)))
        self.register_buffer("fact_scale", torch.ones(len(FACTS)))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.heat.device

    def encode(self, tokens: Tokens, vectors: Tensor) -> Tensor:
        """(B, T, D) what each token says of the basket to come; ``vectors`` (M, D) of ``tokens.product``.

        Token t sees tokens 0 … t alone.
        """
        size, dim = len(tokens.size), self.shape.dim
        x = vectors.new_zeros(size * tokens.width, dim)
        x = x.index_add(0, tokens.bag, vectors * tokens.share[:, None]).view(size, tokens.width, dim)
        x = x * dim**0.5
        if tokens.calendar is not None:
            for place, table in enumerate(self.calendar):
                x = x + table(tokens.calendar[:, :, place])
        start = self.prefix.expand(size, dim)
        if self.people is not None:
            start = start + self.people(tokens.people)
        x = torch.cat((start[:, None], x[:, 1:]), dim=1)
        x = F.dropout(self.pool(x), self.shape.dropout, self.training)
        bias = self.bias(tokens.width, tokens.when)
        for block in self.blocks:
            x = block(x, bias)
        return x

    def ask(self, states: Tensor, calendar: Tensor | None) -> Tensor:
        """(Q, D) states at moments (Q, D), told when they are asked, as they meet product vectors."""
        if calendar is not None:
            for place, table in enumerate(self.question):
                states = states + table(calendar[:, place])
        return self.last(states) * torch.exp(self.heat) * self.awake  # type: ignore[no-any-return]

    def prior(self, sold: Tensor) -> Tensor:
        """(C, M) what sells says, from (C, 4, M)."""
        return torch.einsum("csm,s->cm", sold, self.sells)

    def again(self, h: Tensor, vectors: Tensor, pairs: Pairs) -> Tensor:
        """(P,) scores of own products; ``h`` (Q, D), ``vectors`` (M, D)."""
        known = (pairs.facts - self.fact_mean) / self.fact_scale
        repeat = 1.0 + pairs.facts[:, :COUNTS] @ self.counts + (vectors @ self.like)[pairs.product]
        repeat = repeat + self.facts(known)[:, 0]
        gate, shift = 2.0 * torch.sigmoid(self.gate(h))[:, 0], self.shift(h)[:, 0]
        out: Tensor = self.alpha * pairs.explore + gate[pairs.row] * repeat + shift[pairs.row]
        return out


def _tables(dim: int, times: bool) -> list[nn.Embedding]:
    tables = [nn.Embedding(size, dim) for size in PARTS] if times else []
    for table in tables:
        nn.init.zeros_(table.weight)
    return tables


def build(
    shape: Shape, content: Rows, groups: tuple[list[int], list[int]], numbers: Tensor, text: Tensor, seed: int
) -> BasketNet:
    """An untrained network; ``groups`` are the blocks of product and of customer columns."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BasketNet(shape, ProductTower(shape.dim, content, groups[0], numbers, text), groups[1])
