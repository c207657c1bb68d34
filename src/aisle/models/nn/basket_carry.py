"""Going on where the data changed: what a basket network learnt is carried over by name, not by place."""

from __future__ import annotations

import torch
from torch import Tensor

from aisle.models.nn.basket_net import BasketNet
from aisle.models.nn.text import turned

Labels = dict[str, list[str]]
"""What the rows of the network's tables stand for, by kind of table."""
KINDS = {
    "tower.ids.weight": ("products", 0),
    "tower.levels.weight": ("columns", 0),
    "tower.levels.gates": ("blocks", 0),
    "tower.numbers.0.weight": ("numbers", 1),
    "people.weight": ("people", 0),
    "people.gates": ("people blocks", 0),
}
"""Parameter -> what one of its axes stands for, and which axis."""


@torch.no_grad()
def carry_over(old: BasketNet, new: BasketNet, before: Labels, after: Labels) -> None:
    """Fill ``new`` with what ``old`` learnt; whatever has a label that is new stays as it starts.

    Text vectors of the new data are turned onto the directions that the old network reads.
    """
    target = dict(new.named_parameters())
    for name, value in old.named_parameters():
        if name in KINDS:
            kind, axis = KINDS[name]
            here, there = (place.to(value.device) for place in matches(before[kind], after[kind]))
            target[name].transpose(0, axis)[here] = value.transpose(0, axis)[there]
        elif name in target and target[name].shape == value.shape:
            target[name].copy_(value)
    for name in ("awake", "fact_mean", "fact_scale"):
        getattr(new, name).copy_(getattr(old, name))
    here, there = matches(before["products"], after["products"])
    new.tower.has_id[here] = torch.maximum(new.tower.has_id[here], old.tower.has_id[there])
    if new.tower.text is not None and old.tower.text is not None:
        parts = new.tower.text_of.cpu().numpy(), old.tower.text_of.cpu().numpy()
        text = torch.from_numpy(turned(*parts, (here.numpy(), there.numpy()))).to(new.device)
        width = min(text.shape[1], new.tower.text_of.shape[1])
        new.tower.text_of.zero_()
        new.tower.text_of[:, :width] = text[:, :width]
        new.tower.text.weight[:, :width] = old.tower.text.weight[:, :width]


def matches(before: list[str], after: list[str]) -> tuple[Tensor, Tensor]:
    """Places in ``after`` of the labels that both have, and their places in ``before``."""
    place = {label: at for at, label in enumerate(before)}
    pairs = [(at, place[label]) for at, label in enumerate(after) if label in place]
    both = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]
