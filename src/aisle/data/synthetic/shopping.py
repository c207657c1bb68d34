"""What the customers of a block buy, day by day: visits, staples that run out, picks, complements, returns.

The law of the shop, which ``chances`` reads as probabilities. On each day a customer visits with chance
``visit_chance``. At a visit, all independent:

* each staple is bought with chance ``hazard(age / cycle)``, where age is the time since it was last bought as a staple;
* a Poisson number of picks falls on each product, with mean ``picks x taste x demand`` (season, promotion, on sale);
* each product now in the basket brings its complement along with a fixed chance.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np

from aisle.data.synthetic.catalogue import PROMO_PRICE, SEGMENTS, SLOT, Catalogue, Sampler
from aisle.data.synthetic.people import MIX, People, favourite_shares, store_count
from aisle.data.synthetic.shop import Shop
from aisle.types import Bools, Codes, Doubles, Floats, Ints

WEEK = (0.8, 0.85, 0.9, 1.0, 1.2, 1.4, 0.85)
"""Visits from Monday to Sunday, as multiples of an average day."""
DECEMBER = 1.2
HAZARD_TOP = 0.9
HAZARD_WIDTH = 0.12
"""How sharply the wish for a staple rises around the end of its cycle, in cycles."""
AWAY = 0.06
"""Share of visits to another store than the home store."""
WHOLE_RETURN = 0.8
"""Share of returned lines that come back whole; of the rest one piece does."""
RETURN_DAYS = 14
STREAM = 3


@dataclass(frozen=True, eq=False, kw_only=True)
class Lines:
    """E sale and return lines of a block in the order of time."""

    row: Ints
    """(E,) customer within the block."""
    order: Ints
    """(E,) order number, unique in the shop; a return carries the number of its sale."""
    product: Codes
    second: Ints
    """(E,) seconds since day 0 began."""
    quantity: Ints
    """(E,) below 0 = a return."""
    price: Doubles
    """(E,) paid for each piece."""
    discount: Doubles
    """(E,) what the promotion took off the line."""
    slot: Ints
    """(E,) promotion slot; -1 = none."""
    store: Ints
    online: Bools

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: Bools | Ints) -> Lines:
        """The lines that a mask or an index picks."""
        return Lines(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def join(self, other: Lines) -> Lines:
        """These lines and then the others."""
        both: dict[str, Any] = {
            f.name: np.concatenate((getattr(self, f.name), getattr(other, f.name))) for f in fields(self)
        }
        return Lines(**both)


@dataclass(frozen=True, eq=False, kw_only=True)
class Visits:
    """V visits of a block in the order of customer, then day."""

    row: Ints
    day: Ints
    turn: Ints
    """(V,) 0 for the customer's first visit, and so on."""


@dataclass(frozen=True, eq=False, kw_only=True)
class StapleBuys:
    """Every staple bought as a staple: the state that the oracle starts from."""

    visit: Ints
    row: Ints
    slot: Ints
    day: Ints

    def last_before(self, people: People, cut: int) -> Doubles:
        """(n, S) day of the last buy before the cut; before the first one, where the first cycle is said to begin."""
        last = first_cycle(people)
        seen = self.day < cut
        np.maximum.at(last, (self.row[seen], self.slot[seen]), self.day[seen].astype(np.float64))
        return last


def visit_chance(shop: Shop, people: People, days: Ints) -> Floats:
    """(n, days) chance that each customer visits on each day."""
    weekday = (shop.start.weekday() + np.arange(shop.days)) % 7
    month = (np.datetime64(shop.start) + np.arange(shop.days)).astype("datetime64[M]").astype(np.int64) % 12
    factor = (np.array(WEEK)[weekday] * np.where(month == 11, DECEMBER, 1.0))[days]
    chance = np.minimum(people.rate[:, None] * factor, 0.95)
    here = (people.arrival[:, None] <= days) & (days < people.leave[:, None])
    return np.asarray(chance * here, dtype=np.float32)


