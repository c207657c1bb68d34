"""Ranker: gradient-boosted trees over the candidates of many models, learned from what past windows led to.

Two stages (Covington et al., RecSys 2016): every source proposes its best products, own products join, and trees
decide between them by features of the customer, the product and both (``features/ranking``) and by every source's
score and rank. A training question is a customer at the start of a past window; candidates,
features and sources are strictly as of that moment. Cheap sources are fitted anew for each window; costly ones once,
before the earliest, where only the histories they are asked about move on; all are fitted again for what is scored.
Only what was proposed can be right: what no source found is no positive. Of more than ``max_lines`` purchases a sample
of customers is learned from, by sources and trees alike, so that scores and shares mean the same to the trees on all
sides; everybody is ranked. Candidates not bought are thinned evenly where the table would pass ``max_rows`` (within
each part, where the fit is done by parts); that moves all chances alike and no rank. A tenth of the customers decides
when to stop.
Cost: the sources on ``max_lines`` at most, once a window for cheap ones; ``max_rows x features`` floats; a minute of
trees a million rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.errors import UsageError
from aisle.features.pairs import holds
from aisle.features.ranking import Facts
from aisle.models import boosting, holding
from aisle.models.base import Array, ByParts, Model, PastFits
from aisle.models.boosting import Table, Trees
from aisle.models.candidates import Pairs, Pool, Thinned
from aisle.models.course import Course, Recall, chosen, costly, sources_at
from aisle.models.nn.windows import Question, gap_ticks, questions
from aisle.types import Bools, Clock, Doubles, Floats, Ints

Objective = Literal["binary", "lambdarank", "both"]
MOST_LINES = 10_000_000
SIZES = ("candidates", "windows", "max_customers", "max_lines", "max_rows", "folds", "trees", "min_rows", "threads")
"""Settings of at least 1."""
FOLDS = 4
JUDGES = 0.1
"""Share of customers who decide when to stop."""
FEW = 20
"""Fewer positives than this teach nothing: the sources' ranks are averaged instead."""
PRIOR = 60.0
"""Constant of reciprocal rank fusion (Cormack et al., SIGIR 2009), where no trees were grown."""


