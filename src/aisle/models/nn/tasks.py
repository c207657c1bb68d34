"""What the hybrid learns from: questions in mini-batches, and what loss they cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from aisle.models.nn import losses, sampling, together
from aisle.models.nn.hybrid_net import Ask, HybridNet, Scorer, log_shares
from aisle.models.nn.losses import Loss, Sample
from aisle.models.nn.regression import REGRESSION, Cells, block_totals, dot_totals
from aisle.models.nn.rows import Rows
from aisle.models.nn.sampling import Sampler
from aisle.models.nn.windows import Question, spread
from aisle.types import Codes, Floats, Ints, Sparse

BLOCK = 256
"""Questions judged, and made ready, at a time."""
KEEP = 2_000_000
"""So many own products at most are kept between epochs; of more, each batch is made anew: memory stays bounded."""
VALIDATE = 1_000
"""At most this many customers of the latest window decide when to stop."""
HIDE = 0.5
"""Share of the purchases hidden from a question without order, drawn anew at each step."""
BUSY = 0.5
"""A customer with n answers weighs n ** BUSY."""
FORGET = 0.1
"""Share of training questions asked as if the customer were new, so that attributes learn to answer alone."""
IDENTITY_DROPOUT = 0.5
COLUMNS = 4_096
"""Products scored at a time where a dense loss has no closed form."""

Build = Callable[[Codes, int, int], Ask]
"""(customers, cut, row of the what-sells table) -> the questions as asked then."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How answers are made into a loss."""

    loss: Loss
    sampler: Sampler
    explore: float
    """Weight of the loss over products new to the customer alone, beside that over all."""
    dislike: float
    """Weight of what was brought back."""
    id_dropout: float


@dataclass(frozen=True, eq=False)
class Tasks:
    """All N questions of a fit with their answers."""

    asked: list[Question]
    build: Build
    hidden: bool
    """Answers are parts of the histories, hidden when asked: purchases have no order."""
    new_only: bool
    """Nobody buys anything twice: own products are neither answers nor rivals."""
    flags: tuple[Ints, Ints]
    """Content columns of the numbers that come from purchases, and of their flags."""
    bought: Sparse
    """(N, I) weight of the answers."""
    returned: Sparse
    """(N, I) 1 for what was brought back."""
    worth: Floats
    """(N,) weight of each question."""
    shares: Tensor
    """(C, S, I) what sold before each cut."""
    absent: Tensor
    """(C, I) not yet sold at the cut: neither a target nor a rival."""
    window: Ints
    """(N,) row of ``shares``."""
    judges: Ints
    """Questions that decide when to stop."""
    kept: Ask | None
    """All questions, where they are few enough."""

    @classmethod
    def of(cls, asked: list[Question], build: Build, hidden: bool, flags: tuple[Ints, Ints], seed: int) -> Tasks:
        """Every question as it would have been asked at its cut."""
        sold = np.stack([q.sold for q in asked])
        sizes = [len(q.customers) for q in asked]
        judges = np.arange(sizes[0])
        if len(judges) > VALIDATE:
            judges = np.sort(np.random.default_rng(seed).choice(judges, VALIDATE, replace=False))
        every, pairs = [], 0
        for place, question in enumerate(asked):
            for start in range(0, sizes[place], BLOCK):
                if pairs <= KEEP:
                    every.append(build(question.customers[start : start + BLOCK], question.cut, place))
                    pairs += len(every[-1].counts)
        seen = Ask.join(every)
        bought = sp.csr_array(sp.vstack([q.bought for q in asked], format="csr"))
        new_only = hidden or repeat_share(seen, bought[: len(seen)]) < 0.005
        return cls(
            asked=asked,
            build=build,
            hidden=hidden,
            new_only=new_only,
            flags=flags,
            bought=bought,
            returned=sp.csr_array(sp.vstack([q.returned for q in asked], format="csr")),
            worth=np.repeat([q.weight for q in asked], sizes).astype(np.float32),
            shares=torch.from_numpy(log_shares(sold)),
            absent=torch.from_numpy(sold[:, -1] == 0),
            window=np.repeat(np.arange(len(asked)), sizes),
            judges=judges,
            kept=seen if pairs <= KEEP else None,
        )

    def __len__(self) -> int:
        return len(self.window)

    @property
    def n_products(self) -> int:
        """I."""
        return self.absent.shape[1]

    @cached_property
    def demand(self) -> Tensor:
        """(I,) weight of all answers that are the product, relative to the mean product that is one."""
        weight = torch.zeros(self.n_products)
        weight = weight.index_add(0, torch.from_numpy(self.bought.indices.astype(np.int64)), _floats(self.bought.data))
        return weight / weight[weight > 0].mean() if bool((weight > 0).any()) else weight

    @property
    def learners(self) -> Ints:
        """Questions to learn from while those of the latest window judge."""
        return np.flatnonzero(self.window > 0)

    def ask(self, rows: Ints) -> Ask:
        """Some questions, in the order given."""
        if self.kept is not None:
            return self.kept.take(torch.from_numpy(rows))
        order = np.argsort(self.window[rows], kind="stable")
        first = np.concatenate(([0], np.cumsum([len(q.customers) for q in self.asked])))
        parts = []
        for place in np.unique(self.window[rows]):
            some = rows[order][self.window[rows][order] == place]
            parts.append(self.build(self.asked[place].customers[some - first[place]], self.asked[place].cut, place))
        back = np.empty(len(rows), dtype=np.int64)
        back[order] = np.arange(len(rows))
        return Ask.join(parts).take(torch.from_numpy(back))

    def forget(self, ask: Ask, who: Tensor) -> Ask:
        """The questions, those under the mask ``who`` (B,) without any trace of purchases."""
        content = ask.content
        numbers, flags = (torch.from_numpy(np.isin(content.column.numpy(), part)) for part in self.flags)
        lost = who[content.row]
        value = content.value.masked_fill(lost & numbers, 0.0).masked_fill(lost & flags, 1.0)
        blank = ask.without(who[ask.history.row])
        return Ask(blank.history, blank.counts, content.with_values(value), ask.ids, ask.cut)


