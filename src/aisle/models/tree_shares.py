"""Tree shares: what a customer buys next as a walk down the product tree, shared with people alike.

The chance of a product is the product of shares along its path, ``P(i | u) = Π s_u(c | p)``: of all purchases below
node p, the share that falls to its child c (a category, in the end a product). Each share is shrunk along the customer
tree: with n_u(c) decayed baskets of customer u with something below c,

    s_u(c | p) = (n_u(c) + κ s_g(c | p)) / (n_u(p) + κ)

where g is the customer's leaf group, whose share is shrunk to that of the group above it in the same way, … up to
everybody: the mean of a Dirichlet posterior at every step (Gelman et al., *Bayesian Data Analysis*, chapter 5: partial
pooling; McCallum et al., "Improving Text Classification by Shrinkage in a Hierarchy of Classes", ICML 1998). Shares are
coherent: those of the children of a node sum to its own. New products stand on top of that, each with the share it may
expect once it is listed; that somebody never bought what was not on sale says nothing, so theirs are not shrunk.

Cost: ``fit`` is one pass over the purchases; the state holds G × I sparse counts. ``score`` works on (B, I) and on one
row of I for each different group in the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.entities import Features
from aisle.data.events import Batch, first_of_basket, sparse_sum
from aisle.data.nodes import ROOT, Nodes
from aisle.errors import UsageError
from aisle.features.nested import NestedGroups
from aisle.features.pairs import BLOCK_CELLS, decay, decayed_counts
from aisle.models.base import Model
from aisle.types import UNKNOWN, Codes, Doubles, Floats, Ints, Sparse

STRENGTHS = 2.0 ** np.arange(-2, 21)
"""Strengths from which the likelihood chooses: from a quarter of a purchase to a million."""
UNPROVEN = 8.0
"""Strength where the data cannot tell."""
SAMPLE = 2_000
"""Customers asked to choose strengths, at most."""
BLOCK = 256
"""… so many at once, fewer where there are very many products."""
LAUNCH_DAYS = 28.0
"""How long a product counts as newly listed."""
SEEN_DAYS = 91.0
"""A product first sold so soon after the start of the data may be an old one."""
LEAST_LAUNCHES = 20
"""With fewer new products in the data, what a new one sells is not known …"""
USUAL_LAUNCH = 0.3
"""… and taken to be this part of the mean product of its category."""
MEAN_STRENGTH = 2.0
"""Products of the node above mixed into the mean product of a category."""


@dataclass(kw_only=True, eq=False)
class TreeShares(Model):
    """Conditional shares down the product tree, shrunk along the customer tree; knows new products and customers."""

    name: ClassVar[str] = "tree_shares"
    needs_history: ClassVar[bool] = False
    space: ClassVar[dict[str, tuple[Any, ...]]] = {
        "half_life_days": (91.0, 28.0, 364.0),
        "strength": (None, 3.0, 30.0),
    }

    customer: bool = True
    """Look at the customer's own purchases."""
    groups: bool = True
    """Look at the customer's groups; where there is no customer tree, at attributes crossed one by one."""
    half_life_days: float | None = 91.0
    """Age at which a purchase counts half (in baskets, under a sequence clock); None = all count alike."""
    strength: float | None = None
    """κ of a customer: purchases of the group mixed into each share. None = one for each depth of the product tree, by
    leave-one-out likelihood."""
    group_strength: float | None = None
    """κ of a group: purchases of the group above it mixed into each share. None = by leave-one-out likelihood."""
    new_product: float | None = None
    """What a new product is expected to sell, in parts of the mean product of its category. None = what products newly
    listed in the past sold in their first four weeks."""

    up_: Codes = field(init=False, repr=False)
    """(N + I,) node above each node, then above each product; the root stands above itself."""
    depth_: Codes = field(init=False, repr=False)
    """(N,) depth of each node."""
    inside_: Sparse = field(init=False, repr=False)
    """(I, N) 1 where the product lies below the node."""
    shares_: Doubles = field(init=False, repr=False)
    """(N + I,) share of everybody's purchases below the node above."""
    new_: Doubles = field(init=False, repr=False)
    """(N + I,) 1 for what never sold, falling to 0 in the weeks after the first sale."""
    groups_: dict[str, Any] = field(init=False, repr=False)
    """How groups are found; see ``NestedGroups``."""
    group_keys_: Ints = field(init=False, repr=False)
    """(G,)"""
    group_up_: Codes = field(init=False, repr=False)
    """(G,) the group above each group; -1 for everybody."""
    group_counts_: Sparse = field(init=False, repr=False)
    """(G, I) decayed purchases of each group."""
    strength_: Doubles = field(init=False, repr=False)
    """(1 + D, 1 + L) κ of customers, then of each level of groups, at each depth of the product tree."""
    launch_: float = field(init=False, repr=False)
    """``new_product`` in use."""

    def __post_init__(self) -> None:
        for name in ("half_life_days", "strength", "group_strength"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name} must be > 0 or null, got {value}")
        if self.new_product is not None and not self.new_product >= 0:
            raise UsageError(f"new_product must be >= 0 or null, got {self.new_product}")

    def fit(self, data: Dataset) -> Self:
        """Count along both trees, then choose the strengths that were not given."""
        nodes = Nodes.of(data.products.tree, data.shape[1])
        self.up_ = np.maximum(np.concatenate((nodes.parent, nodes.place)), ROOT).astype(np.int32)
        self.depth_, self.inside_ = nodes.depth, nodes.inside()
        lines = data.purchases
        first = first_of_basket(lines, lines.customer)
        customer, product = lines.customer[first], lines.product[first]
        weight = decay((data.as_of - lines.time[first]) / data.unit, self.half_life_days)
        self.launch_ = self._launch(data) if self.new_product is None else float(self.new_product)
        self._everybody(data, np.bincount(product, weights=weight, minlength=data.shape[1]).astype(np.float64))
        self._groups(data, customer, product, weight)
        self.strength_ = np.full((len(self.groups_["names"]) + 1, int(self.depth_[-1]) + 1), UNPROVEN)
        for level in range(1, len(self.strength_)):
            self.strength_[level] = self.group_strength or self._choose(data, level)
        if self.customer:
            self.strength_[0] = self.strength or self._choose(data, 0)
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I) chances; finite for every product, whoever asks."""
        self.check_fitted()
        group, row = np.unique(self._leaf_groups(batch.features, len(batch)), return_inverse=True)
        shares, n_nodes = self._shares(group), len(self.depth_)
        above = self.up_[n_nodes:]
        if not self.customer:
            chance = self._down(shares[:, :n_nodes])[:, above] * shares[:, n_nodes:]
            return np.asarray(chance.astype(np.float32)[row])
        own = decayed_counts(batch, self.half_life_days)
        below = (own @ self.inside_).toarray().astype(np.float64)
        kappa = self.strength_[0, self.depth_]
        chance = self._down(self._shrunk(below, below, shares[row, :n_nodes], kappa))
        left = kappa / (below + kappa)  # what the customer's own purchases leave to those of others
        scores: Floats = (chance * left).astype(np.float32)[:, above]
        scores *= shares[:, n_nodes:].astype(np.float32)[row]
        at = np.repeat(np.arange(len(batch)), np.diff(own.indptr))
        node = above[own.indices]
        mine = chance[at, node] * own.data / (below[at, node] + kappa[node])
        scores[at, own.indices] += mine.astype(np.float32)
        fresh = np.flatnonzero(self.new_[n_nodes:])
        node = above[fresh]
        extra = chance[:, node] * (1 - left[:, node]) * shares[row[:, None], n_nodes + fresh]
        scores[:, fresh] += (extra * self.new_[n_nodes + fresh]).astype(np.float32)
        return scores

    def _down(self, shares: Doubles) -> Doubles:
        """(R, N) chance of each node, from its share of the node above (R, N)."""
        chance = np.ones_like(shares)
        for depth in range(1, int(self.depth_[-1]) + 1):
            start, stop = np.searchsorted(self.depth_, (depth, depth + 1))
            chance[:, start:stop] = chance[:, self.up_[start:stop]] * shares[:, start:stop]
        return chance

    def _shrunk(self, counts: Doubles, below: Doubles, shares: Doubles, kappa: Doubles) -> Doubles:
        """(R, C) counts of things (nodes, or nodes and products) as shares of the node above, shrunk to ``shares``.

        ``below`` (R, N) are the counts of nodes, ``kappa`` (N,) or (R, N) strengths. What is new keeps its share.
        """
        up, new = self.up_[: counts.shape[1]], self.new_[: counts.shape[1]]
        found: Doubles = (counts + kappa[..., up] * shares) / (below[:, up] + kappa[..., up])
        return np.asarray(found + new * (shares - found))

    def _shares(self, group: Codes) -> Doubles:
        """(R, N + I) shares of the node above for members of these leaf groups (R,), -1 = everybody."""
        if not len(group):
            return np.zeros((0, len(self.shares_)))
        if (group < 0).all():
            return np.tile(self.shares_, (len(group), 1))
        above = np.where(group >= 0, self.group_up_[group], UNKNOWN).astype(np.int32)
        shares, some = self._shares(above), group >= 0
        counts = self._along(self.group_counts_[group[some]])
        level = np.searchsorted(self.groups_["starts"], group[some], side="right")
        kappa = self.strength_[level][:, self.depth_]
        shares[some] = self._shrunk(counts, counts[:, : len(self.depth_)], shares[some], kappa)
        return shares

    def _along(self, counts: Sparse) -> Doubles:
        """(R, N + I) counts of products (R, I) summed to nodes, then as they are."""
        return np.hstack([(counts @ self.inside_).toarray(), counts.toarray()]).astype(np.float64)

    def _everybody(self, data: Dataset, count: Doubles) -> None:
        """Shares of everybody's purchases (I,); what is new gets the share that new products may expect."""
        n_nodes, sold = len(self.depth_), count > 0
        below: Doubles = np.asarray(count @ self.inside_)
        some: Doubles = np.asarray(sold.astype(np.float64) @ self.inside_)
        mean = np.zeros(n_nodes)  # sales of the mean product below a node, shrunk to the node above
        mean[ROOT] = below[ROOT] / max(some[ROOT], 1.0)
        for depth in range(1, int(self.depth_[-1]) + 1):
            here = self.depth_ == depth
            higher = mean[self.up_[:n_nodes][here]]
            mean[here] = (below[here] + MEAN_STRENGTH * higher) / (some[here] + MEAN_STRENGTH)
        age = (data.as_of - np.minimum(data.first_sale, data.as_of)) / data.unit
        young = np.clip(1.0 - age / LAUNCH_DAYS, 0.0, 1.0) if data.clock == "time" else np.zeros(len(count))
        self.new_ = np.concatenate((below <= 0, np.where(sold, young, 1.0))).astype(np.float64)
        counts = np.concatenate((below, count))
        counts += self.new_ * self.launch_ * mean[self.up_]
        total = below[self.up_]
        self.shares_ = np.divide(counts, total, out=np.ones_like(counts), where=total > 0)

    def _launch(self, data: Dataset) -> float:
        """Sales of newly listed products in their first weeks, in parts of those of the mean product beside them."""
        lines = data.purchases
        first = first_of_basket(lines, lines.customer)
        time, product = lines.time[first], lines.product[first]
        start = int(time.min()) if len(time) else data.as_of
        weeks = int(LAUNCH_DAYS * data.unit)
        since = data.first_sale
        launched = (since >= start + int(SEEN_DAYS * data.unit)) & (since <= data.as_of - weeks)
        if data.clock != "time" or launched.sum() < LEAST_LAUNCHES:
            return USUAL_LAUNCH
        early = np.bincount(product[time < since[product] + weeks], minlength=data.shape[1])
        count = np.bincount(product, minlength=data.shape[1]).astype(np.float64)
        place = self.up_[len(self.depth_) :]
        total: Doubles = np.asarray(count @ self.inside_)
        there: Doubles = np.asarray((count > 0).astype(np.float64) @ self.inside_)
        usual = (total / np.maximum(there, 1.0))[place[launched]] * weeks / (data.as_of - start)
        return float(early[launched].sum() / usual.sum())

    def _groups(self, data: Dataset, customer: Codes, product: Codes, weight: Doubles) -> None:
        """Find the groups and count their decayed purchases."""
        everyone = data.customers.features if self.groups else Features()
        nested = NestedGroups.of(everyone)
        self.groups_ = {
            "names": list(nested.names),
            "crossed": nested.crossed,
            "starts": nested.starts.tolist(),
            "widths": nested.widths.tolist(),
        }
        group = nested.find(everyone, data.shape[0])
        self.group_keys_ = nested.keys
        self.group_up_ = np.full(len(nested), UNKNOWN, dtype=np.int32)
        shape = (len(nested), data.shape[1])
        row, column, values = [customer[:0]], [product[:0]], [weight[:0]]
        for level in range(group.shape[1]):
            if level:
                both = group[:, level] >= 0
                self.group_up_[group[both, level]] = group[both, level - 1]
            mine = np.where(customer >= 0, group[customer, level], UNKNOWN)
            row.append(mine[mine >= 0])
            column.append(product[mine >= 0])
            values.append(weight[mine >= 0])
        rows, columns, weights = np.concatenate(row), np.concatenate(column), np.concatenate(values)
        self.group_counts_ = sparse_sum(rows, columns, weights, shape)

    def _leaf_groups(self, features: Features, size: int, level: int | None = None) -> Codes:
        """(B,) the deepest known group of each customer, or that of one level (1 = top); -1 = none."""
        how = self.groups_
        starts, widths = (np.array(how[name], dtype=np.int64) for name in ("starts", "widths"))
        nested = NestedGroups(tuple(how["names"]), how["crossed"], self.group_keys_, starts, widths)
        found = nested.find(features, size)
        if level:
            return found[:, level - 1]
        leaf = np.full(size, UNKNOWN, dtype=np.int32)
        for here in found.T:
            leaf = np.where(here >= 0, here, leaf).astype(np.int32)
        return leaf

    def _choose(self, data: Dataset, level: int) -> Doubles:
        """(1 + L,) for each depth of the node above, the strength under which purchases are likeliest.

        Level 0 are customers: each purchase is left out of the counts that speak of it, with the mean weight of its
        cell. Level d > 0 are groups: all of the customer's purchases are left out of the group's, since people who buy
        a thing again and again would make any group look special.
        """
        fit = np.zeros((len(STRENGTHS), int(self.depth_[-1]) + 1))
        some = np.flatnonzero(np.diff(data.indptr) > 0).astype(np.int32)
        some = some[:: max(1, -(-len(some) // SAMPLE))]
        step = int(np.clip(BLOCK_CELLS // len(self.shares_), 16, BLOCK))
        for at in range(0, len(some), step):
            batch = data.batch(some[at : at + step])
            group, which = np.unique(self._leaf_groups(batch.features, len(batch), level), return_inverse=True)
            own, times = self._along(decayed_counts(batch, self.half_life_days)), self._along(batch.history)
            times[:, ROOT] = 0.0
            if level:
                times[group[which] < 0] = 0.0
            row, thing = np.nonzero(times)
            up, often = self.up_[thing], times[row, thing]
            if level:
                above = np.where(group >= 0, self.group_up_[group], UNKNOWN).astype(np.int32)
                counts = self._along(self.group_counts_[np.maximum(group, 0)])[which] - own
                weight = np.zeros(len(row))
            else:
                above, counts, weight = group, own, own[row, thing] / often
            share = self._shares(above)[which[row], thing]
            here = np.maximum(counts[row, thing] - weight, 0.0)
            total = np.maximum(counts[row, up] - weight, 0.0)
            for place, kappa in enumerate(STRENGTHS.tolist()):
                likely = often * np.log((here + kappa * share) / (total + kappa))
                fit[place] += np.bincount(self.depth_[up], weights=likely, minlength=fit.shape[1])
        return np.where((fit == 0).all(axis=0), UNPROVEN, STRENGTHS[fit.argmax(axis=0)])
