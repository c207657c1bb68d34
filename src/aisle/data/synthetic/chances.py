"""The oracle: the true chance that a customer buys a product in a window, in closed form.

The chances are conditional on the state at the cut (last buy of each staple) and on the planted parameters, the
calendar of seasons, promotions, launches and ends of sale among them; nothing a customer did after the cut enters.
Given the visits, everything but the age of a staple is independent from day to day, hence, with chance ``v`` of a
visit, pick rate ``r``, hazard ``h``, and a trigger that was picked with chance ``a`` and pulls with chance ``p``::

    picked or pulled   1 - Π_days (1 - v (1 - e^{-r} (1 - p a)))
    staple             1 - Π_days (1 - v (1 - e^{-r} (1 - h(day - last))))      while it was not yet bought
    pulled by staple   a chain over the day the trigger was last bought, weighted by "complement not yet bought"

Returns are left out: ``probability`` is of buying, and about one line in fifty comes back.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from aisle.data.synthetic.catalogue import SEGMENTS, Catalogue
from aisle.data.synthetic.names import REGIONS
from aisle.data.synthetic.people import People, favourite_shares
from aisle.data.synthetic.shop import DEPTH, HORIZONS
from aisle.data.synthetic.shopping import StapleBuys, hazard, mixture, visit_chance
from aisle.types import Codes, Doubles, Ints

SPARE = 60
"""Candidates beyond ``DEPTH`` from the common taste of a segment and region, ordered by mean demand."""
SLICE = 512
"""Customers worked on at a time."""


def block_chances(catalogue: Catalogue, people: People, buys: StapleBuys) -> pl.DataFrame:
    """The best ``DEPTH`` products of each customer of a block in each window, by chance to be bought.

    Columns ``horizon_days, customer_id, product_id, rank, probability``. Customers who have not come by the cut, have
    left, or never buy have no rows; neither have products that are launched after the cut.
    """
    parts = [
        part
        for start in range(0, len(people), SLICE)
        for part in _slice_chances(catalogue, people, buys, np.arange(start, min(start + SLICE, len(people))))
    ]
    ids, product_ids = people.ids, catalogue.ids
    frame = pl.concat(parts)
    return frame.select(
        "horizon_days",
        customer_id=ids.gather(frame["row"]),
        product_id=product_ids.gather(frame["product"]),
        rank=frame["rank"],
        probability=frame["probability"],
    ).sort("horizon_days", "customer_id", "rank")


def _slice_chances(catalogue: Catalogue, people: People, buys: StapleBuys, rows: Ints) -> list[pl.DataFrame]:
    shop = catalogue.shop
    days = np.arange(shop.days - max(HORIZONS), shop.days)
    law = _Law(catalogue, people, rows, days)
    candidates = _candidates(catalogue, people, rows)
    by_window = _picked(law, candidates)
    parts = []
    for horizon, missed in zip(HORIZONS, by_window, strict=True):
        cut = shop.days - horizon
        last = buys.last_before(people, cut)[rows]
        chance = 1 - np.exp(missed)
        for slot in range(people.staples.shape[1]):
            own, pulled = _staple_missed(law, last[:, slot], slot, horizon)
            _put(chance, candidates, people.staples[rows, slot], 1 - own)
            _put(chance, candidates, _complement(catalogue, people.staples[rows, slot]), 1 - pulled)
        here = (people.arrival[rows] < cut)[:, None] & (catalogue.launch[candidates] < cut)
        parts.append(_top(np.where(here & (candidates >= 0), chance, 0.0), candidates, rows, horizon))
    return parts


class _Law:
    """Visit chances and pick rates of some customers over the days of the longest window."""

    def __init__(self, catalogue: Catalogue, people: People, rows: Ints, days: Ints) -> None:
        self.catalogue, self.people, self.rows, self.days = catalogue, people, rows, days
        of_rows = People(**{name: values[rows] for name, values in vars(people).items()})
        self.visit = visit_chance(catalogue.shop, of_rows, days).astype(np.float64)  # (rows, days)
        self.share = favourite_shares(people.favourites.shape[1])
        self.demand = catalogue.demand(np.arange(len(catalogue)), days[:, None])  # (days, I)
        self.on_sale = catalogue.open(np.arange(len(catalogue)), days[:, None])

    def rate(self, product: Codes) -> Doubles:
        """Mean picks a visit at base demand; the first axis of ``product`` is the customer."""
        people, mix = self.people, mixture(self.catalogue.shop)
        rows = self.rows.reshape(-1, *[1] * (product.ndim - 1))
        taste = self.catalogue.taste
        share = mix[3] * taste[0, product] + mix[1] * taste[1 + people.segment[rows], product]
        share += mix[2] * taste[1 + len(SEGMENTS) + people.region[rows], product]
        for place, weight in enumerate(self.share):
            share += mix[0] * weight * (people.favourites[rows, place] == product)
        return np.asarray(people.picks[rows] * share)


def _candidates(catalogue: Catalogue, people: People, rows: Ints) -> Codes:
    """(rows, C) products worth ranking: the customer's own, what these pull, the best of segment and region; or -1."""
    own = np.concatenate((people.favourites[rows], people.staples[rows]), axis=1)
    pulled = _complement(catalogue, own)
    common = _common(catalogue)[people.segment[rows], people.region[rows]]
    every = np.concatenate((own, pulled, common), axis=1)
    order = np.argsort(every, axis=1, kind="stable")
    every = np.take_along_axis(every, order, axis=1)
    every[:, 1:][every[:, 1:] == every[:, :-1]] = -1
    return every


