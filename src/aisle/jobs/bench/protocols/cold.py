"""What both kinds of cold start share: five seeded draws hide something, and inside, to tune on, hide other things.

With ``days`` the truth is what was bought in the last days, and the past is what lies before; without, in data that
have no dates, everything is both past and truth. The draw inside hides from what the one outside has left, with dates
in the window before. A customer asked in several draws counts once in the pooled intervals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from aisle.data.dataset import Dataset
from aisle.data.split import Window, truth
from aisle.jobs.bench.split import Split
from aisle.types import Sparse

INNER = 1_000
"""Added to the seed of a draw for the one inside it."""
DRAWS = ("0", "1", "2", "3", "4")
Hide: TypeAlias = Callable[[Dataset, Sparse, int], Split]
"""Past, what was bought (U, I), seed -> the split whose training data lack what the seed hides."""


def draws(hide: Hide, days: int | None = None) -> Callable[[Dataset, str], Split]:
    """The splits of a protocol: a part is the seed of a draw."""
    return partial(_draw, hide, days)


def _draw(hide: Hide, days: int | None, data: Dataset, part: str) -> Split:
    seed = int(part)
    if days is None:
        found = hide(data, data.counts.sign().tocsr(), seed)
    else:
        window = Window(data.as_of - days * data.unit, data.as_of)
        found = hide(data.before(window.cut), truth(data, window).bought, seed)
    return replace(found, inner=lambda: _draw(hide, days, found.data, str(seed + INNER)))
