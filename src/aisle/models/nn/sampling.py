"""Draws that a seed repeats: negatives, and which of a row's purchases are targets."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform_negatives(candidates: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(Z,) distinct products drawn uniformly from ``candidates`` (C,), all of them where C <= count."""
    if len(candidates) <= count:
        return candidates
    return candidates[torch.randperm(len(candidates), generator=generator)[:count]]


def is_pair(row: Tensor, column: Tensor, known: Tensor, size: int) -> Tensor:
    """Bool, shaped like ``row`` and ``column`` broadcast: is the pair among ``known``?

    ``known`` (P,) holds sorted keys ``row * size + column``.
    """
    return find_pair(row, column, known, size) >= 0


def find_pair(row: Tensor, column: Tensor, known: Tensor, size: int) -> Tensor:
    """Place of each pair in the sorted keys ``known`` (P,), -1 where it is not among them."""
    key = row * size + column
    if len(known) == 0:
        return torch.full_like(key, -1)
    place = torch.searchsorted(known, key).clamp(max=len(known) - 1)
    return torch.where(known[place] == key, place, -1)


def keep_mask(count: int, drop: float, generator: torch.Generator) -> Tensor:
    """(count,) float32: 0 with probability ``drop``, else 1 (not rescaled: the model must work with and without)."""
    return (torch.rand(count, generator=generator) >= drop).to(torch.float32)
