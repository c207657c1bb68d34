"""The network of a model: a tower for items, one for each taste of users, one for each taste's attention, biases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from aisle.compat.tensorrec.prediction_graphs import AbstractPredictionGraph, SimilarityGraph
from aisle.compat.tensorrec.recommendation_graphs import (
    bias_layer,
    bias_prediction_dense,
    bias_prediction_serial,
    collapse_mixture_of_tastes,
)
from aisle.compat.tensorrec.representation_graphs import AbstractRepresentationGraph
from aisle.errors import UsageError
from aisle.models.nn.rows import Rows

PAIR_NUMBERS = 1 << 25
"""Numbers gathered for pairs at once; more are gathered again on the way back instead of being kept."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What fixes the shapes of the weights."""

    n_components: int
    n_tastes: int
    biased: bool
    user_features: int
    item_features: int


@dataclass(frozen=True, kw_only=True)
class Graphs:
    """The recipes of a model."""

    user: AbstractRepresentationGraph
    item: AbstractRepresentationGraph
    attention: AbstractRepresentationGraph | None
    prediction: AbstractPredictionGraph


@dataclass(frozen=True, eq=False)
class Side:
    """N users or items."""

    vectors: Sequence[Tensor]
    """(N, D) for each taste; one for items."""
    attention: Sequence[Tensor] | None
    """(N, D) for each taste of users, or None."""
    bias: Tensor | None
    """(N,)."""

    def take(self, rows: slice) -> Side:
        """Some of them."""
        attention = None if self.attention is None else [part[rows] for part in self.attention]
        return Side([part[rows] for part in self.vectors], attention, None if self.bias is None else self.bias[rows])


class Representation(nn.Module):
    """One tower of a representation graph, with weights of its own."""

    def __init__(self, graph: AbstractRepresentationGraph, n_features: int, n_components: int, ending: str) -> None:
        """Makes the weights by letting two blank rows through."""
        super().__init__()
        self.home = nn.Module()
        self.graph = graph.at_home(self.home)
        self.n_features, self.n_components, self.ending = n_features, n_components, ending
        blank = Rows(torch.zeros(3, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0), n_features)
        with torch.no_grad():
            vectors, weights = self._connect(blank)
        if tuple(vectors.shape) != (2, n_components):
            raise UsageError(
                f"{type(graph).__name__} makes vectors of shape {tuple(vectors.shape)} for 2 rows; it must make "
                f"(2, {n_components}), n_components a row"
            )
        self.pulled = {id(weight) for weight in weights}
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._NormBase):
                module.reset_running_stats()  # blank rows are no data

    def _connect(self, rows: Rows) -> tuple[Tensor, list[Tensor]]:
        found: Any = self.graph.connect_representation_graph(
            tf_features=rows,
            n_components=self.n_components,
            n_features=self.n_features,
            node_name_ending=self.ending,
        )
        if isinstance(found, Tensor):
            return found, list(self.home.parameters())
        return found[0], list(found[1])

    def forward(self, rows: Rows) -> Tensor:
        """(N, D)."""
        return self._connect(rows)[0]


class Net(nn.Module):
    """All weights of a model; every method is a pure function of weights and inputs."""

    def __init__(self, sizes: Sizes, graphs: Graphs) -> None:
        super().__init__()
        self.sizes, self.prediction = sizes, graphs.prediction

        def towers(graph: AbstractRepresentationGraph, name: str) -> nn.ModuleList:
            found = (
                Representation(graph, sizes.user_features, sizes.n_components, f"{name}_{taste}")
                for taste in range(sizes.n_tastes)
            )
            return nn.ModuleList(found)

        self.tastes = towers(graphs.user, "user")
        self.attention = towers(graphs.attention, "attn") if graphs.attention is not None else None
        self.item = Representation(graphs.item, sizes.item_features, sizes.n_components, "item")
        self.user_bias = bias_layer(sizes.user_features) if sizes.biased else None
        self.item_bias = bias_layer(sizes.item_features) if sizes.biased else None

    def users(self, rows: Rows) -> Side:
        """Vectors, attention and biases of users."""
        attention = None if self.attention is None else [tower(rows) for tower in self.attention]
        bias = None if self.user_bias is None else self.user_bias(rows)[:, 0]
        return Side([tower(rows) for tower in self.tastes], attention, bias)

    def items(self, rows: Rows) -> Side:
        """Vectors and biases of items."""
        return Side([self.item(rows)], None, None if self.item_bias is None else self.item_bias(rows)[:, 0])

    def dense(self, users: Side, items: Side) -> Tensor:
        """(B, I) scores of all pairs."""
        found = self.match(users, items)
        if users.bias is None or items.bias is None:
            return found
        return bias_prediction_dense(found, users.bias, items.bias)

    def match(self, users: Side, items: Side) -> Tensor:
        """(B, I) scores of all pairs without the biases."""

        def scores(vectors: Sequence[Tensor]) -> list[Tensor]:
            connect = self.prediction.connect_dense_prediction_graph
            return [connect(tf_user_representation=one, tf_item_representation=items.vectors[0]) for one in vectors]

        return collapse_mixture_of_tastes(
            scores(users.vectors), None if users.attention is None else scores(users.attention)
        )

    def serial(self, users: Side, items: Side, row: Tensor, column: Tensor) -> Tensor:
        """(P,) scores of pairs; memory does not grow with P beyond a few numbers a pair."""
        each = max(1, PAIR_NUMBERS // (2 * self.sizes.n_components * self.sizes.n_tastes))
        if len(row) <= each:
            return self._serial(users, items, row, column)
        parts = (slice(at, at + each) for at in range(0, len(row), each))
        scores = partial(checkpoint, self._serial, users, items, use_reentrant=False, preserve_rng_state=False)
        return torch.cat([scores(row[some], column[some]) for some in parts])

    def _serial(self, users: Side, items: Side, row: Tensor, column: Tensor) -> Tensor:
        def scores(vectors: Sequence[Tensor]) -> list[Tensor]:
            connect = self.prediction.connect_serial_prediction_graph
            return [
                connect(
                    tf_user_representation=one,
                    tf_item_representation=items.vectors[0],
                    tf_x_user=row,
                    tf_x_item=column,
                )
                for one in vectors
            ]

        found = collapse_mixture_of_tastes(
            scores(users.vectors), None if users.attention is None else scores(users.attention)
        )
        if users.bias is None or items.bias is None:
            return found
        return bias_prediction_serial(found, users.bias, items.bias, row, column)

    @property
    def is_plain_product(self) -> bool:
        """A score is the inner product of one vector each, plus biases."""
        plain = isinstance(self.prediction, SimilarityGraph) and self.prediction.similarity == "dot"
        return plain and self.attention is None and len(self.tastes) == 1

    @property
    def has_cheap_blocks(self) -> bool:
        """Scores of all pairs are one matrix product, so that a block of them costs little and keeps nothing."""
        known = isinstance(self.prediction, SimilarityGraph) and self.prediction.similarity in ("dot", "cosine")
        return known and self.attention is None and len(self.tastes) == 1

    def pulled(self) -> set[int]:
        """Ids of the weights that L2 pulls to 0: what the towers name, and the biases."""
        found = {id(p) for layer in (self.user_bias, self.item_bias) if layer is not None for p in layer.parameters()}
        return found.union(*(m.pulled for m in self.modules() if isinstance(m, Representation)))


def build(sizes: Sizes, graphs: Graphs, seed: int) -> Net:
    """A fresh network; equal arguments give equal weights, and nobody else's random numbers change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Net(sizes, graphs)
