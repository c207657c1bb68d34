"""The network of the hybrid: product tower, customer towers over histories, what-sells prior and repeat head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aisle.models.nn.histories import Histories
from aisle.models.nn.rows import Rows
from aisle.models.nn.sampling import find_pair
from aisle.models.nn.similarity import Similarity, all_pairs, attended, best_taste, pairs
from aisle.models.nn.start import explained
from aisle.models.nn.towers import SparseLinear, Tower
from aisle.types import Floats, Ints

CONTENT = 0.3
"""Where the gates of content start; ids start at 1."""


PRIOR = (0.05, 0.05, 0.2)
"""Where the weights of what sold in the last 1 and 4 windows, and ever, start."""
CONTENT_PARTS = ("indptr", "column", "value")
FAINT = -4.0
"""Where the other half-lives' weights start, before the softplus."""


class Sizes(NamedTuple):
    """All that ``build`` needs."""

    products: int
    customers: int
    """0 = the customer's identity is not used."""
    dim: int
    half_lives: int
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

    @property
    def own(self) -> Tensor:
        """(P,) sorted keys ``row * I + product`` of the histories."""
        return self.history.keys

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
        if isinstance(first, SparseLinear):  # without content nobody differs; a layer of units must start uneven
            nn.init.normal_(first.weight, std=0.0 if width == sizes.dim else 0.005)
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
    """(I,) 1 where the product ever sold, and so is known by its id."""
    boost: Tensor
    """Logarithm of how much stronger the repeat head is in lists than in the likelihood; learning does without."""
    own_shift: Tensor
    """What is added to own products: 0, or far below 0 where nobody buys anything twice."""

    def __init__(self, sizes: Sizes, shape: Shape, content: Rows) -> None:
        """Start at random but for the repeat head and what sells; ``place`` and ``explain`` put a start in.

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
            for taste in list(self.each_taste())[1:]:  # alike at the start they would stay alike
                taste.turn.weight.add_(torch.randn(*taste.turn.weight.shape) * sizes.dim**-0.5)
        self.product_bias = _zero(SparseLinear(len(groups), 1))
        self.customer_bias = _zero(SparseLinear(len(sizes.customer_groups), 1))
        self.heat = nn.Parameter(torch.full((), 1.0))
        self.prior = nn.Parameter(torch.tensor(PRIOR))
        self.repeat = nn.Parameter(torch.linspace(-2.0, 1.0, sizes.half_lives))
        self.own_heat = nn.Parameter(torch.zeros(()))
        self.loyal = nn.Linear(sizes.dim, 1, bias=False)
        self.repeatable = nn.Linear(sizes.dim, 1, bias=False)
        nn.init.zeros_(self.loyal.weight)
        nn.init.zeros_(self.repeatable.weight)
        for name in CONTENT_PARTS:
            self.register_buffer(f"content_{name}", getattr(content, name))
        self.register_buffer("sold", torch.zeros(sizes.products))
        self.register_buffer("has_id", torch.zeros(sizes.products))
        self.register_buffer("own_shift", torch.zeros(()))
        self.register_buffer("boost", torch.zeros(()))

    @property
    def content(self) -> Rows:
        """(I, F) what is known of the products."""
        indptr, column, value = (self.get_buffer(f"content_{name}") for name in CONTENT_PARTS)
        return Rows(indptr, column, value, len(self.sizes.product_groups))

    @property
    def starts(self) -> bool:
        """Whether vectors of products can be put in: there are ids, as wide as vectors."""
        return self.ids is not None and self.ids.weight.shape[1] == self.sizes.dim

    @torch.no_grad()
    def explain(self, vectors: Tensor) -> None:
        """Start the products' content from vectors (I, D), as far as it explains them."""
        first = self.product.first
        if self.starts and isinstance(first, SparseLinear):
            first.weight.mul_(0.05).add_(explained(self.content, vectors) / CONTENT)

    @torch.no_grad()
    def place(self, vectors: Tensor) -> None:
        """Start the products' ids from vectors (I, D), less what their content says already."""
        if self.starts and self.ids is not None:
            self.ids.weight.copy_(vectors - self.product.first(self.content))

    @torch.no_grad()
    def tell_apart(self, content: Rows, vectors: Tensor) -> None:
        """Start the customers' content (N, F) from what sets the vectors (N, D) of its carriers apart."""
        apart = explained(content, vectors - vectors.mean(dim=0)) / CONTENT
        for taste in self.each_taste():
            layer = taste.tower.first
            if isinstance(layer, SparseLinear) and layer.weight.shape == apart.shape:
                layer.weight.add_(apart)

    @torch.no_grad()
    def set_out(self, start: Mapping[str, float | None], half_lives: Sequence[float]) -> None:
        """Start the few numbers: heats, lift, the share of the sales prior, the half-life at which histories fade."""
        for name in ("heat", "own_heat", "lift"):
            if start.get(name) is not None:
                getattr(self, name).fill_(start[name])
        self.prior.copy_(torch.tensor(PRIOR) * (start.get("prior") or 1.0))
        apart = [abs(np.log(min(h, 1e4) / (start.get("half_life") or 1e4))) for h in half_lives]
        for taste in self.each_taste():
            taste.weigh.fill_(FAINT)
            taste.weigh[int(np.argmin(apart))] = 0.5

    def each_taste(self) -> Iterator[CustomerTower]:
        """All customer towers, those of attention last."""
        yield from (tower for tower in (*self.tastes, *self.attention) if isinstance(tower, CustomerTower))

    def product_vectors(self, keep: Tensor) -> Tensor:
        """(I, D); ``keep`` (I,) 0 hides a product's id."""
        content: Tensor = self.product.first(self.content)
        if self.ids is not None:
            content = content + self.ids.weight * (keep * self.has_id)[:, None] * self.id_gate
        return self.product.finish(content)

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
        own: Tensor = self.loyal(customers)[ask.history.row, 0] + self.repeatable(vectors)[ask.history.column, 0]
        return (
            base * torch.exp(self.own_heat + (0.0 if self.training else self.boost) + own.clamp(-3.0, 3.0))
            + self.own_shift
        )

    def sells(self, shares: Tensor) -> Tensor:
        """(C, I) the what-sells prior from log shares (C, S, I), and the bias of the products' content."""
        bias: Tensor = self.product_bias(self.content)[:, 0]
        return torch.einsum("csi,s->ci", shares, self.prior) + bias

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
        return scores.flatten().index_add(0, self.ask.own, self.parts["own"]).view(scores.shape)

    def pairs(self, row: Tensor, column: Tensor) -> Tensor:
        """The same scores for some pairs only, shaped like ``row`` and ``column`` broadcast."""
        parts, kind, net = self.parts, self.net.shape.similarity, self.net
        if row.dim() == 2:  # every row with the same products: one small product instead of a gather
            met = parts["met"][column[0]]
            like = self._one(all_pairs(kind, parts["customers"], met), all_pairs(kind, parts["look"], met))
        else:
            met = parts["met"][column]
            like = self._one(pairs(kind, parts["customers"][:, row], met), pairs(kind, parts["look"][:, row], met))
        place = find_pair(row, column, self.ask.own, len(self.vectors))
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
