"""Customers of the synthetic retailer: where they live, who they are, how often they come, what they like."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from aisle.data.synthetic.catalogue import SEGMENTS, Catalogue, Sampler
from aisle.data.synthetic.names import REGIONS, town
from aisle.data.synthetic.shop import BLOCK, Shop
from aisle.types import Codes, Doubles, Ints

PRESENT = 0.65
"""Share of customers who are there on day 0; the others arrive evenly over time."""
LEAVING = 0.12
"""Share of customers who stop coming."""
NEVER_BUY = 0.03
"""Share of customers who are in the customer file and never buy."""
NO_PROFILE = 0.01
CHANGING = 0.25
"""Share of staples that a customer takes up, or gives up, while we watch."""
MIX = (0.25, 0.45, 0.15, 0.15)
"""Whose taste a pick follows: the customer's favourites, the segment, the region, everybody."""
FADE = 0.8
"""Each favourite is chosen this much as often as the one before it."""
STORES_OF = 150
"""Customers a store."""
CHANNELS = ("store", "online")
STREAM = 2


@dataclass(frozen=True, eq=False, kw_only=True)
class People:
    """n customers of one block. S staples and F favourites each (none in a world without signal)."""

    number: Ints
    """(n,) 0-based number of the customer in the whole shop."""
    store: Codes
    """(n,) home store."""
    segment: Codes
    region: Codes
    rate: Doubles
    """(n,) chance of a visit on an average day; 0 for those who never buy."""
    arrival: Ints
    """(n,) first day."""
    leave: Ints
    """(n,) first day without the customer; the end of time for those who stay."""
    picks: Doubles
    """(n,) mean products a visit beside staples and complements."""
    online: Doubles
    """(n,) share of visits made online."""
    favourites: Codes
    """(n, F), most liked first; one may occur twice."""
    staples: Codes
    """(n, S); -1 where a slot is empty."""
    cycle: Doubles
    """(n, S) days a staple lasts."""
    begin: Ints
    """(n, S) first day of the habit."""
    stop: Ints
    """(n, S) first day without the habit."""
    phase: Doubles
    """(n, S) how much of the first cycle is over when the habit begins, in [0, 1)."""

    def __len__(self) -> int:
        return len(self.number)

    @property
    def ids(self) -> pl.Series:
        """(n,) customer ids."""
        text = pl.Series("customer_id", self.number + 1).cast(pl.String).str.zfill(8)
        return pl.Series("customer_id", ["C"]) + text


def favourite_shares(count: int) -> Doubles:
    """(F,) how a customer's picks divide over favourites."""
    weight = FADE ** np.arange(count)
    return np.asarray(weight / max(weight.sum(), 1e-12))


