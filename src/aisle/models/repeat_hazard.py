"""RepeatHazard: the chance that a customer buys each of their own products again, learned from what came true before.

People run out of things in a rhythm. For every product i that customer u bought before, with n baskets, the latest of
them ``a`` days ago, and a usual gap g (geometric mean of the customer's own gaps, drawn towards the product's)::

    logit p(u, i) = f1(n) + f2..4(decayed counts) + f5(a) + f6(n / baskets of u) + f7(days a basket of u)
                  + f8(days since u came) + f9(repeat rate of i) + f10(days since i sold)
                  + due_n(a / g) + regular(a / g, where the gaps are alike)
                  + c1(days since u bought of the category) + c2(these / usual gap there) + c3(n / baskets there)

Every f is piecewise linear in the logarithm; ``due`` has a curve for each class of n: it is the hazard of the product
running out (renewal theory; for baskets see Bhagat et al., "Buy It Again", KDD 2018). All curves are one ridge logistic
regression, solved by Newton's method on windows before the moment of fitting: was it bought in the window or not. The
ridge draws towards ``log n``, so that a shop too young to learn from gets own counts. A product not bought before
scores the chance, counted in the same windows, that somebody buys it for the first time: what sells, on the same scale.
Cost: one sort of the purchases a window, and ``max_pairs`` x 130² x 8 flops; O(history + B x I) to score.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.errors import UsageError
from aisle.features.pairs import basket_places, decayed_counts, holds
from aisle.features.repeats import Repeats, joined, repeats
from aisle.models.base import Few, Model
from aisle.models.nn.windows import Question, gap_ticks, questions, sales_before
from aisle.types import UNKNOWN, Bools, Codes, Doubles, Floats, Ints, Sparse, Times

HALF_LIVES = (28.0, 91.0, 182.0)
AGES = (1.0, 3.0, 7.0, 14.0, 28.0, 56.0, 112.0, 224.0, 448.0)
COUNTS = (1.0, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0, 60.0)
DECAYED = (0.01, 0.1, 0.3, 1.0, 2.0, 4.0, 8.0, 16.0)
SHARES = (0.01, 0.03, 0.1, 0.2, 0.4, 0.8)
DUE = (0.05, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.6, 2.2, 3.5, 8.0)
"""Knots of the curves: days, baskets, shares, and gaps that have passed."""
CLASSES = (1, 2, 3, 5, 9)
"""Smallest number of baskets of each class with a ``due`` curve of its own."""
REGULAR = 0.6
"""Gaps whose logarithms spread less than this are alike."""
OWN_GAP = 1.0
"""A customer's gaps are drawn towards the product's with the weight of one gap, the product's towards all with five."""
PRODUCT_GAP = 5.0
RARE = -4.0
"""Log odds of a product bought once, before anything is learnt."""
NEWTON_STEPS, TOLERANCE = 25, 1e-6


@dataclass(frozen=True, eq=False)
class Due:
    """When P pairs of a batch row and an own product come round again, by row, then product. Days (baskets)."""

    row: Ints
    product: Codes
    times: Doubles
    """(P,) baskets that hold the product."""
    last: Doubles
    """(P,) age of the latest of them."""
    gap: Doubles
    """(P,) usual time from one purchase to the next: the customer's own gaps, drawn towards the product's."""
    chance: Floats
    """(P,) chance that it is bought again in the window."""

    @property
    def wait(self) -> Doubles:
        """(P,) time from the question to the expected purchase; below 0 = overdue."""
        return self.gap - self.last


