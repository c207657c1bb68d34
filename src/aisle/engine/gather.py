"""A ranker fitted by parts, which any engine does; what the parts found is gathered here, and the trees grown from it.

First every source is fitted at every moment at which the past is asked, and to everything; then the customers of every
past window are asked, some at a time, for candidates, features and what came true. Each part leaves a file, and is not
done again while that is whole. Equal data, settings and seed give equal bytes, whoever does the parts, but for sources
whose last bits hang on the number of threads (networks, graph filters). ``Ranker.fit`` comes to the same but for the
candidates that it thins: each part draws those for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from aisle.data.dataset import Dataset
from aisle.engine.base import Engine, Receipt, at_hand
from aisle.engine.learn import open_shared
from aisle.features.ranking import Facts
from aisle.files import Receipts, fingerprint, read_arrays, sha256, write_arrays
from aisle.models import create, holding
from aisle.models.base import Model
from aisle.models.candidates import Pool
from aisle.models.course import Course, Recall, some_of
from aisle.progress import Tick
from aisle.types import Bools

if TYPE_CHECKING:  # LightGBM is imported where a ranker is made
    from aisle.models.boosting import Table
    from aisle.models.ranker import Ranker

ASKED_A_PART = 2_500
"""Customers of a window."""
FACTS = "facts"
"""What is known of the products, at a moment; fitted like a source."""
OLDEST, NOW = "oldest", "now"
"""Moments beside those of the sides, which go by their numbers: before the earliest window; at the end of the data."""


def gather(model: Model, shared: dict[str, Any], engine: Engine, receipts: Receipts, tick: Tick) -> None:
    """Let the engine do all parts, and the ranker learn from what they found."""
    ranker, bench = cast("Ranker", model), _bench(shared)
    course = bench.course
    fits = [{"moment": OLDEST, "member": name} for name in (course.dear if course.asked else ())]
    fits += [{"moment": NOW, "member": name} for name in (*course.sources, FACTS)]
    fresh = [name for name in (*course.sources, FACTS) if name not in course.dear]
    fits += [{"moment": str(side), "member": name} for side in range(len(course.sides)) for name in fresh]
    asks = [
        {"side": side, "rows": [at, min(at + ASKED_A_PART, len(question.customers))]}
        for side, question in enumerate(course.sides)
        for at in range(0, len(question.customers), ASKED_A_PART)
    ]
    total = len(fits) + len(asks) + 1
    engine.map(fit_part, fits, shared, receipts=receipts, tick=lambda done, _: tick(done, total))
    told = engine.map(ask_part, asks, shared, receipts=receipts, tick=lambda done, _: tick(len(fits) + done, total))
    bench.forget()
    recall = Recall()
    for receipt in told:
        sources, sums, customers = receipt["recall"]
        recall += Recall(tuple(sources), np.asarray(sums), customers)
    tables = [bench.table(part) for part in asks]
    ranker.learn(tables, recall, bench.pool(NOW), course.data)


def fit_part(part: dict[str, str], shared: dict[str, Any]) -> Receipt:
    """One source, or the facts, at one moment, by whichever worker."""
    bench, member = _bench(shared), part["member"]
    known = bench.known(part["moment"])
    if member == FACTS:
        state: tuple[dict[str, Any], Any] = Facts.at(known).state()
    else:
        state = holding.state_of(holding.fit_members({member: bench.course.sources[member]}, known))
    path = bench.path(part["moment"], member)
    write_arrays(path, *state)
    return {"files": {str(path): sha256(path)}}


def ask_part(part: dict[str, Any], shared: dict[str, Any]) -> Receipt:
    """Some customers of one side, by whichever worker: their rows of the training table."""
    bench, side, (start, stop) = _bench(shared), part["side"], part["rows"]
    ranker, whole = bench.model, bench.course.sides[side]
    question = some_of(whole, slice(start, stop))
    pool, past = bench.at_side(side)
    limit = max(ranker.rows_of(bench.course) * (stop - start) // len(whole.customers), 1)
    random = np.random.default_rng((ranker.seed, 1 + side, start))
    table = ranker.ask(pool, past, question, bench.judges, random, limit)
    found = Recall.of(pool, past, question) if side == 0 else Recall()
    path = bench.path(str(side), f"rows-{start}")
    write_arrays(path, vars(table))
    return {"files": {str(path): sha256(path)}, "recall": [found.sources, found.sums.tolist(), found.customers]}


@dataclass(eq=False)
class _Bench:
    """What a worker has at hand: the course, and the latest moment that it opened."""

    model: Ranker
    course: Course
    out: Path
    _known: tuple[str, Dataset] | None = None
    _side: tuple[int, Pool, Dataset] | None = None

    @classmethod
    def of(cls, shared: dict[str, Any]) -> _Bench:
        model = cast("Ranker", create(shared["model"], **shared["settings"]))
        return cls(model, model.course(open_shared(shared["data"])), Path(shared["out"]))

    @cached_property
    def judges(self) -> Bools:
        """(U,) customers who decide when to stop."""
        from aisle.models.ranker import judging

        return judging(self.course.data, np.random.default_rng(self.model.seed))

    def known(self, moment: str) -> Dataset:
        """What was known at a moment."""
        if self._known is None or self._known[0] != moment:
            self.forget()  # its memory is free before the next takes as much
            if moment == OLDEST:
                past = self.course.oldest()
            else:
                past = self.course.data if moment == NOW else self.course.known(int(moment))
            self._known = moment, past
        return self._known[1]

    def at_side(self, side: int) -> tuple[Pool, Dataset]:
        """The sources of a side, and the past of those who are asked."""
        if self._side is None or self._side[0] != side:
            past = self.known(str(side)).before(self.course.sides[side].cut)
            self._side = side, self.pool(str(side)), past
        return self._side[1:]

    def forget(self) -> None:
        """Let go of the latest moment."""
        self._known = self._side = None

    def pool(self, moment: str) -> Pool:
        """The sources as they were fitted at a moment, costly ones before the earliest window."""
        held: dict[str, Model] = {}
        for name in self.course.sources:
            fitted = OLDEST if moment != NOW and name in self.course.dear else moment
            held |= holding.restored(*read_arrays(self.path(fitted, name)))
        facts = Facts.restored(*read_arrays(self.path(moment, FACTS)))
        return Pool(held, facts, self.known(moment).tie_rank, self.model.candidates)

    def table(self, part: dict[str, Any]) -> Table:
        """What a part of ``ask_part`` left."""
        from aisle.models.boosting import Table

        return Table(**read_arrays(self.path(str(part["side"]), f"rows-{part['rows'][0]}"))[0])

    def path(self, moment: str, name: str) -> Path:
        """The file of a part."""
        return self.out / f"{moment}-{name}.safetensors"


def _bench(shared: dict[str, Any]) -> _Bench:
    return at_hand(fingerprint(shared), lambda: _Bench.of(shared))