def store_count(shop: Shop) -> int:
    """Stores of the shop; it grows with the customers."""
    return int(np.clip(shop.customers // STORES_OF, 6, 600))


def store_table(shop: Shop) -> pl.DataFrame:
    """``stores`` as the retailer would export it; a town has about two stores, a region many towns."""
    count = store_count(shop)
    towns = -(-count // 2)
    number = np.arange(count)
    return pl.DataFrame(
        {
            "store_id": [f"S{s:04d}" for s in number + 1],
            "region": [REGIONS[t % len(REGIONS)] for t in number % towns],
            "city": [town(int(t)) for t in number % towns],
            "store": [f"{town(int(s % towns))} {'High Street' if s < towns else 'Retail Park'}" for s in number],
        }
    )


def make_people(catalogue: Catalogue, block: int) -> People:
    """The customers of one block; nobody else's draw can change them."""
    shop = catalogue.shop
    rng = shop.stream(STREAM, block, 0)
    size = min(BLOCK, shop.customers - block * BLOCK)
    stores = store_count(shop)
    store = rng.integers(stores, size=size)
    segment = rng.integers(len(SEGMENTS), size=size)
    arrival, leave = _stay(shop, rng, size)
    buyer = rng.random(size) >= NEVER_BUY
    rate = np.clip(shop.visits_per_day * rng.gamma(2.0, 0.5, size), 0.006, 0.5) * buyer
    picks = (shop.picks if shop.signal else shop.flat_picks) * rng.gamma(4.0, 0.25, size)
    return People(
        number=np.arange(block * BLOCK, block * BLOCK + size),
        store=store.astype(np.int32),
        segment=segment.astype(np.int32),
        region=(store % -(-stores // 2) % len(REGIONS)).astype(np.int32),
        rate=rate,
        arrival=arrival,
        leave=leave,
        picks=picks,
        online=rng.beta(1, 4, size),
        favourites=_favourites(catalogue, rng, segment),
        **_habits(catalogue, rng, segment, arrival),
    )


def customer_table(catalogue: Catalogue, people: People, stores: pl.DataFrame) -> pl.DataFrame:
    """``customers`` of a block as the retailer would export it; attributes hint at the segment, no more."""
    shop = catalogue.shop
    rng = shop.stream(STREAM, int(people.number[0]) // BLOCK, 1)
    size, segment = len(people), people.segment
    age = np.clip(rng.normal(np.array([39, 23, 70, 48, 42, 35])[segment], 9), 18, 95).astype(np.int64)
    household = 1 + rng.poisson(np.array([2.4, 0.6, 0.5, 0.9, 1.3, 0.8])[segment])
    gender = rng.choice(np.array(["f", "m"]), size)
    loyalty = rng.choice(np.array(["bronze", "silver", "gold"]), size, p=[0.5, 0.3, 0.2])
    blank = rng.random(size) < 0.03
    opted_out = rng.random(size) < NO_PROFILE
    joined = np.where(people.arrival > 0, people.arrival, -rng.integers(1, 1500, size))
    origin = (shop.start - date(1970, 1, 1)).days
    table = pl.DataFrame(
        {
            "customer_id": people.ids,
            **{f"group_{i + 1}": stores[c].gather(people.store) for i, c in enumerate(("region", "city", "store"))},
            "gender": gender,
            "age": age,
            "household_size": household,
            "loyalty": loyalty,
            "valid_from": pl.Series(joined + origin).cast(pl.Int32).cast(pl.Date),
            "no_profile": opted_out,
            "blank": blank,
        }
    )
    hidden = [pl.when(~pl.col("blank")).then(pl.col(c)).alias(c) for c in ("gender", "age")]
    return table.with_columns(hidden).drop("blank")


def _stay(shop: Shop, rng: np.random.Generator, size: int) -> tuple[Ints, Ints]:
    """First day of each customer, and first day without: nobody leaves in the longest window."""
    arrival = np.where(rng.random(size) < PRESENT, 0, rng.integers(0, shop.days, size))
    leaving = (rng.random(size) < LEAVING) & (arrival < shop.settled)
    span = np.maximum(shop.settled - arrival, 1)
    leave = np.where(leaving, arrival + 1 + (rng.random(size) * span).astype(np.int64), shop.days + 1)
    return arrival.astype(np.int64), leave.astype(np.int64)


def _favourites(catalogue: Catalogue, rng: np.random.Generator, segment: Ints) -> Codes:
    count = catalogue.shop.favourites if catalogue.shop.signal else 0
    sampler = Sampler(catalogue.taste)
    return sampler.draw(1 + segment[:, None], rng.random((len(segment), count)))


def _habits(catalogue: Catalogue, rng: np.random.Generator, segment: Ints, arrival: Ints) -> dict[str, np.ndarray]:
    """Staples of each customer with their cycles and spans; a product drawn twice fills one slot only."""
    shop = catalogue.shop
    shape = (len(segment), shop.staples if shop.signal else 0)
    staples = Sampler(catalogue.staple_taste).draw(segment[:, None], rng.random(shape))
    for slot in range(1, shape[1]):
        again = (staples[:, :slot] == staples[:, slot : slot + 1]).any(axis=1)
        staples[again, slot] = -1
    settled = shop.settled
    late = rng.random(shape) < CHANGING
    begin = np.where(late, (rng.random(shape) * settled).astype(np.int64), 0)
    begin = np.maximum(begin, arrival[:, None])
    ends = (rng.random(shape) < CHANGING) & (begin < settled)
    span = np.maximum(settled - begin, 1)
    stop = np.where(ends, begin + 1 + (rng.random(shape) * span).astype(np.int64), shop.days + 1)
    cycle = np.clip(np.exp(rng.normal(np.log(32.0), 0.6, shape)), 6.0, 150.0)
    return {"staples": staples, "cycle": cycle, "begin": begin, "stop": stop, "phase": rng.random(shape)}
