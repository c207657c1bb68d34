"""Blocks of features, each a function of (batch, facts, row, code) that gives columns (P,) by name.

``row`` (P,) is the batch row and ``code`` (P,) the product of each pair. Everything is worked out row by row, so that
one request gets what the whole customer base would. NaN = unknown or never.
"""

from __future__ import annotations

import numpy as np

from aisle.data.events import Batch, first_of_basket, sparse_sum, unique_pairs
from aisle.features.groups import usual
from aisle.features.pairs import basket_places
from aisle.features.ranking.facts import FIRST_SALE, LAST_SALE, Facts, cells, group_levels, log_price
from aisle.features.ranking.rhythm import Rhythms, rhythms, visits
from aisle.features.repeats import SHORTEST_GAP
from aisle.types import DAY, NEVER, UNKNOWN, Codes, Doubles, Ints, Sparse

Columns = dict[str, Doubles]
FADE = 0.8
"""What a basket weighs beside the one after it, where the history is summed over neighbours."""
LATE = 3
"""Latest baskets whose company counts."""
IN_CATEGORY = ("count", "share", "ago", "days", "overdue", "last_3", "decayed_1")


def customer_block(batch: Batch, row: Ints) -> Columns:
    """What the customer's baskets say of the customer."""
    size = len(batch)
    first = first_of_basket(batch.lines, batch.row)
    place, number = basket_places(batch)
    per_row = np.bincount(batch.row[first], minlength=size).astype(np.float64)
    distinct = np.diff(batch.history.indptr).astype(np.float64)
    last = place == number[batch.row] - 1
    age_last, age_first = _extremes(batch)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = (age_first - age_last) / np.maximum(number - 1, 1)
        found = {
            "baskets": number.astype(np.float64),
            "products": distinct,
            "basket_size": per_row / number,
            "repetition": per_row / distinct,
            "tenure": age_first,
            "silence": age_last,
            "gap": np.where(number > 1, gap, np.nan),
            "silence_by_gap": np.where(number > 1, age_last / np.maximum(gap, SHORTEST_GAP), np.nan),
            "last_size": np.bincount(batch.row[first & last], minlength=size).astype(np.float64),
            "known_in_last": _known_in_last(batch, first & last) / number.clip(1),
        }
    return {f"customer_{name}": column[row] for name, column in found.items()}


def product_block(batch: Batch, facts: Facts, code: Codes) -> Columns:
    """What is known of the product; ages are those at the batch's moment."""
    unit = DAY if batch.clock == "time" else 1
    found = {f"product_{name}": _known(column[code]) for name, column in facts.columns.items()}
    for name, when in ((FIRST_SALE, facts.first_sale[code]), (LAST_SALE, facts.last_sale[code])):
        sold = np.abs(when) != NEVER
        age = (batch.at - np.where(sold, when, batch.at)) / unit
        found[f"product_{name}"] = np.where(sold, np.maximum(age, 0.0), np.nan)
    return found


def pair_block(own: Rhythms, facts: Facts, row: Ints, code: Codes) -> Columns:
    """How the customer bought this very product, and how overdue it is by its own gaps drawn towards the product's."""
    columns, bought = own.at(row, code)
    usual_gap = facts.columns["gap"].astype(np.float64)[code]
    times = np.nan_to_num(columns["count"] - 1)
    drawn = (np.nan_to_num(columns["gap"]) * times + usual_gap) / (times + 1)
    columns["due"] = np.log(np.maximum(columns["days"], SHORTEST_GAP)) - drawn
    for name in columns:
        if name.startswith(("count", "share", "last_", "decayed", "rate")):
            columns[name] = np.nan_to_num(columns[name])
    return {"bought": bought, **{f"own_{name}": column for name, column in columns.items()}}


def category_block(batch: Batch, facts: Facts, row: Ints, code: Codes) -> Columns:
    """How the customer buys in the product's category, at every level of the tree and in every attribute."""
    found: Columns = {}
    for level, codes in facts.levels.items():
        width = int(codes.max(initial=0)) + 1
        lines = codes[batch.lines.product]
        columns, _ = rhythms(batch, lines, width).at(row, codes[code])
        for name in IN_CATEGORY:
            column = columns[name]
            found[f"{level}_{name}"] = np.nan_to_num(column) if name in ("count", "share", "last_3") else column
    return found