@dataclass(kw_only=True, eq=False)
class RepeatHazard(Model):
    """Own products by the learned chance that they are due again; what sells below or between them."""

    name: ClassVar[str] = "repeat_hazard"
    space: ClassVar[dict[str, tuple[Any, ...]]] = {"windows": (4, 8)}

    windows: int = 4
    """Past windows to learn from, at most."""
    ridge: float = 1.0
    """Penalty on the curves, in purchases."""
    target_days: int | None = None
    """Length of the windows in days (baskets); None = from the usual gap between baskets."""
    max_customers: int = 2_000
    """Customers asked in each window, at most."""
    max_pairs: int = 100_000
    """Pairs of customer and product that the curves are learned from, at most."""
    seed: int = 0

    weights_: Doubles = field(init=False, repr=False)
    """(W,) height of every curve at its knots."""
    repeat_rate_: Doubles = field(init=False, repr=False)
    """(I,) share of the buyers of a product who bought it again, drawn towards that of all products."""
    product_gap_: Doubles = field(init=False, repr=False)
    """(I,) mean logarithm of the gaps at which the product is bought again."""
    last_sale_: Times = field(init=False, repr=False)
    """(I,) latest sale to anybody, in clock ticks."""
    category_: Codes = field(init=False, repr=False)
    """(I,) leaf category of each product, -1 = none."""
    category_gap_: Doubles = field(init=False, repr=False)
    """(C,) mean logarithm of the gaps at which something of the category is bought again."""
    first_time_: Floats = field(init=False, repr=False)
    """(I,) chance that a customer who never bought the product buys it in a window."""
    window_days_: float = field(init=False, repr=False)
    """Length of the windows, in days (baskets)."""

    def __post_init__(self) -> None:
        for setting in ("windows", "ridge", "max_customers", "max_pairs"):
            if getattr(self, setting) <= 0:
                raise UsageError(f"{setting} is {getattr(self, setting)}; it must be above 0")
        if self.target_days is not None and self.target_days < 1:
            raise UsageError(f"target_days is {self.target_days}; it must be at least 1, or None")

    def fit(self, data: Dataset) -> Self:
        """Ask the past windows what came true, and learn the curves from the answers."""
        ticks = gap_ticks(data, self.target_days)
        asked = questions(data, ticks, self.windows, self.max_customers, self.seed, "even")
        designs: list[Sparse] = [sp.csr_array(np.zeros((0, len(PRIOR)), dtype=np.float32))]
        answers: list[Bools] = [np.zeros(0, dtype=bool)]
        rng = np.random.default_rng(self.seed)
        for question in asked:
            self._look(data.before(question.cut))
            own = repeats(batch := data.before(question.cut).batch(question.customers))
            kept = _some(len(own), self.max_pairs // len(asked), rng)
            designs.append(self._design(batch, own)[kept])
            answers.append(holds(question.bought, own.row, own.product)[kept])
        x: Sparse = sp.csr_array(sp.vstack(designs, format="csr"))
        with threadpool_limits(limits=1):  # threads would add up in an order of their own
            self.weights_ = logistic(x, np.concatenate(answers), PRIOR, self.ridge)
        self._look(data)
        self.window_days_ = ticks / data.unit
        self.first_time_ = _first_times(data, asked, sales_before(data, data.as_of, ticks)[-1])
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I) chances; rows without purchases are -inf."""
        return self.few(batch).dense()

    def few(self, batch: Batch) -> Few:
        """The same scores, as few cells."""
        self.check_fitted()
        own = repeats(batch)
        indptr = np.searchsorted(own.row, np.arange(len(batch) + 1))
        chances = self._chances(batch, own).astype(np.float32)
        return Few(sp.csr_array((chances, own.product, indptr), shape=batch.shape), self.first_time_, batch.empty)

    def due(self, batch: Batch) -> Due:
        """Own products with the time of their next purchase and its chance within ``window_days_``."""
        self.check_fitted()
        own = repeats(batch)
        return Due(
            row=own.row,
            product=own.product,
            times=own.times,
            last=own.last,
            gap=np.exp(self._usual(own)),
            chance=self._chances(batch, own).astype(np.float32),
        )

    def _chances(self, batch: Batch, own: Repeats) -> Doubles:
        """(P,) chance that each pair is bought in the window."""
        place, height = self._places(batch, own)
        odds = np.zeros(len(own))
        for column in range(place.shape[1]):  # in a fixed order, so that a row never depends on the batch
            odds += self.weights_[place[:, column]] * height[:, column]
        return np.asarray(1 / (1 + np.exp(-odds)))

    def _usual(self, own: Repeats) -> Doubles:
        """(P,) logarithm of the usual gap: the customer's own, drawn towards the product's."""
        return _drawn(own.gap, own.times, self.product_gap_[own.product])

    def _look(self, data: Dataset) -> None:
        """What is known of the products at the moment of ``data``."""
        own, size = joined([repeats(batch) for batch in data.batches()]), data.shape[1]
        again = own.times > 1
        buyers, loyal = np.bincount(own.product, minlength=size), np.bincount(own.product[again], minlength=size)
        usual = (loyal.sum() + 1) / (buyers.sum() + 2)
        self.repeat_rate_ = (loyal + 5 * usual) / (buyers + 5)
        self.product_gap_ = _usual_gaps(own, size)
        tree = data.products.tree
        self.category_ = tree[-1].codes if tree else np.full(size, UNKNOWN, dtype=np.int32)
        kin = joined([repeats(batch, self.category_) for batch in data.batches()])
        self.category_gap_ = _usual_gaps(kin, int(self.category_.max(initial=-1)) + 1)
        self.last_sale_ = np.full(size, -(2**62), dtype=np.int64)
        np.maximum.at(self.last_sale_, data.purchases.product, data.purchases.time)

    def _design(self, batch: Batch, own: Repeats) -> Sparse:
        """(P, W) which knots speak for each pair, and how loud."""
        place, height = self._places(batch, own)
        indptr = np.arange(len(own) + 1) * place.shape[1]
        return sp.csr_array((height.ravel(), place.ravel(), indptr), shape=(len(own), len(PRIOR)))

    def _places(self, batch: Batch, own: Repeats) -> tuple[Ints, Doubles]:
        """Two knots of every curve for each pair, and their weights, both (P, 2 x curves)."""
        unit = (batch.at - batch.lines.time[:1]) / batch.age_days[:1] if len(own) else np.ones(1)
        number = basket_places(batch)[1].astype(np.float64)
        oldest, latest = np.zeros(len(batch)), np.full(len(batch), np.inf)
        np.maximum.at(oldest, batch.row, batch.age_days)
        np.minimum.at(latest, batch.row, batch.age_days)
        silence = (batch.at - self.last_sale_[own.product]) / unit
        due = np.log(own.last) - self._usual(own)
        decayed = [decayed_counts(batch, half_life).data.astype(np.float64) for half_life in HALF_LIVES]
        values = [
            np.log(own.times),
            *(np.log(count + DECAYED[0]) for count in decayed),
            np.log(own.last),
            np.log(own.times / number[own.row]),
            np.log(oldest[own.row] / number[own.row]),
            np.log(latest[own.row]),
            np.log(self.repeat_rate_[own.product]),
            np.log(np.maximum(silence, AGES[0])),
        ]
        found = [_hat(value, curve, at) for value, (curve, at) in zip(values, CURVES, strict=True)]
        group = np.searchsorted(CLASSES, own.times, side="right") - 1
        place, height = _hat(due, np.log(DUE), DUE_AT)
        found += [(place + len(DUE) * group[:, None], height)]
        found += [_switched(place + len(DUE) * len(CLASSES), height, own.spread < REGULAR)]
        found += self._of_category(batch, own)
        return np.concatenate([p for p, _ in found], axis=1), np.concatenate([h for _, h in found], axis=1)

    def _of_category(self, batch: Batch, own: Repeats) -> list[tuple[Ints, Doubles]]:
        """Knots and weights of the curves of the category of each pair; weights of 0 where it has none."""
        kin, leaf = repeats(batch, self.category_), self.category_[own.product]
        some = leaf >= 0
        width = len(self.category_gap_)
        at = np.searchsorted(kin.row * width + kin.product, own.row[some] * width + leaf[some])
        values = np.zeros((3, len(own)))
        values[0, some] = np.log(kin.last[at])
        values[1, some] = values[0, some] - _drawn(kin.gap, kin.times, self.category_gap_[kin.product])[at]
        values[2, some] = np.log(own.times[some] / kin.times[at])
        return [_switched(*_hat(value, knots, start), some) for value, (knots, start) in zip(values, KIN, strict=True)]


def _usual_gaps(own: Repeats, size: int) -> Doubles:
    """(size,) mean logarithm of the gaps of each product (category), drawn towards that of all of them."""
    gaps = own.times - 1
    number = np.bincount(own.product, weights=gaps, minlength=size)
    logs = np.bincount(own.product, weights=gaps * own.gap, minlength=size)
    overall = logs.sum() / max(number.sum(), 1.0)
    return np.asarray((logs + PRODUCT_GAP * overall) / (number + PRODUCT_GAP))


def _drawn(gap: Doubles, times: Doubles, usual: Doubles) -> Doubles:
    """(P,) mean logarithm of the customer's own gaps, drawn towards the usual one."""
    return np.asarray((gap * (times - 1) + OWN_GAP * usual) / (times - 1 + OWN_GAP))


