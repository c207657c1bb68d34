"""The network of the hybrid: product tower, customer tower over histories, what-sells prior and repeat head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aisle.models.nn.features import FeatureSum, start_embedding
from aisle.models.nn.histories import Histories
from aisle.models.nn.sampling import find_pair
from aisle.types import Floats, Ints


class Sizes(NamedTuple):
    """All that ``build`` needs."""

    products: int
    customers: int
    """0 = the customer's identity is not used."""
    dim: int
    half_lives: int
    product_levels: tuple[int, ...]
    product_numbers: int
    customer_levels: tuple[int, ...]
    customer_numbers: int
    spans: int
    """Time spans of the what-sells prior."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """N questions."""

    histories: Histories
    customers: Ints
    """(N,) code + 1, 0 = unknown."""
    levels: Ints
    numbers: Floats
    cut: Ints
    """(N,) which row of the what-sells table holds at the moment of the question."""

    def take(self, rows: Ints) -> Inputs:
        """Some questions."""
        parts = (self.customers[rows], self.levels[rows], self.numbers[rows], self.cut[rows])
        return Inputs(self.histories.take(rows), *parts)

    def __len__(self) -> int:
        return len(self.cut)

    @classmethod
    def join(cls, parts: list[Inputs]) -> Inputs:
        """The questions of all parts, one below the other."""
        names = ("customers", "levels", "numbers", "cut")
        rest = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
        return cls(Histories.join([part.histories for part in parts]), *rest)


class HybridNet(nn.Module):
    """The network; the formulas stand in ``aisle.models.hybrid_factorization``."""

    product_levels: Tensor
    """(I, L) code + 1 of each level, 0 = blank."""
    product_numbers: Tensor
    """(I, M) standardised."""
    has_id: Tensor
    """(I,) 1 where the product sold often enough to be known by its id."""

    def __init__(self, sizes: Sizes) -> None:
        """Start so that the untrained score is own decayed frequency, then popularity, with a whisper of taste."""
        super().__init__()
        dim, self.sizes = sizes.dim, sizes
        self.ids = nn.Embedding(sizes.products, dim)
        start_embedding(self.ids)
        self.id_gate = nn.Parameter(torch.ones(()))
        self.product_content = FeatureSum(sizes.product_levels, sizes.product_numbers, dim, gate=0.3)
        self.customer_content = FeatureSum(sizes.customer_levels, sizes.customer_numbers, dim, gate=0.3)
        self.customer_ids = nn.Embedding(sizes.customers + 1, dim, padding_idx=0) if sizes.customers else None
        if self.customer_ids is not None:
            start_embedding(self.customer_ids)
            self.customer_gate = nn.Parameter(torch.full((), 0.1))
        self.weigh = nn.Parameter(torch.zeros(sizes.half_lives))
        self.faint = nn.Parameter(torch.zeros(()))
        self.turn = nn.Linear(dim, dim, bias=False)
        nn.init.eye_(self.turn.weight)
        self.bend = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        for part in (self.bend[0], self.bend[2]):
            nn.init.zeros_(part.bias)  # type: ignore[arg-type]
        self.bend_gate = nn.Parameter(torch.full((), 0.1))
        self.heat = nn.Parameter(torch.full((), 1.0))
        self.prior = nn.Parameter(torch.tensor([0.05] * (sizes.spans - 1) + [0.2]))
        self.repeat = nn.Parameter(torch.linspace(-2.0, 1.0, sizes.half_lives))
        self.loyal = nn.Linear(dim, 1, bias=False)
        self.repeatable = nn.Linear(dim, 1, bias=False)
        nn.init.zeros_(self.loyal.weight)
        nn.init.zeros_(self.repeatable.weight)
        self.register_buffer("product_levels", torch.zeros(sizes.products, len(sizes.product_levels)).long())
        self.register_buffer("product_numbers", torch.zeros(sizes.products, sizes.product_numbers))
        self.register_buffer("has_id", torch.zeros(sizes.products))

    def product_vectors(self, keep: Tensor) -> Tensor:
        """(I, D) unit rows; ``keep`` (I,) 0 hides a product's id."""
        ids = self.ids.weight * (keep * self.has_id)[:, None] * self.id_gate
        content = self.product_content(self.product_levels, self.product_numbers)
        return F.normalize(ids + content, dim=1)

    def customer_vectors(self, vectors: Tensor, ask: dict[str, Tensor], keep: Tensor) -> Tensor:
        """(B, D) rows of length at most 1; ``keep`` (B,) 0 hides a customer's id."""
        weight = (torch.log1p(ask["counts"]) * F.softplus(self.weigh)).sum(dim=1)  # (P,)
        starts = ask["indptr"]
        bag = F.embedding_bag(
            ask["product"], vectors, starts, mode="sum", per_sample_weights=weight, include_last_offset=True
        )
        mass = torch.zeros(len(bag)).index_add(0, ask["row"], weight)
        history = bag / (mass + F.softplus(self.faint))[:, None]
        out = self.turn(history) + self.customer_content(ask["levels"], ask["numbers"])
        if self.customer_ids is not None:
            out = out + self.customer_gate * keep[:, None] * self.customer_ids(ask["customers"])
        out = out + self.bend_gate * self.bend(out)
        shrunk: Tensor = out / (out.norm(dim=1, keepdim=True) + 0.1)
        return shrunk

    def again(self, vectors: Tensor, customers: Tensor, ask: dict[str, Tensor]) -> Tensor:
        """(P,) the repeat head for each pair of a customer and an own product."""
        base = (torch.log1p(ask["counts"]) * F.softplus(self.repeat)).sum(dim=1)
        own = self.loyal(customers)[ask["row"], 0] + self.repeatable(vectors)[ask["product"], 0]
        return base * torch.exp(own.clamp(-3.0, 3.0))

    def sells(self, shares: Tensor) -> Tensor:
        """(C, I) the what-sells prior from log shares (C, S, I)."""
        return torch.einsum("csi,s->ci", shares, self.prior)

    def scale(self) -> Tensor:
        """1 / τ."""
        return self.heat.exp()


