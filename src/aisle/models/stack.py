"""Stack: several models by their lists, with weights that past windows gave the best NDCG.

With r_m(u, i) the place of product i in the list of the n best of member m for customer u,

    score(u, i) = Σ_m w_m · (1 - ln r_m(u, i) / ln(n + 1)),   0 for what is not in the list, w >= 0,

so that members on different scales can be joined (stacked generalisation: Wolpert, 1992). Members are fitted before
each past window and asked for it; costly ones are fitted once, before the earliest. The weights start at the best
member alone and rise by coordinate ascent on the mean NDCG@10 (Metzler and Croft, 2007); a member that gains nothing
keeps weight 0 and is not fitted again. Cost: the members, once a window for cheap ones; seconds for the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.events import Batch, sorted_set
from aisle.errors import UsageError
from aisle.features.pairs import holds
from aisle.models import holding
from aisle.models.base import Array, Model, PastFits
from aisle.models.course import costly, once
from aisle.models.nn.windows import Question, bought_again, gap_ticks, questions
from aisle.models.scored import Scored
from aisle.types import Clock, Codes, Doubles, Floats, Ints, Sparse

K = 10
"""Length of the lists that are judged."""
STEPS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5)
"""Weights tried for a member, the best member alone having 1."""
ROUNDS = 3
LEAST_GAIN = 1e-4
"""Smaller gains of NDCG are chance and move no weight."""
CELLS = 8_000_000
"""Scores of all members held at once."""


@dataclass(frozen=True, eq=False)
class Lists:
    """P products that members list for the customers of some questions, ordered by question row."""

    row: Ints
    heights: Doubles
    """(P, M) 1 at the top of the member's list, 0 outside it."""
    bought: Doubles
    """(P,) 1 for what was bought."""
    ideal: Doubles
    """(N,) DCG of the best list of each row; 0 for rows with nothing to foretell."""

    def ndcg(self, weights: Doubles) -> float:
        """Mean NDCG@10 of the joined lists over the rows with something to foretell; ties keep the order of pairs."""
        order = np.lexsort((-(self.heights @ weights), self.row))
        row = self.row[order]
        place = np.arange(len(row)) - np.searchsorted(row, row)
        gain = np.where(place < K, self.bought[order] / np.log2(place + 2), 0.0)
        got = np.bincount(row, weights=gain, minlength=len(self.ideal))
        some = self.ideal > 0
        return float((got[some] / self.ideal[some]).mean()) if some.any() else 0.0