def hazard(share: Doubles) -> Doubles:
    """Chance to buy a staple at a visit, by the share of its cycle that has passed."""
    return np.asarray(HAZARD_TOP / (1 + np.exp(-(share - 1) / HAZARD_WIDTH)))


def first_cycle(people: People) -> Doubles:
    """(n, S) the day, maybe before the habit began, from which the first cycle counts."""
    return np.asarray(people.begin - people.phase * people.cycle)


def shop_block(catalogue: Catalogue, people: People, block: int) -> tuple[Lines, StapleBuys]:
    """Everything a block of customers buys and brings back, and the staple buys behind it."""
    shop = catalogue.shop
    visits = _visits(shop, people, block)
    buys = _staples(catalogue, people, visits, shop.stream(STREAM, block, 1))
    visit, product = _picks(catalogue, people, visits, shop.stream(STREAM, block, 2))
    visit = np.concatenate((visit, buys.visit))
    product = np.concatenate((product, people.staples[buys.row, buys.slot]))
    rng = shop.stream(STREAM, block, 3)
    keys = _distinct(visit * len(catalogue) + product)
    if shop.signal:
        keys = _distinct(np.concatenate((keys, _complements(catalogue, visits, keys, rng))))
    lines = _lines(catalogue, people, visits, keys, rng)
    lines = lines.join(_returns(shop, lines, rng))
    return lines.take(np.argsort(lines.second, kind="stable")), buys


def mixture(shop: Shop) -> Doubles:
    """(4,) share of picks that follow favourites, segment, region, everybody."""
    return np.array(MIX if shop.signal else (0.0, 0.0, 0.0, 1.0))


def _visits(shop: Shop, people: People, block: int) -> Visits:
    rng = shop.stream(STREAM, block, 0)
    rows, days = [], []
    step = 512
    for start in range(0, len(people), step):  # small slices stay in the cache
        part = _slice(people, slice(start, start + step))
        chance = visit_chance(shop, part, np.arange(shop.days))
        row, day = np.nonzero(rng.random((step, shop.days), dtype=np.float32)[: len(part)] < chance)
        rows.append(row + start)
        days.append(day)
    row, day = np.concatenate(rows), np.concatenate(days)
    first = np.searchsorted(row, np.arange(len(people)))
    return Visits(row=row, day=day, turn=np.arange(len(row)) - first[row])


def _staples(catalogue: Catalogue, people: People, visits: Visits, rng: np.random.Generator) -> StapleBuys:
    """Customers side by side, visit after visit: the age of a staple depends on the visits before."""
    last = first_cycle(people)
    order = np.lexsort((visits.row, visits.turn))
    bounds = np.searchsorted(visits.turn[order], np.arange(int(visits.turn.max(initial=-1)) + 2))
    found: list[tuple[Ints, Ints]] = []
    uniform = rng.random((len(order), people.staples.shape[1]), dtype=np.float32)
    for start, end in pairwise(bounds.tolist()):
        now = order[start:end]
        row, day = visits.row[now], visits.day[now][:, None]
        wish = hazard((day - last[row]) / people.cycle[row])
        wish *= _active(catalogue, people, row, day)
        at, slot = np.nonzero(uniform[start:end] < wish)
        last[row[at], slot] = day[at, 0]
        found.append((now[at], slot))
    visit = np.concatenate([v for v, _ in found]) if found else np.zeros(0, dtype=np.int64)
    slot = np.concatenate([s for _, s in found]) if found else np.zeros(0, dtype=np.int64)
    return StapleBuys(visit=visit, row=visits.row[visit], slot=slot, day=visits.day[visit])


def _active(catalogue: Catalogue, people: People, row: Ints, day: Ints) -> Bools:
    """(rows, S) whether each staple is a habit, and on sale, on the day of the row."""
    staples = people.staples[row]
    habit = (staples >= 0) & (people.begin[row] <= day) & (day < people.stop[row])
    return np.asarray(habit & catalogue.open(staples, day))


