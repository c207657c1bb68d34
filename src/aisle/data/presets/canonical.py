"""Our own form: transactions, products, customers, stores and availability under their canonical names.

Each table is one file or several pieces (``transactions-2024.parquet``, ``transactions/part-0.csv``).
"""

from __future__ import annotations

from aisle.data.presets.base import Preset
from aisle.data.schema import KINDS, PART, Mapping, TableMapping, TableName

LEVELS = 9
"""Levels of a tree that are looked for."""
EXTRA: dict[TableName, tuple[str, ...]] = {
    "transactions": (PART,),
    "products": tuple(f"category_{n}" for n in range(1, LEVELS + 1)),
    "customers": tuple(f"group_{n}" for n in range(1, LEVELS + 1)),
    "stores": (),
    "availability": (),
}


def table(name: TableName) -> TableMapping:
    """One canonical table under its own names."""
    globs = (f"{name}.*", f"{name}[-_]*.*", f"{name}/*")
    return TableMapping(name, globs, {column: (column,) for column in (*KINDS[name], *EXTRA[name])})


TABLES: tuple[TableName, ...] = ("transactions", "products", "customers", "stores", "availability")
FORMS = tuple(
    Preset(
        mapping=Mapping(name="canonical", tables=tuple(table(name) for name in TABLES)),
        required=("customer_id", "product_id", clock),
    )
    for clock in ("timestamp", "sequence")
)
