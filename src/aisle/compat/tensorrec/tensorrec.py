"""``TensorRec``: the model class of TensorRec 0.26.2 on this library's torch parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from aisle.compat.tensorrec import fitting, store
from aisle.compat.tensorrec.errors import (
    ModelNotBiasedException,
    ModelNotFitException,
    ModelWithoutAttentionException,
)
from aisle.compat.tensorrec.inputs import single
from aisle.compat.tensorrec.loss_graphs import AbstractLossGraph, RMSELossGraph
from aisle.compat.tensorrec.net import Graphs, Net, Sizes, build
from aisle.compat.tensorrec.prediction_graphs import AbstractPredictionGraph, DotProductPredictionGraph
from aisle.compat.tensorrec.recommendation_graphs import predict_similar_items, rank_predictions
from aisle.compat.tensorrec.representation_graphs import AbstractRepresentationGraph, LinearRepresentationGraph
from aisle.errors import DataError, UsageError
from aisle.models.nn.rows import Rows
from aisle.types import Codes, Floats

BLOCK_CELLS = 1 << 20
"""Cells of users x items that are worked on at once."""
LINEAR, DOT, RMSE = LinearRepresentationGraph(), DotProductPredictionGraph(), RMSELossGraph()
GRAPHS: dict[str, type] = {
    "user_repr_graph": AbstractRepresentationGraph,
    "item_repr_graph": AbstractRepresentationGraph,
    "attention_graph": AbstractRepresentationGraph,
    "prediction_graph": AbstractPredictionGraph,
    "loss_graph": AbstractLossGraph,
}


class TensorRec:
    """A hybrid recommender: towers over sparse features of users and items, and a score of their vectors.

    ``predict`` and its kin are pure and may be called from many threads; only the fits change a model.
    """

    def __init__(
        self,
        n_components: int = 100,
        n_tastes: int = 1,
        user_repr_graph: AbstractRepresentationGraph = LINEAR,
        item_repr_graph: AbstractRepresentationGraph = LINEAR,
        attention_graph: AbstractRepresentationGraph | None = None,
        prediction_graph: AbstractPredictionGraph = DOT,
        loss_graph: AbstractLossGraph = RMSE,
        biased: bool = True,
        *,
        seed: int = 0,
    ) -> None:
        """``n_components``: width of the vectors; ``n_tastes``: vectors a user; ``seed`` is an addition of ours.

        With one seed the same data and settings give the same model, whatever else a script has drawn before.
        """
        graphs = (user_repr_graph, item_repr_graph, attention_graph, prediction_graph, loss_graph)
        for (name, base), graph in zip(GRAPHS.items(), graphs, strict=True):
            if not isinstance(graph, base) and not (graph is None and name == "attention_graph"):
                raise UsageError(f"{name} is {graph!r}; it must be an object of a class that inherits {base.__name__}")
        sizes: list[tuple[str, Any]] = [("n_components", n_components), ("n_tastes", n_tastes)]
        for name, value in sizes:
            if value is None or value < 1:
                raise UsageError(f"{name} is {value}; it must be 1 or more")
        if attention_graph is not None and n_tastes == 1:
            raise UsageError(
                "attention_graph weighs tastes and there is one; give n_tastes of 2 or more, or no attention"
            )
        self.n_components, self.n_tastes, self.biased, self.seed = n_components, n_tastes, biased, seed
        self.user_repr_graph_factory, self.item_repr_graph_factory = user_repr_graph, item_repr_graph
        self.attention_graph_factory = attention_graph
        self.prediction_graph_factory, self.loss_graph_factory = prediction_graph, loss_graph
        self._net: Net | None = None
        self._optimizer: torch.optim.Optimizer | None = None
        self._epochs = 0

    # --- fit --------------------------------------------------------------------------------------------------------

    def fit(
        self,
        interactions: Any,
        user_features: Any,
        item_features: Any,
        epochs: int = 100,
        learning_rate: float = 0.1,
        alpha: float = 0.00001,
        verbose: bool = False,
        user_batch_size: int | None = None,
        n_sampled_items: int | None = None,
    ) -> None:
        """Learn; a model that was fitted before goes on from there, as with ``fit_partial``.

        ``interactions`` (U, I), ``user_features`` (U, F), ``item_features`` (I, G): SciPy sparse matrices, or lists of
        them as ready batches (of items one, or as many). ``alpha`` times half the sum of squared weights is added to
        the mean loss; ``user_batch_size`` cuts consecutive users; sampled losses draw ``n_sampled_items`` a user.
        """
        plan = fitting.Plan(
            epochs=epochs,
            learning_rate=learning_rate,
            alpha=alpha,
            verbose=verbose,
            n_sampled_items=n_sampled_items,
            seed=self.seed,
            done=self._epochs,
        )
        plan.check(self.loss_graph_factory)
        parts = fitting.batches(interactions, user_features, item_features, user_batch_size)
        net, optimizer = self._build(parts[0].users.width, parts[0].items.width)
        for batch in parts:
            self._check_width(batch.users, "user")
            self._check_width(batch.items, "item")
        fitting.run(net, self.loss_graph_factory, optimizer, parts, plan)
        self._epochs += epochs

    def fit_partial(
        self,
        interactions: Any,
        user_features: Any,
        item_features: Any,
        epochs: int = 1,
        learning_rate: float = 0.1,
        alpha: float = 0.00001,
        verbose: bool = False,
        user_batch_size: int | None = None,
        n_sampled_items: int | None = None,
    ) -> None:
        """``fit`` with one epoch as default."""
        self.fit(
            interactions,
            user_features,
            item_features,
            epochs=epochs,
            learning_rate=learning_rate,
            alpha=alpha,
            verbose=verbose,
            user_batch_size=user_batch_size,
            n_sampled_items=n_sampled_items,
        )

    def _build(self, user_features: int, item_features: int) -> tuple[Net, torch.optim.Optimizer]:
        if self._net is None or self._optimizer is None:
            sizes = Sizes(
                n_components=self.n_components,
                n_tastes=self.n_tastes,
                biased=self.biased,
                user_features=user_features,
                item_features=item_features,
            )
            graphs = Graphs(
                user=self.user_repr_graph_factory,
                item=self.item_repr_graph_factory,
                attention=self.attention_graph_factory,
                prediction=self.prediction_graph_factory,
            )
            self._net = build(sizes, graphs, self.seed)
            self._net.eval()
            self._optimizer = fitting.optimizer_of(self._net)
        return self._net, self._optimizer

    # --- predict ----------------------------------------------------------------------------------------------------

    def predict(self, user_features: Any, item_features: Any) -> Floats:
        """(U, I) scores."""
        found: Floats = self._by_blocks("predict", user_features, item_features, lambda scores: scores, np.float32)
        return found

    def predict_rank(self, user_features: Any, item_features: Any) -> Codes:
        """(U, I) ranks, 1 = best; of equal scores the lower column comes first."""
        found: Codes = self._by_blocks("predict_rank", user_features, item_features, rank_predictions, np.int32)
        return found

    def predict_similar_items(self, item_features: Any, item_ids: Any, n_similar: int) -> list[list[tuple[int, float]]]:
        """For each id the ``n_similar`` best (id, score), the item itself among them; all items where there are fewer.

        The score is the model's own of an item as if it were a user, without biases; equal scores go by id.
        """
        net, items = self._fitted("predict_similar_items"), self._rows(item_features, "item")
        asked = np.asarray(item_ids, dtype=np.int64).ravel()
        if len(asked) and not (asked.min() >= 0 and asked.max() < len(items)):
            raise UsageError(f"item_ids go from {asked.min()} to {asked.max()}; allowed: 0 to {len(items) - 1}")
        found: list[list[tuple[int, float]]] = []
        with torch.inference_mode():
            vectors = net.items(items).vectors[0]
            for some in np.array_split(asked, max(1, len(asked) * len(items) // BLOCK_CELLS)):
                scores = predict_similar_items(self.prediction_graph_factory, vectors, torch.from_numpy(some))
                order = torch.argsort(scores, dim=1, descending=True, stable=True)[:, :n_similar]
                values = torch.gather(scores, 1, order)
                found += [
                    list(zip(ids, row, strict=True)) for ids, row in zip(order.tolist(), values.tolist(), strict=True)
                ]
        return found

    def predict_user_representation(self, user_features: Any) -> Floats:
        """(U, n_components) vectors, (n_tastes, U, n_components) with more tastes than one."""
        net, rows = self._fitted("predict_user_representation"), self._rows(user_features, "user")
        with torch.inference_mode():
            found = torch.stack(list(net.users(rows).vectors))
        return _array(found[0] if self.n_tastes == 1 else found)

    def predict_item_representation(self, item_features: Any) -> Floats:
        """(I, n_components) vectors."""
        net, rows = self._fitted("predict_item_representation"), self._rows(item_features, "item")
        with torch.inference_mode():
            return _array(net.items(rows).vectors[0])

    def predict_user_attention_representation(self, user_features: Any) -> Floats:
        """(n_tastes, U, n_components) attention vectors."""
        net = self._fitted("predict_user_attention_representation")
        if net.attention is None:
            raise ModelWithoutAttentionException
        rows = self._rows(user_features, "user")
        with torch.inference_mode():
            return _array(torch.stack(list(net.users(rows).attention or ())))

    def predict_user_bias(self, user_features: Any) -> Floats:
        """(U,) biases."""
        net = self._fitted("predict_user_bias")
        if net.user_bias is None:
            raise ModelNotBiasedException(actor="user")
        with torch.inference_mode():
            return _array(net.user_bias(self._rows(user_features, "user"))[:, 0])

    def predict_item_bias(self, item_features: Any) -> Floats:
        """(I,) biases."""
        net = self._fitted("predict_item_bias")
        if net.item_bias is None:
            raise ModelNotBiasedException(actor="item")
        with torch.inference_mode():
            return _array(net.item_bias(self._rows(item_features, "item"))[:, 0])

    def _by_blocks(
        self, method: str, user_features: Any, item_features: Any, finish: Callable[[Tensor], Tensor], dtype: Any
    ) -> Any:
        """(U, I): a function of the scores, computed block after block of users."""
        net = self._fitted(method)
        users, items = self._rows(user_features, "user"), self._rows(item_features, "item")
        found = np.empty((len(users), len(items)), dtype=dtype)
        with torch.inference_mode():
            listed = net.items(items)
            step = max(1, BLOCK_CELLS // max(len(items), 1))
            for at in range(0, len(users), step):
                some = torch.arange(at, min(at + step, len(users)))
                found[at : at + step] = finish(net.dense(net.users(users.take(some)), listed)).numpy()
        return found

    def _fitted(self, method: str) -> Net:
        if self._net is None:
            raise ModelNotFitException(method=method)
        return self._net

    def _rows(self, features: Any, actor: str) -> Rows:
        rows = Rows.of(single(features, f"{actor}_features"))
        self._check_width(rows, actor)
        return rows

    def _check_width(self, rows: Rows, actor: str) -> None:
        assert self._net is not None
        known = getattr(self._net.sizes, f"{actor}_features")
        if rows.width != known:
            raise DataError(
                f"{actor}_features have {rows.width} columns, the model was fitted with {known}; give the same columns "
                "in the same order"
            )

    # --- files ------------------------------------------------------------------------------------------------------

    def save_model(self, directory_path: str | Path) -> None:
        """Write the model into a folder, without any training data; see ``store``."""
        net = self._fitted("save_model")
        assert self._optimizer is not None
        graphs = {name: store.describe(getattr(self, f"{name}_factory")) for name in GRAPHS}
        manifest = {
            "settings": {name: getattr(self, name) for name in ("n_components", "n_tastes", "biased", "seed")},
            "features": [net.sizes.user_features, net.sizes.item_features],
            "graphs": graphs,
            "epochs": self._epochs,
        }
        store.write(Path(directory_path), manifest, net, self._optimizer)

    @classmethod
    def load_model(cls, directory_path: str | Path, **graphs: Any) -> Self:
        """The model of a folder; it predicts, and goes on learning, exactly as the one that was saved.

        Graphs of your own classes must have been imported; ``load_model(path, loss_graph=MyLoss(3))`` gives one that
        cannot be found or restored.
        """
        folder = Path(directory_path)
        if unknown := sorted(set(graphs) - set(GRAPHS)):
            raise UsageError(f"{unknown[0]} is no graph; allowed: {', '.join(GRAPHS)}")
        manifest, numbers = store.read(folder)
        parts = {
            name: store.graph_of(name, base, manifest["graphs"][name], graphs.get(name))
            for name, base in GRAPHS.items()
        }
        model = cls(**manifest["settings"], **parts)
        net, optimizer = model._build(*manifest["features"])
        store.fill(folder, numbers, net, optimizer)
        model._epochs = manifest["epochs"]
        return model


def _array(tensor: Tensor) -> Floats:
    found: Floats = tensor.numpy()
    return found