def _common(catalogue: Catalogue) -> Codes:
    """(segments, regions, C) products that sell best there in the longest window, complements with what pulls them."""
    shop, mix = catalogue.shop, mixture(catalogue.shop)
    products = np.arange(len(catalogue))
    demand = catalogue.demand(products, np.arange(shop.settled, shop.days)[:, None]).mean(axis=0)
    size = min(DEPTH + SPARE, len(catalogue))
    out = np.zeros((len(SEGMENTS), len(REGIONS), size), dtype=np.int32)
    trigger = catalogue.trigger
    for segment in range(len(SEGMENTS)):
        for region in range(len(REGIONS)):
            taste = mix[1] * catalogue.taste[1 + segment] + mix[2] * catalogue.taste[1 + len(SEGMENTS) + region]
            rate = (taste + mix[3] * catalogue.taste[0]) * demand
            pulled = np.where(trigger >= 0, catalogue.chance[trigger] * rate[trigger], 0.0) * shop.signal
            out[segment, region] = np.argsort(-(rate + pulled), kind="stable")[:size]
    return out


def _complement(catalogue: Catalogue, product: Codes) -> Codes:
    """The complement of each product, -1 passing through."""
    if not catalogue.shop.signal:
        return np.full_like(product, -1)
    return np.where(product >= 0, catalogue.complement[product], -1).astype(np.int32)


def _picked(law: _Law, candidates: Codes) -> list[Doubles]:
    """For each window (rows, C) the log chance that the product is neither picked nor pulled by a pick."""
    catalogue = law.catalogue
    trigger = np.where(candidates >= 0, catalogue.trigger[candidates], -1)
    rate = law.rate(candidates)
    pull = np.where(trigger >= 0, catalogue.chance[trigger], 0.0) * catalogue.shop.signal
    pulled = np.nonzero(pull)
    pull_rate = law.rate(trigger)[pulled]
    missed, out = np.zeros(candidates.shape), []
    for back in range(1, max(HORIZONS) + 1):
        day = len(law.days) - back
        keep = np.exp(-rate * law.demand[day][candidates])
        picked = 1 - np.exp(-pull_rate * law.demand[day][trigger[pulled]])
        keep[pulled] *= 1 - pull[pulled] * picked * law.on_sale[day][candidates[pulled]]
        missed += np.log1p(-law.visit[:, day, None] * (1 - keep))
        if back in HORIZONS:
            out.append(missed.copy())
    return out


def _staple_missed(law: _Law, last: Doubles, slot: int, horizon: int) -> tuple[Doubles, Doubles]:
    """(rows,) chance that the staple, and that its complement, is not bought in the window.

    ``weight[s]`` is the chance of having bought the staple last on the s-th of the days so far (0 = before the cut)
    and not having bought the complement.
    """
    catalogue, people, rows = law.catalogue, law.people, law.rows
    product = people.staples[rows, slot]
    other = _complement(catalogue, product)
    pull = np.where(other >= 0, catalogue.chance[product], 0.0)
    rate, other_rate = law.rate(product), law.rate(other)
    own = np.ones(len(rows))
    weight = np.zeros((len(rows), horizon + 1))
    weight[:, 0] = 1.0
    since = np.concatenate((last[:, None], np.zeros((len(rows), horizon))), axis=1)
    cycle = people.cycle[rows, slot][:, None]
    for step in range(horizon):
        at = len(law.days) - horizon + step
        day = int(law.days[at])
        since[:, step + 1] = day
        active = (product >= 0) & law.on_sale[at][product]
        active &= (people.begin[rows, slot] <= day) & (day < people.stop[rows, slot])
        wish = hazard((day - since[:, : step + 1]) / cycle) * active[:, None]
        visit = law.visit[:, at]
        no_pick = np.exp(-rate * law.demand[at][product])
        own *= 1 - visit * (1 - no_pick * (1 - wish[:, 0]))
        no_other = np.exp(-other_rate * law.demand[at][other])
        pulls = pull * law.on_sale[at][other]
        before = weight[:, : step + 1]
        weight[:, step + 1] = (before * wish).sum(axis=1) * visit * no_other * (1 - pulls)
        stay = (1 - wish) * (no_other * (1 - pulls * (1 - no_pick)))[:, None]
        weight[:, : step + 1] = before * (1 - visit[:, None] * (1 - stay))
    return own, weight.sum(axis=1)


def _put(chance: Doubles, candidates: Codes, product: Codes, value: Doubles) -> None:
    """Overwrite the chance of one product in each row, in place."""
    at = (candidates == product[:, None]) & (product >= 0)[:, None]
    row, column = np.nonzero(at)
    chance[row, column] = value[row]


def _top(chance: Doubles, candidates: Codes, rows: Ints, horizon: int) -> pl.DataFrame:
    """The best ``DEPTH`` of each row as a table; ties by product code."""
    order = np.lexsort((candidates, -chance), axis=1)[:, :DEPTH]
    best = np.take_along_axis(chance, order, axis=1)
    keep = best > 0
    row, place = np.nonzero(keep)
    return pl.DataFrame(
        {
            "horizon_days": np.full(len(row), horizon, dtype=np.int32),
            "row": rows[row],
            "product": np.take_along_axis(candidates, order, axis=1)[keep],
            "rank": (place + 1).astype(np.int32),
            "probability": best[keep].astype(np.float32),
        }
    )
