"""The Complete Journey (dunnhumby / 84.51°): 2,500 households over two years, with a named tree and demographics.

Two forms: the publisher's CSV files (``transaction_data.csv``; days are numbered, 1..711) and the tables of the
completejourney R package (timestamps, the year shifted to 2017). ``DAY_ZERO`` was measured on the 78 baskets that
both forms share. Names of levels repeat under different parents: only the full path is a key.
"""

from __future__ import annotations

from aisle.data.presets.base import Preset, columns
from aisle.data.schema import Mapping, TableMapping

DAY_ZERO = "2016-03-22"
_UNREAD = ("coupon_disc", "coupon_match_disc", "week", "WEEK_NO")
_DISCOUNTS = "retail_disc is the discount; coupon discounts, coupons, campaigns and promotions are not read."

PUBLISHER = Preset(
    mapping=Mapping(
        name="complete_journey",
        tables=(
            TableMapping(
                "transactions",
                ("transaction_data*.*",),
                columns(
                    customer_id="household_key",
                    product_id="PRODUCT_ID",
                    timestamp=("DAY", "TRANS_TIME"),
                    quantity="QUANTITY",
                    amount="SALES_VALUE",
                    order_id="BASKET_ID",
                    store_id="STORE_ID",
                    discount="RETAIL_DISC",
                ),
                ignore=_UNREAD,
                time_from=DAY_ZERO,
            ),
            TableMapping(
                "products",
                ("product.*",),
                columns(
                    product_id="PRODUCT_ID",
                    brand="BRAND",
                    category_1="DEPARTMENT",
                    category_2="COMMODITY_DESC",
                    category_3="SUB_COMMODITY_DESC",
                ),
            ),
            TableMapping("customers", ("hh_demographic.*",), columns(customer_id="household_key")),
        ),
        numeric_ids=True,
        note=f"The Complete Journey, publisher's files; day numbers count from {DAY_ZERO}; {_DISCOUNTS}",
    ),
    required=("household_key", "BASKET_ID", "DAY", "PRODUCT_ID", "TRANS_TIME"),
)
PACKAGE = Preset(
    mapping=Mapping(
        name="complete_journey",
        tables=(
            TableMapping(
                "transactions",
                ("transactions*.*",),
                columns(
                    customer_id="household_id",
                    product_id="product_id",
                    timestamp="transaction_timestamp",
                    quantity="quantity",
                    amount="sales_value",
                    order_id="basket_id",
                    store_id="store_id",
                    discount="retail_disc",
                ),
                ignore=_UNREAD,
            ),
            TableMapping(
                "products",
                ("products*.*",),
                columns(
                    product_id="product_id",
                    brand="brand",
                    category_1="department",
                    category_2="product_category",
                    category_3="product_type",
                ),
            ),
            TableMapping("customers", ("demographics*.*",), columns(customer_id="household_id")),
        ),
        numeric_ids=True,
        note=f"The Complete Journey as in the R package; {_DISCOUNTS}",
    ),
    required=("household_id", "basket_id", "product_id", "transaction_timestamp"),
)
FORMS = (PUBLISHER, PACKAGE)
