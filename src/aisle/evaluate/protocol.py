"""One model, one window: lists for everybody with truth, scored block by block against what really happened.

The full catalogue is ranked: candidates are all products known at the cut, bought ones included. Customers without a
purchase before the cut, and products new at the cut, are reported apart from the headline population.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.data.split import Truth, Window, sample, truth
from aisle.evaluate import floor, metrics
from aisle.features.customers import Segments
from aisle.kernels.topk import NOTHING
from aisle.models.base import Model
from aisle.models.scored import Scored
from aisle.types import DAY, NEVER, UNKNOWN, Bools, Codes, Doubles, Ints, Sparse

HEADLINE = "ndcg@10"
"""The metric that picks models and decides what ships."""
PLACES = 10
BYTES_PER_SCORE = 40
"""Peak bytes a cell of the (B, I) block: scores, masks, and the int64 keys of top-k."""
BLOCK_BYTES = 200_000_000
FRESH_DAYS = 28
"""A product first sold so short before the cut, or never, is a cold product."""
LIST_METRICS = {
    "ndcg": (metrics.ndcg, floor.expected_ndcg),
    "recall": (metrics.recall, floor.expected_recall),
    "precision": (metrics.precision, floor.expected_precision),
    "map": (metrics.average_precision, floor.expected_average_precision),
    "mrr": (metrics.reciprocal_rank, floor.expected_reciprocal_rank),
    "hit": (metrics.hit_rate, floor.expected_hit_rate),
}
"""name -> (value of lists, value expected of random lists)."""


@dataclass(frozen=True, eq=False)
class Population:
    """N customers of a window: what they bought in it and before it."""

    customers: Codes
    """(N,)"""
    bought: Sparse
    """(N, I) 1 where the net quantity in the window is positive."""
    revenue: Sparse
    """(N, I) net amount of those cells."""
    before: Sparse
    """(N, I) > 0 where the product was bought before the cut."""
    known: Bools
    """(I,) the candidates."""
    fresh: Bools
    """(I,) candidates first sold shortly before the cut, or never."""

    @cached_property
    def wanted(self) -> Ints:
        """(N,) size of the truth."""
        return np.diff(self.bought.indptr).astype(np.int64)

    @cached_property
    def spent(self) -> Doubles:
        """(N,) net revenue of the truth."""
        return np.asarray(self.revenue @ np.ones(self.revenue.shape[1]), dtype=np.float64)

    @cached_property
    def parts(self) -> dict[str, tuple[Ints, Ints]]:
        """Part of the truth -> (wanted (N,), reachable (N,)): all of it, repeats, explorations, cold products."""
        again = self.bought.multiply(self.before.sign()).tocsr()
        sizes = {
            "all": (self.wanted, _row_sums(self.bought, self.known)),
            "repeat": (_row_sums(again), _row_sums(again, self.known)),
            "fresh": (_row_sums(self.bought, self.fresh), _row_sums(self.bought, self.fresh)),
        }
        all_, repeat = sizes["all"], sizes["repeat"]
        return sizes | {"explore": (all_[0] - repeat[0], all_[1] - repeat[1])}

    def measure(self, lists: Codes, k: int) -> dict[str, Doubles]:
        """Every metric at k, (N,) each, of lists (N, >= k)."""
        lists = lists[:, :k]
        hits = metrics.hit_matrix(lists, self.bought)
        old = metrics.hit_matrix(lists, self.before)
        fresh = self.fresh[lists] & (lists >= 0)
        values = {f"{name}@{k}": of(hits, self.wanted) for name, (of, _) in LIST_METRICS.items()}
        for name, inside in (("repeat", old), ("explore", ~old), ("fresh", fresh)):
            values[f"{name}_recall@{k}"] = metrics.part_recall(hits, inside, self.parts[name][0])
        earned = metrics.listed_values(lists, self.revenue)
        values[f"revenue@{k}"] = earned.sum(axis=1)
        values[f"revenue_share@{k}"] = metrics.revenue_share(earned, self.spent)
        return values

    def floor(self, k: int) -> dict[str, Doubles]:
        """What a random list of k candidates is expected to score, (N,) each; the keys of ``measure``."""
        size = int(self.known.sum())
        values = {f"{name}@{k}": of(*self.parts["all"], size, k) for name, (_, of) in LIST_METRICS.items()}
        for name in ("repeat", "explore", "fresh"):
            values[f"{name}_recall@{k}"] = floor.expected_recall(*self.parts[name], size, k)
        chance = min(k, size) / max(size, 1)
        reach: Doubles = np.asarray(chance * (self.revenue @ self.known.astype(np.float64)), dtype=np.float64)
        total = self.spent
        values[f"revenue@{k}"] = reach
        values[f"revenue_share@{k}"] = reach / np.where(total > 0, total, np.nan)
        return values


@dataclass(frozen=True, eq=False)
class Exam:
    """A window made ready to ask any number of models: the past, the customers in blocks, and the answers."""

    past: Dataset
    """The dataset as of the cut."""
    truth: Truth
    warm: Population
    """Customers with truth and a purchase before the cut: the headline."""
    cold: Population
    """Customers with truth and no purchase before the cut."""
    block_rows: int

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        window: Window,
        *,
        limit: int | None = None,
        seed: int = 0,
        block_bytes: int = BLOCK_BYTES,
    ) -> Exam:
        """Prepare a window; of more than ``limit`` warm (cold) customers a random sample is asked."""
        past, facts = dataset.before(window.cut), truth(dataset, window)
        rng = np.random.default_rng(seed)
        warm, cold = (sample(np.flatnonzero(some).astype(np.int32), limit, rng) for some in (facts.warm, facts.cold))
        rows = int(np.clip(block_bytes // (BYTES_PER_SCORE * max(dataset.shape[1], 1)), 16, 4096))
        return cls(past, facts, _population(past, facts, warm), _population(past, facts, cold), rows)

    @cached_property
    def warm_batches(self) -> tuple[Batch, ...]:
        """The warm customers in blocks, shared by all models."""
        return self.batches(self.warm.customers)

    @cached_property
    def cold_batches(self) -> tuple[Batch, ...]:
        """The cold customers in blocks."""
        return self.batches(self.cold.customers)

    @cached_property
    def segments(self) -> tuple[tuple[str, ...], Codes]:
        """Names of the RFMV segments at the cut and the segment of each warm customer (N,); no names = too few."""
        found = Segments.fit(self.past)
        if found is None:
            return (), np.full(len(self.warm.customers), UNKNOWN, dtype=np.int32)
        parts = [found.predict(batch) for batch in self.warm_batches]
        return found.names, np.concatenate([*parts, np.zeros(0, dtype=np.int32)])

    def batches(self, customers: Codes) -> tuple[Batch, ...]:
        """Some customers in blocks."""
        starts = range(0, len(customers), self.block_rows)
        return tuple(self.past.batch(customers[start : start + self.block_rows]) for start in starts)


@dataclass(frozen=True, eq=False)
class Scores:
    """What one model scored in one window."""

    customers: Codes
    """(N,) warm customers, in the order of every array of ``values``."""
    values: dict[str, Doubles]
    """metric@k -> (N,), NaN where the customer has no value."""
    lists: Codes
    """(N, K) what was listed, -1 = an empty place."""
    whole: dict[str, float]
    """Figures of all lists together: coverage, gini, novelty."""
    cold: dict[str, Doubles]
    """metric@k -> value of each cold customer."""
    same_for_all: bool
    """Everybody was given the same products in the same order."""


def make_lists(model: Model, exam: Exam, batches: tuple[Batch, ...], k: int) -> Codes:
    """(N, k) best candidates of each customer; places that the model leaves empty are filled by popularity."""
    lists = [np.zeros((0, k), dtype=np.int32)]
    for batch in batches:
        lists.append(Scored.of(model, batch).best(k, exam.past.tie_rank, listed=exam.truth.known)[0])
    return fill(np.concatenate(lists), exam.truth.known, exam.past.tie_rank)


def fill(lists: Codes, known: Bools, tie_rank: Codes) -> Codes:
    """The lists (N, K) with empty places (at the end of a row) filled by the best-selling products not listed yet."""
    short = np.flatnonzero((lists == NOTHING).any(axis=1))
    if not len(short):
        return lists
    k = lists.shape[1]
    best = np.lexsort((tie_rank, ~known))[: min(2 * k, int(known.sum()))]
    best = np.concatenate((best, np.full(2 * k - len(best), NOTHING))).astype(np.int32)
    out = lists.copy()
    for start in range(0, len(short), 10_000):
        rows = short[start : start + 10_000]
        part = lists[rows]
        taken = (best[None, :, None] == part[:, None, :]).any(axis=2) & (best >= 0)
        spare = best[np.argsort(taken, axis=1, kind="stable")][:, :k]
        have = (part != NOTHING).sum(axis=1)[:, None]
        place = np.arange(k)
        out[rows] = np.where(place < have, part, np.take_along_axis(spare, np.maximum(place - have, 0), axis=1))
    return out


def headline(model: Model, exam: Exam) -> Doubles:
    """(N,) NDCG@10 of the warm customers: all that tuning needs."""
    lists = make_lists(model, exam, exam.warm_batches, PLACES)
    return metrics.ndcg(metrics.hit_matrix(lists, exam.warm.bought), exam.warm.wanted)


def evaluate(model: Model, exam: Exam, k: int = PLACES) -> Scores:
    """Everything a fitted model scores in a window: all metrics at 10 and at k, list figures at k, cold customers.

    The model must have been fitted on ``exam.past``. Lists are made once, block by block.
    """
    warm, cold = (make_lists(model, exam, some, max(PLACES, k)) for some in (exam.warm_batches, exam.cold_batches))
    return judge(warm, cold, exam, k)


def judge(lists: Codes, cold_lists: Codes, exam: Exam, k: int = PLACES) -> Scores:
    """Everything that lists of all warm customers (N, K >= 10 and k), and of all cold ones, score in a window."""
    cutoffs = sorted({PLACES, k})
    values: dict[str, Doubles] = {}
    cold: dict[str, Doubles] = {}
    for cutoff in cutoffs:
        values |= exam.warm.measure(lists, cutoff)
        cold |= exam.cold.measure(cold_lists, cutoff)
    asked = lists[:, :k]
    shown = metrics.exposure(asked, exam.past.shape[1])[exam.truth.known]
    whole = {
        f"coverage@{k}": metrics.coverage(shown),
        f"gini@{k}": metrics.gini(shown),
        f"novelty@{k}": metrics.novelty(asked, metrics.surprise(exam.past.popularity)),
    }
    same = len(asked) > 1 and bool((asked == asked[0]).all())
    return Scores(exam.warm.customers, values, asked, whole, cold, same)


def random_floor(exam: Exam, k: int = PLACES) -> dict[str, float]:
    """What random lists are expected to score on average, by the names of ``Scores.values`` and ``Scores.whole``."""
    values: dict[str, float] = {}
    for cutoff in sorted({PLACES, k}):
        values |= {name: mean(array) for name, array in exam.warm.floor(cutoff).items()}
    size, people = int(exam.truth.known.sum()), len(exam.warm.customers)
    bits = metrics.surprise(exam.past.popularity)[exam.truth.known]
    values[f"coverage@{k}"] = floor.expected_coverage(people, size, k)
    values[f"gini@{k}"] = floor.expected_gini(people, size, k)
    values[f"novelty@{k}"] = float(bits.mean()) if size else float("nan")
    return values


def mean(values: Doubles) -> float:
    """Mean of the values that are there; NaN where none is."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")


def _population(past: Dataset, facts: Truth, customers: Codes) -> Population:
    recently = past.as_of - FRESH_DAYS * DAY if past.clock == "time" else NEVER
    return Population(
        customers=customers,
        bought=facts.bought[customers],
        revenue=facts.revenue[customers],
        before=past.batch(customers).history,
        known=facts.known,
        fresh=facts.known & (past.first_sale >= recently),
    )


def _row_sums(matrix: Sparse, products: Bools | None = None) -> Ints:
    """(N,) stored cells of each row, of these products (I,) alone where given."""
    ones = np.ones(matrix.shape[1]) if products is None else products.astype(np.float64)
    sums: Doubles = np.asarray(matrix.sign() @ ones, dtype=np.float64)
    return np.rint(sums).astype(np.int64)
