"""Ta-Feng grocery (Taiwan, 2000-11 to 2001-02) as published, and the next-basket preparation of it.

The publisher's one file has everything on the line: month-first dates, the unit count called AMOUNT, the cost of the
line called ASSET and its price called SALES_PRICE. The preparation has order only: baskets are numbered per customer.
"""

from __future__ import annotations

from aisle.data.presets.base import Preset, columns
from aisle.data.schema import Mapping, TableMapping

PUBLISHER = Preset(
    mapping=Mapping(
        name="ta_feng",
        tables=(
            TableMapping(
                "transactions",
                ("*.*",),
                {
                    **columns(
                        customer_id="CUSTOMER_ID",
                        product_id="PRODUCT_ID",
                        timestamp="TRANSACTION_DT",
                        quantity="AMOUNT",
                        amount="SALES_PRICE",
                        category_1="PRODUCT_SUBCLASS",
                    ),
                    "customer.age_group": ("AGE_GROUP",),
                    "group_1": ("PIN_CODE",),
                },
                ignore=("ASSET",),
            ),
        ),
        numeric_ids=True,
        date_order="mdy",
        note="Ta-Feng; a basket is a customer and day; ASSET is the cost of the line and is not read.",
    ),
    required=("TRANSACTION_DT", "CUSTOMER_ID", "PRODUCT_SUBCLASS", "PRODUCT_ID", "AMOUNT", "SALES_PRICE"),
)
BASKETS = Preset(
    mapping=Mapping(
        name="ta_feng",
        tables=(
            TableMapping(
                "transactions",
                ("baskets*.*",),
                columns(customer_id="user_id", product_id="item_id", sequence="order_number"),
                ignore=("split",),
            ),
        ),
        numeric_ids=True,
        note="Ta-Feng, next-basket preparation: order only; the baskets marked future are read like the others.",
    ),
    required=("user_id", "item_id", "order_number", "split"),
)
FORMS = (PUBLISHER, BASKETS)
