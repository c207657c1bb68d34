"""TIFU-KNN: temporal frequency vectors of customers, smoothed by those of their nearest neighbours.

Hu, He, Gao, Zhang, "Modeling Personalized Item Frequency Information for Next-basket Recommendation", SIGIR 2020.
The n baskets of a customer, oldest first, fall into m groups of size ⌊n/m⌋, the last n mod m of them one larger:

    v_u = sum over groups g of r_g^(m-1-g) / G · sum over baskets t in g of r_b^(n-1-t) / |g| · 1[basket t]
    score = alpha · v_u + (1 - alpha) · mean of v over the k nearest training customers (Euclidean)

G is the number of groups (fewer baskets than groups: one group a basket, G = n, exponents unchanged), and the within
decay r_b runs over the whole basket index, as in the implementation behind the published figures. Whoever was part of
the training is a neighbour too, at distance 0: one among k, and the answer needs no identity.
By real time (``clock="time"``, as TIFU-KNN-TA in Romanov et al., "Time-Aware Item Weighting for the Next Basket
Recommendations", RecSys 2023) groups are spans of ``group_days``, counted back from the customer's latest basket: with
d the days from basket t to it, g = ⌊d / group_days⌋ and d' = d - g group_days,

    v_u = sum over baskets t of r_g^g r_b^ln(1 + d') / (|g| G) · 1[basket t]

over the G groups that hold any basket, |g| baskets in each.
Cost: ``fit`` one pass; ``score`` blocked sparse products with all training customers, O(B x U) distances.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self, TypeAlias, get_args

import numpy as np
import scipy.sparse as sp

from aisle.data.dataset import Dataset
from aisle.data.events import Batch, first_of_basket, sparse_sum, stacked
from aisle.errors import UsageError
from aisle.features.pairs import BLOCK_CELLS, basket_places, of_everyone
from aisle.kernels.topk import top_k
from aisle.models.base import Few, Model
from aisle.types import DAY, Doubles, Floats, Ints, Sparse

Pace: TypeAlias = Literal["baskets", "time"]


@dataclass(kw_only=True, eq=False)
class TIFUKNN(Model):
    """Own frequency with two decays plus the habits of similar customers: the classic of grocery."""

    name: ClassVar[str] = "tifu_knn"
    space: ClassVar[dict[str, tuple[Any, ...]]] = {
        "alpha": (0.7, 0.9),
        "group_decay": (0.7, 0.9),
        "neighbours": (300, 100),
        "groups": (7, 3),
        "clock": ("baskets", "time"),
        "group_days": (91.0, 28.0),
        "popular_weight": (0.0, 0.01),
    }

    neighbours: int = 300
    """k, training customers whose vectors are averaged."""
    alpha: float = 0.7
    """Weight of the customer's own vector, 0 … 1."""
    within_decay: float = 0.9
    """r_b, factor a basket of age, in (0, 1]."""
    group_decay: float = 0.7
    """r_g, factor a group of age, in (0, 1]."""
    groups: int = 7
    """m, groups the baskets are split into."""
    clock: Pace = "baskets"
    """What ages a basket: the baskets since, or the days since."""
    group_days: float = 91.0
    """Days (baskets, under a sequence clock) of a group by time."""
    popular_weight: float = 0.0
    """Weight of what sells, 0 … 1 of a product: it orders ties and the tail."""

    vectors_: Sparse = field(init=False, repr=False)
    """(N, I) vectors of the N training customers with purchases."""
    popular_: Floats = field(init=False, repr=False)
    """(I,) baskets with the product, as a share of those with the best-selling one and one more."""

    def __post_init__(self) -> None:
        if self.neighbours < 1 or self.groups < 1:
            raise UsageError(f"neighbours and groups must be >= 1, got {self.neighbours} and {self.groups}")
        if not 0 <= self.alpha <= 1:
            raise UsageError(f"alpha must lie in 0 … 1, got {self.alpha}")
        for decay in (self.within_decay, self.group_decay):
            if not 0 < decay <= 1:
                raise UsageError(f"within_decay and group_decay must lie in (0, 1], got {decay}")
        if self.clock not in get_args(Pace):
            raise UsageError(f"clock is {self.clock!r}; allowed: {', '.join(get_args(Pace))}")
        if not self.group_days > 0 or not self.popular_weight >= 0:
            said = f"{self.group_days} and {self.popular_weight}"
            raise UsageError(f"group_days must be > 0 and popular_weight >= 0, got {said}")

    def fit(self, data: Dataset) -> Self:
        """Keep the vectors of all customers with purchases."""
        self.vectors_ = of_everyone(data, self._vectors)[np.diff(data.indptr) > 0]
        self.popular_ = (data.popularity / (data.popularity.max(initial=0.0) + 1)).astype(np.float32)
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I) own vector blended with the neighbours' mean; rows without purchases are -inf."""
        return self.few(batch).dense()

    def few(self, batch: Batch) -> Few:
        """The same scores, as few cells."""
        self.check_fitted()
        own = self._vectors(batch)
        across = self.vectors_.T.tocsr()
        lengths: Floats = np.asarray(self.vectors_.multiply(self.vectors_).sum(axis=1))
        step, found = max(1, BLOCK_CELLS // max(self.vectors_.shape[0], 1)), list[Sparse]()
        for start in range(0, max(len(batch), 1), step):
            rows = own[start : start + step]
            mean = nearest(rows, across, lengths, self.neighbours) @ self.vectors_
            found.append(self.alpha * rows + (1 - self.alpha) * mean)
        cells, rest = stacked(found), np.float32(self.popular_weight) * self.popular_
        cells.data += rest[cells.indices]
        return Few(cells, rest, batch.empty)

    def _vectors(self, batch: Batch) -> Sparse:
        """(B, I) v_u of each customer."""
        place, number = basket_places(batch)
        if self.clock == "baskets":
            weight = basket_weights(place, number[batch.row], self.groups, self.within_decay, self.group_decay)
        else:
            weight = day_weights(batch, self.group_days, self.within_decay, self.group_decay)
        first = first_of_basket(batch.lines, batch.row)
        return sparse_sum(batch.row[first], batch.lines.product[first], weight[first], batch.shape)


def basket_weights(place: Ints, number: Ints, groups: int, within_decay: float, group_decay: float) -> Doubles:
    """(E,) weight in v_u of the basket at each place (0 = oldest) of a row of ``number`` baskets."""
    size, larger = number // groups, number % groups
    border = (groups - larger) * size  # baskets in the groups of the plain size
    early = place < border
    group = np.where(early, place // np.maximum(size, 1), (groups - larger) + (place - border) // (size + 1))
    length = np.where(early, size, size + 1)
    few = number < groups
    group, length = np.where(few, place, group), np.where(few, 1, length)
    outer = group_decay ** (groups - 1.0 - group) / np.minimum(number, groups)
    return np.asarray(outer * within_decay ** (number - 1.0 - place) / length)


def day_weights(batch: Batch, group_days: float, within_decay: float, group_decay: float) -> Doubles:
    """(E,) weight in v_u of each line's basket, by the days from it to the customer's latest basket."""
    place, number = basket_places(batch)
    basket = (np.cumsum(number) - number)[batch.row] + place
    owner = np.repeat(np.arange(len(batch)), number)
    when = np.full(len(owner), np.iinfo(np.int64).min)
    np.maximum.at(when, basket, batch.lines.time)
    latest = np.full(len(batch), np.iinfo(np.int64).min)
    np.maximum.at(latest, owner, when)
    days = (latest[owner] - when) / (DAY if batch.clock == "time" else 1)
    group = np.floor(days / group_days).astype(np.int64)
    width = int(group.max(initial=0)) + 1
    found, which, members = np.unique(owner * width + group, return_inverse=True, return_counts=True)
    groups = np.bincount(found // width, minlength=len(batch))
    fade = group_decay**group * within_decay ** np.log1p(days - group * group_days)
    return np.asarray((fade / (members[which] * groups[owner]))[basket])


def nearest(rows: Sparse, across: Sparse, lengths: Floats, k: int) -> Sparse:
    """(R, N) 1/k at the k training customers nearest to each row (R, I); ties go to the smaller row number.

    ``across`` (I, N) holds their vectors as columns, ``lengths`` (N,) the squared norms. The squared norm of the row
    itself is the same for all of them and left out.
    """
    number = across.shape[1]
    closeness = 2 * (rows @ across).toarray() - lengths
    codes, _ = top_k(closeness.astype(np.float32), min(k, number), np.arange(number, dtype=np.int32))
    width = max(codes.shape[1], 1)
    where = np.repeat(np.arange(codes.shape[0]), codes.shape[1])
    share = np.full(codes.size, 1 / width, dtype=np.float32)
    return sp.csr_array((share, (where, codes.ravel())), shape=(rows.shape[0], number))