def logistic(x: Sparse, y: Bools, prior: Doubles, ridge: float) -> Doubles:
    """(W,) weights of least ``Σ log loss + ridge/2 · |w - prior|²`` for x (N, W), y (N,), by damped Newton steps."""
    weights, across = prior.copy(), x.T.tocsr()
    target = y.astype(np.float64)

    def loss(at: Doubles) -> float:
        odds: Doubles = np.asarray(x @ at)
        return float(np.logaddexp(0, odds).sum() - odds @ target + ridge / 2 * ((at - prior) ** 2).sum())

    now = loss(weights)
    for _ in range(NEWTON_STEPS):
        odds: Doubles = np.asarray(x @ weights)
        chance = 1 / (1 + np.exp(-odds))
        slope = across @ (chance - target) + ridge * (weights - prior)
        spread = sp.csr_array(x.multiply((chance * (1 - chance))[:, None]))
        bend = (across @ spread).toarray()
        step = np.linalg.solve(bend + ridge * np.eye(len(prior)), slope)
        size = 1.0
        while (then := loss(weights - size * step)) > now and size > TOLERANCE:
            size /= 2
        weights, gained, now = weights - size * step, now - then, then
        if gained <= TOLERANCE * max(now, 1.0):
            break
    return weights


def _hat(value: Doubles, knots: Doubles, at: int) -> tuple[Ints, Doubles]:
    """The two knots around each value (P,) and the weights by which a straight line joins them, both (P, 2)."""
    value = np.clip(value, knots[0], knots[-1])
    left = np.minimum(np.searchsorted(knots, value, side="right") - 1, len(knots) - 2)
    share = (value - knots[left]) / (knots[left + 1] - knots[left])
    return np.stack((at + left, at + left + 1), axis=1), np.stack((1 - share, share), axis=1)


