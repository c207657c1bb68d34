"""Lists of models whose scores are inner products, found without a dense block of scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aisle.data.events import Batch, sparse_sum
from aisle.features.pairs import holds
from aisle.kernels.inner import Targets
from aisle.kernels.topk import NOTHING
from aisle.models.base import Dots, Dotted
from aisle.rank.rules import Rules
from aisle.types import Bools, Codes, Floats, Sparse

if TYPE_CHECKING:
    from aisle.rank.search import Search


def targets_of(model: Dotted, rules: Rules, tie_rank: Codes) -> Targets:
    """The products that the rules list, to be prepared once for all blocks of customers; ``tie_rank`` (I,).

    Raises UsageError where a vector or a bias of the model is no finite number.
    """
    vectors, bias = model.dot_targets()
    return Targets.of(vectors, tie_rank, bias=bias if bias.any() else None, allowed=rules.listed)


def best_by_vectors(
    model: Dotted, batch: Batch, asked: Bools, search: Search, rules: Rules, k: int, tie_rank: Codes
) -> tuple[Codes, Floats]:
    """The k best of each customer, as ``top_k`` of masked scores would have them: codes (B, k) and scores (B, k).

    Rows that are not ``asked`` (B,) stay empty. An index in ``search`` may miss some.
    """
    dots, some = model.dots(batch), np.flatnonzero(asked)
    own = rules.listed[dots.code] & asked[dots.row] & (dots.score > -np.inf)
    if rules.repeats == "new":
        own &= ~holds(batch.history, dots.row, dots.code)
    codes = np.full((len(batch), k), NOTHING, dtype=np.int32)
    scores = np.full((len(batch), k), -np.inf, dtype=np.float32)
    barred = barred_pairs(dots, batch, rules)[some]
    codes[some], scores[some] = search.top(dots.queries[some], k, barred=barred)
    row, place = np.nonzero(codes != NOTHING)
    rows = np.concatenate((row, dots.row[own]))
    code = np.concatenate((codes[row, place].astype(np.int64), dots.code[own]))
    score = np.concatenate((scores[row, place], dots.score[own]))
    order = np.lexsort((tie_rank[code], -score, rows))
    rows, code, score = rows[order], code[order], score[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    codes[:], scores[:] = NOTHING, -np.inf
    listed = place < k
    codes[rows[listed], place[listed]], scores[rows[listed], place[listed]] = code[listed], score[listed]
    return codes, scores


def barred_pairs(dots: Dots, batch: Batch, rules: Rules) -> Sparse:
    """(B, I) pairs that the vectors must not list: those with a score of their own, and what was bought."""
    named = sparse_sum(dots.row, dots.code.astype(np.int32), np.ones(len(dots.row)), batch.shape)
    return (named + batch.history.sign()).tocsr() if rules.repeats == "new" else named
