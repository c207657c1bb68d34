"""How the best products are searched where scores are inner products: exactly, or by an index of known recall."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aisle.data.dataset import Dataset
from aisle.kernels import approximate
from aisle.kernels.inner import Targets, top_inner
from aisle.kernels.tiles import chosen_device
from aisle.models.base import Dotted
from aisle.rank.by_vectors import barred_pairs, targets_of
from aisle.rank.rules import Plan, Rules
from aisle.types import Codes, Floats, Sparse

log = logging.getLogger(__name__)

LARGE = 300_000
"""Products up to which exact search is quick enough for everybody."""
MANY = 25_000
"""Customers from which on the time an index saves is more than the time it takes to build."""
SAMPLE, FEW = 2_000, 200
"""Customers whose lists tell the recall of an index: so many are drawn, and fewer tell nothing."""
EXACT: dict[str, Any] = {"kind": "exact"}
"""What the certificate says of lists that nothing approximate had a part in."""


@dataclass(frozen=True, eq=False)
class Search:
    """Products that may be listed, ready to be searched for any number of customers."""

    targets: Targets
    index: approximate.Index | None = None
    told: dict[str, Any] = field(default_factory=lambda: dict(EXACT))
    """For the certificate: ``kind``, and ``why`` exact search was taken where an index was wanted, or ``recall``
    (measured), ``asked``, ``effort`` (cells looked into) and ``cells``."""

    def top(self, queries: Floats, k: int, *, barred: Sparse | None = None) -> tuple[Codes, Floats]:
        """The k best products of each customer, as ``top_inner`` gives them."""
        if self.index is None:
            return top_inner(queries, self.targets, k, barred=barred)
        return self.index.search(queries, k, barred=barred)


def search_of(
    model: Dotted, dataset: Dataset, rules: Rules, k: int, plan: Plan, *, memory_bytes: int = 1 << 30
) -> Search:
    """The search of the products that the rules list, as planned; an index is built and measured where it pays.

    It takes ``memory_bytes`` at most, beside the vectors themselves. Where an index was wanted and exact search is
    taken all the same, ``told`` says why, and what could be mended is warned of too. Raises UsageError where a vector
    or a bias of the model is no finite number.
    """
    targets = targets_of(model, rules, dataset.tie_rank)
    if plan.kind == "exact":
        return Search(targets)
    if why := _needless(targets, dataset, plan):
        return Search(targets, told=EXACT | {"why": why})
    if (need := approximate.index_bytes(targets)) > memory_bytes:
        return _warned(
            targets,
            f"an index takes {need / 2**20:,.0f} MB, and {memory_bytes / 2**20:,.0f} MB are left; give more --memory",
        )
    if not approximate.installed():
        return _warned(targets, "faiss is not installed; pip install 'aisle[ann]'")
    queries, barred = _sample(model, dataset, rules)
    if len(queries) < FEW:
        return _warned(
            targets, f"{len(queries)} customers with purchases are too few to measure recall, {FEW} are needed"
        )
    index, found = approximate.tuned(approximate.Index.of(targets), queries, k, plan.least_recall, barred=barred)
    measured = {"recall": round(found.recall, 5), "asked": found.asked, "effort": found.effort, "cells": found.cells}
    if index is None:
        why = (
            f"the index was refused: it finds {found.recall:.4f} of the exact lists where {found.asked:g} are asked, "
            "and with more effort exact search is as quick"
        )
        return _warned(targets, why, refused=measured)
    return Search(targets, index, {"kind": "approximate", **measured})


def _needless(targets: Targets, dataset: Dataset, plan: Plan) -> str | None:
    """Why exact search is the quicker one."""
    customers = dataset.shape[0] if plan.customers is None else plan.customers
    if len(targets) <= LARGE:
        return f"{len(targets):,} products may be listed, and up to {LARGE:,} are searched exactly"
    if customers < MANY:
        return f"{customers:,} customers are searched exactly before an index is built, which pays from {MANY:,} on"
    if chosen_device(targets) is not None:
        return "a GPU searches exactly"
    return None


def _warned(targets: Targets, why: str, **more: Any) -> Search:
    log.warning("exact search instead of approximate: %s", why)
    return Search(targets, told={**EXACT, "why": why, **more})


def _sample(model: Dotted, dataset: Dataset, rules: Rules) -> tuple[Floats, Sparse]:
    """(N, D) vectors of some customers with purchases, the same ones always, and the pairs (N, I) they must not get."""
    some = np.flatnonzero(np.diff(dataset.indptr) > 0).astype(np.int32)
    if len(some) > SAMPLE:
        some = np.sort(np.random.default_rng(0).choice(some, SAMPLE, replace=False))
    batch = dataset.batch(some)
    dots = model.dots(batch)
    return dots.queries, barred_pairs(dots, batch, rules)
