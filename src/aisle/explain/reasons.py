"""Why each listed product: the strongest evidence there is, as a code, its arguments, and words.

Evidence is looked for in this order and the first found is given:

1. ``BUY_AGAIN``      bought at least three times at a regular interval that is not long over
2. ``BOUGHT_BEFORE``  bought before
3. ``BOUGHT_WITH``    the product of the customer's own history that is most often bought by the same customers
4. ``CATEGORY``       the customer often buys from the category, deepest level first
5. ``POPULAR_IN``     the list came from the customer's group, segment or attribute
6. ``POPULAR``        it sells well now, or the list is what sells everywhere
7. ``PICKED``         a model chose it for a mixture of reasons that no single one of the above tells

A reason is true of the data whichever model made the list; it does not claim to be how the model thought.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from aisle.data.dataset import Dataset
from aisle.data.entities import Entities, leaf
from aisle.data.events import Batch, unique_pairs
from aisle.errors import BundleError, UsageError
from aisle.explain.cadence import bought
from aisle.explain.copurchase import co_purchases, strongest_link
from aisle.explain.words import ENGLISH, REASON_CODES, Words, phrase
from aisle.progress import Tick
from aisle.types import UNKNOWN, Bools, Codes, Floats, Ints

Objects: TypeAlias = "npt.NDArray[np.object_]"

NEIGHBOURS = 50
"""Co-purchased products kept for each product."""
MIN_SUPPORT = 2
"""Two products are linked only if at least this many customers bought both."""
HALF_LIFE_DAYS = 60.0
HALF_LIFE_BASKETS = 5.0
POPULAR_SHARE = 0.2
"""The best-selling part of the products sold that may be called popular."""
OFTEN_BASKETS = 3
OFTEN_SHARE = 0.2
"""*Often* from a category means this many baskets and this share of all the customer's baskets."""
BROAD_SHARE = 0.5
"""A category that holds more of the catalogue than this says nothing of a customer."""
GROUP_SOURCES = ("group", "segment", "attribute")
UNITS = ("day", "week", "month", "visit")
CODE = {name: place for place, name in enumerate(REASON_CODES)}