def loss_of(net: HybridNet, tasks: Tasks, rows: Ints, rules: Rules, generator: torch.Generator) -> Tensor:
    """The loss of some questions, a few of them asked as if by newcomers; or the share in it of this worker's part.

    All that is drawn is drawn for all of them, so that every worker of a group goes on with the same numbers.
    """
    size = len(rows)
    part = slice(0, size) if rules.loss in REGRESSION else together.part(size)
    ask = tasks.ask(rows if tasks.hidden else rows[part])
    bought = tasks.bought[rows]
    if tasks.hidden:
        hide = torch.rand(len(ask.counts), generator=generator) < HIDE
        cells = hide.numpy()
        place = ask.history.row.numpy()[cells], ask.history.column.numpy()[cells]
        mask = sp.csr_array((np.ones(len(place[0]), dtype=np.float32), place), shape=bought.shape)
        bought = sp.csr_array(bought.multiply(mask))
        ask = ask.without(hide)
        ask = ask if len(ask) == len(rows[part]) else ask.take(torch.arange(size)[part])
    seen = ask.history
    ask = tasks.forget(ask, (torch.rand(size, generator=generator) < FORGET)[part])
    vectors = net.product_vectors(sampling.keep_mask(tasks.n_products, rules.id_dropout, generator))
    keep = sampling.keep_mask(size, IDENTITY_DROPOUT, generator)[part]
    scorer = Scorer(net, ask, vectors, tasks.shares, keep)
    targets = Targets.of(bought, tasks.returned[rows], tasks.worth[rows], part)
    # What somebody asked as a newcomer had bought is still no rival where nothing is bought twice.
    seen = seen if tasks.hidden else ask.history
    if rules.loss in REGRESSION:
        return _fit_values(scorer, targets, tasks, rules, seen)
    total = _rank(scorer, targets, tasks, rules, seen, generator)
    return total + rules.dislike * _dislike(scorer, targets, generator) if len(targets.back[0]) else total


