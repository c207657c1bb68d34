"""Tiny shops written line by line, and the same questions answered by plain loops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from hypothesis import strategies as st

from aisle.data.dataset import Dataset
from aisle.data.schema import CleanTables
from aisle.types import DAY

START = 19_000 * DAY
"""Midnight of day 0 of every shop here."""
HOUR = DAY // 24


@dataclass(frozen=True)
class Line:
    """One sale line; ``hour`` counts from the start, ``back`` is the hour from which a return has undone it."""

    customer: str | None
    product: str
    hour: int
    quantity: float = 1.0
    amount: float | None = None
    order: str | None = None
    store: str | None = None
    channel: str | None = None
    back: int | None = None

    @property
    def day(self) -> int:
        return self.hour // 24


def moment(hour: int) -> int:
    return START + hour * HOUR


def tables_of(lines: Sequence[Line], *, categorical: bool = False, sequence: bool = False, **more: Any) -> CleanTables:
    kind = pl.Categorical if categorical else pl.String
    ids: dict[str, list[str | None]] = {
        "customer_id": [x.customer for x in lines],
        "product_id": [*(x.product for x in lines)],
        "order_id": [x.order for x in lines],
        "store_id": [x.store for x in lines],
        "channel": [x.channel for x in lines],
    }
    times: dict[str, pl.Series] = {}
    for name, hours in (("timestamp", [x.hour for x in lines]), ("void_at", [x.back for x in lines])):
        if sequence:
            times["sequence" if name == "timestamp" else name] = pl.Series(hours, dtype=pl.Int64)
        else:
            ticks = [None if hour is None else moment(hour) for hour in hours]
            times[name] = pl.Series(ticks, dtype=pl.Int64).cast(pl.Datetime("us"))
    transactions = pl.DataFrame(
        {name: pl.Series(values, dtype=pl.String).cast(kind) for name, values in ids.items()}
        | times
        | {
            "quantity": pl.Series([x.quantity for x in lines], dtype=pl.Float64),
            "amount": pl.Series([x.amount for x in lines], dtype=pl.Float64),
        }
    )
    blank: dict[str, pl.DataFrame] = {
        "products": pl.DataFrame(schema={"product_id": pl.String}),
        "customers": pl.DataFrame(schema={"customer_id": pl.String}),
    }
    return CleanTables(transactions=transactions, **{**blank, **more})


def shop(lines: Sequence[Line], **more: Any) -> Dataset:
    return Dataset.of(tables_of(lines, **more))


def basket_key(line: Line, place: int) -> tuple[Any, ...]:
    if line.order is not None:
        return (line.customer, "order", line.order)
    return (line.customer, "day", line.day) if line.customer is not None else (None, "line", place)


def seen(lines: Sequence[Line], hour: int) -> list[tuple[int, Line]]:
    """Purchases before the hour that no return before it has undone."""
    return [
        (i, x) for i, x in enumerate(lines) if x.hour < hour and x.quantity > 0 and (x.back is None or x.back >= hour)
    ]


def baskets_with(lines: Sequence[Line], hour: int) -> Counter[tuple[str | None, str]]:
    """Baskets of each customer (None = everybody without a name) that hold each product."""
    held = {(x.customer, x.product, basket_key(x, i)) for i, x in seen(lines, hour)}
    return Counter((customer, product) for customer, product, _ in held)


def history_by_id(data: Dataset) -> dict[tuple[str | None, str], int]:
    counts = data.counts.tocoo()
    names, products = data.customers.vocab.ids, data.products.vocab.ids
    return {
        (names[int(u)], products[int(i)]): int(n) for u, i, n in zip(counts.row, counts.col, counts.data, strict=True)
    }


def by_id(data: Dataset, values: np.ndarray) -> dict[str, float]:
    """Values (I,) by product id."""
    return dict(zip(data.products.vocab.ids.to_list(), values.tolist(), strict=True))


def lines_of_shops(customers: int = 4, products: int = 4, hours: int = 96) -> st.SearchStrategy[list[Line]]:
    """Shops of up to 30 lines with orders, days, anonymous lines, returns and undone sales."""
    line = st.builds(
        Line,
        customer=st.one_of(st.none(), st.sampled_from([f"c{i}" for i in range(customers)])),
        product=st.sampled_from([f"p{i}" for i in range(products)]),
        hour=st.integers(0, hours),
        quantity=st.sampled_from([1.0, 2.0, 0.5, -1.0]),
        amount=st.sampled_from([None, 1.5, 2.25, -1.0]),
        order=st.sampled_from([None, "o9", "o10", "o11"]),
        store=st.sampled_from([None, "s0", "s1"]),
        channel=st.sampled_from([None, "web"]),
        back=st.none(),
    )
    undone = st.builds(
        Line,
        customer=st.sampled_from([f"c{i}" for i in range(customers)]),
        product=st.sampled_from([f"p{i}" for i in range(products)]),
        hour=st.integers(0, hours // 2),
        back=st.integers(hours // 2, hours),
    )
    return st.lists(st.one_of(line, undone), min_size=1, max_size=30)
