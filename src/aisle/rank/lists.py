"""From a model to k products a customer, block by block, with the fallback chain below the model.

Every model is asked for scores of a block of customers (B, I); B follows from a memory budget, so that memory does not
grow with the number of customers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.features.groups import usual
from aisle.kernels.topk import NOTHING, ranks, top_k
from aisle.models.base import Dotted, Model
from aisle.models.scored import Scored
from aisle.rank.fallback import Choice, Fallback
from aisle.rank.families import Families, widened
from aisle.rank.rules import Rules
from aisle.types import Bools, Codes, Floats, Ints

if TYPE_CHECKING:
    from aisle.rank.search import Search

BYTES_PER_SCORE = 40
"""Peak bytes a cell of the (B, I) block: scores of model and fallback, what the model holds meanwhile, masks."""
MAX_ROWS = 512
"""Customers a block at most: larger ones gain no speed."""
FILLED_ROWS = 64
"""Customers whose fallback scores are held at once."""


@dataclass(frozen=True, eq=False)
class Lists:
    """Lists of B customers; places that the catalogue or the rules leave empty hold code -1."""

    codes: Codes
    """(B, K)"""
    scores: Floats
    """(B, K) fall with rank; -inf in empty places."""
    filled: Bools
    """(B, K) places that the fallback chain filled."""
    choice: Choice
    """Which fallback answered."""


def block_rows(n_products: int, memory_bytes: int) -> int:
    """Customers a block so that the dense (B, I) work stays within the budget; between 16 and 512."""
    return int(np.clip(memory_bytes // (BYTES_PER_SCORE * max(n_products, 1)), 16, MAX_ROWS))


def recommend_block(
    model: Model,
    dataset: Dataset,
    fallback: Fallback,
    batch: Batch,
    rules: Rules,
    k: int,
    *,
    cold_by_model: bool = False,
    search: Search | None = None,
) -> Lists:
    """Lists for one block of customers.

    The model answers rows with purchases; rows without, and customers who opted out, get the fallback chain, which
    also fills what the model leaves empty. With ``cold_by_model`` the model answers rows without purchases too, where
    it can and something else is known of them. Filled scores lie below every score of the model. With ``search``, made
    by ``search.search_of`` for these rules, nothing dense is scored, nor for models that score few products of their
    own.
    """
    local = local_products(dataset, batch)
    if search is not None and isinstance(model, Dotted):
        from aisle.rank.by_vectors import best_by_vectors  # imports torch, which most models do without

        asked = ~_theirs(model, dataset, batch, cold_by_model)
        codes, values = best_by_vectors(model, batch, asked, search, rules, k, dataset.tie_rank)
    else:
        scored, theirs = Scored.of(model, batch), _theirs(model, dataset, batch, cold_by_model)
        if scored.by_cells and rules.by_product and local is None:
            barred = batch.history if rules.repeats == "new" else None
            codes, values = scored.best(k, dataset.tie_rank, listed=rules.listed, barred=barred)
            codes[theirs], values[theirs] = NOTHING, -np.inf
        else:
            scored.dense[theirs] = -np.inf
            codes, values = top_k(rules.mask(scored.dense, batch.history, local), k, dataset.tie_rank)
    choice = _choose(dataset, fallback, batch)
    short = np.flatnonzero((codes == NOTHING).any(axis=1))
    filled = np.zeros(codes.shape, dtype=bool)
    for at in range(0, len(short), FILLED_ROWS):
        rows = short[at : at + FILLED_ROWS]
        part = rules.mask(choice.scores(rows), batch.history[rows], None if local is None else local[rows])
        _fill(codes, values, filled, rows, part, dataset.tie_rank, rules.families)
    return Lists(codes, values, filled & (codes != NOTHING), choice)


@dataclass(frozen=True, eq=False)
class Places:
    """Where P pairs of a customer and a product would stand in lists without end."""

    rank: Codes
    """(P,) 1 = best; 0 = never listed."""
    candidates: Ints
    """(P,) length of the customer's list without end."""


