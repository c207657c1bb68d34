"""Draws that a seed repeats: negatives, and which of a row's purchases are targets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Negatives: TypeAlias = Literal["uniform", "popularity", "in_batch", "mixed"]
"""All products alike · what sells more comes more often · targets of the batch · half in_batch, half uniform."""
FLATTEN = 0.75
"""Popularity draws follow ``popularity ** FLATTEN`` (Mikolov et al., "Distributed Representations of Words and Phrases
and their Compositionality", NIPS 2013): best sellers come often, and the tail still comes."""


@dataclass(frozen=True, eq=False)
class Sampler:
    """Negatives of one step, shared by its rows, with the expectation that corrects a loss for uneven draws."""

    kind: Negatives
    count: int
    """Draws a step; a product drawn twice is there once, so Z may be less."""
    popularity: Tensor
    """(I,) how often each product sells, in any unit; what never sold counts like the least sold."""

    def draw(self, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(Z,) distinct products in random order, and (Z,) log of the expected number of times each is among them.

        ``targets`` (P,) products of the batch, P > 0. The expectation of in-batch draws takes targets for independent
        draws by popularity (Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations",
        RecSys 2019). ``mixed`` also pushes down what the batch lacks (Yang et al., "Mixed Negative Sampling for
        Learning Two-tower Neural Networks in Recommendations", WWW 2020).
        """
        everyone = torch.arange(len(self.popularity))
        if self.kind == "uniform" or (self.kind != "in_batch" and self.count >= len(everyone)):
            drawn = uniform_negatives(everyone, self.count, generator)
            return drawn, torch.full((len(drawn),), len(drawn) / len(everyone)).log()
        even = self.count - self.count // 2 if self.kind == "mixed" else 0
        drawn, chance, draws = self._uneven(targets, self.count - even, generator)
        missed = (1.0 - chance) ** draws
        if even:
            drawn = torch.cat((drawn, uniform_negatives(everyone, even, generator)))
            missed = missed * (1.0 - even / len(everyone))
        drawn = torch.unique(drawn)
        drawn = drawn[torch.randperm(len(drawn), generator=generator)]
        return drawn, (1.0 - missed[drawn]).log().to(torch.float32)

    def _uneven(self, targets: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, int]:
        """Products of ``count`` draws, the chance (I,) float64 of each product in one draw, and the number of draws."""
        if self.kind != "popularity":
            drawn = uniform_negatives(targets, count, generator)
            return drawn, self._sales, len(drawn)
        ticks = torch.rand(count, generator=generator, dtype=torch.float64)
        return torch.searchsorted(self._edges, ticks, right=True), self._flat, count

    @cached_property
    def _sales(self) -> Tensor:
        """(I,) share of each product in sales."""
        sold = self.popularity.double()
        some = sold > 0
        sold = torch.where(some, sold, sold[some].min() if bool(some.any()) else 1.0)
        return sold / sold.sum()

    @cached_property
    def _flat(self) -> Tensor:
        """(I,) share of each product in popularity draws."""
        return self._sales**FLATTEN / (self._sales**FLATTEN).sum()

    @cached_property
    def _edges(self) -> Tensor:
        """(I - 1,) where one product's share of [0, 1) ends and the next one's starts."""
        return self._flat.cumsum(0)[:-1]


def uniform_negatives(candidates: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(Z,) distinct places of ``candidates`` (C,) drawn uniformly, in random order; all of them where C <= count."""
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
