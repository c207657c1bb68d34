"""How vectors of users and items become scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from aisle.models.nn.similarity import Similarity, all_pairs, pairs


class AbstractPredictionGraph(ABC):
    """Base of your own scores; both methods must agree, and gradients must reach the vectors.

    The methods are called with keywords. Keep no state that changes: a prediction must be pure.
    """

    @abstractmethod
    def connect_dense_prediction_graph(self, tf_user_representation: Tensor, tf_item_representation: Tensor) -> Tensor:
        """(B, I) scores of all pairs of ``tf_user_representation`` (B, D) and ``tf_item_representation`` (I, D)."""

    @abstractmethod
    def connect_serial_prediction_graph(
        self, tf_user_representation: Tensor, tf_item_representation: Tensor, tf_x_user: Tensor, tf_x_item: Tensor
    ) -> Tensor:
        """(P,) scores of the pairs ``tf_x_user[p], tf_x_item[p]``; the vectors are (B, D) and (I, D)."""


class SimilarityGraph(AbstractPredictionGraph):
    """A similarity that the library knows by name."""

    similarity: ClassVar[Similarity]

    def connect_dense_prediction_graph(self, tf_user_representation: Tensor, tf_item_representation: Tensor) -> Tensor:
        """(B, I)."""
        return all_pairs(self.similarity, tf_user_representation, tf_item_representation)

    def connect_serial_prediction_graph(
        self, tf_user_representation: Tensor, tf_item_representation: Tensor, tf_x_user: Tensor, tf_x_item: Tensor
    ) -> Tensor:
        """(P,)."""
        return pairs(self.similarity, tf_user_representation[tf_x_user], tf_item_representation[tf_x_item])


class DotProductPredictionGraph(SimilarityGraph):
    """⟨u, v⟩."""

    similarity = "dot"


class CosineSimilarityPredictionGraph(SimilarityGraph):
    """⟨u, v⟩ / (‖u‖ ‖v‖)."""

    similarity = "cosine"


class EuclideanSimilarityPredictionGraph(SimilarityGraph):
    """-‖u - v‖."""

    similarity = "euclidean"
    epsilon = 1e-16
