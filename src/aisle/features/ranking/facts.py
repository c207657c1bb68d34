"""What is known of every product at a moment: sales, repeats, price, place in the tree, company in baskets, groups.

``Facts.at(dataset)`` is the one pass over the purchases; everything else asks the arrays. Facts hold plain arrays and
names, so that a fitted model can keep them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp

from aisle.data.dataset import Dataset
from aisle.data.entities import Features, Level
from aisle.data.events import Events, Picked, first_of_basket, sparse_sum
from aisle.data.tags import tagged
from aisle.features.links import cosine_neighbours
from aisle.features.pairs import basket_contents, decay
from aisle.features.ranking.rhythm import rhythms
from aisle.types import CSR_PARTS, DAY, NEVER, Clock, Codes, Doubles, Floats, Ints, Sparse, Times

HALF_LIVES: dict[Clock, tuple[float, ...]] = {"time": (7.0, 28.0, 91.0), "sequence": (1.0, 3.0, 10.0)}
"""Days (baskets) over which sales of a product fade."""
SEASON, YEAR = 21 * DAY, 365 * DAY
"""Same weeks last year: so long before and after the day a year ago."""
RECENT_PRICE = 28.0
"""The price now is the mean of so many days."""
COMPANY, KIN = 100, 200
"""Neighbours kept of each product: in baskets, and over customers."""
SHRINK = 5.0
DRAWN = 20.0
"""Purchases that a group is drawn towards everybody's shares with."""
MAX_LEVELS, MAX_CODES = 6, 2_000
"""Attributes used, at most, and groups of one."""
LAST_SALE, FIRST_SALE = "last_sale", "first_sale"
COMPANY_OF, KIN_OF = "company", "kin"
ATTRIBUTE = "attribute_"
"""In front of the name of a column of the user, which may be that of a feature."""
FRONT = "facts:"
Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"


@dataclass(frozen=True, eq=False)
class Facts:
    """Products as they were known at a moment."""

    columns: dict[str, Floats]
    """Each (I,), without NaN: +inf where unknown."""
    first_sale: Times
    """(I,) ``NEVER`` where there was none."""
    last_sale: Times
    levels: dict[str, Codes]
    """Each (I,) code of the product at a level of the tree or in an attribute, by ``keys``, -1 = unknown."""
    company: Sparse
    """(I, I) cosine between products over baskets; row: in the basket."""
    kin: Sparse
    """(I, I) cosine between products over customers."""
    groups: dict[str, Sparse]
    """Each (G, I) baskets of customers of the group with the product."""

    @classmethod
    def at(cls, data: Dataset) -> Facts:
        """Facts at ``data.as_of``."""
        lines, size = data.purchases, data.shape[1]
        lines = Picked(lines, first_of_basket(lines, lines.customer), data.as_of)
        first, last = np.full(size, NEVER), np.full(size, -NEVER)
        np.minimum.at(first, lines.product, lines.time)
        np.maximum.at(last, lines.product, lines.time)
        plain = [level for level in data.products.categories if not tagged(level.vocab.ids.to_list())]
        chosen = list(keys(data.products.tree, tuple(plain)).items())[:MAX_LEVELS]
        levels = {key: level.codes for key, level in chosen if len(level.vocab)}
        leaf = data.products.tree[-1].codes if data.products.tree else None
        columns = sales_facts(data, lines) | repeat_facts(data) | price_facts(data, leaf)
        for name, codes in levels.items():
            columns[f"{name}_share"] = within(codes, data.popularity)
        return cls(columns, first, last, levels, _company(data), _kin(data), group_counts(data, lines))

    def state(self) -> tuple[dict[str, Array], dict[str, list[str]]]:
        """Flat arrays, their names beginning with ``facts:``, and the names by kind, in order."""
        arrays: dict[str, Array] = {f"{FRONT}{name}": getattr(self, name) for name in (FIRST_SALE, LAST_SALE)}
        names: dict[str, list[str]] = {}
        for kind in ("columns", "levels"):
            names[kind] = list(getattr(self, kind))
            arrays |= {f"{FRONT}{kind}:{name}": array for name, array in getattr(self, kind).items()}
        names["groups"] = list(self.groups)
        matrices = {COMPANY_OF: self.company, KIN_OF: self.kin}
        matrices |= {f"groups:{name}": matrix for name, matrix in self.groups.items()}
        for name, matrix in matrices.items():
            arrays |= {f"{FRONT}{name}.{part}": np.asarray(getattr(matrix, part)) for part in CSR_PARTS}
        return arrays, names

    @classmethod
    def restored(cls, arrays: dict[str, Array], names: dict[str, list[str]]) -> Facts:
        """Undo ``state``."""

        def matrix(name: str) -> Sparse:
            data, indices, indptr, shape = (arrays[f"{FRONT}{name}.{part}"] for part in CSR_PARTS)
            return sp.csr_array((data, indices, indptr), shape=(int(shape[0]), int(shape[1])))

        return cls(
            columns={name: arrays[f"{FRONT}columns:{name}"] for name in names["columns"]},
            first_sale=arrays[FRONT + FIRST_SALE],
            last_sale=arrays[FRONT + LAST_SALE],
            levels={name: arrays[f"{FRONT}levels:{name}"] for name in names["levels"]},
            company=matrix(COMPANY_OF),
            kin=matrix(KIN_OF),
            groups={name: matrix(f"groups:{name}") for name in names["groups"]},
        )

    def log_lift(self, group: str, of: Codes, code: Codes) -> Doubles:
        """(P,) log of how much more of its purchases the group ``of`` (P,) gives to the product than everybody does.

        Groups are drawn towards 0 by ``DRAWN`` purchases; 0 for the group -1.
        """
        counts = self.groups[group]
        dense_row: Doubles = np.asarray(counts.sum(axis=1)).ravel()
        share = np.exp(self.columns["log_share"].astype(np.float64))[code]
        known = of >= 0
        out = np.zeros(len(code))
        there = cells(counts, of[known], code[known])
        total = dense_row[of[known]]
        out[known] = np.log((there + DRAWN * share[known]) / (total + DRAWN)) - np.log(share[known])
        return out