def rank_pairs(
    model: Model,
    dataset: Dataset,
    fallback: Fallback,
    batch: Batch,
    rules: Rules,
    pairs: tuple[Ints, Codes],
    *,
    cold_by_model: bool = False,
) -> Places:
    """Places of ``pairs``, rows of the batch (P,) and product codes (P,), in the lists of ``recommend_block``.

    Found by dense scores: where lists come from vectors, products whose scores differ by rounding alone may have
    changed places there.
    """
    row, code = pairs
    local = local_products(dataset, batch)
    scores = rules.mask(_model_scores(model, dataset, batch, cold_by_model), batch.history, local)
    rank = ranks(scores, row, code, dataset.tie_rank)
    placed = scores > -np.inf
    below = rules.mask(_choose(dataset, fallback, batch).scores(), batch.history, local)
    below[widened(placed.copy(), rules.families)] = -np.inf
    filled = ranks(below, row, code, dataset.tie_rank)
    above = placed.sum(axis=1)
    candidates = above + (below > -np.inf).sum(axis=1)
    return Places(np.where(filled > 0, filled + above[row], rank).astype(np.int32), candidates[row])


def _model_scores(model: Model, dataset: Dataset, batch: Batch, cold_by_model: bool) -> Floats:
    """(B, I) scores of the rows that are the model's; -inf for the others, who are the fallback chain's."""
    scores = model.score(batch)
    scores[_theirs(model, dataset, batch, cold_by_model)] = -np.inf
    return scores


def _theirs(model: Model, dataset: Dataset, batch: Batch, cold_by_model: bool) -> Bools:
    """(B,) rows that are the fallback chain's."""
    theirs = batch.empty.copy()
    if cold_by_model and not model.needs_history:
        theirs &= ~_told(batch) | _opted_out(dataset, batch)
    return theirs


def _told(batch: Batch) -> Bools:
    """(B,) rows of whom a group or an attribute is known."""
    told = np.zeros(len(batch), dtype=bool)
    for level in batch.features.levels:
        told |= level.codes >= 0
    for values in batch.features.numbers.values():
        told |= ~np.isnan(values)
    return told


def _opted_out(dataset: Dataset, batch: Batch) -> Bools:
    """(B,) customers who opted out of profiling."""
    plain = np.zeros(len(batch), dtype=bool)
    known = batch.customers >= 0
    plain[known] = dataset.flag("no_profile")[batch.customers[known]]
    return plain


def _choose(dataset: Dataset, fallback: Fallback, batch: Batch) -> Choice:
    """The fallback of each row; what sells everywhere for those who opted out."""
    return fallback.choose(batch, _opted_out(dataset, batch))


def _fill(
    codes: Codes,
    values: Floats,
    filled: Bools,
    rows: Ints,
    part: Floats,
    tie_rank: Codes,
    families: Families | None = None,
) -> None:
    """Fill empty places of some ``rows`` (R,) from their fallback scores ``part`` (R, I), in place."""
    listed = np.zeros(part.shape, dtype=bool)
    row, place = np.nonzero(codes[rows] != NOTHING)
    listed[row, codes[rows][row, place]] = True
    part[widened(listed, families)] = -np.inf
    extra, worth = top_k(part, codes.shape[1], tie_rank)
    place = np.arange(codes.shape[1])
    have = (codes[rows] != NOTHING).sum(axis=1)[:, None]
    empty = place >= have
    take = np.where(empty, place - have, 0)
    bottom = np.where(have[:, 0] > 0, values[rows, np.maximum(have[:, 0] - 1, 0)], 0.0)
    step = np.maximum(1.0, np.abs(bottom) * 1e-6)[:, None]  # large enough to show in float32
    floor = np.minimum(bottom, 0.0)[:, None] - step * (1.0 + place - have)
    new_codes = np.where(empty, np.take_along_axis(extra, take, axis=1), codes[rows])
    nothing = empty & ~(np.take_along_axis(worth, take, axis=1) > -np.inf)
    new_codes[nothing] = NOTHING
    values[rows] = np.where(nothing, -np.inf, np.where(empty, floor, values[rows]))
    codes[rows], filled[rows] = new_codes, empty


def local_products(dataset: Dataset, batch: Batch) -> Bools | None:
    """(B, I) what the customer's home store sells; None where the source has no availability table.

    Customers without a home store, and stores that list nothing, are not limited.
    """
    if dataset.assortment is None:
        return None
    sold = dataset.assortment.at(dataset.as_of - 1)
    home = usual(batch.lines.store, batch)
    local = np.ones((len(batch), dataset.shape[1]), dtype=bool)
    limited = (home >= 0) & (np.diff(sold.indptr)[np.maximum(home, 0)] > 0)
    local[limited] = sold[home[limited]].toarray() > 0
    return local
