"""What may be listed: products on sale, the repeat policy, allow-lists, the customer's store, one of each family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.events import unique_pairs
from aisle.errors import UsageError
from aisle.rank.families import Families
from aisle.types import DAY, Bools, Floats, Repeats, Searching, Sparse

GONE_AFTER_DAYS = 30.0
"""No product counts as gone from sale before it was silent for this long."""
GONE_AFTER_GAPS = 10.0
"""… and for this many of its usual gaps between days with sales."""
MIN_SALE_DAYS = 5
"""With fewer days with sales the usual gap is unknown, and the product is not called gone."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a caller wants of the search for the best products."""

    kind: Searching = "exact"
    """``auto`` takes an index where there is much to search and its recall is good enough."""
    least_recall: float = 0.99
    """Share of the exact lists that an index must find."""
    customers: int | None = None
    """How many will be asked for; None = all that are known."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Searching):
            raise UsageError(f"search is {self.kind!r}; allowed: {', '.join(get_args(Searching))}")
        if isinstance(self.least_recall, bool) or not 0 < self.least_recall <= 1:
            raise UsageError(f"least_recall is {self.least_recall!r}; give a number above 0 and up to 1, such as 0.99")


@dataclass(frozen=True, kw_only=True, eq=False)
class Rules:
    """Limits on every list; they never change what is learnt."""

    listed: Bools
    """(I,) products that may be listed at all."""
    repeats: Repeats = "mixed"
    families: Families | None = None
    """Variants of which a list holds the best alone; None = they are listed like any product."""

    @property
    def by_product(self) -> bool:
        """Whether they speak of single products alone: none of them follows from what else is listed or scored."""
        return self.families is None and self.repeats != "only"

    def mask(self, scores: Floats, history: Sparse, local: Bools | None = None) -> Floats:
        """Scores (B, I) with whatever must not be listed set to -inf, in place.

        ``history`` (B, I) stores what was bought; ``local`` (B, I) further limits each row to what the customer's
        store sells.
        """
        scores[:, ~self.listed] = -np.inf
        if local is not None:
            scores[~local] = -np.inf
        if self.repeats != "mixed":
            self._mask_repeats(scores, history)
        return scores if self.families is None else self.families.keep_best(scores)

    def _mask_repeats(self, scores: Floats, history: Sparse) -> None:
        rows = np.repeat(np.arange(history.shape[0]), np.diff(history.indptr))
        if self.repeats == "new":
            scores[rows, history.indices] = -np.inf
            return
        kept = scores[rows, history.indices]
        scores[:] = -np.inf
        scores[rows, history.indices] = kept


def gone(dataset: Dataset) -> Bools:
    """(I,) products out of stock, or silent much longer than their usual gap between days with sales.

    Silence is measured to the last sale of anything, so that a pause of the whole shop is nobody's silence. Under a
    sequence clock only stock counts.
    """
    out_of_stock = ~dataset.products.flags.get("in_stock", np.ones(dataset.shape[1], dtype=bool))
    sales = dataset.purchases
    if dataset.clock == "sequence" or not len(sales):
        return np.asarray(out_of_stock)
    day = sales.time // DAY
    product, day = unique_pairs(sales.product, day - day.min())
    days = np.bincount(product, minlength=dataset.shape[1])
    stop = np.cumsum(days)
    some = days >= MIN_SALE_DAYS
    first, last = day[(stop - days)[some]], day[stop[some] - 1]
    gap = (last - first) / (days[some] - 1)
    silent = np.zeros(dataset.shape[1], dtype=bool)
    silent[some] = day.max() - last > np.maximum(GONE_AFTER_DAYS, GONE_AFTER_GAPS * gap)
    return np.asarray(out_of_stock | silent)
