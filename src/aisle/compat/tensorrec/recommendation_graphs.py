"""The steps between vectors and ranks, as functions of torch tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aisle.compat.tensorrec.prediction_graphs import AbstractPredictionGraph
from aisle.compat.tensorrec.representation_graphs import rows_of
from aisle.models.nn.similarity import all_pairs, attended, best_taste
from aisle.models.nn.towers import SparseLinear


def bias_layer(n_features: int) -> SparseLinear:
    """One bias a feature, 0 at the start."""
    layer = SparseLinear(n_features, 1)
    nn.init.zeros_(layer.weight)
    return layer


def project_biases(tf_features: Any, n_features: int) -> tuple[nn.Parameter, Tensor]:
    """A new bias of each feature (n_features, 1), 0 at the start, and the bias of each row (N,)."""
    layer = bias_layer(n_features)
    return layer.weight, layer(rows_of(tf_features))[:, 0]


def split_sparse_tensor_indices(tf_sparse_tensor: Tensor, n_dimensions: int) -> Iterator[Tensor]:
    """The indices of a sparse COO tensor, one axis after the other."""
    return iter(tf_sparse_tensor.coalesce().indices()[:n_dimensions])


def bias_prediction_dense(
    tf_prediction: Tensor, tf_projected_user_biases: Tensor, tf_projected_item_biases: Tensor
) -> Tensor:
    """(B, I) scores plus the biases (B,) of users and (I,) of items."""
    return tf_prediction + tf_projected_user_biases[:, None] + tf_projected_item_biases


def bias_prediction_serial(
    tf_prediction_serial: Tensor,
    tf_projected_user_biases: Tensor,
    tf_projected_item_biases: Tensor,
    tf_x_user: Tensor,
    tf_x_item: Tensor,
) -> Tensor:
    """(P,) scores plus the biases of their users and items."""
    return tf_prediction_serial + tf_projected_user_biases[tf_x_user] + tf_projected_item_biases[tf_x_item]


def densify_sampled_item_predictions(
    tf_sample_predictions_serial: Tensor, tf_n_sampled_items: int, tf_n_users: int
) -> Tensor:
    """(n_users, n_sampled_items) from the scores of one user's sample after the other's."""
    return tf_sample_predictions_serial.reshape(int(tf_n_users), int(tf_n_sampled_items))


def rank_predictions(tf_prediction: Tensor) -> Tensor:
    """(B, I) int32 ranks of each row's scores, 1 = best; of equal scores the lower column comes first."""
    order = torch.argsort(tf_prediction, dim=1, descending=True, stable=True)
    places = torch.arange(1, tf_prediction.shape[1] + 1, dtype=torch.int32).expand_as(order)
    return torch.empty_like(order, dtype=torch.int32).scatter_(1, order, places)


def collapse_mixture_of_tastes(
    tastes_predictions: Sequence[Tensor], tastes_attentions: Sequence[Tensor] | None
) -> Tensor:
    """One score of each taste's: the best, or with attention the mean weighted by its softmax over tastes."""
    if len(tastes_predictions) == 1 and tastes_attentions is None:
        return tastes_predictions[0]
    stacked = torch.stack(list(tastes_predictions))
    if tastes_attentions is None:
        return best_taste(stacked)
    return attended(stacked, torch.stack(list(tastes_attentions)))


def relative_cosine(tf_tensor_1: Tensor, tf_tensor_2: Tensor) -> Tensor:
    """(N, M) cosine of each row of one with each row of the other; 0 where a row is 0."""
    return all_pairs("cosine", tf_tensor_1, tf_tensor_2)


def predict_similar_items(
    prediction_graph_factory: AbstractPredictionGraph, tf_item_representation: Tensor, tf_similar_items_ids: Any
) -> Tensor:
    """(N, I) scores of N items, as if they were users, with all items (I, D); without biases."""
    asked = torch.as_tensor(tf_similar_items_ids, dtype=torch.int64)
    return prediction_graph_factory.connect_dense_prediction_graph(
        tf_user_representation=tf_item_representation[asked], tf_item_representation=tf_item_representation
    )
