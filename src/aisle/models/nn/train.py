"""The one training loop: shuffled mini-batches, AdamW, early stopping, one seed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

SCALAR_SPEED = 10.0
"""Gates, scales and other few-number parameters learn this much faster and without decay."""
SCALAR_SIZE = 32
GAIN = 1.002
"""Less progress than this does not buy another epoch; the best weights are kept all the same."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast to learn."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    patience: int
    """Epochs without a clearly better validation before stopping."""
    seed: int
    speeds: dict[str, float] = field(default_factory=dict)
    """Start of a parameter's name -> its share of the learning rate."""


@dataclass(frozen=True)
class Trained:
    """What the loop did."""

    epochs: int
    """Epochs behind the kept weights: the best on validation, else all of them."""
    curve: list[float] = field(default_factory=list)
    """Validation after 0, 1, 2 … epochs; higher is better."""
    losses: list[float] = field(default_factory=list)
    """Mean loss of each epoch."""


def train(
    net: nn.Module,
    size: int,
    step: Callable[[Tensor, torch.Generator], Tensor],
    schedule: Schedule,
    validate: Callable[[], float] | None = None,
) -> Trained:
    """Fit ``net`` in place to ``size`` examples; ``step(rows, generator)`` gives the loss of some of them.

    With ``validate`` the weights of the best epoch are kept. Random numbers come from one local generator, so that
    equal inputs give equal bytes on one machine, and nobody else's random numbers change.
    """
    generator = torch.Generator().manual_seed(schedule.seed)
    optimizer = torch.optim.AdamW(_groups(net, schedule), lr=schedule.learning_rate)
    curve = [validate()] if validate else []
    best, gained, kept, losses = 0, 0, _copy(net) if validate else {}, []
    for epoch in range(1, schedule.epochs + 1):
        net.train()
        total = 0.0
        for rows in torch.split(torch.randperm(size, generator=generator), schedule.batch_size):
            optimizer.zero_grad(set_to_none=True)
            loss = step(rows, generator)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        net.eval()
        losses.append(total / max(size, 1))
        if validate is None:
            continue
        curve.append(validate())
        log.debug("epoch=%d loss=%.4f validation=%.4f", epoch, losses[-1], curve[-1])
        if curve[-1] > curve[gained] * GAIN:
            gained = epoch
        if curve[-1] > curve[best]:
            best, kept = epoch, _copy(net)
        if epoch - gained >= schedule.patience:
            break
    if validate:
        net.load_state_dict(kept)
    net.eval()
    return Trained(best if validate else schedule.epochs, curve, losses)


def _groups(net: nn.Module, schedule: Schedule) -> list[dict[str, object]]:
    """Parameters by speed: few-number ones fast and without decay, others by the first name that fits."""
    groups: list[dict[str, object]] = []
    for name, parameter in net.named_parameters():
        small = parameter.numel() <= SCALAR_SIZE
        speed = next((value for prefix, value in schedule.speeds.items() if name.startswith(prefix + ".")), 1.0)
        rate = schedule.learning_rate * (SCALAR_SPEED if small else speed)
        groups.append({"params": [parameter], "lr": rate, "weight_decay": 0.0 if small else schedule.weight_decay})
    return groups


def _copy(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}
