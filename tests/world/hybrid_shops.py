"""Small shops with one right answer, for the options of the hybrid."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from aisle.data.dataset import Dataset
from aisle.data.schema import CleanTables

START = datetime(2024, 1, 1)
Line = tuple[str, str, int, float, int | None]
"""Customer, product, day, quantity, and the day from which a return has undone it."""


def shop(
    lines: list[Line],
    groups: dict[str, str] | None = None,
    names: dict[str, str] | None = None,
    more: tuple[str, ...] = (),
) -> Dataset:
    """Products, those of no line too (``more``), are of the category before their dash; amounts are quantities."""
    who, what, day, quantity, void = zip(*lines, strict=True)
    goods = sorted({*what, *more})
    people = sorted(set(who) | set(groups or {}))
    days = [None if d is None else START + timedelta(days=d) for d in void]
    transactions = pl.DataFrame(
        {
            "customer_id": who,
            "product_id": what,
            "timestamp": pl.Series([START + timedelta(days=d) for d in day], dtype=pl.Datetime("us")),
            "quantity": np.array(quantity, dtype=float),
            "amount": np.array(quantity, dtype=float),
            "order_id": [f"{w}-{d}" for w, d in zip(who, day, strict=True)],
            "void_at": pl.Series(days, dtype=pl.Datetime("us")),
        }
    )
    products = pl.DataFrame({"product_id": goods, "category_1": [name.split("-")[0] for name in goods]})
    if names:
        products = products.with_columns(name=pl.Series([names.get(good) for good in goods], dtype=pl.String))
    customers = pl.DataFrame({"customer_id": people, "group_1": [(groups or {}).get(p, p[0]) for p in people]})
    return Dataset.of(CleanTables(transactions=transactions, products=products, customers=customers))


def pairs(quantity: Callable[[str, int], float], days: int = 160) -> Dataset:
    """Everybody buys one of a's and one of b's products at a time; ``quantity(product, day)`` of it."""
    random = np.random.default_rng(0)
    lines: list[Line] = []
    for person in range(80):
        for day in np.sort(random.choice(days, 10, replace=False)):
            for kind in "ab":
                product = f"{kind}-{random.integers(10)}"
                if count := quantity(product, int(day)):
                    lines.append((f"x{person:02}", product, int(day), count, None))
    return shop(lines)


def returning(*, explicit: bool) -> Dataset:
    """a's customers buy a's products all alike; each brings back a-0 in later windows, or says no to it unbought."""
    random = np.random.default_rng(0)
    lines: list[Line] = []
    for kind in "abc":
        for person in range(40):
            days = np.sort(random.choice(160, 12, replace=False))
            for day in days:
                for product in random.choice(8, 2, replace=False):
                    lines.append((f"{kind}{person:02}", f"{kind}-{product}", int(day), 1.0, None))
            if kind == "a":
                for day in days[3:]:
                    if not explicit:
                        lines.append((f"a{person:02}", "a-0", int(day), 1.0, int(day) + 1))
                    lines.append((f"a{person:02}", "a-0", int(day) + (not explicit), -1.0, None))
    return shop(lines, {f"{kind}new": kind for kind in "abc"})


def baskets(size: int) -> Dataset:
    """One basket a customer, of products of one kind: there is no order."""
    random = np.random.default_rng(0)
    lines: list[Line] = []
    for person in range(160):
        kind = "abcd"[person % 4]
        for product in random.choice(15, size, replace=False):
            lines.append((f"{kind}{person:03}", f"{kind}-{product:02}", int(random.integers(30)), 1.0, None))
    day = {line[0]: line[2] for line in lines}
    return shop([(who, what, day[who], *rest) for who, what, _, *rest in lines])  # type: ignore[misc]


def new_alone() -> Dataset:
    """Dates, customers who come back, and nobody who buys anything twice."""
    random = np.random.default_rng(0)
    lines: list[Line] = []
    for person in range(120):
        days = np.sort(random.choice(150, 10, replace=False))
        for day, product in zip(days, random.choice(60, 10, replace=False), strict=True):
            lines.append((f"x{person:03}", f"a-{product:02}", int(day), 1.0, None))
    return shop(lines)