@dataclass(frozen=True, eq=False)
class Targets:
    """The answers of the B questions of a batch, or those of the part of one worker."""

    row: Tensor
    column: Tensor
    weight: Tensor
    """(P,)."""
    back: tuple[Tensor, Tensor]
    """Row and column (Q,) of what was brought back, in the whole batch."""
    part: slice
    """Which rows of the batch are here."""
    every: Tensor
    """(A,) products that are answers in the whole batch: negatives are drawn among them."""
    size: int
    """Questions of the whole batch."""

    @classmethod
    def of(cls, bought: Sparse, returned: Sparse, worth: Floats, part: slice = slice(None)) -> Targets:
        """From (B, I) both, and the weights (B,) of the questions; weights are shares of the whole batch's."""
        row, column, weight = spread(bought, BUSY)
        weight = weight * worth[row]
        weight = weight / max(float(weight.sum()), 1e-12)
        back = (torch.from_numpy(found.astype(np.int64)) for found in returned.nonzero())
        start, stop, _ = part.indices(len(worth))
        mine = slice(*np.searchsorted(row, (start, stop)))  # answers lie by row
        parts = torch.from_numpy(row[mine] - start), torch.from_numpy(column[mine]), torch.from_numpy(weight[mine])
        return cls(*parts, (*back,), slice(start, stop), torch.from_numpy(column), len(worth))  # type: ignore[arg-type]

    def among(self, mask: Tensor) -> Targets:
        """Those under a mask (P,), their weights as they were."""
        return replace(self, row=self.row[mask], column=self.column[mask], weight=self.weight[mask])


def _rank(
    scorer: Scorer, targets: Targets, tasks: Tasks, rules: Rules, seen: Rows, generator: torch.Generator
) -> Tensor:
    """A ranking loss over all products, and over those that are new to the customer: not in ``seen`` (B, I)."""
    ask, size = scorer.ask, tasks.n_products
    own = seen.keys
    old = sampling.is_pair(targets.row, targets.column, own, size)
    fresh = targets.among(~old)
    gone = tasks.absent[ask.cut]
    if rules.loss == "softmax":
        scores = scorer.all().masked_fill(gone, -torch.inf)
        blind = scores.flatten().index_fill(0, own, -torch.inf).view(scores.shape)
        every, some = ((scores, targets), (blind, fresh)) if not tasks.new_only else ((blind, fresh), None)
        cost = losses.softmax(every[0], every[1].row, every[1].column, every[1].weight)
        if some is not None and rules.explore:
            cost = cost + rules.explore * losses.softmax(some[0], some[1].row, some[1].column, some[1].weight)
        return cost
    if not len(targets.every):
        return scorer.parts["customers"].sum() * 0.0
    drawn, log_q = rules.sampler.draw(targets.every, generator)
    everyone = torch.arange(len(ask))[:, None]
    negative = scorer.pairs(everyone, drawn[None])
    positive = scorer.pairs(targets.row, targets.column)
    hit = sampling.is_pair(everyone, drawn[None], targets.row * size + targets.column, size) | gone[:, drawn]
    mine = sampling.is_pair(everyone, drawn[None], own, size)
    share = 1.0 / tasks.demand[targets.column]
    loss = losses.SAMPLED[rules.loss]

    def of(mask: Tensor, hits: Tensor) -> Tensor:
        part = targets.among(mask)
        return loss(Sample(positive[mask], part.row, part.weight, negative, hits, size, log_q, share[mask]))

    if tasks.new_only:
        return of(~old, hit | mine)
    cost_of_all = of(torch.ones_like(old), hit)
    return cost_of_all + rules.explore * of(~old, hit | mine) if rules.explore else cost_of_all


