"""The settings of a synthetic retailer, and the random streams that make it reproducible at any size."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date, timedelta

import numpy as np

from aisle.errors import UsageError

LAST_DAY = date(2025, 6, 30)
"""The last day of every synthetic retailer; the calendar counts back from it."""
HORIZONS = (7, 14, 30, 60)
"""Days of the windows, all ending with the data, for which true probabilities are stored."""
BLOCK = 4096
"""Customers that share one random stream: results never depend on how many blocks are held or who else exists."""
DEPTH = 50
"""Products in each customer's oracle list."""
ORACLE_CUSTOMERS = 2 * BLOCK
"""Customers who get an oracle list: the first ones, which are a fair sample since numbers are given blindly."""
LIMITS = {"customers": (10, 50_000_000), "products": (50, 200_000), "days": (90, 3650), "seed": (0, 2**31 - 1)}
"""Allowed sizes. Fewer days than 90 leave no history before the longest window."""


@dataclass(frozen=True, kw_only=True)
class Shop:
    """What kind of retailer to make. The first five settings are the user's; the rest shape the default world."""

    customers: int = 2_000
    products: int = 500
    days: int = 540
    seed: int = 0
    signal: bool = True
    """False: everybody draws from the same popularity, so that no personal model can beat it."""

    visits_per_day: float = 0.072
    """Mean over customers of the chance to visit on an average day."""
    staples: int = 5
    """Products that a customer buys again and again, each in a cycle of its own."""
    favourites: int = 8
    """Products that a customer likes without a rhythm."""
    picks: float = 1.3
    """Mean products a visit beside staples and complements."""
    flat_picks: float = 2.4
    """Mean products a visit where ``signal`` is False; keeps the volume alike."""
    returned: float = 0.02
    """Share of lines that are brought back within two weeks."""

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise UsageError(f"{name} is {value!r}; a synthetic retailer needs a whole number from {low} to {high}")

    @property
    def start(self) -> date:
        """Day 0 of the calendar."""
        return LAST_DAY - timedelta(days=self.days - 1)

    @property
    def blocks(self) -> int:
        """Number of customer blocks."""
        return -(-self.customers // BLOCK)

    @property
    def settled(self) -> int:
        """First day of the longest window: no customer changes habits from then on, so that the future is no secret."""
        return self.days - max(HORIZONS)

    def stream(self, *key: int) -> np.random.Generator:
        """The random stream of a purpose: the same for the same seed and key, whatever else is drawn."""
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, *key])))

    def settings(self) -> dict[str, int | float | bool]:
        """All settings by name, for the truth file."""
        return {f.name: getattr(self, f.name) for f in fields(self)}