def tensors(inputs: Inputs) -> dict[str, Tensor]:
    """The questions as the network takes them."""
    return {
        "indptr": torch.from_numpy(inputs.histories.indptr.copy()),
        "row": torch.from_numpy(inputs.histories.row),
        "product": torch.from_numpy(inputs.histories.product.astype(np.int64)),
        "counts": torch.from_numpy(inputs.histories.counts.copy()),
        "customers": torch.from_numpy(inputs.customers.copy()),
        "levels": torch.from_numpy(inputs.levels.copy()),
        "numbers": torch.from_numpy(inputs.numbers.copy()),
        "cut": torch.from_numpy(inputs.cut.copy()),
    }


def log_shares(sold: Floats) -> Floats:
    """(…, I) log of each product's smoothed share of sales, 0 for the best seller."""
    logs = np.log(sold + 0.5)
    return np.asarray(logs - logs.max(axis=-1, keepdims=True), dtype=np.float32)


def all_scores(net: HybridNet, vectors: Tensor, customers: Tensor, shares: Tensor, ask: dict[str, Tensor]) -> Tensor:
    """(B, I) scores of all products; ``shares`` (C, S, I) log shares, of which ``ask["cut"]`` picks a row each."""
    scores = net.scale() * (customers @ vectors.T) + net.sells(shares)[ask["cut"]]
    place = ask["row"] * len(vectors) + ask["product"]
    again = net.again(vectors, customers, ask)
    return scores.flatten().index_add(0, place, again).view(scores.shape)


def pair_scores(
    net: HybridNet,
    towers: tuple[Tensor, Tensor],
    shares: Tensor,
    ask: dict[str, Tensor],
    row: Tensor,
    column: Tensor,
) -> Tensor:
    """The same scores for some pairs only, shaped like ``row`` and ``column`` broadcast."""
    vectors, customers = towers
    shared = row.dim() == 2  # every row with the same products: one small product instead of a gather
    taste = customers @ vectors[column[0]].T if shared else (customers[row] * vectors[column]).sum(dim=-1)
    own = ask["row"] * len(vectors) + ask["product"]
    place = find_pair(row, column, own, len(vectors))
    again = torch.cat((net.again(vectors, customers, ask), torch.zeros(1)))  # place -1 reads the zero
    return net.scale() * taste + net.sells(shares)[ask["cut"][row], column] + again[place]
