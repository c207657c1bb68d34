"""ItemKNN: products bought by the same customers, or in the same baskets, as those in the history.

Sarwar et al., WWW 2001; Deshpande and Karypis, TOIS 2004. With x_i the column of customers who bought product i, and
n_i = |x_i|² their number,

    cos(i, j) = x_i · x_j / (n_i^a n_j^b + shrink),   score_j = sum over i in the history, j among the
    ``neighbours`` nearest of i, of h_i * cos(i, j)   (+ own_weight * own frequency of j)

where h_i is 1, or the decay of the latest purchase of i: by days, or by the number of baskets since (``place_decay``).
The cosine has a = b = 1/2; smaller powers leave more of the popularity of a product in. ``within`` baskets the columns
are of baskets, those of customers unknown among them: what goes together at one time. Products are not neighbours of
themselves; repeats come in through ``own_weight``.
Cost: ``fit`` multiplies sparse matrices block by block, memory O(neighbours x I); no limit on the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self, TypeAlias, get_args

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.errors import UsageError
from aisle.features.links import Links, cosine_neighbours
from aisle.features.pairs import basket_contents, decayed_counts, decayed_presence, of_everyone
from aisle.models.base import Few, few_with_own
from aisle.models.strips import InStrips
from aisle.types import Floats, Sparse

Within: TypeAlias = Literal["customer", "basket"]


@dataclass(kw_only=True, eq=False)
class ItemKNN(InStrips):
    """Cosine between products over customers or baskets: any catalogue size, easily explained."""

    name: ClassVar[str] = "item_knn"
    space: ClassVar[dict[str, tuple[Any, ...]]] = {
        "neighbours": (200, 50, 1000),
        "shrink": (10.0, 0.0, 50.0),
        "half_life_days": (182.0, None, 30.0, 10.0, 3.0),
        "place_decay": (None, 0.8, 0.5),
        "own_weight": (10.0, 1.0, 0.0),
        "source_power": (0.5, 0.3, 0.7),
        "target_power": (0.5, 0.3),
        "within": ("customer", "basket"),
    }

    neighbours: int = 200
    """Products kept for each product."""
    shrink: float = 10.0
    """Added below the fraction; larger trusts pairs seen at few customers less."""
    half_life_days: float | None = 182.0
    """Age at which a purchase in the history counts half; None = all count alike. Neighbours never decay."""
    place_decay: float | None = None
    """Factor for every later basket, in (0, 1], in the place of the decay by days; None = by days."""
    own_weight: float = 10.0
    """Weight of the customer's own (decayed) purchase counts; 0 = the textbook model."""
    source_power: float = 0.5
    """a, 0 … 1: how much the number of buyers of a product of the history is taken away."""
    target_power: float = 0.5
    """b, 0 … 1: how much the number of buyers of the scored product is taken away."""
    within: Within = "customer"
    """What two products must share to be near: the customer, or the basket."""

    similar_: Sparse = field(init=False, repr=False)
    """(I, I) row: product in the history; column: product to score."""

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise UsageError(f"neighbours must be >= 1, got {self.neighbours}")
        if self.shrink < 0 or self.own_weight < 0:
            raise UsageError(f"shrink and own_weight must be >= 0, got {self.shrink} and {self.own_weight}")
        if self.half_life_days is not None and not self.half_life_days > 0:
            raise UsageError(f"half_life_days must be > 0 or None, got {self.half_life_days}")
        if self.place_decay is not None and not 0 < self.place_decay <= 1:
            raise UsageError(f"place_decay must lie in (0, 1] or be None, got {self.place_decay}")
        for power in (self.source_power, self.target_power):
            if not 0 <= power <= 1:
                raise UsageError(f"source_power and target_power must lie in 0 … 1, got {power}")
        if self.within not in get_args(Within):
            raise UsageError(f"within is {self.within!r}; allowed: {', '.join(get_args(Within))}")

    def links(self, data: Dataset) -> Links:
        """The neighbours of every product."""
        x = of_everyone(data, decayed_presence) if self.within == "customer" else basket_contents(data)
        return cosine_neighbours(x, self.neighbours, self.shrink, (self.source_power, self.target_power))

    def learn(self, rows: Sparse) -> Self:
        """Keep the neighbours."""
        self.similar_ = rows
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I) summed similarity to the history; rows without purchases are -inf."""
        return self.few(batch).dense()

    def few(self, batch: Batch) -> Few:
        """The same scores, as few cells."""
        self.check_fitted()
        fade = (self.half_life_days, self.place_decay)
        taste = decayed_presence(batch, *fade) @ self.similar_
        return few_with_own(taste, batch, decayed_counts(batch, *fade), self.own_weight)