@dataclass(frozen=True, eq=False)
class Reasons:
    """Reasons of B lists of K places; places without a product hold empty strings and None."""

    code: Objects
    """(B, K) str: reason codes."""
    args: Objects
    """(B, K) dict: the arguments of the sentence, plain JSON values; equal reasons share one dict."""
    text: Objects
    """(B, K) str: sentences."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of products that reasons need beside the customer's own history."""

    neighbours: Codes
    """(I, N) products bought by the same customers, strongest first, -1 where there are fewer."""
    strength: Floats
    """(I, N) cosine of the two sets of customers; 0 where there is no neighbour."""
    popular: Bools
    """(I,) among the best sellers of late."""

    @classmethod
    def fit(cls, data: Dataset, tick: Tick = lambda done, total: None) -> Evidence:
        """Learn from what was visible at ``data.as_of``; ``tick`` counts products."""
        neighbours, strength = co_purchases(data.counts, data.tie_rank, NEIGHBOURS, MIN_SUPPORT, tick)
        return cls(neighbours, strength, _popular(data))

    def state(self) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
        """Arrays and JSON values that ``restore`` needs."""
        return {"neighbours": self.neighbours, "strength": self.strength, "popular": self.popular}, {}

    @classmethod
    def restore(cls, arrays: dict[str, np.ndarray[Any, Any]], values: dict[str, Any]) -> Evidence:
        """Undo ``state``; raises BundleError where an array is missing."""
        missing = {"neighbours", "strength", "popular"} - arrays.keys()
        if missing:
            raise BundleError(f"evidence of reasons lacks {sorted(missing)}; write the model again with aisle run")
        return cls(arrays["neighbours"], arrays["strength"], arrays["popular"].astype(bool))

    def explain(
        self,
        batch: Batch,
        codes: Codes,
        sources: Objects | npt.NDArray[np.str_] | Sequence[Sequence[str]],
        groups: Sequence[str] | Objects,
        products: Entities,
        words: Words = ENGLISH,
    ) -> Reasons:
        """Reasons for the listed products ``codes`` (B, K), -1 being an empty place.

        ``sources`` (B, K), or (B, 1) for one source a row, says where each place came from: ``group``, ``segment``
        and ``attribute`` lists, names that end in ``popularity``, anything else being a model. ``groups`` (B,) are
        readable names of the group a fallback list of the row stands for, empty where there is none. ``products``
        gives names and categories. Raises UsageError where the shapes do not fit.
        """
        shape = codes.shape
        try:
            source = np.broadcast_to(np.asarray(sources, dtype=np.str_), shape)
        except ValueError as error:
            raise UsageError(
                f"sources have shape {np.shape(sources)}, lists {shape}; give one a place or a row"
            ) from error
        names = [str(name) for name in groups]
        if len(names) != len(batch) or shape[0] != len(batch):
            raise UsageError(f"{len(batch)} customers, {shape[0]} lists and {len(names)} group names; give one each")
        row, place = np.nonzero(codes >= 0)
        found = self._find(batch, row, codes[row, place], source[row, place], names, products)
        return _write(shape, row, place, found, _Speaker(products, names, batch, words))

    def _find(
        self,
        batch: Batch,
        row: Ints,
        code: Codes,
        source: npt.NDArray[np.str_],
        groups: list[str],
        products: Entities,
    ) -> Ints:
        """(3, N) reason and two details of each listed product, weakest evidence first and overwritten by stronger."""
        found = np.zeros((3, len(row)), dtype=np.int64)
        found[0] = np.where(
            self.popular[code] | np.char.endswith(source, "popularity"), CODE["POPULAR"], CODE["PICKED"]
        )
        # Equal names share one number, so that each sentence is made once.
        first_row = {name: index for index, name in reversed(list(enumerate(groups)))}
        named = np.asarray([first_row[name] if name else UNKNOWN for name in groups], dtype=np.int64)[row]
        for kind, group_source in enumerate(GROUP_SOURCES):
            _put(found, (source == group_source) & (named >= 0), "POPULAR_IN", kind, named)
        for depth, level in enumerate(products.tree):  # top to leaf: the deepest level that holds stays
            _put(found, _often_from(batch, level.codes, row, code), "CATEGORY", depth, level.codes[code])
        cadence = bought(batch, row, code)
        link = np.full(len(row), UNKNOWN, dtype=np.int64)
        new = np.flatnonzero(cadence.times == 0)
        link[new] = strongest_link(self.neighbours, batch.history, row[new], code[new])
        _put(found, link >= 0, "BOUGHT_WITH", link, 0)
        since = cadence.last if batch.clock == "time" else batch.at - cadence.last
        _put(found, cadence.times > 0, "BOUGHT_BEFORE", since, cadence.times)
        every, unit = _interval(cadence.gap, batch.clock == "time")
        _put(found, cadence.regular, "BUY_AGAIN", every, cadence.times * len(UNITS) + unit)
        return found


def _put(found: Ints, hit: Bools, code: str, first: Ints | Codes | int, second: Ints | Codes | int) -> None:
    """Write a reason and its details over the places that ``hit`` (N,) marks, in place."""
    for line, value in enumerate((CODE[code], first, second)):
        found[line] = np.where(hit, value, found[line])


def _interval(gap: npt.NDArray[np.float64], days: bool) -> tuple[Ints, Ints]:
    """Round intervals (N,) in days to whole days, weeks or months as people say them; visits stay visits."""
    known = np.nan_to_num(gap)
    if not days:
        return np.maximum(np.rint(known), 1).astype(np.int64), np.full(len(gap), UNITS.index("visit"))
    unit = np.select([known < 6, known < 60], [0, 1], 2).astype(np.int64)
    length = np.asarray([1.0, 7.0, 365.25 / 12])[unit]
    return np.maximum(np.rint(known / length), 1).astype(np.int64), unit


