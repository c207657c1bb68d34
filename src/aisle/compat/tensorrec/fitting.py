"""Training as TensorRec does it: Adam, L2 in the loss, consecutive batches of users in their order, epoch by epoch.

The library's own loop shuffles, stops early and decays weights apart from the gradient; a script written for
TensorRec counts on none of that, and on a second ``fit`` that goes on where the first one ended.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from aisle.compat.tensorrec.errors import BatchNonSparseInputException
from aisle.compat.tensorrec.inputs import matrices
from aisle.compat.tensorrec.loss_graphs import AbstractLossGraph
from aisle.compat.tensorrec.net import Net
from aisle.compat.tensorrec.step import Batch, Step
from aisle.errors import DataError, UsageError
from aisle.models.nn.rows import Rows

log = logging.getLogger(__name__)
EPSILON = 1e-8


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The options of one ``fit``."""

    epochs: int
    learning_rate: float
    alpha: float
    verbose: bool
    n_sampled_items: int | None
    seed: int
    done: int
    """Epochs of earlier fits."""

    def check(self, loss: AbstractLossGraph) -> None:
        """Raise UsageError for an option that cannot be."""
        if loss.is_sample_based and (self.n_sampled_items is None or self.n_sampled_items <= 0):
            raise UsageError(
                f"{type(loss).__name__} draws items: n_sampled_items is {self.n_sampled_items}, it must be 1 or more"
            )
        if self.n_sampled_items is not None and not loss.is_sample_based:
            log.warning("n_sampled_items has no effect: %s draws no items", type(loss).__name__)
        if self.epochs < 0 or self.learning_rate <= 0 or self.alpha < 0:
            raise UsageError("epochs and alpha must be 0 or more, learning_rate above 0")


def batches(interactions: Any, user_features: Any, item_features: Any, user_batch_size: int | None) -> list[Batch]:
    """The batches of an epoch: matrices cut into consecutive users, or lists of ready batches."""
    if user_batch_size is not None:
        if not (sp.issparse(interactions) and sp.issparse(user_features)):
            raise BatchNonSparseInputException
        if user_batch_size < 1:
            raise UsageError(f"user_batch_size is {user_batch_size}; it must be 1 or more, or None")
    asked, users = matrices(interactions, "interactions"), matrices(user_features, "user_features")
    items = [Rows.of(one) for one in matrices(item_features, "item_features")]
    if user_batch_size is not None:
        cuts = range(0, users[0].shape[0], user_batch_size)
        if asked[0].shape[0] != users[0].shape[0]:
            raise DataError(f"interactions have {asked[0].shape[0]} rows, user_features {users[0].shape[0]}")
        asked, users = ([m[0][at : at + user_batch_size] for at in cuts] for m in (asked, users))
    if not sum(one.shape[0] for one in users):
        raise DataError("user_features have no rows: there is nobody to learn from; give one row a user")
    if len(asked) != len(users):
        raise DataError(f"{len(asked)} batches of interactions, {len(users)} of user_features; give as many of both")
    if len(items) not in (1, len(users)):
        raise DataError(f"{len(items)} batches of item_features; give one, or {len(users)} as of user_features")
    found = [Batch.of(*parts) for parts in zip(asked, users, itertools.cycle(items), strict=False)]
    average = max(sum(len(batch.positive) for batch in found), 1) / len(found)
    return [replace(batch, share=len(batch.positive) / average) for batch in found]


def optimizer_of(net: Net) -> torch.optim.Adam:
    """Adam over all weights; rates and the L2 of those that are pulled to 0 are set by each fit."""
    pulled = net.pulled()
    groups = [
        {"params": [p for p in net.parameters() if (id(p) in pulled) is wanted], "pulled": wanted}
        for wanted in (True, False)
    ]
    return torch.optim.Adam([g for g in groups if g["params"]], lr=1.0, eps=EPSILON, fused=True)


def run(net: Net, loss: AbstractLossGraph, optimizer: torch.optim.Optimizer, parts: list[Batch], plan: Plan) -> None:
    """Train in place. Each epoch has random numbers of its own, so that two fits in a row equal one longer fit."""
    for group in optimizer.param_groups:  # Adam's weight decay is the gradient of alpha · Σ W² / 2
        group["lr"], group["weight_decay"] = plan.learning_rate, plan.alpha if group["pulled"] else 0.0
    if plan.verbose and not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO)
    count = plan.n_sampled_items if loss.is_sample_based else None
    net.train()
    try:
        for epoch in range(plan.done, plan.done + plan.epochs):
            random = np.random.default_rng((plan.seed, epoch))
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(random.integers(2**62)))  # for layers that draw, such as dropout
                for number, batch in enumerate(parts):
                    step = Step(net, batch, count, loss.is_sampled_with_replacement, random)
                    value = _update(loss, optimizer, step, epoch)
                    if plan.verbose:
                        _report(net, step, plan.alpha, epoch, number, value)
    finally:
        net.eval()


def _update(loss: AbstractLossGraph, optimizer: torch.optim.Optimizer, step: Step, epoch: int) -> float:
    optimizer.zero_grad(set_to_none=True)
    found = loss.batch_loss(step)
    value = float(found.detach())
    if not np.isfinite(value):
        raise UsageError(
            f"the loss became {value} in epoch {epoch + 1}; use a smaller learning_rate, or features and interactions "
            "of smaller size"
        )
    if found.requires_grad:
        found.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return value


def _report(net: Net, step: Step, alpha: float, epoch: int, number: int, value: float) -> None:
    with torch.no_grad():
        scores = step.tf_prediction_serial
        pulled = net.pulled()
        squares = sum(float(p.square().sum()) for p in net.parameters() if id(p) in pulled)
        average = float(scores.mean()) if len(scores) else 0.0
    log.info(
        "epoch %d batch %d: loss %.6g, L2 term %.6g, mean score %.6g",
        epoch,
        number,
        value,
        alpha * squares / 2,
        average,
    )
