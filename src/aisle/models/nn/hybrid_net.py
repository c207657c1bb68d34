"""The network of the hybrid: product tower, customer towers over histories, what-sells prior and repeat head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aisle.models.nn.histories import Histories
from aisle.models.nn.rows import Rows
from aisle.models.nn.sampling import find_pair
from aisle.models.nn.start import explained
from aisle.models.nn.similarity import Similarity, all_pairs, attended, best_taste, pairs
from aisle.models.nn.towers import SparseLinear, Tower
from aisle.types import Floats, Ints

CONTENT = 0.3
"""Where the gates of content start; ids start at 1."""


FAINT = -4.0
"""Where the other half-lives' weights start, before the softplus."""


class Sizes(NamedTuple):
    """All that ``build`` needs."""

    products: int
    customers: int
    """0 = the customer's identity is not used."""
    dim: int
    half_lives: int
    spans: int
    """Time spans of the what-sells prior."""
    product_groups: tuple[int, ...]
    """(F,) block of each column of the products' content."""
    customer_groups: tuple[int, ...]


class Shape(NamedTuple):
    """What the network is made of."""

    product_tower: str
    customer_tower: str
    similarity: Similarity
    tastes: int
    attention: bool


@dataclass(frozen=True, eq=False)
class Ask:
    """B questions as the network takes them."""

    history: Rows
    """Own products."""
    counts: Tensor
    """(P, T) decayed counts of baskets with the product of each cell of ``history``."""
    content: Rows
    """Groups, attributes and RFMV."""
    ids: Tensor
    """(B,) code + 1, 0 = unknown."""
    cut: Tensor
    """(B,) which row of the what-sells table holds at the moment of the question."""

    def __len__(self) -> int:
        return len(self.cut)

    @classmethod
    def of(cls, histories: Histories, content: Rows, ids: Ints, cut: Ints, n_products: int) -> Ask:
        """From arrays."""
        product = torch.from_numpy(histories.product.astype(np.int64))
        indptr = torch.from_numpy(histories.indptr.astype(np.int64))
        history = Rows(indptr, product, torch.ones(len(product)), n_products)
        counts = torch.from_numpy(histories.counts.astype(np.float32))
        return cls(history, counts, content, torch.from_numpy(ids), torch.from_numpy(cut))

    @classmethod
    def join(cls, parts: list[Ask]) -> Ask:
        """The questions of all parts, one below the other."""
        return cls(
            Rows.join([part.history for part in parts]),
            torch.cat([part.counts for part in parts]),
            Rows.join([part.content for part in parts]),
            torch.cat([part.ids for part in parts]),
            torch.cat([part.cut for part in parts]),
        )

    def take(self, rows: Tensor) -> Ask:
        """Some questions."""
        return Ask(
            self.history.take(rows),
            self.counts[self.history.cells(rows)],
            self.content.take(rows),
            self.ids[rows],
            self.cut[rows],
        )

    def without(self, mask: Tensor) -> Ask:
        """The same questions with the cells of the history under ``mask`` (P,) gone."""
        return replace(self, history=self.history.keep(~mask), counts=self.counts[~mask])


class CustomerTower(nn.Module):
    """``u = body(M h + groups, attributes and RFMV (+ id))`` over the weighed mean h of what was bought."""

    def __init__(self, sizes: Sizes, name: str) -> None:
        """``M`` starts as the identity where widths allow."""
        super().__init__()
        groups = sizes.customer_groups
        gates = [CONTENT] * (max(groups, default=-1) + 1)
        self.weigh = nn.Parameter(torch.zeros(sizes.half_lives))
        self.faint = nn.Parameter(torch.tensor(-1.5))
        self.temper = nn.Parameter(torch.tensor(0.25))
        self.tower = Tower(name, len(groups), sizes.dim, groups=groups, gates=gates)
        first = self.tower.first
        width = first.weight.shape[1] if isinstance(first, SparseLinear) else sizes.dim
        if isinstance(first, SparseLinear):
            nn.init.normal_(first.weight, std=0.005)
        self.turn = nn.Linear(sizes.dim, width, bias=False)
        nn.init.eye_(self.turn.weight)
        if sizes.customers:
            self.ids = nn.Embedding(sizes.customers + 1, width, padding_idx=0)
            nn.init.normal_(self.ids.weight, std=0.1 * width**-0.5)
            self.ids.weight.data[0] = 0.0

    def forward(self, vectors: Tensor, sold: Tensor, ask: Ask, keep: Tensor) -> Tensor:
        """(B, D); ``vectors`` (I, D), ``sold`` (I,) log sales; ``keep`` (B,) 0 hides a customer's id."""
        history = ask.history
        weight = (torch.log1p(ask.counts) * F.softplus(self.weigh)).sum(dim=1)  # (P,)
        weight = weight * torch.exp(-self.temper * sold[history.column])
        bag = F.embedding_bag(
            history.column, vectors, history.indptr, mode="sum", per_sample_weights=weight, include_last_offset=True
        )
        mass = torch.zeros(len(bag)).index_add(0, history.row, weight)
        few = F.softplus(self.faint)
        out = (self.turn(bag) + few * self.tower.first(ask.content)) / (mass + few)[:, None]
        if hasattr(self, "ids"):
            out = out + keep[:, None] * self.ids(ask.ids)
        return self.tower.finish(out)


