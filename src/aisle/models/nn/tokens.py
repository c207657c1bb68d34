"""Journeys as network input: a prefix token of what is known of the customer, then one token a basket."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aisle.kernels.device import moved
from aisle.models.nn.journeys import Journeys, Moments, spans
from aisle.models.nn.rows import Rows
from aisle.types import DAY, Ints, Times

GAPS = 24
"""Classes of the time between two baskets, each √2 times the one before; 0 = none before."""
PARTS = (GAPS + 1, 8, 13)
"""Sizes of the tables of a calendar: gap, weekday, month; 0 = not known."""


@dataclass(frozen=True, eq=False)
class Stretch:
    """C pieces of journeys: the baskets ``[first, stop)`` of each are tokens, and each token foretells the next one."""

    row: Ints
    """(C,) journey."""
    first: Ints
    """(C,) place of the first basket among all K."""
    stop: Ints
    """(C,)."""

    def __len__(self) -> int:
        return len(self.row)

    @property
    def size(self) -> Ints:
        """(C,) tokens, the prefix included."""
        return self.stop - self.first + 1

    def take(self, rows: Ints) -> Stretch:
        """Some of them."""
        return Stretch(self.row[rows], self.first[rows], self.stop[rows])

    @classmethod
    def ends(cls, journeys: Journeys, length: int) -> Stretch:
        """The latest ``length`` baskets of each journey, to foretell the one to come."""
        first, stop = journeys.indptr[:-1], journeys.indptr[1:]
        return cls(np.arange(len(journeys)), np.maximum(first, stop - length), stop)

    @classmethod
    def all(cls, journeys: Journeys, length: int) -> Stretch:
        """Pieces that foretell every basket of every journey once; the latest piece of each is the longest."""
        baskets = journeys.baskets
        count = np.where(baskets > 0, np.maximum(-(-(baskets - 1) // length), 1), 0)
        row = np.repeat(np.arange(len(journeys)), count)
        step = np.arange(len(row)) - (np.cumsum(count) - count)[row]
        stop = journeys.indptr[1:][row] - 1 - step * length
        return cls(row, np.maximum(journeys.indptr[:-1][row], stop - length), stop)


@dataclass(frozen=True, eq=False)
class Tokens:
    """B rows of T tokens, shorter rows filled up at their end."""

    product: Tensor
    """(M,) products of all baskets."""
    bag: Tensor
    """(M,) the token, among B · T, that each belongs to."""
    share: Tensor
    """(M,) 1 / √n of a basket of n products."""
    size: Tensor
    """(B,) tokens of each row."""
    width: int
    """T."""
    when: Tensor | None
    """(B, T) days of each token since the row's first; None under a sequence clock."""
    calendar: Tensor | None
    """(B, T, 3) classes of gap, weekday and month."""
    people: Rows
    """(B, F) attributes of the customers."""

    @classmethod
    def of(cls, journeys: Journeys, stretch: Stretch, people: Rows) -> Tokens:
        """The tokens of some pieces; ``people`` (B, F) describes the customer of each."""
        size = stretch.size
        width = int(size.max(initial=1))
        baskets, number = spans(stretch.first, stretch.stop)
        place = np.arange(len(baskets)) - np.repeat(np.cumsum(number) - number, number)
        token = np.repeat(np.arange(len(stretch)), number) * width + place + 1
        cells, n = spans(journeys.start[baskets], journeys.start[baskets + 1])
        when = calendar = None
        if journeys.clock == "time":
            when, calendar = _times(journeys, stretch, baskets, token, width)
        return cls(
            product=torch.from_numpy(journeys.product[cells].astype(np.int64)),
            bag=torch.from_numpy(np.repeat(token, n)),
            share=torch.from_numpy(np.repeat(1.0 / np.sqrt(np.maximum(n, 1)), n).astype(np.float32)),
            size=torch.from_numpy(size),
            width=width,
            when=when,
            calendar=calendar,
            people=people,
        )

    def to(self, device: torch.device) -> Tokens:
        """The same on a device."""
        return Tokens(
            moved(self.product, device),
            moved(self.bag, device),
            moved(self.share, device),
            moved(self.size, device),
            self.width,
            None if self.when is None else moved(self.when, device),
            None if self.calendar is None else moved(self.calendar, device),
            self.people.to(device),
        )


def _times(journeys: Journeys, stretch: Stretch, baskets: Ints, token: Ints, width: int) -> tuple[Tensor, Tensor]:
    """Days (B, T) and calendar classes (B, T, 3) of the tokens."""
    when = np.zeros((len(stretch), width), dtype=np.float32)
    some = stretch.stop > stretch.first
    origin = np.zeros(len(stretch), dtype=np.int64)
    origin[some] = journeys.time[stretch.first[some]]
    time = journeys.time[baskets]
    when.ravel()[token] = (time - origin[token // width]) / DAY
    before = np.where(baskets > journeys.indptr[journeys.row[baskets]], journeys.time[np.maximum(baskets - 1, 0)], -1)
    out = np.zeros((len(stretch) * width, len(PARTS)), dtype=np.int64)
    out[token] = calendar_classes(time, before)
    return torch.from_numpy(when), torch.from_numpy(out.reshape(len(stretch), width, len(PARTS)))


def calendar_classes(time: Times, before: Times) -> Ints:
    """(N, 3) classes of the gap to the moment ``before`` (-1 = none), of the weekday and of the month of each time."""
    gap = np.log2(1.0 + np.maximum(time - before, 0) / DAY)
    gap = np.where(before < 0, 0, 1 + np.minimum(np.floor(2.0 * gap), GAPS - 1))
    month = time.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64) % 12
    return np.stack((gap.astype(np.int64), time // DAY % 7 + 1, month + 1), axis=1)


def question_calendar(journeys: Journeys, moments: Moments) -> Tensor | None:
    """(Q, 3) classes of the moments of questions: since the last basket, weekday and month."""
    if journeys.clock != "time":
        return None
    some = moments.basket > journeys.indptr[moments.row]
    last = np.where(some, np.append(journeys.time, 0)[np.maximum(moments.basket - 1, 0)], -1)
    return torch.from_numpy(calendar_classes(moments.time, last))
