"""What a basket model was shown of products and customers when it was fitted; no identity of customers.

Only what does not move with time is looked at here. Age and trend of a product do, so that they enter by moment,
through what sells (``what_sells``): a table made today would tell earlier moments what sold later.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.entities import Entities, Features
from aisle.features.customers import some_customers
from aisle.models.nn.features import Form
from aisle.models.nn.rows import Rows
from aisle.models.nn.windows import sales_before
from aisle.types import NEVER, Codes, Floats

PRICE = "price"
SPANS = 4
"""Rows of what sells at a moment: the last window, the last four, ever, and whether the product is new."""


@dataclass(frozen=True, eq=False)
class Shelf:
    """The frozen forms of both sides, and the products in the order of the tables."""

    levels: Form
    """Tree levels and other categories of products."""
    numbers: Form
    """Numbers of products, with price and its place among prices of the leaf category."""
    customers: Form
    product_ids: list[str]
    """(I,)."""

    @classmethod
    def of(cls, data: Dataset, content: bool, before: Shelf | None = None) -> Shelf:
        """What purchases so far have shown; without ``content`` nothing but ids. What was seen before stays."""
        nothing = Form({}, {}, [])
        levels = numbers = customers = nothing
        if content:
            sold = np.flatnonzero(np.bincount(data.purchases.product, minlength=data.shape[1])).astype(np.int32)
            levels = Form.of(data.products.take(sold), {})
            numbers = Form.of(Features(), {name: values[sold] for name, values in product_numbers(data).items()})
            people = some_customers(data).features
            customers = Form.of(people, people.numbers)
        if before:
            levels, numbers = before.levels.grown(levels), before.numbers.grown(numbers)
            customers = before.customers.grown(customers)
        return cls(levels, numbers, customers, data.products.vocab.ids.to_list())

    @classmethod
    def load(cls, value: dict[str, Any]) -> Shelf:
        """Undo ``save``."""
        levels, numbers, customers = (Form.load(value[name]) for name in ("levels", "numbers", "customers"))
        return cls(levels, numbers, customers, value["product_ids"])

    def save(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @property
    def labels(self) -> dict[str, list[str]]:
        """What the rows of the network's tables stand for."""
        return {
            "products": self.product_ids,
            "columns": self.levels.columns,
            "blocks": list(self.levels.blocks),
            "people": self.customers.columns,
            "people blocks": list(self.customers.blocks),
            "numbers": self.numbers.columns,
        }

    def content(self, data: Dataset) -> Rows:
        """(I, F) levels and tags of the products."""
        return self.levels.rows(data.products.features, {}, data.shape[1])

    def dense(self, data: Dataset) -> Floats:
        """(I, F) standardised numbers of the products, and flags where they are missing."""
        if not self.numbers.numbers:
            return np.zeros((data.shape[1], 0), dtype=np.float32)
        return self.numbers.rows(Features(), product_numbers(data), data.shape[1]).dense().numpy()

    def people(self, features: Features, size: int) -> Rows:
        """(B, F) attributes and groups of customers."""
        return self.customers.rows(features, features.numbers, size)


def product_numbers(data: Dataset) -> dict[str, Floats]:
    """Numeric attributes of all products, each (I,), the price on a logarithmic scale and by place in its category."""
    found = dict(data.products.numbers)
    price = found.pop(PRICE, None)
    price = paid(data) if price is None else price
    log_price = np.log(np.maximum(price, 0.01))
    return found | {"log price": log_price.astype(np.float32), "price place": price_places(price, data.products)}


def paid(data: Dataset) -> Floats:
    """(I,) mean amount paid for one piece, NaN where nothing was."""
    lines = data.purchases
    lines = lines.take(np.isfinite(lines.amount) & (lines.quantity > 0))
    pieces, amount = (
        np.bincount(lines.product, weights=part, minlength=data.shape[1]) for part in (lines.quantity, lines.amount)
    )
    mean = np.divide(amount, pieces, out=np.full(data.shape[1], np.nan), where=pieces > 0)
    return np.asarray(mean, dtype=np.float32)


def price_places(price: Floats, products: Entities) -> Floats:
    """(I,) place of each price among those of its leaf category, 0 … 1; NaN where the price is unknown."""
    leaf: Codes = products.tree[-1].codes if products.tree else np.zeros(len(price), dtype=np.int32)
    out = np.full(len(price), np.nan, dtype=np.float32)
    known = np.flatnonzero(np.isfinite(price))
    order = known[np.lexsort((price[known], leaf[known]))]
    group = leaf[order]
    low, high = (np.searchsorted(group, group, side=side) for side in ("left", "right"))
    same = np.arange(len(order)) - low
    out[order] = (same + 0.5) / np.maximum(high - low, 1)
    return out


def what_sells(data: Dataset, ticks: int, count: int) -> Floats:
    """(C, 4, I) what sold before ``as_of``, before one window earlier, and so on, as far as there were sales.

    Of more than one moment, at most ``count``, the last row knows nothing: it is for moments before all of these.

    Logarithms of smoothed shares of the last window, of the last four, and of all sales, 0 for the best seller; and 1
    for products first sold in the last four windows. Under a sequence clock only one moment, and only ever: places in
    a journey are no dates.
    """
    if data.clock == "sequence":
        logs = _logs(sales_before(data, data.as_of, ticks)[-1:])
        return np.concatenate((np.zeros((2, data.shape[1]), np.float32), logs, np.zeros_like(logs)))[None]
    found = []
    for step in range(count):
        cut = data.as_of - step * ticks
        sold = sales_before(data, cut, ticks)
        if step and not sold[-1].any():
            break
        known = np.where(data.first_sale < cut, data.first_sale, NEVER)
        fresh = (known != NEVER) & (known >= cut - 4 * ticks)
        found.append(np.concatenate((_logs(sold), fresh[None].astype(np.float32))))
    return np.stack(found if count == 1 else [*found, np.zeros_like(found[0])])


def _logs(sold: Floats) -> Floats:
    logs = np.log(sold + 0.5)
    return np.asarray(logs - logs.max(axis=-1, keepdims=True, initial=-np.inf), dtype=np.float32)
