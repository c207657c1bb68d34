"""Candidates of several sources with all that is known of them: who proposed what, scores, ranks and features.

A pool is what a ranker asks at one moment: fitted sources and the facts of that moment. The candidates of a customer
are the own products, the best of every source, and what is bought together with the history.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.events import Batch, slices, sorted_set, sparse_sum
from aisle.features import ranking
from aisle.features.ranking import Facts
from aisle.features.ranking.blocks import FADE
from aisle.features.ranking.rhythm import visits
from aisle.models import holding
from aisle.models.base import Few, Model, ScoresFew
from aisle.models.scored import Scored
from aisle.types import Bools, Codes, Doubles, Floats, Ints

CELLS = 12_000_000
"""Scores of all sources held at once …"""
ENOUGH = 64
"""… but pieces smaller than so many customers pay more for the start of each than for its customers: there sources that
score few products in a way of their own do not count."""
SLACK = 1.5
OWN, COMPANY = "own", "company"
"""Sources that are not models: own products, and company in baskets with the history."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """P candidates of some customers, ordered by row, then product."""

    row: Ints
    code: Codes
    sources: tuple[str, ...]
    proposed: Bools
    """(P, S) which sources proposed the candidate."""
    scores: Floats
    """(P, S) NaN where a source cannot score it."""
    ranks: Floats
    """(P, S) place among the candidates of the row, 1 = best."""

    def __len__(self) -> int:
        return len(self.row)

    def take(self, kept: Ints) -> Pairs:
        """Some of the pairs; ranks stay those among all."""
        parts = (self.proposed[kept], self.scores[kept], self.ranks[kept])
        return Pairs(self.row[kept], self.code[kept], self.sources, *parts)


@dataclass(eq=False)
class Thinned:
    """Pairs of many blocks, at most ``limit`` of them in the end, whatever the order and the sizes of the blocks.

    Every pair draws a number, and those with the smallest stay: of the bought up to half the limit, of the others
    what is left of it. So all pairs of a kind stay with one chance. While blocks come, ``SLACK`` times the limit and
    the pairs of one block may lie here.
    """

    limit: int
    _blocks: list[tuple[slice, Pairs, Bools, Doubles]] = field(default_factory=list)
    _size: int = 0

    def add(self, rows: slice, pairs: Pairs, bought: Bools, draws: Doubles) -> None:
        """The pairs of the batch's ``rows``, with their draws from 0 to 1 (P,)."""
        self._blocks.append((rows, pairs, bought, draws))
        self._size += len(pairs)
        if self._size > SLACK * self.limit:
            self._thin()

    def blocks(self) -> list[tuple[slice, Pairs, Bools]]:
        """What stays: rows of the batch, pairs and whether they were bought, in the order in which they came."""
        self._thin()
        return [(rows, pairs, bought) for rows, pairs, bought, _ in self._blocks]

    def _thin(self) -> None:
        bought = np.concatenate([np.zeros(0, dtype=bool), *(block[2] for block in self._blocks)])
        draws = np.concatenate([np.zeros(0), *(block[3] for block in self._blocks)])
        right, wrong = np.flatnonzero(bought), np.flatnonzero(~bought)
        right = right[np.argsort(draws[right], kind="stable")[: max(self.limit // 2, 1)]]
        wrong = wrong[np.argsort(draws[wrong], kind="stable")[: self.limit - len(right)]]
        stays = np.zeros(len(draws), dtype=bool)
        stays[right] = stays[wrong] = True
        at, self._size = 0, len(right) + len(wrong)
        for place, (rows, pairs, held, drawn) in enumerate(self._blocks):
            kept = np.flatnonzero(stays[at : at + len(drawn)])
            at += len(drawn)
            if len(kept) < len(drawn):
                self._blocks[place] = (rows, pairs.take(kept), held[kept], drawn[kept])


@dataclass(frozen=True, eq=False)
class Pool:
    """Fitted sources, and what is known of the products, at one moment."""

    held: dict[str, Model]
    facts: Facts
    tie_rank: Codes
    top: int
    """Products that each source proposes."""

    @classmethod
    def at(cls, data: Dataset, sources: holding.Settings, top: int, given: dict[str, Model] | None = None) -> Pool:
        """The pool as of ``data.as_of``; sources ``given`` were fitted before."""
        return cls(holding.fit_members(sources, data, given), Facts.at(data), data.tie_rank, top)

    def parts(self, batch: Batch) -> Iterator[tuple[slice, Batch]]:
        """The batch in pieces whose scores fit into ``CELLS``."""
        dense = sum(not isinstance(model, ScoresFew) for model in self.held.values())
        cells = [CELLS // max(batch.n_products * members, 1) for members in (len(self.held) + 1, dense + 1)]
        for rows in slices(len(batch), max(cells[0], min(cells[1], ENOUGH))):
            yield rows, holding.part(batch, rows)

    def pairs(self, batch: Batch) -> Pairs:
        """The candidates of a (small) batch; rows without purchases have none."""
        scored = {name: Scored.of(model, batch) for name, model in self.held.items()}
        scored[COMPANY] = Scored(self._company(batch))
        width = np.int64(batch.n_products)
        rows = np.repeat(np.arange(len(batch)), np.diff(batch.history.indptr))
        keys = [rows * width + batch.history.indices]
        for found in scored.values():
            best, _ = found.best(min(self.top, batch.n_products), self.tie_rank)
            row, place = np.nonzero((best >= 0) & ~batch.empty[:, None])
            keys.append(row * width + best[row, place])
        key = sorted_set(np.concatenate(keys))
        row, code = key // width, (key % width).astype(np.int32)
        proposed = np.stack([np.isin(key, one) for one in keys], axis=1)
        table = np.stack([found.at(row, code) for found in scored.values()], axis=1)
        places = np.stack([self._places(row, code, column) for column in table.T], axis=1)
        table[np.isneginf(table)] = np.nan
        return Pairs(row, code, (OWN, *scored), proposed, table, places)

    def table(self, batch: Batch, pairs: Pairs) -> tuple[tuple[str, ...], Floats]:
        """Names (F,) and values (P, F): the features of the pairs, and every source's score and rank."""
        names, values = ranking.table(batch, self.facts, pairs.row, pairs.code)
        models = pairs.sources[1:]
        lists = pairs.proposed.sum(axis=1, dtype=np.float32)[:, None]
        names += ("lists", *(f"{name}_score" for name in models), *(f"{name}_rank" for name in models))
        return names, np.concatenate((values, lists, pairs.scores, pairs.ranks), axis=1)

    def _company(self, batch: Batch) -> Few:
        """Summed cosine over baskets with the products of the history, the latest basket first; -inf for all else."""
        seen = visits(batch, batch.lines.product)
        history = sparse_sum(seen.row, seen.thing.astype(np.int32), FADE ** (seen.ago - 1.0), batch.shape)
        cells = history @ self.facts.company
        cells.data[cells.data <= 0] = -np.inf
        return Few(cells, np.full(batch.n_products, -np.inf, dtype=np.float32), batch.empty)

    def _places(self, row: Ints, code: Codes, score: Floats) -> Floats:
        """(P,) place of each pair among those of its row by a source's scores; NaN where there is none."""
        order = np.lexsort((self.tie_rank[code], -score, row))
        start = np.searchsorted(row[order], row[order])
        places = np.empty(len(row), dtype=np.float32)
        places[order] = np.arange(1, len(row) + 1) - start
        places[np.isneginf(score)] = np.nan
        return places
