"""What the basket transformer learns from: every basket of every journey, asked for at its own moment.

Own products are known (``Own``) at the latest moments of each journey. At earlier ones, where they are not, repeat
purchases are left out of the answers, so that the explore part alone is taught.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from aisle.kernels.device import moved
from aisle.models.nn import losses, together
from aisle.models.nn.basket_net import BasketNet, Pairs
from aisle.models.nn.full_softmax import How, Listed, full_softmax
from aisle.models.nn.journeys import FACTS, Comers, Journeys, Moments, Own, asked, own, spans
from aisle.models.nn.losses import Loss, Sample
from aisle.models.nn.rows import Rows
from aisle.models.nn.sampling import Sampler, keep_mask
from aisle.models.nn.tokens import Stretch, Tokens, question_calendar
from aisle.types import Bools, Floats, Ints

BUSY = 0.5
"""An answer of n products weighs n ** BUSY."""
LATEST = 8
"""Moments of each journey, the latest, at which own products are known, while they are at most ``MOST_PAIRS``."""
MOST_PAIRS = 3_000_000
BATCHES = ((200, 32), (16, 16))
"""Steps an epoch, and the batch down to which batches shrink to make so many."""
POOL = 50
"""Batches whose pieces are sorted by length together."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How answers are made into a loss."""

    loss: Loss
    sampler: Sampler
    id_dropout: float
    bfloat16: bool = False


@dataclass(frozen=True, eq=False)
class Step:
    """One mini-batch: tokens, the moments that are asked for, their answers, and own products."""

    tokens: Tokens
    at: Tensor
    """(Q,) the token, among B · T, that answers each moment."""
    calendar: Tensor | None
    """(Q, 3) of the questions."""
    cut: Tensor
    """(Q,) row of what sells."""
    row: Tensor
    """(P,) moment of each listed pair: own products and answers, by moment, then product."""
    product: Tensor
    """(P,)."""
    weight: Tensor
    """(P,) weight as an answer, 0 for those that were not bought; sums to 1 over the batch of all workers."""
    mine: Tensor
    """(O,) places among the P pairs of own products."""
    facts: Tensor
    """(O, F) of the own products."""
    answers: Tensor
    """(A,) answers of the batch of all workers, among which negatives are drawn."""

    def to(self, device: torch.device) -> Step:
        """The same on a device."""
        calendar = None if self.calendar is None else moved(self.calendar, device)
        names = ("at", "cut", "row", "product", "weight", "mine", "facts")
        rest = {name: moved(getattr(self, name), device) for name in names}
        return replace(self, tokens=self.tokens.to(device), calendar=calendar, **rest)


