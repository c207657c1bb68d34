"""How alike a customer and a product are, for pairs and for the whole catalogue; several tastes made one score.

Values and gradients are finite everywhere: a vector of length 0 has cosine 0 with everybody, and where two points
meet, the distance is 1e-8 and has no slope. The two forms agree, so that training sees the score that ranks.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

Similarity: TypeAlias = Literal["dot", "cosine", "euclidean"]
"""``⟨u, v⟩`` · ``⟨u/|u|, v/|v|⟩`` · ``-|u - v|``."""
TINY = 1e-16
"""Squared distances are at least this: the root has a slope everywhere."""


def pairs(kind: Similarity, customers: Tensor, products: Tensor) -> Tensor:
    """(...) similarity of each customer (..., D) and its product (..., D); the shapes broadcast."""
    if kind == "euclidean":
        return -_root((customers - products).square().sum(dim=-1))
    if kind == "cosine":
        customers, products = unit(customers), unit(products)
    return (customers * products).sum(dim=-1)


def all_pairs(kind: Similarity, customers: Tensor, products: Tensor) -> Tensor:
    """(..., I) similarity of each customer (..., D) and every product (I, D), by one matrix product.

    Distances come from ``|u|² + |v|² - 2⟨u, v⟩``: in float32 they are exact to about 3e-4 of the vectors' length.
    """
    if kind == "cosine":
        customers, products = unit(customers), unit(products)
    dot = customers @ products.T
    if kind != "euclidean":
        return dot
    lengths = customers.square().sum(dim=-1)[..., None] + products.square().sum(dim=-1)
    return -_root(lengths - 2.0 * dot)


def best_taste(scores: Tensor) -> Tensor:
    """(...) the highest of T tastes' scores (T, ...); tastes that tie share the gradient."""
    return scores.amax(dim=0)


def attended(scores: Tensor, attention: Tensor) -> Tensor:
    """(...) ``Σ_t softmax_t(attention) · scores`` over T tastes, both (T, ...): each product picks its tastes."""
    return (torch.softmax(attention, dim=0) * scores).sum(dim=0)


def unit(vectors: Tensor) -> Tensor:
    """(..., D) vectors of length 1; shorter than 1e-12 they stay as they are, so that no gradient explodes."""
    squared = vectors.square().sum(dim=-1, keepdim=True)
    return vectors / torch.where(squared > 1e-24, squared, 1.0).sqrt()


def _root(squared: Tensor) -> Tensor:
    """Square root of what is at least ``TINY``; below it there is no slope."""
    return squared.clamp(min=TINY).sqrt()