def _often_from(batch: Batch, category: Codes, row: Ints, code: Codes) -> Bools:
    """(N,) True where the customer of the row often buys from the category of the product."""
    n_categories = int(category.max(initial=0)) + 1
    of_line = category[batch.lines.product]
    inside = of_line >= 0
    sizes = np.bincount(category[category >= 0], minlength=n_categories)
    narrow = (category >= 0) & (sizes[np.maximum(category, 0)] <= BROAD_SHARE * len(category))
    owner = batch.row[inside] * n_categories + of_line[inside]
    keys, counts = np.unique(unique_pairs(owner, batch.lines.basket[inside])[0], return_counts=True)
    total = np.bincount(unique_pairs(batch.row, batch.lines.basket)[0], minlength=len(batch))
    asked = row * n_categories + category[code]
    at = np.minimum(np.searchsorted(keys, asked), max(len(keys) - 1, 0))
    if len(keys) == 0:
        return np.zeros(len(row), dtype=bool)
    count = np.where((keys[at] == asked) & narrow[code], counts[at], 0)
    return np.asarray((count >= OFTEN_BASKETS) & (count >= OFTEN_SHARE * total[row]))


def _popular(data: Dataset) -> Bools:
    """(I,) the best-selling share of products by decayed sales lines; never more than were sold."""
    half_life = HALF_LIFE_DAYS if data.clock == "time" else HALF_LIFE_BASKETS
    sales = data.purchases
    weight = 0.5 ** ((data.as_of - sales.time) / data.unit / half_life)
    worth = np.bincount(sales.product, weights=weight, minlength=data.shape[1])
    order = np.lexsort((data.tie_rank, -worth))
    popular = np.zeros(data.shape[1], dtype=bool)
    popular[order[: int(np.ceil(POPULAR_SHARE * (worth > 0).sum()))]] = True
    return popular


@dataclass(frozen=True)
class _Speaker:
    """Turns (reason, detail, detail) into arguments and words."""

    products: Entities
    groups: list[str]
    batch: Batch
    words: Words

    def args(self, reason: int, first: int, second: int) -> dict[str, Any]:
        code = REASON_CODES[reason]
        if code == "BUY_AGAIN":
            times, unit = divmod(second, len(UNITS))
            return {"every": first, "times": times, "unit": UNITS[unit]}
        if code == "BOUGHT_BEFORE" and self.batch.clock == "time":
            return {"on": (date(1970, 1, 1) + timedelta(days=first)).isoformat(), "times": second}
        if code == "BOUGHT_BEFORE":
            return {"ago": first, "times": second}
        if code == "BOUGHT_WITH":
            return {"product": self.products.label(first), "product_id": self.products.vocab.ids[first]}
        if code == "CATEGORY":
            path = self.products.tree[first].vocab.ids[second]
            return {"category": leaf(path), "path": path}
        if code == "POPULAR_IN":
            return {"group": self.groups[second], "kind": GROUP_SOURCES[first]}
        return {}


def _write(shape: tuple[int, ...], row: Ints, place: Ints, found: Ints, speaker: _Speaker) -> Reasons:
    """Make each distinct sentence once and hand it to every place that says it."""
    order = np.lexsort(found[::-1])
    ordered = found[:, order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    which = np.empty(len(order), dtype=np.int64)
    which[order] = np.cumsum(new) - 1
    distinct = ordered[:, new].T.tolist()
    args = [speaker.args(*key) for key in distinct]
    names = [REASON_CODES[key[0]] for key in distinct]
    texts = [phrase(name, arg, speaker.words) for name, arg in zip(names, args, strict=True)]
    out: list[Objects] = []
    for blank, column in (("", names), (None, args), ("", texts)):
        filled, values = np.full(shape, blank, dtype=object), np.empty(len(column), dtype=object)
        values[:] = column
        filled[row, place] = values[which]
        out.append(filled)
    return Reasons(*out)


__all__ = ["Evidence", "Reasons"]
