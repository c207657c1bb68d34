"""What training makes small; each class names one of the library's losses, or is the base of your own.

The formulas and their sources stand in ``aisle.models.nn.losses`` and ``aisle.models.nn.regression``.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from aisle.errors import UsageError
from aisle.models.nn.losses import SAMPLED, Sample
from aisle.models.nn.regression import REGRESSION, Cells

if TYPE_CHECKING:
    from aisle.compat.tensorrec.step import Step

ALWAYS = ("tf_prediction_serial", "tf_interactions_serial", "tf_interactions", "tf_n_users", "tf_n_items")
DENSE = ("tf_prediction", "tf_rankings")
SAMPLES = ("tf_sample_predictions", "tf_n_sampled_items", "tf_sample_hits")


class AbstractLossGraph(ABC):
    """Base of your own losses.

    A loss is called with keywords and gets those that it names; with ``**kwargs`` it gets all that its flags allow.
    """

    is_dense = False
    """Scores of all users and items of a batch are wanted."""
    is_sample_based = False
    """Scores of ``n_sampled_items`` items drawn for each user are wanted."""
    is_sampled_with_replacement = False
    """An item may be drawn twice for one user."""

    @abstractmethod
    def connect_loss_graph(
        self,
        tf_prediction_serial: Tensor,
        tf_interactions_serial: Tensor,
        tf_interactions: Tensor,
        tf_n_users: int,
        tf_n_items: int,
        tf_prediction: Tensor,
        tf_rankings: Tensor,
        tf_sample_predictions: Tensor,
        tf_n_sampled_items: int,
    ) -> Tensor:
        """The loss of a batch of B users: one number, or a vector of which the mean is taken.

        Always given: ``tf_prediction_serial`` (P,) scores of the stored interactions, ``tf_interactions_serial`` (P,)
        their values, ``tf_interactions`` the same as a sparse COO tensor (B, I), ``tf_n_users`` B, ``tf_n_items`` I.
        With ``is_dense``: ``tf_prediction`` (B, I) scores, ``tf_rankings`` (B, I) ranks, 1 = best, without gradient.
        With ``is_sample_based``: ``tf_sample_predictions`` (B, Z) scores of the drawn items, ``tf_n_sampled_items`` Z
        and, if named, ``tf_sample_hits`` (B, Z): True where a drawn item is a positive interaction of its user.
        """

    def batch_loss(self, step: Step) -> Tensor:
        """The loss of a training step, from what ``connect_loss_graph`` asks for.

        Vectors and sampled losses are means over positives: these weigh a batch by the positives that it holds.
        """
        allowed = [*ALWAYS, *(DENSE if self.is_dense else ()), *(SAMPLES if self.is_sample_based else ())]
        found = call(self.connect_loss_graph, {name: partial(getattr, step, name) for name in allowed})
        return found.mean() * step.batch.share if found.ndim or self.is_sample_based else found


def call(function: Callable[..., Tensor], offered: dict[str, Callable[[], Any]]) -> Tensor:
    """Call a loss with those of the offered values that it names, or with all where it takes ``**kwargs``."""
    parameters = inspect.signature(function).parameters
    everything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    needed = [n for n, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    if missing := [name for name in needed if name not in offered]:
        raise UsageError(
            f"{function.__qualname__} asks for {', '.join(missing)}; given are {', '.join(offered)}. "
            f"Set is_dense = True for {', '.join(DENSE)} and is_sample_based = True for {', '.join(SAMPLES)}"
        )
    return function(**{name: get() for name, get in offered.items() if everything or name in parameters})


class _Stored(AbstractLossGraph):
    """A regression on stored interactions."""

    loss: ClassVar[str]

    def connect_loss_graph(self, tf_prediction_serial: Tensor, tf_interactions_serial: Tensor, **kwargs: Any) -> Tensor:  # type: ignore[override]
        """One number."""
        return REGRESSION[self.loss](
            Cells(tf_prediction_serial, tf_interactions_serial, torch.ones_like(tf_prediction_serial))
        )


class _Dense(AbstractLossGraph):
    """A regression on all cells; ``fit`` adds them up in blocks and keeps no (B, I) scores."""

    is_dense = True
    loss: ClassVar[str]

    def connect_loss_graph(self, tf_interactions: Tensor, tf_prediction: Tensor, **kwargs: Any) -> Tensor:  # type: ignore[override]
        """One number."""
        stored = tf_interactions.coalesce()
        row, column = stored.indices()
        totals = tf_prediction.sum(), tf_prediction.square().sum()
        score = tf_prediction[row, column]
        cells = Cells(score, stored.values(), torch.ones_like(score), tf_prediction.numel(), *totals)
        return REGRESSION[self.loss](cells)

    def batch_loss(self, step: Step) -> Tensor:
        """As ``connect_loss_graph``, from sums over blocks."""
        if type(self).connect_loss_graph.__module__ != __name__:  # a heir has a loss of its own
            return super().batch_loss(step)
        count = step.tf_n_users * step.tf_n_items
        score = step.tf_prediction_serial
        cells = Cells(score, step.tf_interactions_serial, torch.ones_like(score), count, *step.totals())
        return REGRESSION[self.loss](cells)


class RMSELossGraph(_Stored):
    """Root mean squared error over stored interactions."""

    loss = "rmse"


class RMSEDenseLossGraph(_Dense):
    """Root mean squared error over all cells, 0 where nothing is stored."""

    loss = "rmse_dense"


class SeparationLossGraph(_Stored):
    """Overlap of the scores of interactions above 0 with those of 0 and below."""

    loss = "separation"


class SeparationDenseLossGraph(_Dense):
    """The same over all cells, where nothing stored counts as 0."""

    loss = "separation_dense"

    def connect_loss_graph(self, tf_prediction: Tensor, tf_interactions: Tensor, **kwargs: Any) -> Tensor:  # type: ignore[override]
        """One number."""
        return super().connect_loss_graph(tf_interactions, tf_prediction)


class WMRBLossGraph(AbstractLossGraph):
    """Weighted margin-rank batch loss over interactions above 0, against drawn items that are none of the user's."""

    is_sample_based = True
    loss: ClassVar[str] = "wmrb"

    def connect_loss_graph(  # type: ignore[override]
        self,
        tf_prediction_serial: Tensor,
        tf_interactions: Tensor,
        tf_sample_predictions: Tensor,
        tf_n_items: int,
        tf_n_sampled_items: int,
        **kwargs: Any,
    ) -> Tensor:
        """One number, the mean over positives."""
        named = {name: value for name, value in (locals() | kwargs).items() if name in (*ALWAYS, *SAMPLES)}
        return call(self.weighted_margin_rank_batch, {name: partial(named.get, name) for name in named})

    def weighted_margin_rank_batch(
        self,
        tf_prediction_serial: Tensor,
        tf_interactions: Tensor,
        tf_sample_predictions: Tensor,
        tf_n_items: int,
        tf_n_sampled_items: int,
        tf_sample_hits: Tensor | None = None,
    ) -> Tensor:
        """The loss itself; arguments as in ``AbstractLossGraph.connect_loss_graph``."""
        stored = tf_interactions if tf_interactions.is_coalesced() else tf_interactions.coalesce()
        (row, column), value = stored.indices(), stored.values()
        score = tf_prediction_serial
        if not (value > 0).all():
            some = value > 0
            row, column, value, score = row[some], column[some], value[some], score[some]
        if len(value) == 0:
            return score.sum()
        hit = tf_sample_hits
        if hit is None:
            hit = torch.zeros_like(tf_sample_predictions, dtype=torch.bool)
        sample = Sample(
            positive=score,
            row=row,
            weight=torch.full_like(score, 1 / len(score)),
            negative=tf_sample_predictions,
            hit=hit,
            size=int(tf_n_items),
            share=self.share(column, value, int(tf_n_items)),
        )
        return SAMPLED[self.loss](sample)

    def share(self, column: Tensor, value: Tensor, n_items: int) -> Tensor | None:
        """(P,) factor of each positive's rank, or None."""
        return None


class BalancedWMRBLossGraph(WMRBLossGraph):
    """The same with a positive's rank times its share of all that the batch holds of its item, against popularity."""

    loss = "balanced_wmrb"

    def share(self, column: Tensor, value: Tensor, n_items: int) -> Tensor | None:
        """(P,)."""
        return value / torch.zeros(n_items).index_add(0, column, value)[column]
