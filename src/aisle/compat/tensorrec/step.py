"""One training step, seen by a loss: scores of stored, drawn and all pairs, each computed when first asked for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from aisle.compat.tensorrec.net import Net
from aisle.compat.tensorrec.recommendation_graphs import bias_prediction_serial, rank_predictions
from aisle.compat.tensorrec.util import ring_sample
from aisle.errors import DataError
from aisle.models.nn.regression import block_totals, dot_totals
from aisle.models.nn.rows import Rows
from aisle.models.nn.sampling import is_pair
from aisle.types import Sparse

BLOCK_CELLS = 1 << 20
"""Cells of a batch that are looked at together."""
BLOCKS_WORTH = 64
"""A cell of a block costs about this much less than a pair looked up by itself."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Users with their stored interactions, and all items."""

    users: Rows
    items: Rows
    interactions: Tensor
    """(B, I) sparse COO, coalesced."""
    positive: Tensor
    """(P⁺,) sorted keys ``row * I + column`` of the interactions above 0."""
    share: float = 1.0
    """Positives of this batch over the mean of all: a loss that is a mean over positives weighs each of them alike."""

    @classmethod
    def of(cls, interactions: Sparse, users: Sparse, items: Rows) -> Batch:
        """From SciPy matrices (B, I) and (B, F)."""
        wanted = (users.shape[0], len(items))
        if interactions.shape != wanted:
            raise DataError(
                f"interactions are {interactions.shape[0]} x {interactions.shape[1]}, but there are {wanted[0]} rows "
                f"of user features and {wanted[1]} of item features; give one row a user and one column an item"
            )
        row = np.repeat(np.arange(wanted[0]), np.diff(interactions.indptr))
        column = interactions.indices.astype(np.int64)
        index = torch.from_numpy(np.stack((row, column)))
        value = torch.from_numpy(interactions.data)
        stored = torch.sparse_coo_tensor(index, value, wanted, is_coalesced=True, check_invariants=False)
        keys = torch.from_numpy((row * wanted[1] + column)[interactions.data > 0])
        return cls(Rows.of(users), items, stored, keys)


class Step:
    """The scores of one batch with today's weights; its attributes have the names that TensorRec gives them."""

    def __init__(self, net: Net, batch: Batch, count: int | None, replace: bool, random: np.random.Generator) -> None:
        """``count`` items are drawn for each user, or None."""
        self.net, self.batch = net, batch
        self.tf_interactions = batch.interactions
        self.tf_interactions_serial = batch.interactions.values()
        self.tf_n_users, self.tf_n_items = batch.interactions.shape
        self.row, self.column = batch.interactions.indices()
        self.users, self.items = net.users(batch.users), net.items(batch.items)
        self.drawn: Tensor | None = None
        if count is not None:
            count = count if replace else min(count, self.tf_n_items)
            drawn = ring_sample(self.tf_n_items, self.tf_n_users, count, replace, random)
            self.drawn = torch.from_numpy(drawn)
            self.tf_n_sampled_items = count

    @cached_property
    def _scores(self) -> tuple[Tensor, Tensor | None]:
        """(P,) of stored pairs and (B, Z) of drawn ones, in the cheaper of two ways."""
        cells, pairs = (
            self.tf_n_users * self.tf_n_items,
            len(self.row) + (0 if self.drawn is None else self.drawn.numel()),
        )
        if self.net.has_cheap_blocks and cells <= BLOCKS_WORTH * pairs:
            return self._by_blocks()
        stored = self.net.serial(self.users, self.items, self.row, self.column)
        if self.drawn is None:
            return stored, None
        everyone = torch.arange(self.tf_n_users).repeat_interleave(self.drawn.shape[1])
        found = self.net.serial(self.users, self.items, everyone, self.drawn.flatten())
        return stored, found.view_as(self.drawn)

    def _by_blocks(self) -> tuple[Tensor, Tensor | None]:
        """From blocks of users x all items, of which only the wanted scores are kept; biases come after."""
        stored, drawn = [], []
        size = self.tf_n_items
        for at, end, mine in self._blocks():
            block = self.net.match(self.users.take(slice(at, end)), self.items)
            stored.append(block.view(-1)[(self.row[mine] - at) * size + self.column[mine]])
            if self.drawn is not None:
                drawn.append(block.gather(1, self.drawn[at:end]))
        positive, negative = torch.cat(stored), torch.cat(drawn) if drawn else None
        by_user, by_item = self.users.bias, self.items.bias
        if by_user is not None and by_item is not None:
            positive = bias_prediction_serial(positive, by_user, by_item, self.row, self.column)
            if negative is not None and self.drawn is not None:
                negative = negative + by_user[:, None] + by_item[self.drawn]
        return positive, negative

    def _blocks(self) -> Iterator[tuple[int, int, slice]]:
        """First and last user of each block, and the place of its stored interactions."""
        step = max(1, BLOCK_CELLS // max(self.tf_n_items, 1))
        cuts = torch.arange(0, self.tf_n_users + step, step).clamp(max=self.tf_n_users)
        ends = torch.searchsorted(self.row, cuts).tolist()
        for place, (at, end) in enumerate(itertools.pairwise(cuts.tolist())):
            yield at, end, slice(ends[place], ends[place + 1])

    @property
    def tf_prediction_serial(self) -> Tensor:
        """(P,) scores of the stored interactions."""
        return self._scores[0]

    @property
    def tf_sample_predictions(self) -> Tensor | None:
        """(B, Z) scores of the drawn items."""
        return self._scores[1]

    @cached_property
    def tf_sample_hits(self) -> Tensor | None:
        """(B, Z) True where a drawn item is a positive of its user."""
        if self.drawn is None:
            return None
        size, keys = self.tf_n_items, self.batch.positive
        if self.tf_n_users * size > BLOCKS_WORTH * (len(keys) + self.drawn.numel()):
            return is_pair(torch.arange(self.tf_n_users)[:, None], self.drawn, keys, size)
        found = []
        for at, end, _ in self._blocks():
            first, last = torch.searchsorted(keys, torch.tensor([at * size, end * size])).tolist()
            flags = torch.zeros((end - at) * size, dtype=torch.bool)
            flags[keys[first:last] - at * size] = True
            found.append(flags.view(end - at, size).gather(1, self.drawn[at:end]))
        return torch.cat(found)

    @cached_property
    def tf_prediction(self) -> Tensor:
        """(B, I)."""
        return self.net.dense(self.users, self.items)

    @cached_property
    def tf_rankings(self) -> Tensor:
        """(B, I) ranks, 1 = best."""
        return rank_predictions(self.tf_prediction.detach())

    def totals(self) -> tuple[Tensor, Tensor]:
        """Sums of the scores of all cells, and of their squares."""
        users, items = self.users, self.items
        if self.net.is_plain_product:
            zero = torch.zeros(1)
            by_user = users.bias if users.bias is not None else zero.expand(self.tf_n_users)
            by_item = items.bias if items.bias is not None else zero.expand(self.tf_n_items)
            return dot_totals(users.vectors[0], items.vectors[0], by_user, by_item)

        def block(some: slice) -> Tensor:
            return self.net.dense(users, items.take(some))

        return block_totals(block, self.tf_n_items, max(1, BLOCK_CELLS // max(self.tf_n_users, 1)))
