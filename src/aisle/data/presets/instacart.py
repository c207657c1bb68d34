"""Instacart Market Basket Analysis (2017): order lines in two files, who and when in ``orders.csv``.

No dates: the orders of a customer are numbered. Orders of the test split have no lines. Names of products, aisles
and departments stand in files of their own.
"""

from __future__ import annotations

from aisle.data.presets.base import Preset, columns
from aisle.data.schema import Join, Mapping, TableMapping

FORMS = (
    Preset(
        mapping=Mapping(
            name="instacart",
            tables=(
                TableMapping(
                    "transactions",
                    ("order_products*.*",),
                    columns(
                        customer_id="user_id", product_id="product_id", sequence="order_number", order_id="order_id"
                    ),
                    ignore=("add_to_cart_order", "reordered"),
                    joins=(Join(("orders.*",), ("order_id",), ("user_id", "order_number")),),
                ),
                TableMapping(
                    "products",
                    ("products.*",),
                    columns(product_id="product_id", name="product_name", category_1="department", category_2="aisle"),
                    ignore=("aisle_id", "department_id"),
                    joins=(
                        Join(("departments.*",), ("department_id",), ("department",)),
                        Join(("aisles.*",), ("aisle_id",), ("aisle",)),
                    ),
                ),
            ),
            numeric_ids=True,
            note="Instacart 2017; order numbers, no dates; day of week, hour and gaps between orders are not read.",
        ),
        required=("order_id", "product_id", "add_to_cart_order", "reordered"),
    ),
)