class HybridNet(nn.Module):
    """The network; the formulas stand in ``aisle.models.hybrid_factorization``."""

    sold: Tensor
    """(I,) log(1 + purchases)."""
    has_id: Tensor
    """(I,) 1 where the product sold often enough to be known by its id."""
    own_shift: Tensor
    """What is added to own products: 0, or far below 0 where nobody buys anything twice."""

    def __init__(self, sizes: Sizes, shape: Shape, content: Rows) -> None:
        """Start so that the untrained score is own decayed frequency, then popularity, with a whisper of taste.

        ``content`` (I, F) what is known of the products.
        """
        super().__init__()
        self.sizes, self.shape = sizes, shape
        groups = sizes.product_groups
        gates = [CONTENT] * (max(groups, default=-1) + 1)
        self.product = Tower(shape.product_tower, len(groups), sizes.dim, groups=groups, gates=gates)
        first = self.product.first
        self.ids: nn.Embedding | None = None
        if isinstance(first, SparseLinear):  # features that pass through leave no room for an id
            self.ids = nn.Embedding(sizes.products, first.weight.shape[1])
            nn.init.normal_(self.ids.weight, std=first.weight.shape[1] ** -0.5)
            self.id_gate = nn.Parameter(torch.ones(()))
        self.lift = nn.Parameter(torch.tensor(0.125))
        self.tastes = nn.ModuleList(CustomerTower(sizes, shape.customer_tower) for _ in range(shape.tastes))
        attend = shape.tastes if shape.attention else 0
        self.attention = nn.ModuleList(CustomerTower(sizes, shape.customer_tower) for _ in range(attend))
        with torch.no_grad():
            for taste in list(self.tastes)[1:] + list(self.attention):  # alike at the start they would stay alike
                taste.turn.weight.add_(torch.randn(taste.turn.weight.shape) * sizes.dim**-0.5)  # type: ignore[operator]
        self.product_bias = _zero(SparseLinear(len(groups), 1))
        self.customer_bias = _zero(SparseLinear(len(sizes.customer_groups), 1))
        self.heat = nn.Parameter(torch.full((), 1.0))
        self.prior = nn.Parameter(torch.tensor([0.05] * (sizes.spans - 1) + [0.2]))
        self.repeat = nn.Parameter(torch.linspace(-2.0, 1.0, sizes.half_lives))
        self.own_heat = nn.Parameter(torch.zeros(()))
        self.loyal = nn.Linear(sizes.dim, 1, bias=False)
        self.repeatable = nn.Linear(sizes.dim, 1, bias=False)
        nn.init.zeros_(self.loyal.weight)
        nn.init.zeros_(self.repeatable.weight)
        for name in ("indptr", "column", "value"):
            self.register_buffer(f"content_{name}", getattr(content, name))
        self.register_buffer("sold", torch.zeros(sizes.products))
        self.register_buffer("has_id", torch.zeros(sizes.products))
        self.register_buffer("own_shift", torch.zeros(()))

    @property
    def content(self) -> Rows:
        """(I, F) what is known of the products."""
        parts = (self.get_buffer(f"content_{name}") for name in ("indptr", "column", "value"))
        return Rows(*parts, width=len(self.sizes.product_groups))

    def product_vectors(self, keep: Tensor) -> Tensor:
        """(I, D); ``keep`` (I,) 0 hides a product's id."""
        content: Tensor = self.product.first(self.content)
        if self.ids is None:
            return self.product.finish(content)
        return self.product.finish(content + self.ids.weight * (keep * self.has_id)[:, None] * self.id_gate)

    def look_back(self, half_lives: Sequence[float], half_life: float | None) -> None:
        """Let histories start with the weight that a purchase has at one half-life, None = for ever."""
        apart = [abs(np.log(min(h, 1e4) / (half_life or 1e4))) for h in half_lives]
        with torch.no_grad():
            for taste in self.tastes:
                taste.weigh.fill_(FAINT)  # type: ignore[operator, union-attr]
                taste.weigh[int(np.argmin(apart))] = 0.5  # type: ignore[operator, union-attr, index]

    def start(self, vectors: Tensor, content: Rows, customers: Tensor) -> None:
        """Start from known vectors of products (I, D): content as far as it explains them, ids as the rest.

        Customers' ``content`` (N, F) starts as what sets the vectors ``customers`` (N, D) of its carriers apart. Towers
        whose first layer is wider start at random.
        """
        first = self.product.first
        with torch.no_grad():
            if self.ids is not None and isinstance(first, SparseLinear) and first.weight.shape[1] == self.sizes.dim:
                first.weight.mul_(0.05).add_(explained(self.content, vectors) / CONTENT)
                self.ids.weight.copy_(vectors - first(self.content))
            apart = explained(content, customers - customers.mean(dim=0)) / CONTENT
            for taste in self.tastes:
                layer = taste.tower.first  # type: ignore[union-attr]
                if isinstance(layer, SparseLinear) and layer.weight.shape == apart.shape:
                    layer.weight.add_(apart)

    def lifted(self, vectors: Tensor) -> Tensor:
        """(I, D) product vectors as they meet customers: longer where much is sold."""
        return vectors * torch.exp(self.lift * self.sold)[:, None]

    def customer_vectors(self, vectors: Tensor, ask: Ask, keep: Tensor, attention: bool = False) -> Tensor:
        """(T, B, D); ``keep`` (B,) 0 hides a customer's id."""
        towers = self.attention if attention else self.tastes
        return torch.stack([tower(vectors, self.sold, ask, keep) for tower in towers])

    def again(self, vectors: Tensor, customers: Tensor, ask: Ask) -> Tensor:
        """(P,) the repeat head for each pair of a customer (B, D) and an own product."""
        base = (torch.log1p(ask.counts) * F.softplus(self.repeat)).sum(dim=1)
        own = self.loyal(customers)[ask.history.row, 0] + self.repeatable(vectors)[ask.history.column, 0]
        return base * torch.exp(self.own_heat + own.clamp(-3.0, 3.0)) + self.own_shift

    def sells(self, shares: Tensor) -> Tensor:
        """(C, I) the what-sells prior from log shares (C, S, I), and the bias of the products' content."""
        return torch.einsum("csi,s->ci", shares, self.prior) + self.product_bias(self.content)[:, 0]

    def scale(self) -> Tensor:
        """1 / τ."""
        return self.heat.exp()