def cells(matrix: Sparse, row: Codes | Ints, column: Codes | Ints) -> Doubles:
    """(P,) single cells of a CSR array whose columns are sorted.

    By bisection: SciPy goes through the whole row, a hundred thousand cells of a group, for each cell asked for.
    """
    found = np.zeros(len(row))
    if not matrix.nnz:
        return found
    low, stop = matrix.indptr[row].astype(np.int64), matrix.indptr[np.asarray(row) + 1].astype(np.int64)
    high = stop.copy()
    while (low < high).any():
        middle = (low + high) // 2
        before = (low < high) & (matrix.indices[np.minimum(middle, matrix.nnz - 1)] < column)
        low, high = np.where(before, middle + 1, low), np.where(before, high, np.minimum(middle, high))
    place = np.minimum(low, matrix.nnz - 1)
    there = (low < stop) & (matrix.indices[place] == column)
    found[there] = matrix.data[place[there]]
    return found


def sales_facts(data: Dataset, lines: Events) -> dict[str, Floats]:
    """Shares of sales, overall and fading, trend, rank, size of the baskets, and sales of these weeks last year.

    ``lines`` are those of ``data.purchases`` with each product once a basket.
    """
    size = data.shape[1]
    age = (data.as_of - lines.time) / data.unit
    baskets = np.bincount(lines.product, minlength=size)
    found = {"log_share": log_share(baskets.astype(np.float64))}
    for place, half_life in enumerate(HALF_LIVES[data.clock]):
        fading = np.bincount(lines.product, weights=decay(age, half_life), minlength=size)
        found[f"log_share_{place}"] = log_share(fading)
    found["trend"] = found["log_share_0"] - found["log_share_2"]
    found["rank"] = np.log1p(data.tie_rank)
    company = np.bincount(lines.basket)[lines.basket].astype(np.float64) if len(lines) else np.zeros(0)
    found["basket_size"] = np.bincount(lines.product, weights=company, minlength=size) / np.maximum(baskets, 1)
    if data.clock == "time":
        season = np.abs(lines.time - (data.as_of - YEAR)) <= SEASON
        then = np.bincount(lines.product[season], minlength=size).astype(np.float64)
        found["last_year"] = log_share(then) - found["log_share"] if season.any() else np.full(size, np.inf)
    return {name: column.astype(np.float32) for name, column in found.items()}


def repeat_facts(data: Dataset) -> dict[str, Floats]:
    """Share of customers who bought it, repeat rate (rebuyers + 1) / (buyers + 10), baskets a buyer, usual gap."""
    size, people = data.shape[1], max(int((np.diff(data.indptr) > 0).sum()), 1)
    own = []
    for batch in data.batches():
        part = rhythms(batch, batch.lines.product, size)
        own.append((part.key % size, part.columns["count"], part.columns["gap"]))
        del part  # its other columns are many times as large
    product, count, gap = (np.concatenate(column) for column in zip(*own, strict=True))
    buyers = np.bincount(product, minlength=size)
    again = np.bincount(product[count > 1], minlength=size)
    gaps = np.bincount(product, weights=count - 1, minlength=size)
    logs = np.bincount(product, weights=np.nan_to_num(gap) * (count - 1), minlength=size)
    usual = logs.sum() / max(gaps.sum(), 1.0)
    found = {
        "buyers": buyers / people,
        "repeat_rate": (again + 1) / (buyers + 10),
        "per_buyer": np.bincount(product, weights=count, minlength=size) / np.maximum(buyers, 1),
        "gap": (logs + SHRINK * usual) / (gaps + SHRINK),
    }
    return {name: column.astype(np.float32) for name, column in found.items()}