@dataclass(kw_only=True, eq=False)
class Stack(Model):
    """A weighted vote of models, learned from what came true before."""

    name: ClassVar[str] = "stack"
    joins: ClassVar[str] = "members"
    space: ClassVar[dict[str, tuple[Any, ...]]] = {"depth": (100, 50)}

    members: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Registry name -> settings; empty = the ranker and the singles that are good on this kind of data."""
    depth: int = 100
    """n, products listed by each member."""
    windows: int = 2
    """Past windows that judge, at most."""
    target_days: int | None = None
    """Length of the windows in days (baskets); None = from the usual gap between baskets."""
    max_customers: int = 3_000
    """Customers asked in each window, at most."""
    seed: int = 0

    weights_: dict[str, float] = field(init=False, repr=False)
    """Weight of every member; 0 = not needed."""
    judged_: dict[str, float] = field(init=False, repr=False)
    """NDCG@10 on the past windows: each member alone, and ``stack``, flattered by weights chosen on them."""
    held_: dict[str, Model] = field(init=False, repr=False)
    """Members with a weight above 0, fitted."""
    tie_rank_: Codes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        holding.check_members(self.members, "members", ("stack", "random"))
        for setting in ("depth", "windows", "max_customers"):
            if getattr(self, setting) < 1:
                raise UsageError(f"{setting} is {getattr(self, setting)}; it must be at least 1")
        if self.target_days is not None and self.target_days < 1:
            raise UsageError(f"target_days is {self.target_days}; it must be at least 1, or None")

    @classmethod
    def past_fits(cls, customers: int, products: int, lines: int, clock: Clock) -> dict[str, PastFits]:
        """As every model's: cheap members for each window, costly ones once."""
        usual, dear = cls(), (*costly(products, lines), "ranker")
        asked = min(customers, usual.max_customers)
        some = dict.fromkeys(name for again in (True, False) for name in members_at(again=again))
        return {name: PastFits(1 if name in dear else usual.windows, asked) for name in some}

    def fit(self, data: Dataset) -> Self:
        """Learn the weights on past windows, and fit the members that have one to everything."""
        members = self.members or usual_members(data)
        ticks = gap_ticks(data, self.target_days)
        asked = questions(data, ticks, self.windows, self.max_customers, self.seed, "even")
        dear = {name: settings for name, settings in members.items() if name in (*once(data), "ranker")}
        given = holding.fit_members(dear, data.before(asked[-1].cut)) if asked else {}
        found = []
        for question in asked:
            past = data.before(question.cut)
            held = holding.fit_members(members, past, given)
            found.append(self._listed(held, past, question))
        self.weights_, self.judged_ = _learn(list(members), found)
        some = {name: members[name] for name, weight in self.weights_.items() if weight > 0}
        self.held_ = holding.fit_members(some, data)
        self.tie_rank_ = data.tie_rank
        return self

    def score(self, batch: Batch) -> Floats:
        """(B, I) weighted heights in the members' lists; -inf outside them and for rows without purchases."""
        self.check_fitted()
        out = np.full(batch.shape, -np.inf, dtype=np.float32)
        weights = np.asarray([self.weights_[name] for name in self.held_])
        for rows in holding.blocks(len(batch), batch.n_products, len(self.held_), CELLS):
            piece = holding.part(batch, rows)
            row, code, heights = self._heights(self.held_, piece, self.tie_rank_)
            total = np.zeros(len(row))
            for place, weight in enumerate(weights):  # in a fixed order, so that a row never depends on the batch
                total += weight * heights[:, place]
            out[row + rows.start, code] = total
        return out

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """As every model's; members with their names in front."""
        arrays, values = super().state()
        held = values.pop("held_", {})
        own, values["held"] = holding.state_of(held)
        return arrays | own, values

    def restore(self, arrays: dict[str, Array], values: dict[str, Any]) -> Self:
        """Undo ``state``."""
        self.weights_, self.judged_ = values["weights_"], values["judged_"]
        self.tie_rank_ = arrays["tie_rank_"]
        self.held_ = holding.restored(arrays, values["held"])
        return self

    def _listed(self, held: dict[str, Model], past: Dataset, question: Question) -> Lists:
        """What the members list for the customers of a window, and what came true."""
        batch, parts = past.batch(question.customers), []
        for rows in holding.blocks(len(batch), batch.n_products, len(held), CELLS):
            row, code, heights = self._heights(held, holding.part(batch, rows), past.tie_rank)
            order = np.lexsort((past.tie_rank[code], row))
            parts.append((row[order] + rows.start, code[order], heights[order]))
        row, code, heights = (np.concatenate(part) for part in zip(*parts, strict=True))
        right = holds(question.bought, row, code).astype(np.float64)
        return Lists(row, heights, right, _ideal(question.bought, batch))

    def _heights(self, held: dict[str, Model], batch: Batch, tie_rank: Codes) -> tuple[Ints, Codes, Doubles]:
        """Row (P,), product (P,) and heights (P, M) of all that a member lists; no row without purchases."""
        width, depth = np.int64(batch.n_products), min(self.depth, batch.n_products)
        keys, heights = [], []
        for model in held.values():
            best, _ = Scored.of(model, batch).best(depth, tie_rank)
            row, place = np.nonzero((best >= 0) & ~batch.empty[:, None])
            keys.append(row * width + best[row, place])
            heights.append(1 - np.log(place + 1) / np.log(self.depth + 1))
        key = sorted_set(np.concatenate([np.zeros(0, dtype=np.int64), *keys]))
        table = np.zeros((len(key), len(held)))
        for member, (own, height) in enumerate(zip(keys, heights, strict=True)):
            table[np.searchsorted(key, own), member] = height
        return key // width, (key % width).astype(np.int32), table


def usual_members(data: Dataset) -> holding.Settings:
    """The ranker, and the singles that are good on this kind of data."""
    return {name: {} for name in members_at(again=bought_again(data))}


def members_at(*, again: bool) -> tuple[str, ...]:
    """The members where people buy the same again, or do not."""
    return ("ranker", "item_knn", *(("repeat_hazard", "tifu_knn") if again else ("ease",)))


def _ideal(bought: Sparse, batch: Batch) -> Doubles:
    """(B,) DCG of the best list of K; 0 for rows without truth or without a past."""
    sizes = np.minimum(np.diff(bought.indptr), K)
    gains = np.append(0.0, np.cumsum(1 / np.log2(np.arange(2, K + 2))))
    return np.where(batch.empty, 0.0, gains[sizes])


def _learn(names: list[str], windows: list[Lists]) -> tuple[dict[str, float], dict[str, float]]:
    """Weights by coordinate ascent from the best member alone, and NDCG of each member and of all together."""
    units = np.eye(len(names))
    if not any(part.ideal.any() for part in windows):  # nothing can judge: all count alike
        return dict.fromkeys(names, 1.0), {}

    def judge(weights: Doubles) -> float:
        return float(np.mean([part.ndcg(weights) for part in windows]))

    alone = [judge(unit) for unit in units]
    best = int(np.argmax(alone))
    weights, top = units[best].copy(), alone[best]
    for _ in range(ROUNDS):
        before = top
        for member in np.argsort(-np.asarray(alone), kind="stable"):
            if member == best:
                continue
            for step in STEPS:
                trial = weights.copy()
                trial[member] = step
                if (value := judge(trial)) > top + LEAST_GAIN:
                    weights, top = trial, value
        if top <= before:
            break
    judged = {name: round(value, 6) for name, value in zip(names, alone, strict=True)}
    return {name: float(w) for name, w in zip(names, weights, strict=True)}, judged | {"stack": round(top, 6)}
