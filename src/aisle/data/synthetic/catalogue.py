"""Products of the synthetic retailer: tree, prices, popularity, tastes, complements, and the calendar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl

from aisle.data.synthetic.names import BRANDS, DEPARTMENTS, REGIONS, SIZES, STYLES
from aisle.data.synthetic.shop import Shop
from aisle.types import Bools, Codes, Doubles, Floats, Ints

SEGMENTS = ("families", "students", "seniors", "gourmets", "thrifty", "healthy")
THRIFT = (0.1, 0.5, 0.0, -0.7, 0.8, -0.2)
"""How much each segment avoids what is dear for its department."""
SLOT = 14
"""Days a promotion runs."""
PROMOTED = 0.05
"""Share of products on promotion at a time."""
BOOST = 1.5
"""Demand of a promoted product, as a multiple."""
PROMO_PRICE = 0.8
INFLATION = 0.02
"""Rise of prices in a year."""
LAUNCHED = 0.12
"""Share of products that come new while we watch."""
DISCONTINUED = 0.08
"""Share of products that go for good while we watch."""
STREAM = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Catalogue:
    """I products; codes count from 0 in the order of their ids."""

    shop: Shop
    paths: tuple[tuple[str, str, str], ...]
    """Leaves of the tree."""
    leaf: Codes
    """(I,) row in ``paths``."""
    department: Codes
    """(I,)."""
    price: Doubles
    """(I,) on day 0."""
    launch: Ints
    """(I,) day of first sale; below 0 for products older than the data."""
    gone: Ints
    """(I,) first day without it; ``shop.days`` or later where it stays."""
    promoted: Bools
    """(slots, I) on promotion."""
    taste: Doubles
    """(1 + segments + regions, I) shares of demand: everybody's, then each segment's, then each region's."""
    staple_taste: Doubles
    """(segments, I) shares among what is used up and bought again."""
    complement: Codes
    """(I,) product that is often bought along with this one; -1 where there is none."""
    trigger: Codes
    """(I,) product that this one is the complement of; -1 where there is none."""
    chance: Doubles
    """(I,) chance that this product, bought, brings its complement into the basket."""

    def __len__(self) -> int:
        return len(self.leaf)

    @cached_property
    def ids(self) -> pl.Series:
        """(I,) product ids."""
        return pl.Series("product_id", [f"P{i:06d}" for i in range(1, len(self) + 1)], dtype=pl.String)

    def open(self, product: Codes | Ints, day: Codes | Ints) -> Bools:
        """On sale on that day; shapes broadcast."""
        return np.asarray((self.launch[product] <= day) & (day < self.gone[product]))

    def on_promotion(self, product: Codes | Ints, day: Codes | Ints) -> Bools:
        """On promotion on that day; shapes broadcast."""
        return np.asarray(self.promoted[np.asarray(day) // SLOT, product])

    def demand(self, product: Codes | Ints, day: Codes | Ints) -> Doubles:
        """Season x promotion x on sale, as a multiple of base demand; shapes broadcast."""
        boost = np.where(self.on_promotion(product, day), BOOST, 1.0)
        return np.asarray(self.season[day, self.department[product]] * boost * self.open(product, day))

    @cached_property
    def season(self) -> Doubles:
        """(days, departments) demand of the season, around 1."""
        swing = np.array([d.swing for d in DEPARTMENTS])
        peak = np.array([d.peak for d in DEPARTMENTS])
        first = self.shop.start.timetuple().tm_yday
        wave = np.cos(2 * np.pi * (np.arange(self.shop.days)[:, None] + first - peak) / 365.25)
        return np.asarray(1 + swing * wave)

    @property
    def peak_demand(self) -> float:
        """No demand factor lies above this."""
        return (1 + max(d.swing for d in DEPARTMENTS)) * BOOST

    def list_price(self, product: Codes | Ints, day: Codes | Ints) -> Doubles:
        """Price before promotion on that day, in whole cents."""
        rise: Doubles = 1 + INFLATION / 365 * np.asarray(day, dtype=np.float64)
        return np.round(self.price[product] * rise, 2)

    def table(self) -> pl.DataFrame:
        """``products`` as the retailer would export it."""
        rng = self.shop.stream(STREAM, 1)
        brand, style, size = (rng.integers(len(words), size=len(self)) for words in (BRANDS, STYLES, SIZES))
        paths = [self.paths[leaf] for leaf in self.leaf]
        name = [
            f"{BRANDS[b]} {STYLES[s]} {path[1 if path[2] in ('Other', 'Organic') else 2]} {SIZES[z]}"
            for b, s, z, path in zip(brand, style, size, paths, strict=True)
        ]
        since = pl.Series(self.launch).cast(pl.Int32) + (self.shop.start - date(1970, 1, 1)).days
        return pl.DataFrame(
            {
                "product_id": self.ids,
                "name": name,
                **{f"category_{level + 1}": [path[level] for path in paths] for level in range(3)},
                "brand": [BRANDS[b] for b in brand],
                "price": self.list_price(np.arange(len(self)), np.full(len(self), self.shop.days - 1)),
                "valid_from": since.cast(pl.Date),
            }
        )


def make_catalogue(shop: Shop) -> Catalogue:
    """Draw the products of a shop; the same for the same seed, sizes and days, whoever the customers are."""
    rng = shop.stream(STREAM, 0)
    size = shop.products
    tree = [(d, (DEPARTMENTS[d].name, c, s)) for d in range(len(DEPARTMENTS)) for c, s in _leaves(d)]
    leaf = rng.permutation(np.arange(size) % len(tree)).astype(np.int32)
    department = np.array([d for d, _ in tree], dtype=np.int32)[leaf]
    dear = rng.normal(0, 0.5, size)  # log of the price against the department's median
    launch, gone = _life(shop, rng)
    popularity = _popularity(rng, leaf, len(tree))
    taste = _taste(rng, popularity, [p for _, p in tree], leaf, dear)
    staple = np.array([d.staple for d in DEPARTMENTS])[department]
    complement, trigger, chance = _complements(rng, popularity, department, staple)
    usable = staple & (trigger < 0)
    staple_taste = np.where(usable, taste[1 : 1 + len(SEGMENTS)] ** 0.7, 0.0)
    return Catalogue(
        shop=shop,
        paths=tuple(p for _, p in tree),
        leaf=leaf,
        department=department,
        price=np.maximum(np.array([d.price for d in DEPARTMENTS])[department] * np.exp(dear), 0.2),
        launch=launch,
        gone=gone,
        promoted=rng.random((shop.days // SLOT + 1, size), dtype=np.float32) < PROMOTED,
        taste=taste,
        staple_taste=staple_taste / staple_taste.sum(axis=1, keepdims=True),
        complement=complement,
        trigger=trigger,
        chance=chance,
    )


class Sampler:
    """Draws from one of several distributions over the same products, by inversion."""

    def __init__(self, shares: Doubles) -> None:
        rows, self.size = shares.shape
        cumulative = np.cumsum(shares, axis=1)
        cumulative /= cumulative[:, -1:]
        self.flat = (cumulative + np.arange(rows)[:, None]).ravel()

    def draw(self, row: Codes | Ints, uniform: Doubles | Floats) -> Codes:
        """A product for each row number and each uniform number in [0, 1); shapes broadcast."""
        found = np.searchsorted(self.flat, row + uniform, side="right") - row * self.size
        return np.asarray(np.clip(found, 0, self.size - 1), dtype=np.int32)


def _leaves(department: int) -> list[tuple[str, str]]:
    return [(c, leaf) for c, leaves in DEPARTMENTS[department].tree.items() for leaf in leaves]


def _life(shop: Shop, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """First day, and first day without it. At least half the products are there from start to end."""
    size, days = shop.products, shop.days
    new = rng.random(size) < LAUNCHED
    launch = np.where(new, rng.integers(1, days, size), -rng.integers(1, 400, size))
    ends = (rng.random(size) < DISCONTINUED) & (launch < days - 30)
    earliest = np.maximum(launch, 0) + 30
    span = np.maximum(days - earliest, 1)
    gone = np.where(ends, earliest + (rng.random(size) * span).astype(np.int64), days + 1)
    return launch.astype(np.int64), gone.astype(np.int64)


def _popularity(rng: np.random.Generator, leaf: Codes, leaves: int) -> Doubles:
    """(I,) a long tail, with popular and unpopular shelves; sums to 1."""
    rank = rng.permutation(len(leaf))
    weight = (rank + 10.0) ** -0.7 * np.exp(rng.normal(0, 0.4, leaves))[leaf]
    return np.asarray(weight / weight.sum())


def _taste(
    rng: np.random.Generator, popularity: Doubles, paths: list[tuple[str, str, str]], leaf: Codes, dear: Doubles
) -> Doubles:
    """(1 + segments + regions, I): tastes differ by category and sub-category, and in how they take high prices."""
    category = np.unique([f"{a}/{b}" for a, b, _ in paths], return_inverse=True)[1]
    count = len(SEGMENTS) + len(REGIONS)
    spread = np.array([1.2] * len(SEGMENTS) + [0.8] * len(REGIONS))[:, None]
    liking = rng.normal(0, 1, (count, category.max() + 1))[:, category] + rng.normal(0, 0.6, (count, len(paths)))
    thrift = np.array([*THRIFT, *[0.0] * len(REGIONS)])[:, None]
    tastes = popularity * np.exp(spread * liking[:, leaf] - thrift * dear)
    table = np.concatenate((popularity[None], tastes))
    return np.asarray(table / table.sum(axis=1, keepdims=True))


def _complements(
    rng: np.random.Generator, popularity: Doubles, department: Codes, staple: Bools
) -> tuple[Codes, Codes, Doubles]:
    """Pairs (trigger, complement) of different departments: no product is in two pairs, so chances stay closed."""
    size = len(popularity)
    half = np.argsort(-popularity, kind="stable")[: size // 2]
    triggers = rng.permutation(half)[: max(size // 10, 1)]
    others = rng.permutation(np.setdiff1d(np.flatnonzero(~staple), triggers))
    pairs = min(len(triggers), len(others))
    triggers, others = triggers[:pairs], others[:pairs]
    apart = department[triggers] != department[others]
    triggers, others = triggers[apart], others[apart]
    complement, trigger = np.full(size, -1, dtype=np.int32), np.full(size, -1, dtype=np.int32)
    complement[triggers], trigger[others] = others, triggers
    chance = np.zeros(size)
    chance[triggers] = rng.uniform(0.25, 0.6, len(triggers))
    return complement, trigger, chance
