"""How features become vectors: TensorRec's towers, a tower from a list of torch layers, and the base of your own.

A graph object is only a recipe: a model makes one tower from it for each taste, and keeps the weights itself. So one
object may serve users, items and attention, and several models::

    class Tanh(AbstractRepresentationGraph):
        def connect_representation_graph(self, tf_features, n_components, n_features, node_name_ending):
            linear = self.keep("linear", lambda: SparseLinear(n_features, n_components))
            return torch.tanh(linear(tf_features)), linear.parameters()
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aisle.errors import UsageError
from aisle.models.nn.rows import Rows
from aisle.models.nn.towers import SparseLinear, Tower

__all__ = [
    "AbstractKerasRepresentationGraph",
    "AbstractRepresentationGraph",
    "FeaturePassThroughRepresentationGraph",
    "LinearRepresentationGraph",
    "NormalizedLinearRepresentationGraph",
    "ReLURepresentationGraph",
    "Rows",
    "SparseLinear",
    "WeightedFeaturePassThroughRepresentationGraph",
    "rows_of",
]
Kept = TypeVar("Kept", bound=nn.Module | nn.Parameter)
DENSE_CELLS = 1 << 22
"""Features of a batch up to this many cells are made dense, which is quicker and the same for every layer."""
Connected = tuple[Tensor, Iterable[Tensor]]


class AbstractRepresentationGraph(ABC):
    """Base of your own towers."""

    _home: nn.Module | None = None

    @abstractmethod
    def connect_representation_graph(
        self, tf_features: Rows, n_components: int, n_features: int, node_name_ending: str
    ) -> Connected:
        """The vectors (N, n_components) of sparse features (N, n_features), and the weights that L2 pulls to 0.

        Called with keywords at each forward pass. Make weights with ``keep``. ``tf_features`` is a ``Rows``: give it
        to a ``SparseLinear`` for a product with a weight matrix, or take ``tf_features.dense()``.
        ``node_name_ending`` is ``user_0``, ``user_1`` …, ``attn_0`` … or ``item``.
        """

    def keep(self, name: str, make: Callable[[], Kept]) -> Kept:
        """The layer or parameter of this name: made at the first call, saved with the model, given back later."""
        if self._home is None:
            return make()
        key = name.replace(".", "_")
        if not hasattr(self._home, key):
            setattr(self._home, key, make())
        kept: Kept = getattr(self._home, key)
        return kept

    def at_home(self, home: nn.Module) -> Self:
        """A copy whose weights live in ``home``."""
        found = copy.copy(self)
        found._home = home
        return found


def _sparse_linear(layer: nn.Linear, rows: Rows) -> Tensor:
    """(N, out): what the layer makes of the dense rows, from their stored cells."""
    bias: Tensor | None = layer.bias
    summed = F.embedding_bag(
        rows.column,
        layer.weight.T,
        rows.indptr,
        mode="sum",
        per_sample_weights=rows.value,
        include_last_offset=True,
    )
    return summed if bias is None else summed + bias


def rows_of(features: Any) -> Rows:
    """Features as ``Rows``, from ``Rows`` or a sparse or dense torch tensor (N, F)."""
    if isinstance(features, Rows):
        return features
    sparse = features.to_sparse_coo().coalesce()
    (row, column), size = sparse.indices(), sparse.shape
    indptr = F.pad(torch.bincount(row, minlength=size[0]).cumsum(0), (1, 0))
    return Rows(indptr, column, sparse.values().to(torch.float32), size[1])


class _NamedTower(AbstractRepresentationGraph):
    """A tower that the library knows by name."""

    tower: ClassVar[str]

    def connect_representation_graph(
        self, tf_features: Rows, n_components: int, n_features: int, node_name_ending: str
    ) -> Connected:
        """The vectors (N, n_components), and the weights."""
        tower = self.keep(f"tower_{node_name_ending}", lambda: Tower(self.tower, n_features, n_components))
        return tower(rows_of(tf_features)), tower.parameters()


class LinearRepresentationGraph(_NamedTower):
    """xW; the rows of W start as unit vectors."""

    tower = "linear"


class NormalizedLinearRepresentationGraph(LinearRepresentationGraph):
    """xW / ‖xW‖."""

    tower = "normalized_linear"


class FeaturePassThroughRepresentationGraph(_NamedTower):
    """x itself; there must be ``n_components`` features."""

    tower = "pass_through"


class WeightedFeaturePassThroughRepresentationGraph(FeaturePassThroughRepresentationGraph):
    """x times one learned weight a feature; there must be ``n_components`` features."""

    tower = "weighted_pass_through"


class ReLURepresentationGraph(AbstractRepresentationGraph):
    """relu(xW + b)V with ``relu_size`` hidden units, 4 · n_components where None."""

    def __init__(self, relu_size: int | None = None) -> None:
        if relu_size is not None and relu_size < 1:
            raise UsageError(f"relu_size is {relu_size}; it must be 1 or more, or None")
        self.relu_size = relu_size

    def connect_representation_graph(
        self, tf_features: Rows, n_components: int, n_features: int, node_name_ending: str
    ) -> Connected:
        """The vectors (N, n_components), and the weights."""

        def make() -> nn.Module:
            if self.relu_size is None:
                return Tower("relu", n_features, n_components)
            first = SparseLinear(n_features, self.relu_size, bias=True)
            return nn.Sequential(first, nn.ReLU(), nn.Linear(self.relu_size, n_components, bias=False))

        tower = self.keep(f"tower_{node_name_ending}", make)
        return tower(rows_of(tf_features)), tower.parameters()


class AbstractKerasRepresentationGraph(AbstractRepresentationGraph):
    """A tower from the list of torch layers that your ``create_layers`` returns, applied one after the other."""

    @abstractmethod
    def create_layers(self, n_features: int, n_components: int) -> list[nn.Module]:
        """Torch layers from (N, n_features) to (N, n_components).

        ``Dense(64, activation="relu")`` of Keras becomes ``nn.LazyLinear(64), nn.ReLU()``. A first linear layer is
        multiplied with the sparse features where they are wide; any other first layer gets them dense.
        """

    def connect_representation_graph(
        self, tf_features: Rows, n_components: int, n_features: int, node_name_ending: str
    ) -> Connected:
        """The vectors (N, n_components), and the weights of all layers."""
        layers = self.keep(f"layers_{node_name_ending}", lambda: self._layers(n_features, n_components))
        rows = rows_of(tf_features)
        first, rest = layers[0], layers[1:]
        wide = len(rows) * rows.width > DENSE_CELLS
        start = _sparse_linear(first, rows) if wide and type(first) is nn.Linear else first(rows.dense())
        return rest(start), layers.parameters()

    def _layers(self, n_features: int, n_components: int) -> nn.Sequential:
        found: list[Any] = self.create_layers(n_features=n_features, n_components=n_components)
        wrong = [type(layer).__name__ for layer in found if not isinstance(layer, nn.Module)]
        if wrong or not found:
            raise UsageError(
                f"create_layers of {type(self).__name__} must return torch layers (torch.nn.Module), one at least; "
                f"found {wrong or 'none'}. nn.LazyLinear(64), nn.ReLU() do what Dense(64, activation='relu') does"
            )
        return nn.Sequential(*found)