def _dislike(scorer: Scorer, targets: Targets, generator: torch.Generator) -> Tensor:
    """What was brought back belongs below a product drawn at random, wherever own products are listed."""
    (row, column), size = targets.back, len(scorer.vectors)
    rival = torch.randint(size, (len(row),), generator=generator)
    here = (row >= targets.part.start) & (row < targets.part.stop)
    row, column, rival = row[here] - targets.part.start, column[here], rival[here]

    def unshifted(code: Tensor) -> Tensor:
        return scorer.pairs(row, code) - sampling.is_pair(row, code, scorer.ask.own, size) * scorer.net.own_shift

    return losses.dislike(unshifted(column), unshifted(rival), torch.full((len(row),), 1.0 / targets.size))


def _fit_values(scorer: Scorer, targets: Targets, tasks: Tasks, rules: Rules, seen: Rows) -> Tensor:
    """A loss over values: 1 for what was bought, -1 for what was brought back, 0 (where dense) for all else.

    What was not sold yet at the cut is no cell, nor, where nobody buys anything twice, what was ``seen`` (B, I).
    """
    back = targets.back if rules.dislike else (targets.row[:0],) * 2
    row, column = torch.cat((targets.row, back[0])), torch.cat((targets.column, back[1]))
    value = torch.cat((torch.ones(len(targets.row)), -torch.ones(len(back[0]))))
    weight = torch.cat((targets.weight, torch.full((len(back[0]),), rules.dislike / len(scorer.ask))))
    out = tasks.absent[scorer.ask.cut[row], column]
    if tasks.new_only:
        out = out | sampling.is_pair(row, column, seen.keys, tasks.n_products)
    row, column, value, weight = row[~out], column[~out], value[~out], weight[~out]
    score = scorer.pairs(row, column)
    if not rules.loss.endswith("dense"):
        return REGRESSION[rules.loss](Cells(score, value, weight))
    return REGRESSION[rules.loss](
        Cells(score, value, weight, *totals(scorer, tasks.absent, seen if tasks.new_only else None))
    )


def totals(scorer: Scorer, absent: Tensor, seen: Rows | None) -> tuple[int, Tensor, Tensor]:
    """Number of cells, Σ s and Σ s² over (B, I): in closed form where scores are inner products, else in blocks.

    Left out are products ``absent`` (C, I) at the cut and those ``seen`` (B, I).
    """
    net, parts, ask = scorer.net, scorer.parts, scorer.ask
    if net.shape.tastes == 1 and net.shape.similarity == "dot":
        total, squares = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for cut in set(ask.cut.tolist()):
            some = ask.cut == cut
            here = ~absent[cut]
            customers = net.scale() * parts["customers"][0][some]
            sums = dot_totals(customers, parts["met"][here], parts["bias"][some], parts["prior"][cut][here])
            total, squares = total + sums[0], squares + sums[1]
    else:

        def present(columns: slice) -> Tensor:
            return scorer.base(columns).masked_fill(absent[:, columns][ask.cut], 0.0)

        total, squares = block_totals(present, len(scorer.vectors), COLUMNS)
    count = int((~absent).sum(dim=1)[ask.cut].sum())
    row, column = ask.history.row, ask.history.column
    some = ~absent[ask.cut[row], column]
    own = parts["own"][some].double()
    base = scorer.pairs(row, column)[some].double() - own
    total, squares = total + own.sum(), squares + (2.0 * base * own + own.square()).sum()
    if seen is not None:
        row, column = seen.row, seen.column
        known = scorer.pairs(row, column)[~absent[ask.cut[row], column]].double()
        count, total, squares = count - len(known), total - known.sum(), squares - known.square().sum()
    return count, total, squares


def _floats(values: Floats) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def repeat_share(ask: Ask, bought: Sparse) -> float:
    """Share of the answers that the customer had bought before."""
    own = sp.csr_array(
        (np.ones(len(ask.counts), dtype=np.float32), ask.history.column.numpy(), ask.history.indptr.numpy()),
        shape=bought.shape,
    )
    return float(bought.sign().multiply(own).sum()) / max(bought.nnz, 1)
