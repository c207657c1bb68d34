"""Learning goes on where the data changed: what was learnt is carried over by name, not by place."""

from __future__ import annotations

import re

import numpy as np
import torch
from torch import Tensor

from aisle.models.nn.hybrid_net import HybridNet
from aisle.types import Sparse

Labels = dict[str, list[str]]
"""What the rows of the network's tables stand for, by kind of table."""
KINDS = {
    "product.first.weight": "product columns",
    "product.first.gates": "product blocks",
    "product_bias.weight": "product columns",
    "customer_bias.weight": "customer columns",
    "tower.first.weight": "customer columns",
    "tower.first.gates": "customer blocks",
}
"""End of a parameter's name -> what its rows stand for; ``ids.weight`` are products or, under a taste, customers."""


def carry_over(old: HybridNet, new: HybridNet, before: Labels, after: Labels, counts: Sparse) -> None:
    """Fill ``new`` with what ``old`` learnt; rows of products, customers, columns and blocks are matched by label.

    ``counts`` (U, I) purchases of the data to come: a product whose id ``old`` did not learn starts as the mean of the
    histories of those who bought it. ``new`` knows already what sold.
    """
    target = dict(new.named_parameters())
    with torch.no_grad():
        for name, value in old.named_parameters():
            kind = _kind(name)
            if kind is None:
                target[name].copy_(value)
                continue
            here, there = _matches(before[kind], after[kind])
            target[name][here] = value[there]
        if new.ids is not None:
            here, there = _matches(before["products"], after["products"])
            known = torch.zeros(len(after["products"]), dtype=torch.bool)
            known[here] = old.has_id[there] > 0  # what was listed but never sold has learnt no id
            new.has_id[known] = 1.0
            _introduce(new, known, counts)


def _kind(name: str) -> str | None:
    """What the rows of a parameter stand for; None where it is the same for all data."""
    if name == "ids.weight":
        return "products"
    if re.fullmatch(r"(tastes|attention)\.\d+\.ids\.weight", name):
        return "customers"
    return next((kind for end, kind in KINDS.items() if name.endswith(end)), None)


def _matches(before: list[str], after: list[str]) -> tuple[Tensor, Tensor]:
    """Places in ``after`` of the labels that both have, and their places in ``before``."""
    place = {label: at for at, label in enumerate(before)}
    pairs = [(at, place[label]) for at, label in enumerate(after) if label in place]
    both = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _introduce(net: HybridNet, known: Tensor, counts: Sparse) -> None:
    """Ids of products that are new: from the histories of their buyers, less what their content says already."""
    vectors = net.product_vectors(known.to(torch.float32))
    told = torch.where(known[:, None], vectors, 0.0)
    x = counts.sign()
    length = np.maximum(np.asarray(x.sum(axis=1)).ravel(), 1.0)
    histories = np.asarray(x @ told.numpy()) / length[:, None]
    buyers = np.maximum(np.asarray(x.sum(axis=0)).ravel(), 1.0)
    wish = torch.from_numpy((np.asarray(x.T @ histories) / buyers[:, None]).astype(np.float32))
    size = told[known].norm(dim=1).mean() if bool(known.any()) else torch.ones(())
    length_of = wish.norm(dim=1, keepdim=True)
    content = net.product.first(net.content)
    if net.ids is not None and wish.shape == net.ids.weight.shape:
        ids = (wish / length_of.clamp(min=1e-9) * size - content) / net.id_gate.clamp(min=0.1)
        net.ids.weight[~known] = torch.where(length_of > 0, ids, 0.0)[~known]  # without buyers content alone speaks