@dataclass(frozen=True, eq=False)
class Scorer:
    """The scores of B questions, for all products or for some pairs: one piece serves learning and answering."""

    net: HybridNet
    ask: Ask
    vectors: Tensor
    """(I, D) product vectors."""
    shares: Tensor
    """(C, S, I) log shares, of which ``ask.cut`` picks a row each."""
    keep: Tensor
    """(B,) 0 hides a customer's id."""

    def __post_init__(self) -> None:
        net, at = self.net, (self.vectors, self.ask, self.keep)
        parts = {"customers": net.customer_vectors(*at), "met": net.lifted(self.vectors)}
        parts["look"] = net.customer_vectors(*at, attention=True) if net.shape.attention else parts["customers"][:0]
        parts["own"] = net.again(self.vectors, parts["customers"][0], self.ask)
        parts["bias"] = net.customer_bias(self.ask.content)[:, 0]
        parts["prior"] = net.sells(self.shares)
        object.__setattr__(self, "parts", parts)

    parts: dict[str, Tensor] = None  # type: ignore[assignment]

    def base(self, columns: slice = slice(None)) -> Tensor:
        """(B, I) scores of some neighbouring products without the repeat head."""
        parts, kind = self.parts, self.net.shape.similarity
        met = parts["met"][columns]
        like = self._one(all_pairs(kind, parts["customers"], met), all_pairs(kind, parts["look"], met))
        return self.net.scale() * like + parts["prior"][:, columns][self.ask.cut] + parts["bias"][:, None]

    def all(self) -> Tensor:
        """(B, I) scores of all products."""
        scores = self.base()
        history = self.ask.history
        place = history.row * len(self.vectors) + history.column
        return scores.flatten().index_add(0, place, self.parts["own"]).view(scores.shape)

    def pairs(self, row: Tensor, column: Tensor) -> Tensor:
        """The same scores for some pairs only, shaped like ``row`` and ``column`` broadcast."""
        parts, kind, net = self.parts, self.net.shape.similarity, self.net
        if row.dim() == 2:  # every row with the same products: one small product instead of a gather
            met = parts["met"][column[0]]
            like = self._one(all_pairs(kind, parts["customers"], met), all_pairs(kind, parts["look"], met))
        else:
            met = parts["met"][column]
            like = self._one(pairs(kind, parts["customers"][:, row], met), pairs(kind, parts["look"][:, row], met))
        history = self.ask.history
        place = find_pair(row, column, history.row * len(self.vectors) + history.column, len(self.vectors))
        own = torch.cat((parts["own"], torch.zeros(1)))  # place -1 reads the zero
        return net.scale() * like + parts["prior"][self.ask.cut[row], column] + parts["bias"][row] + own[place]

    def _one(self, tastes: Tensor, looks: Tensor) -> Tensor:
        """One score from those of the T tastes (T, …)."""
        if len(tastes) == 1:
            return tastes[0]
        return attended(tastes, looks) if self.net.shape.attention else best_taste(tastes)


def log_shares(sold: Floats) -> Floats:
    """(…, I) log of each product's smoothed share of sales, 0 for the best seller."""
    logs = np.log(sold + 0.5)
    return np.asarray(logs - logs.max(axis=-1, keepdims=True), dtype=np.float32)


def _zero(layer: SparseLinear) -> SparseLinear:
    nn.init.zeros_(layer.weight)
    return layer