def price_facts(data: Dataset, leaf: Codes | None) -> dict[str, Floats]:
    """Mean log price paid, now beside usual, and its percentile overall and in the leaf category; +inf = unknown."""
    lines, size = data.purchases, data.shape[1]
    price = log_price(lines)
    known = np.isfinite(price)
    product, price = lines.product[known], price[known]
    usual = _mean(product, price, size)
    recent = ((data.as_of - lines.time[known]) / data.unit) <= RECENT_PRICE
    now = _mean(product[recent], price[recent], size)
    moved = np.full(size, np.inf)
    np.subtract(now, usual, out=moved, where=np.isfinite(now))
    found = {"price": usual, "price_moved": moved, "price_place": percentile(np.zeros(size, np.int32), usual)}
    if leaf is not None:
        found["price_in_leaf"] = percentile(leaf, usual)
    return {name: column.astype(np.float32) for name, column in found.items()}


def log_price(lines: Events) -> Doubles:
    """(E,) logarithm of what one piece cost; NaN where unknown or not above 0."""
    good = (lines.amount > 0) & (lines.quantity > 0)
    out = np.full(len(lines), np.nan)
    out[good] = np.log(lines.amount[good].astype(np.float64) / lines.quantity[good])
    return out


def percentile(codes: Codes, values: Doubles) -> Doubles:
    """(I,) place of each finite value among those of its code, 0 … 1; +inf for others."""
    out = np.full(len(values), np.inf)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.lexsort((values[known], codes[known]))]
    edges = np.append(0, np.cumsum(np.bincount(codes[order] + 1)))
    out[order] = (np.arange(len(order)) - edges[codes[order] + 1] + 0.5) / np.bincount(codes[order] + 1)[
        codes[order] + 1
    ]
    return out


def log_share(counts: Doubles | Ints) -> Doubles:
    """(I,) logarithm of the share of each product, with half a purchase for each."""
    return np.asarray(np.log((counts + 0.5) / (counts.sum() + 0.5 * max(len(counts), 1))))


def within(codes: Codes, popularity: Floats) -> Floats:
    """(I,) log share of a product in the sales of its category; of all unknown ones for -1."""
    totals = np.bincount(codes + 1, weights=popularity + 0.5, minlength=1)
    return np.asarray(np.log((popularity + 0.5) / totals[codes + 1]), dtype=np.float32)


def keys(tree: tuple[Level, ...], attributes: tuple[Level, ...]) -> dict[str, Level]:
    """Levels by the names that features use: attributes have ``ATTRIBUTE`` in front, for the user chose their names."""
    return {level.name: level for level in tree} | {f"{ATTRIBUTE}{level.name}": level for level in attributes}


def group_levels(features: Features) -> dict[str, Level]:
    """Levels of the customer tree and attributes that tell groups apart, by ``keys``, the deepest groups first."""
    some = keys(features.tree[::-1], features.categories).items()
    return dict([(key, level) for key, level in some if 0 < len(level.vocab) <= MAX_CODES][:MAX_LEVELS])


def group_counts(data: Dataset, lines: Events) -> dict[str, Sparse]:
    """For every grouping of customers, and for stores and channels, a (G, I) count of baskets with the product."""
    named = Picked(lines, lines.customer >= 0, data.as_of)
    found = {}
    for key, level in group_levels(data.customers.features).items():
        found[key] = _counts(level.codes[named.customer], named.product, len(level.vocab), data.shape[1])
    for name, codes, vocab in (("store", lines.store, data.stores), ("channel", lines.channel, data.channels)):
        if 1 < len(vocab) <= MAX_CODES:
            found[name] = _counts(codes, lines.product, len(vocab), data.shape[1])
    return found


def _counts(group: Codes, product: Codes, groups: int, size: int) -> Sparse:
    some = group >= 0
    return sparse_sum(group[some], product[some], np.ones(int(some.sum())), (groups, size))


def _mean(product: Codes, values: Doubles, size: int) -> Doubles:
    number = np.bincount(product, minlength=size)
    total = np.bincount(product, weights=values, minlength=size)
    return np.where(number > 0, total / np.maximum(number, 1), np.inf)


def _company(data: Dataset) -> Sparse:
    return cosine_neighbours(basket_contents(data), COMPANY, SHRINK).whole()


def _kin(data: Dataset) -> Sparse:
    return cosine_neighbours(data.counts.sign(), KIN, SHRINK).whole()
