"""Small data for the tests of the TensorRec interface."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from torch import nn

from aisle.compat.tensorrec.representation_graphs import AbstractKerasRepresentationGraph

Matrix = Any


class Layers(AbstractKerasRepresentationGraph):
    """What a list of Keras layers becomes."""

    def create_layers(self, n_features: int, n_components: int) -> list[nn.Module]:
        return [nn.Linear(n_features, 12), nn.ReLU(), nn.LazyLinear(n_components)]


def noise(users: int = 12, items: int = 9, width: int = 6, seed: int = 0) -> tuple[Matrix, Matrix, Matrix]:
    """Interactions of both signs and features without meaning; each row of features has something."""
    random = np.random.default_rng(seed)
    cells = random.normal(size=(users, items)) * (random.random((users, items)) < 0.4)
    cells[0, :2] = 1.0, -1.0

    def features(size: int) -> Matrix:
        dense = random.normal(size=(size, width)) * (random.random((size, width)) < 0.6)
        dense[np.arange(size), np.arange(size) % width] = 1.0
        return sp.csr_matrix(dense.astype(np.float32))

    return sp.coo_matrix(cells.astype(np.float32)), features(users), features(items)


def blocks(users: int = 120, items: int = 60, kinds: int = 4, seed: int = 0) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    """A planted answer: users of a kind like the items of that kind. Train, hidden cells, and indicator features."""
    random = np.random.default_rng(seed)
    kind_of_user, kind_of_item = np.arange(users) % kinds, np.arange(items) % kinds
    likes = (kind_of_user[:, None] == kind_of_item) & (random.random((users, items)) < 0.7)
    hidden = likes & (random.random((users, items)) < 0.3)
    train, test = (sp.csr_matrix(m.astype(np.float32)) for m in (likes & ~hidden, hidden))
    groups = sp.csr_matrix(np.eye(kinds, dtype=np.float32)[kind_of_user])
    return train, test, sp.hstack([sp.identity(users), groups], format="csr"), sp.identity(items, format="csr")