@dataclass(frozen=True, eq=False)
class Lessons:
    """All pieces of all journeys with their answers."""

    journeys: Journeys
    stretch: Stretch
    moments: Moments
    """One before each basket."""
    cut: Ints
    """(K,) row of what sells at each moment."""
    people: Rows
    """(N, F) attributes of the customer of each journey."""
    worth: Floats
    """(P,) weight of each purchase as an answer."""
    own: Own
    """Own products at the moments ``told``."""
    told: Ints
    """(K,) row of ``own`` of each moment, -1 where own products are not known."""
    repeat: bool

    @classmethod
    def of(cls, journeys: Journeys, people: Rows, length: int, horizon: int, cuts: int, options: Options) -> Lessons:
        """``horizon`` ticks of a window, ``cuts`` rows of what sells; the last is for moments before all windows."""
        moments = asked(journeys, horizon, options.seed)
        count = len(journeys.time)
        behind = -(-(journeys.at - moments.time) // horizon)
        cut = np.clip(behind, 0, cuts - 1).astype(np.int64)
        sizes = np.diff(journeys.start)
        worth = np.repeat(np.maximum(sizes, 1) ** (BUSY - 1.0), sizes)
        told = np.full(count, -1, dtype=np.int64)
        facts = Own(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros((0, len(FACTS)), np.float32))
        if options.repeat and count:
            comers, final = Comers.of(journeys)
            some = np.flatnonzero(_latest(journeys))
            facts = own(journeys, moments.take(some), comers, final)
            told[some] = np.arange(len(some))
            worth = np.where(journeys.again() & np.repeat(told < 0, sizes), 0.0, worth)
        stretch = Stretch.all(journeys, length)
        return cls(journeys, stretch, moments, cut, people, worth.astype(np.float32), facts, told, options.repeat)

    def __len__(self) -> int:
        return len(self.stretch)

    def batches(self, size: int, generator: torch.Generator) -> list[Tensor]:
        """All pieces once, in batches of like length, drawn anew."""
        length = torch.from_numpy(self.stretch.size)
        order = torch.randperm(len(self), generator=generator)
        pools = (pool[length[pool].argsort(stable=True)] for pool in torch.split(order, size * POOL))
        found = [batch for pool in pools for batch in torch.split(pool, size)]
        return [found[place] for place in torch.randperm(len(found), generator=generator).tolist()]

    def step(self, rows: Ints) -> Step:
        """Some pieces as a mini-batch; of one that several workers share, the part of this one."""
        part = together.part(len(rows))
        stretch, journeys = self.stretch.take(rows[part]), self.journeys
        tokens = Tokens.of(journeys, stretch, self.people.take(torch.from_numpy(stretch.row)))
        basket, n = self._asked(stretch)
        piece = np.repeat(np.arange(len(stretch)), n)
        at = piece * tokens.width + basket - stretch.first[piece]
        row, product, weight = self._bought(basket)
        whole = None if len(stretch) == len(rows) else self._bought(self._asked(self.stretch.take(rows))[0])
        mass = max(float((whole[2] if whole else weight).sum()), 1e-9)
        pairs = _listed(row, product, weight / mass, self._own(basket), journeys.n_products)
        answers = pairs[1:3] if whole is None else (torch.from_numpy(whole[1]), torch.from_numpy(whole[2]))
        return Step(
            tokens,
            torch.from_numpy(at),
            question_calendar(journeys, self.moments.take(basket)),
            torch.from_numpy(self.cut[basket]),
            *pairs,
            _counting(*answers),
        )

    def _asked(self, stretch: Stretch) -> tuple[Ints, Ints]:
        """The baskets that some pieces foretell, and (C,) how many each does."""
        begins = stretch.first == self.journeys.indptr[stretch.row]  # else the prefix alone would stand for a history
        return spans(stretch.first + ~begins, stretch.stop + 1)

    def _bought(self, basket: Ints) -> tuple[Ints, Ints, Floats]:
        """Place among these baskets, product and weight of all that is in them."""
        cells, sizes = spans(self.journeys.start[basket], self.journeys.start[basket + 1])
        product = self.journeys.product[cells].astype(np.int64)
        return np.repeat(np.arange(len(basket)), sizes), product, self.worth[cells]

    def _own(self, basket: Ints) -> tuple[Ints, Ints, Floats]:
        """Moment among those asked, product and facts of the own products of some moments."""
        asked = np.flatnonzero(self.told[basket] >= 0)
        found = self.own.take(self.told[basket[asked]])
        return asked[found.row], found.product.astype(np.int64), found.facts

    @cached_property
    def fact_scales(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each fact."""
        facts = self.own.facts.astype(np.float64) if len(self.own.facts) else np.ones((1, len(FACTS)))
        return torch.from_numpy(facts.mean(axis=0)).float(), torch.from_numpy(
            np.maximum(facts.std(axis=0), 0.1)
        ).float()


@dataclass(frozen=True)
class Options:
    """What lessons must know of the settings."""

    repeat: bool
    seed: int


def _latest(journeys: Journeys) -> Bools:
    """(K,) the latest moments of each journey at which something was seen, few enough for all their pairs."""
    place = np.arange(len(journeys.time)) - journeys.indptr[journeys.row]
    behind = journeys.indptr[1:][journeys.row] - np.arange(len(journeys.time))
    seen = journeys.start[:-1] - journeys.start[journeys.indptr[journeys.row]]
    for latest in range(LATEST, 0, -1):
        chosen = (behind <= latest) & (place > 0)
        if latest == 1 or int(seen[chosen].sum()) <= MOST_PAIRS:
            break
    return np.asarray(chosen)


def _listed(
    row: Ints, product: Ints, weight: Floats, mine: tuple[Ints, Ints, Floats], size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Row, product and weight of own products and answers together; the places of own products, and their facts."""
    own_row, own_product, facts = mine
    own_key = own_row * np.int64(size) + own_product
    key = row * np.int64(size) + product
    every = np.unique(np.concatenate((own_key, key)))
    total = np.zeros(len(every), dtype=np.float32)
    total[np.searchsorted(every, key)] = weight
    parts = (every // size, every % size, total, np.searchsorted(every, own_key), facts)
    row_, product_, weight_, mine_, facts_ = (torch.from_numpy(np.ascontiguousarray(part)) for part in parts)
    return row_, product_, weight_, mine_, facts_


def _counting(product: Tensor, weight: Tensor) -> Tensor:
    """The products (P,) that count as answers; all of them where none does."""
    some = product[weight > 0]
    return some if len(some) else product


def loss_of(net: BasketNet, step: Step, sold: Tensor, rules: Rules, generator: torch.Generator) -> Tensor:
    """Mean loss of a mini-batch, or the share in it of this worker's part; ``sold`` (C, 4, I)."""
    device, size = net.device, sold.shape[2]
    drawn = log_q = None
    used = torch.arange(size, device=device)
    if rules.loss != "softmax":
        drawn, log_q = rules.sampler.draw(step.answers, generator)
        used = torch.unique(torch.cat((step.tokens.product, step.product, drawn)))
        drawn, log_q = moved(drawn, device), moved(log_q, device)
    step, used = step.to(device), moved(used, device)
    place = torch.zeros(size, dtype=torch.int64, device=device)
    place[used] = torch.arange(len(used), device=device)
    with _narrow(rules.bfloat16, device):
        keep = None
        if rules.id_dropout:  # where products are drawn, those at hand differ between workers, and with them the draws
            draws = generator if drawn is None else together.own(generator)
            keep = moved(keep_mask(len(used), rules.id_dropout, draws), device)
        vectors = net.tower(used, keep)
        states = net.encode(step.tokens, vectors[place[step.tokens.product]]).flatten(0, 1)[step.at]
        h = net.ask(states, step.calendar)
    h, vectors = h.float(), vectors.float()
    prior = net.prior(sold[:, :, used])  # (C, M)
    local = place[step.product]
    listed = (h[step.row] * vectors[local]).sum(dim=1) + prior[step.cut[step.row], local]
    if len(step.mine):
        mine = Pairs(step.row[step.mine], local[step.mine], step.facts, listed[step.mine])
        listed = listed.index_put((step.mine,), net.again(h, vectors, mine))
    if drawn is None or log_q is None:
        pairs = Listed(step.row, step.product, step.weight)
        return full_softmax(h, vectors, prior, step.cut, listed, pairs, How(bfloat16=rules.bfloat16))
    rivals = h @ vectors[place[drawn]].T + prior[:, place[drawn]][step.cut]
    return _sampled(rules.loss, rivals, drawn, log_q, step, listed, size)


def _sampled(loss: Loss, rivals: Tensor, drawn: Tensor, log_q: Tensor, step: Step, listed: Tensor, size: int) -> Tensor:
    """A loss over the listed pairs (P,) and the drawn rivals (Q, Z).

    The softmax counts own products that were not bought among its terms, whole; for other losses they are rivals when
    they are drawn, with the score they have.
    """
    column = torch.full((size,), -1, dtype=torch.int64, device=drawn.device)
    column[drawn] = torch.arange(len(drawn), device=drawn.device)
    met = torch.nonzero(column[step.product] >= 0)[:, 0]
    where = step.row[met], column[step.product[met]]
    hit = torch.zeros(rivals.shape, dtype=torch.bool, device=drawn.device)
    if loss == "sampled_softmax":
        hit[where] = True
        return losses.sampled_softmax(Sample(listed, step.row, step.weight, rivals, hit, size, log_q))
    rivals = rivals.index_put(where, listed[met])
    hit[where] = step.weight[met] > 0
    real = step.weight > 0
    sample = Sample(listed[real], step.row[real], step.weight[real], rivals, hit, size, log_q)
    return losses.SAMPLED[loss](sample)


def _narrow(bfloat16: bool, device: torch.device) -> AbstractContextManager[object]:
    return torch.autocast(device.type, dtype=torch.bfloat16) if bfloat16 else nullcontext()


def step_size(pieces: int, most: int) -> int:
    """Pieces a step: ``most``, but fewer where an epoch would have too few steps."""
    return min(most, *(max(pieces // steps, least) for steps, least in BATCHES))