def _switched(place: Ints, height: Doubles, on: Bools) -> tuple[Ints, Doubles]:
    """A curve that only some pairs have."""
    return place, height * on[:, None]


def _some(size: int, limit: int, rng: np.random.Generator) -> Ints:
    """All of ``size`` rows, or a random sample of ``limit`` of them, in order."""
    return np.arange(size) if size <= limit else np.sort(rng.choice(size, limit, replace=False))


def _first_times(data: Dataset, asked: list[Question], sold: Floats) -> Floats:
    """(I,) first purchases of a product in the windows a customer asked, drawn to its share of sales (50 customers)."""
    size = data.shape[1]
    first, people = np.zeros(size), np.zeros(size)
    for question in asked:
        before = data.before(question.cut).counts[question.customers]
        bought = question.bought.sign()
        first += np.bincount((bought - bought.multiply(before.sign())).tocsr().tocoo().col, minlength=size)
        people += len(question.customers) * (question.sold[-1] > 0)
    total = sum(len(question.customers) for question in asked)
    usual = sold / max(sold.sum(), 1.0) * (first.sum() + 1e-3) / max(total, 1)
    return np.asarray((first + 50 * usual) / (people + 50), dtype=np.float32)


def _layout() -> tuple[list[tuple[Doubles, int]], int]:
    """Knots in logarithms and first place of every plain curve, and the first place after them."""
    decayed = np.log(np.asarray(DECAYED) + DECAYED[0])
    curves = [np.log(COUNTS), *[decayed] * len(HALF_LIVES), np.log(AGES), np.log(SHARES)]
    curves += [np.log(AGES), np.log(AGES), np.log(SHARES), np.log(AGES)]
    starts = np.cumsum([0, *(len(curve) for curve in curves)])
    return [(curve, int(at)) for curve, at in zip(curves, starts[:-1], strict=True)], int(starts[-1])


CURVES, DUE_AT = _layout()
KIN_AT = DUE_AT + len(DUE) * (len(CLASSES) + 1)
KIN: tuple[tuple[Doubles, int], ...] = (
    (np.log(AGES), KIN_AT),
    (np.log(DUE), KIN_AT + len(AGES)),
    (np.log(SHARES), KIN_AT + len(AGES) + len(DUE)),
)
"""Knots and first places of the curves of the category."""
PRIOR: Doubles = np.zeros(KIN_AT + len(AGES) + len(DUE) + len(SHARES))
"""(W,) own counts: the first curve rises with log n, all others are flat."""
PRIOR[: len(COUNTS)] = RARE + np.log(COUNTS)