def _picks(catalogue: Catalogue, people: People, visits: Visits, rng: np.random.Generator) -> tuple[Ints, Codes]:
    """(visit, product) of the picks: candidates at peak demand, thinned to the demand of the day."""
    top = catalogue.peak_demand
    count = rng.poisson(people.picks[visits.row] * top)
    visit = np.repeat(np.arange(len(count)), count)
    source = np.searchsorted(np.cumsum(mixture(catalogue.shop))[:-1], rng.random(len(visit)), side="right")
    row = visits.row[visit]
    table = np.select(
        [source == 1, source == 2], [1 + people.segment[row], 1 + len(SEGMENTS) + people.region[row]], default=0
    )
    product = Sampler(catalogue.taste).draw(table, rng.random(len(visit)))
    own = np.flatnonzero(source == 0)
    if len(own):
        shares = np.cumsum(favourite_shares(people.favourites.shape[1]))[:-1]
        product[own] = people.favourites[row[own], np.searchsorted(shares, rng.random(len(own)), side="right")]
    keep = rng.random(len(visit)) * top < catalogue.demand(product, visits.day[visit])
    return visit[keep], product[keep]


def _complements(catalogue: Catalogue, visits: Visits, keys: Ints, rng: np.random.Generator) -> Ints:
    """Keys of the complements that the products of each basket bring along."""
    visit, product = np.divmod(keys, len(catalogue))
    brings = rng.random(len(keys)) < catalogue.chance[product]
    visit, other = visit[brings], catalogue.complement[product[brings]]
    on_sale = catalogue.open(other, visits.day[visit])
    return np.asarray(visit[on_sale] * len(catalogue) + other[on_sale])


def _lines(catalogue: Catalogue, people: People, visits: Visits, keys: Ints, rng: np.random.Generator) -> Lines:
    """Sale lines of (visit, product) keys."""
    visit, product = np.divmod(keys, len(catalogue))
    row, day = visits.row[visit], visits.day[visit]
    hour = rng.triangular(8 * 3600, 17 * 3600, 21 * 3600, len(visits.row)).astype(np.int64)
    away = rng.random(len(visits.row)) < AWAY
    elsewhere = rng.integers(store_count(catalogue.shop), size=len(visits.row))
    store = np.where(away, elsewhere, people.store[visits.row])
    online = rng.random(len(visits.row)) < people.online[visits.row]
    quantity = 1 + rng.choice(4, len(keys), p=[0.78, 0.14, 0.05, 0.03])
    listed = catalogue.list_price(product, day)
    promoted = catalogue.on_promotion(product, day)
    price = np.where(promoted, np.round(listed * PROMO_PRICE, 2), listed)
    return Lines(
        row=row,
        order=(people.number[row] + 1) * 10_000 + visits.turn[visit] + 1,
        product=product.astype(np.int32),
        second=day * 86_400 + hour[visit],
        quantity=quantity,
        price=price,
        discount=np.round((listed - price) * quantity, 2),
        slot=np.where(promoted, day // SLOT, -1),
        store=store[visit],
        online=online[visit],
    )


def _returns(shop: Shop, lines: Lines, rng: np.random.Generator) -> Lines:
    """Some lines come back one to fourteen days later, whole or in part, unless the data end before."""
    sale = lines.take(rng.random(len(lines)) < shop.returned)
    day = sale.second // 86_400 + rng.integers(1, RETURN_DAYS + 1, len(sale))
    second = day * 86_400 + rng.integers(9 * 3600, 20 * 3600, len(sale))
    whole = rng.random(len(sale)) < WHOLE_RETURN
    back = Lines(
        **{f.name: getattr(sale, f.name) for f in fields(sale) if f.name not in ("quantity", "second", "discount")},
        quantity=-np.where(whole, sale.quantity, 1),
        second=second,
        discount=np.zeros(len(sale)),
    )
    return back.take(day < shop.days)


def _distinct(keys: Ints) -> Ints:
    """The keys sorted, each once; on millions of whole numbers a sort beats NumPy's own ``unique`` by far."""
    keys = np.sort(keys)
    return keys[np.concatenate(([True], keys[1:] != keys[:-1]))] if len(keys) else keys


def _slice(people: People, rows: slice) -> People:
    return People(**{f.name: getattr(people, f.name)[rows] for f in fields(people)})
