"""Variants of one product (sizes, colours, packs): a list shows the best of each family, its places serve others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aisle.data.dataset import Dataset
from aisle.kernels.topk import CELLS, sort_keys
from aisle.types import Bools, Codes, Floats, Ints


@dataclass(frozen=True, eq=False)
class Families:
    """F families of at least two products, M products in all."""

    members: Ints
    """(M,) product codes, those of one family side by side."""
    starts: Ints
    """(F,) where each family starts in ``members``."""
    tie_rank: Codes
    """(I,) who wins where two variants score the same."""

    @classmethod
    def of(cls, dataset: Dataset) -> Families | None:
        """The families of a dataset; None where no product is a variant of another."""
        family = dataset.products.family
        if family is None:
            return None
        members = np.flatnonzero(np.bincount(family)[family] > 1)
        members = members[np.argsort(family[members], kind="stable")]
        if not len(members):
            return None
        return cls(members, np.flatnonzero(np.diff(family[members], prepend=-1)), dataset.tie_rank)

    @property
    def sizes(self) -> Ints:
        """(F,) products of each family."""
        return np.diff(self.starts, append=len(self.members))

    def keep_best(self, scores: Floats) -> Floats:
        """Scores (B, I) with all but the best of each family set to -inf, in place."""
        step = max(1, CELLS // len(self.members))
        for at in range(0, len(scores), step):
            mine = scores[at : at + step, self.members]
            keys = sort_keys(mine, self.tie_rank[self.members], len(self.tie_rank))
            best = np.maximum.reduceat(keys, self.starts, axis=1)
            mine[keys < np.repeat(best, self.sizes, axis=1)] = -np.inf
            scores[at : at + step, self.members] = mine
        return scores

    def spread(self, listed: Bools) -> Bools:
        """Places (B, I) widened, in place, to the whole family wherever one member is among them."""
        any_of = np.logical_or.reduceat(listed[:, self.members], self.starts, axis=1)
        listed[:, self.members] = np.repeat(any_of, self.sizes, axis=1)
        return listed


def widened(listed: Bools, families: Families | None) -> Bools:
    """Places (B, I) widened, in place, to whole families where a list holds one of each."""
    return listed if families is None else families.spread(listed)
