"""Which group a customer belongs to: a level of the customer tree, an attribute, the home store, the channel or the
RFMV segment, so that popularity (and later features) can be told apart by group.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.entities import Features
from aisle.data.events import Batch, unique_pairs
from aisle.errors import UsageError
from aisle.features.customers import Segments
from aisle.types import UNKNOWN, Codes

ALL, EVERY = "all", "every"
"""No grouping: everybody is in no group (-1). All groupings together."""


def groupings(data: Dataset) -> tuple[str, ...]:
    """Names by which the customers of a dataset can be grouped, the choice of ``auto`` first."""
    tree = [level.name for level in reversed(data.customers.tree)]
    places = [name for name, vocab in (("store", data.stores), ("channel", data.channels)) if len(vocab)]
    return (*tree, *places, "segment", *(level.name for level in data.customers.categories), ALL)


def resolve(by: str, data: Dataset) -> str:
    """The grouping meant by a setting; ``auto`` is the deepest tree level, else store, channel, segment.

    Raises UsageError where the data has no such grouping.
    """
    names = groupings(data)
    if by == "auto":
        return names[0]
    if by not in (*names, EVERY):
        raise UsageError(f"no grouping of customers by {by!r}; this data has auto, {EVERY}, {', '.join(names)}")
    return by


def every(data: Dataset) -> tuple[str, ...]:
    """Tree levels, store, channel and attributes; of those that part the customers alike only the first."""
    names: list[str] = []
    parts: list[Codes] = []
    for name in groupings(data):
        if name in ("segment", ALL):
            continue
        codes = data.ask(partial(customer_groups, name, segments=None))
        if not any(_alike(codes, other) for other in parts):
            names.append(name)
            parts.append(codes)
    return tuple(names)


def line_groups(by: str, data: Dataset, segments: Segments | None) -> Codes:
    """(E,) group of each line of ``data.purchases``.

    A line belongs to the store or channel it was bought in (anonymous lines too), otherwise to the group of its
    customer; -1 = none.
    """
    lines = data.purchases
    if by == "store":
        return lines.store
    if by == "channel":
        return lines.channel
    group = data.ask(partial(customer_groups, by, segments=segments))
    out = np.full(len(lines), UNKNOWN, dtype=np.int32)
    named = lines.customer >= 0
    out[named] = group[lines.customer[named]]
    return out


def customer_groups(by: str, batch: Batch, segments: Segments | None) -> Codes:
    """(B,) group of each customer of a batch; -1 where it is not known."""
    if by == "store":
        return usual(batch.lines.store, batch)
    if by == "channel":
        return usual(batch.lines.channel, batch)
    if by == "segment" and segments is not None:
        return segments.predict(batch)
    return _attribute(by, batch.features, len(batch))


def usual(values: Codes, batch: Batch) -> Codes:
    """(B,) the code (store, channel) of most of the customer's baskets.

    ``values`` (E,) holds the code of each line, -1 = unknown. Ties go to the latest, then to the smaller code; a
    customer without any known value gets -1.
    """
    out = np.full(len(batch), UNKNOWN, dtype=np.int32)
    known = values >= 0
    if not known.any():
        return out
    width = int(values.max()) + 1
    pair = batch.row[known].astype(np.int64) * width + values[known]
    visit = unique_pairs(pair, batch.lines.basket[known])[0]
    pairs, latest_of = np.unique(pair, return_inverse=True)
    visits = np.bincount(np.searchsorted(pairs, visit), minlength=len(pairs))
    latest = np.full(len(pairs), np.iinfo(np.int64).min)
    np.maximum.at(latest, latest_of, batch.lines.time[known])
    order = np.lexsort((-pairs, latest, visits, pairs // width))  # the last of each row is the winner
    row, code = pairs[order] // width, pairs[order] % width
    wins = np.append(row[1:] != row[:-1], True)
    out[row[wins]] = code[wins]
    return out


def _attribute(name: str, features: Features, size: int) -> Codes:
    for level in features.levels:
        if level.name == name:
            return level.codes
    return np.full(size, UNKNOWN, dtype=np.int32)


def _alike(one: Codes, other: Codes) -> bool:
    """Two groupings part customers into the same groups, whatever these are called."""
    pair = one.astype(np.int64) * (int(other.max(initial=UNKNOWN)) + 2) + other + 1
    return len(np.unique(pair)) == len(np.unique(one)) == len(np.unique(other))