@dataclass(kw_only=True, eq=False)
class Ranker(Model):
    """Joins all sources: the best of each, ordered by what came true before."""

    name: ClassVar[str] = "ranker"
    joins: ClassVar[str] = "sources"
    learns_from: ClassVar[int | None] = MOST_LINES
    by_parts: ClassVar[ByParts | None] = "moments"
    space: ClassVar[dict[str, tuple[Any, ...]]] = {
        "leaves": (31, 63),
        "objective": ("binary", "both"),
    }

    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Registry name -> settings of every model that proposes; empty = chosen by the size and the kind of the data."""
    candidates: int = 50
    """Products that each source proposes; own products come on top."""
    windows: int = 4
    """Past windows to learn from, at most."""
    target_days: int | None = None
    """Length of the windows in days (baskets); None = from the usual gap between baskets."""
    max_customers: int = 15_000
    """Customers asked in each window, at most."""
    max_lines: int = MOST_LINES
    """Purchases to learn from, at most; of more, those of randomly drawn customers."""
    max_rows: int = 1_000_000
    """Rows of the training table, at most, the same number for each window; of more, those not bought are thinned, and
    those bought where they would be more than half."""
    folds: int | None = None
    """More than 1, where baskets have an order and no times: each of so many groups of customers is asked with what all
    others bought in the window known, since a window is no moment there; None = 4 there, 1 under a real clock."""
    objective: Objective = "binary"
    """What the trees learn: bought or not, the order in the list, or both and the mean of the two ranks."""
    learning_rate: float = 0.1
    leaves: int = 31
    trees: int = 500
    """Trees at most; the judges stop earlier."""
    min_rows: int = 100
    """Training rows in a leaf, at least (fewer where the table is small)."""
    threads: int = 2
    """Threads of LightGBM; they change the time, not the result."""
    seed: int = 0

    boosters_: list[str] = field(init=False, repr=False)
    """Trees as text."""
    names_: list[str] = field(init=False, repr=False)
    """(F,) features of the trees."""
    gains_: dict[str, float] = field(init=False, repr=False)
    """Feature -> share of the gain of all splits, largest first."""
    recall_: dict[str, Any] = field(init=False, repr=False)
    """Share of what was bought in the newest window that was proposed: at all, by each source, by it alone."""
    pool_: Pool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        holding.check_members(self.sources, "sources", ("ranker", "stack", "random"))
        if self.objective not in get_args(Objective):
            raise UsageError(f"objective is {self.objective!r}; give {', '.join(get_args(Objective))}")
        for setting in SIZES:
            if (value := getattr(self, setting)) is not None and value < 1:
                raise UsageError(f"{setting} is {getattr(self, setting)}; it must be at least 1")
        if self.leaves < 2 or not self.learning_rate > 0:
            raise UsageError(f"leaves and learning_rate are {self.leaves}, {self.learning_rate}; give >= 2 and > 0")
        if self.target_days is not None and self.target_days < 1:
            raise UsageError(f"target_days is {self.target_days}; it must be at least 1, or None")

    @classmethod
    def past_fits(cls, customers: int, products: int, lines: int, clock: Clock) -> dict[str, PastFits]:
        """As every model's: cheap sources for each window and fold, costly ones once."""
        usual, folds = cls(), FOLDS if clock == "sequence" else 1
        asked = min(customers, usual.max_customers)
        often, seldom = PastFits(usual.windows * folds, -(-asked // folds)), PastFits(1, asked)
        some = sources_at(products, lines, again=True, levels=True)
        return {name: seldom if name in costly(products, lines) else often for name in some}

    def fit(self, data: Dataset) -> Self:
        """Ask past windows, learn from their answers, and fit all sources to everything."""
        course = self.course(self.drawn(data))
        given: dict[str, Model] = {}
        if course.asked and course.dear:
            given = holding.fit_members(course.dear, course.oldest())
        random = np.random.default_rng(self.seed)
        judges = judging(course.data, random)
        tables: list[Table] = []
        recall = Recall()
        for place, question in enumerate(course.sides):
            known = course.known(place)
            pool, past = Pool.at(known, course.sources, self.candidates, given), known.before(question.cut)
            tables.append(self.ask(pool, past, question, judges, random, self.rows_of(course)))
            if place == 0:
                recall = Recall.of(pool, past, question)
        return self.learn(tables, recall, Pool.at(course.data, course.sources, self.candidates), course.data)

    def drawn(self, data: Dataset) -> Dataset:
        """The purchases of drawn customers, where there are more than ``max_lines``."""
        return data.drawn(self.max_lines, self.seed)

    def course(self, data: Dataset) -> Course:
        """What is asked of the past of ``drawn`` data; raises UsageError for folds where baskets have times."""
        folds = self.folds or (FOLDS if data.clock == "sequence" else 1)
        if folds > 1 and data.clock == "time":
            raise UsageError(f"folds is {self.folds}; only baskets in order without times allow more than 1")
        ticks = gap_ticks(data, self.target_days)
        asked = questions(data, ticks, self.windows, self.max_customers, self.seed, "even")
        return Course(data, self.sources or chosen(data), asked, ticks, folds, self.seed)

    def rows_of(self, course: Course) -> int:
        """Rows of the training table that a side may fill."""
        return max(self.max_rows // max(len(course.asked) * course.folds, 1), 1)

    def ask(
        self, pool: Pool, past: Dataset, question: Question, judges: Bools, random: np.random.Generator, limit: int
    ) -> Table:
        """The candidates of some customers with their features and what came true, thinned to ``limit`` rows."""
        batch = past.batch(question.customers)
        thinned = Thinned(limit)
        for rows, piece in pool.parts(batch):
            pairs = pool.pairs(piece)
            bought = holds(question.bought[rows], pairs.row, pairs.code)
            thinned.add(rows, pairs, bought, random.random(len(pairs)))
        found: list[tuple[Floats, Bools, Ints, Bools]] = []
        for rows, some, bought in thinned.blocks():  # features are dear: only of what stays
            piece = holding.part(batch, rows)
            _, values = pool.table(piece, some)
            customer = piece.customers[some.row]
            found.append((values, bought, customer.astype(np.int64), judges[customer]))
        columns = [np.concatenate(part) for part in zip(*found, strict=True)]
        return Table(*columns)

    def learn(self, tables: list[Table], recall: Recall, pool: Pool, data: Dataset) -> Self:
        """Grow the trees from the answers of all sides, latest first, which are used up; ``pool`` is what they judge.

        ``data`` is what the pool knows.
        """
        self.recall_, self.pool_ = recall.told(), pool
        blank = data.batch(np.zeros(0, dtype=np.int32))
        self.names_ = list(pool.table(blank, pool.pairs(blank))[0])
        self._grow(tables)
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I) scores of the candidates, -inf for all else and for rows without purchases."""
        self.check_fitted()
        scores = np.full(batch.shape, -np.inf, dtype=np.float32)
        for rows, piece in self.pool_.parts(batch):
            pairs = self.pool_.pairs(piece)
            if len(pairs):
                scores[pairs.row + rows.start, pairs.code] = self._judge(piece, pairs)
        return scores

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """As every model's; sources and facts with their names in front."""
        arrays, values = super().state()
        pool: Pool | None = values.pop("pool_", None)
        if pool is not None:
            held, values["held"] = holding.state_of(pool.held)
            facts, values["facts"] = pool.facts.state()
            arrays |= held | facts | {"tie_rank_": pool.tie_rank}
        return arrays, values

    def restore(self, arrays: dict[str, Array], values: dict[str, Any]) -> Self:
        """Undo ``state``."""
        for name in ("boosters_", "names_", "gains_", "recall_"):
            setattr(self, name, values[name])
        held = holding.restored(arrays, values["held"])
        facts = Facts.restored(arrays, values["facts"])
        self.pool_ = Pool(held, facts, arrays["tie_rank_"], self.candidates)
        return self

    def _grow(self, tables: list[Table]) -> None:
        """Grow the trees, where there is enough to learn from."""
        self.boosters_, self.gains_ = [], {}
        if sum(int(table.bought.sum()) for table in tables) < FEW:
            return
        table = joined(tables)
        tables.clear()
        for objective in ("binary", "lambdarank") if self.objective == "both" else (self.objective,):
            shape = (self.learning_rate, self.leaves, self.trees, self.min_rows, self.threads, self.seed)
            self.boosters_.append(boosting.grow(table, Trees(objective, *shape)))
        gain = np.mean([boosting.gains(text) for text in self.boosters_], axis=0)
        order = np.argsort(-gain, kind="stable")
        self.gains_ = {self.names_[place]: round(float(gain[place]), 6) for place in order}

    def _judge(self, batch: Batch, pairs: Pairs) -> Doubles:
        """(P,) what the trees say; without trees, what the sources say together."""
        if not self.boosters_:
            return np.asarray(np.nan_to_num(1 / (PRIOR + pairs.ranks)).sum(axis=1), dtype=np.float64)
        _, values = self.pool_.table(batch, pairs)
        said = [boosting.predict(text, values, self.threads) for text in self.boosters_]
        if len(said) == 1:
            return said[0]
        return np.asarray(-np.mean([places(pairs.row, one) for one in said], axis=0))


def judging(data: Dataset, random: np.random.Generator) -> Bools:
    """(U,) customers who decide when to stop."""
    return random.random(data.shape[0]) < JUDGES


def joined(tables: list[Table]) -> Table:
    """One table of all windows; a question is a customer of one window."""
    parts, at = [], 0
    for table in tables:
        new = np.append(True, table.question[1:] != table.question[:-1])[: len(table.question)]
        parts.append(np.cumsum(new) - 1 + at)
        at += int(new.sum())
    return Table(
        np.concatenate([table.values for table in tables]),
        np.concatenate([table.bought for table in tables]),
        np.concatenate(parts),
        np.concatenate([table.judge for table in tables]),
    )


def places(row: Ints, score: Doubles) -> Doubles:
    """(P,) place of each score among those of its row, the mean place where scores tie."""
    order = np.lexsort((-score, row))
    new = np.append(True, (row[order][1:] != row[order][:-1]) | (score[order][1:] != score[order][:-1]))
    run = np.cumsum(new[: len(order)]) - 1
    place = np.arange(len(order)) - np.searchsorted(row[order], row[order])
    mean = np.bincount(run, weights=place) / np.bincount(run)
    out = np.empty(len(order))
    out[order] = mean[run]
    return out
