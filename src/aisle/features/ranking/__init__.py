"""Features of (customer, product) pairs for a ranker: pure array functions, strictly as of a moment.

``Facts.at(dataset)`` is what is known of the products; ``table(batch, facts, row, code)`` joins it with what the batch
says of its customers.
"""

from __future__ import annotations

import numpy as np

from aisle.data.events import Batch
from aisle.features.ranking import blocks
from aisle.features.ranking.facts import Facts
from aisle.features.ranking.rhythm import rhythms
from aisle.types import Codes, Floats, Ints

__all__ = ["Facts", "table"]


def table(batch: Batch, facts: Facts, row: Ints, code: Codes) -> tuple[tuple[str, ...], Floats]:
    """Names (F,) and values (P, F) of all features of the pairs of a batch row and a product; NaN = unknown.

    The names depend on the kind of data alone: levels of the trees, prices, stores, the clock.
    """
    own = rhythms(batch, batch.lines.product, batch.n_products)
    columns = blocks.customer_block(batch, row)
    columns |= blocks.product_block(batch, facts, code)
    columns |= blocks.pair_block(own, facts, row, code)
    columns |= blocks.category_block(batch, facts, row, code)
    columns |= blocks.price_block(batch, facts, row, code)
    columns |= blocks.group_block(batch, facts, row, code)
    columns |= blocks.company_block(batch, facts, row, code)
    out = np.empty((len(row), len(columns)), dtype=np.float32)
    for place, column in enumerate(columns.values()):
        out[:, place] = column
    return tuple(columns), out