def price_block(batch: Batch, facts: Facts, row: Ints, code: Codes) -> Columns:
    """Log price of the product less what the customer usually pays, in units of the customer's spread too."""
    size, price = len(batch), log_price(batch.lines)
    known = np.isfinite(price)
    number = np.bincount(batch.row[known], minlength=size).clip(1)
    any_known = np.bincount(batch.row[known], minlength=size) > 0
    mean = np.bincount(batch.row[known], weights=price[known], minlength=size) / number
    square = np.bincount(batch.row[known], weights=(price[known] - mean[batch.row[known]]) ** 2, minlength=size)
    mean, spread = np.where(any_known, mean, np.nan), np.sqrt(square / number)
    places = facts.columns["price_place"].astype(np.float64)[batch.lines.product]
    listed = np.isfinite(places)
    usual_place = np.bincount(batch.row[listed], weights=places[listed], minlength=size)
    usual_place = usual_place / np.bincount(batch.row[listed], minlength=size).clip(1)
    off = _known(facts.columns["price"][code]) - mean[row]
    return {
        "price_off": off,
        "price_off_spread": off / (spread[row] + 0.1),
        "price_place_off": _known(facts.columns["price_place"][code]) - usual_place[row],
        "price_usual": mean[row],
    }


def group_block(batch: Batch, facts: Facts, row: Ints, code: Codes) -> Columns:
    """How much more the customer's groups, home store and channel buy the product, and its category, than all do."""
    found: Columns = {}
    codes = {key: level.codes for key, level in group_levels(batch.features).items()}
    codes |= {"store": usual(batch.lines.store, batch), "channel": usual(batch.lines.channel, batch)}
    for name, counts in facts.groups.items():
        of = codes.get(name, np.full(len(batch), UNKNOWN, dtype=np.int32))[row]
        found[f"group_{name}"] = facts.log_lift(name, of, code)
        if name == "store":
            here = cells(counts, np.maximum(of, 0), code) > 0
            found["store_sells"] = np.where(of >= 0, here, np.nan)
    return found


def company_block(batch: Batch, facts: Facts, row: Ints, code: Codes) -> Columns:
    """Company of the product in baskets with the latest baskets, and its kin with the whole history."""
    seen = visits(batch, batch.lines.product)
    product = seen.thing.astype(np.int32)
    faded: Doubles = np.power(FADE, seen.ago - 1.0)
    last, late = (seen.ago == 1).astype(np.float64), (seen.ago <= LATE).astype(np.float64)

    def near(weights: Doubles, to: Sparse) -> Doubles:
        history = sparse_sum(seen.row, product, weights, batch.shape)
        history.eliminate_zeros()
        return np.asarray((history @ to).toarray()[row, code], dtype=np.float64)

    return {
        "company_last": near(last, facts.company),
        "company_late": near(late, facts.company),
        "company_faded": near(faded, facts.company),
        "company_best": _best(seen.row[seen.ago == 1], product[seen.ago == 1], facts.company, batch, row, code),
        "kin_faded": near(faded, facts.kin),
        "kin_all": np.asarray((batch.history.sign() @ facts.kin).toarray()[row, code], dtype=np.float64),
    }


def _best(held: Ints, product: Codes, to: Sparse, batch: Batch, row: Ints, code: Codes) -> Doubles:
    """(P,) the largest cosine between the product and those held by its row; 0 where there is none."""
    size = np.diff(to.indptr)[product].astype(np.int64)
    where = np.repeat(to.indptr[product] - np.cumsum(size) + size, size) + np.arange(int(size.sum()))
    key = np.repeat(held, size) * batch.n_products + to.indices[where]
    order = np.lexsort((to.data[where], key))
    key, value = key[order], to.data[where][order]
    top = np.append(key[1:] != key[:-1], True)[: len(key)]
    key, value = key[top], value[top]
    asked = row * batch.n_products + code
    if not len(key):
        return np.zeros(len(asked))
    place = np.minimum(np.searchsorted(key, asked), len(key) - 1)
    return np.where(key[place] == asked, value[place], 0.0).astype(np.float64)


def _extremes(batch: Batch) -> tuple[Doubles, Doubles]:
    """(B,) ages of the latest and of the first basket, NaN without any."""
    latest, first = np.full(len(batch), np.nan), np.full(len(batch), np.nan)
    some = ~batch.empty
    latest[some], first[some] = batch.age_days[batch.indptr[1:][some] - 1], batch.age_days[batch.indptr[:-1][some]]
    return latest, first


def _known_in_last(batch: Batch, last: np.ndarray) -> Doubles:
    """(B,) baskets with a product of the last basket, summed over these products and divided by their number."""
    row, product = unique_pairs(batch.row[last], batch.lines.product[last])
    counts = cells(batch.history, row, product)
    total = np.bincount(row, weights=counts, minlength=len(batch))
    return np.asarray(total / np.bincount(row, minlength=len(batch)).clip(1))


def _known(column: np.ndarray) -> Doubles:
    """The column with NaN for what is unknown."""
    wide = column.astype(np.float64)
    wide[~np.isfinite(wide)] = np.nan
    return wide
