"""What the hybrid saw of the features when it was fitted, and how customers and products look to it since."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.features.customers import RFMV, rfmv, some_customers
from aisle.models.nn.features import NUMBERS, Form
from aisle.models.nn.histories import Histories
from aisle.models.nn.hybrid_net import Ask
from aisle.models.nn.rows import Rows
from aisle.types import Floats, Ints

PREFIX = "purchases: "
"""Marks the customer numbers that come from purchases."""


@dataclass(frozen=True, eq=False)
class Look:
    """The frozen forms of both sides, and whose rows the tables of the network hold."""

    products: Form
    customers: Form
    product_ids: list[str]
    """(I,)."""
    customer_ids: list[str]
    """(U,); empty where the customer's identity is not used."""

    @classmethod
    def of(cls, data: Dataset, identity: bool, before: Look | None = None) -> Look:
        """What purchases so far have shown: numbers and words of unsold products are not looked at.

        What was seen ``before`` stays in the forms.
        """
        batch = some_customers(data)
        sold = np.bincount(data.purchases.product, minlength=data.shape[1]) > 0
        goods = {name: values[sold] for name, values in data.products.numbers.items()}
        names = None if data.products.names is None else data.products.names.filter(pl.Series(sold))
        products = Form.of(data.products.features, goods, names)
        customers = Form.of(batch.features, purchase_numbers(batch))
        return cls(
            before.products.grown(products) if before else products,
            before.customers.grown(customers) if before else customers,
            data.products.vocab.ids.to_list(),
            data.customers.vocab.ids.to_list() if identity else [],
        )

    @classmethod
    def load(cls, value: dict[str, Any]) -> Look:
        """Undo ``save``."""
        products, customers = Form.load(value["products"]), Form.load(value["customers"])
        return cls(products, customers, value["product_ids"], value["customer_ids"])

    def save(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @property
    def labels(self) -> dict[str, list[str]]:
        """What the rows of the network's tables stand for."""
        return {
            "products": self.product_ids,
            "product columns": self.products.columns,
            "product blocks": list(self.products.blocks),
            "customers": ["", *self.customer_ids],
            "customer columns": self.customers.columns,
            "customer blocks": list(self.customers.blocks),
        }

    @cached_property
    def flags(self) -> tuple[Ints, Ints]:
        """Columns of the customer numbers that come from purchases, and of their flags."""
        start = 0
        for name, columns in self.customers.blocks.items():
            if name == NUMBERS:
                break
            start += len(columns)
        numbers = list(self.customers.numbers)
        own = np.array([at for at, name in enumerate(numbers) if name.startswith(PREFIX)], dtype=np.int64) + start
        return own, own + len(numbers)

    def content(self, data: Dataset) -> Rows:
        """(I, F) what is known of the products."""
        features = data.products.features
        return self.products.rows(features, features.numbers, data.shape[1], data.products.names)

    def ask(self, batch: Batch, cut: int, limit: int) -> Ask:
        """The questions of a batch over at most ``limit`` own products; ``cut`` picks a row of the what-sells table."""
        content = self.customers.rows(batch.features, purchase_numbers(batch), len(batch))
        known = (batch.customers >= 0) & (batch.customers < len(self.customer_ids))
        ids = np.where(known, batch.customers.astype(np.int64) + 1, 0)
        histories = Histories.of(batch, limit)
        return Ask.of(histories, content, ids, np.full(len(batch), cut, dtype=np.int64), batch.n_products)


def signature(data: Dataset) -> str:
    """A hash of all that a fit may see: equal data, equal text."""
    lines = {f.name: getattr(data.lines, f.name) for f in fields(data.lines)}
    for side, entities in (("customers", data.customers), ("products", data.products)):
        lines |= {f"{side} {level.name}": level.codes for level in entities.features.levels}
        lines |= {f"{side} {name}": values for name, values in entities.numbers.items()}
    lines["as_of"] = np.array([data.as_of])
    found = hashlib.sha256()  # of the arrays as they are: they may be long, and read-only
    for name, values in lines.items():
        found.update(f"{name} {values.dtype} {values.shape}\n".encode())
        found.update(np.ascontiguousarray(values).data)
    return found.hexdigest()


def purchase_numbers(batch: Batch) -> dict[str, Floats]:
    """Customer attributes that are numbers, and the logarithms of RFMV, each (B,)."""
    values = np.log1p(np.maximum(rfmv(batch), 0))
    return batch.features.numbers | {PREFIX + name: values[:, column] for column, name in enumerate(RFMV)}
