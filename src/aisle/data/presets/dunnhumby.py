"""Let's Get Sort-of-Real (dunnhumby): 117 weeks of a grocer, simulated at least in part.

The publisher ships ``transactions_YYYYWW.csv`` (one a week, everything on the line) and ``time.csv``; a re-packed copy
has four tables. The tree is a strict one of codes: division, group, department, class, product. ``XX`` means unknown;
no returns; whole weeks are missing.
"""

from __future__ import annotations

from aisle.data.presets.base import Preset, columns
from aisle.data.schema import Mapping, TableMapping

_BASKET = ("basket_size", "basket_price_sensitivity", "basket_type")
PUBLISHER = Preset(
    mapping=Mapping(
        name="dunnhumby_sort_of_real",
        tables=(
            TableMapping(
                "transactions",
                ("*.*", "*/*.*"),
                {
                    **columns(
                        customer_id="CUST_CODE",
                        product_id="PROD_CODE",
                        timestamp=("SHOP_DATE", "SHOP_HOUR"),
                        quantity="QUANTITY",
                        amount="SPEND",
                        order_id="BASKET_ID",
                        store_id="STORE_CODE",
                        category_1="PROD_CODE_40",
                        category_2="PROD_CODE_30",
                        category_3="PROD_CODE_20",
                        category_4="PROD_CODE_10",
                    ),
                    "customer.price_sensitivity": ("CUST_PRICE_SENSITIVITY",),
                    "customer.lifestage": ("CUST_LIFESTAGE",),
                },
                ignore=(
                    *("SHOP_WEEK", "SHOP_WEEKDAY", "STORE_FORMAT", "STORE_REGION"),
                    *(*_BASKET, "basket_dominant_mission"),
                ),
                time_from="ymd",
            ),
        ),
        date_order="ymd",
        note="dunnhumby Sort-of-Real, publisher's weekly files; store format and region are not read.",
    ),
    required=("CUST_CODE", "PROD_CODE", "PROD_CODE_10", "SHOP_DATE", "BASKET_ID"),
)
COPY = Preset(
    mapping=Mapping(
        name="dunnhumby_sort_of_real",
        tables=(
            TableMapping(
                "transactions",
                ("transactions*.*",),
                columns(
                    customer_id="customer_id",
                    product_id="product_id",
                    timestamp=("date", "hour"),
                    quantity="quantity",
                    amount="spend",
                    order_id="basket_id",
                    store_id="store_id",
                ),
                ignore=("shop_week", "weekday", *_BASKET, "basket_mission"),
            ),
            TableMapping(
                "products",
                ("products*.*",),
                columns(
                    product_id="product_id",
                    category_1="level4_division",
                    category_2="level3_group",
                    category_3="level2_department",
                    category_4="level1_class",
                ),
            ),
            TableMapping("customers", ("customers*.*",), columns(customer_id="customer_id")),
            TableMapping("stores", ("stores*.*",), columns(store_id="store_id")),
        ),
        note="dunnhumby Sort-of-Real, four-table copy; unit prices are constant, so amounts are synthetic.",
    ),
    required=("customer_id", "product_id", "date", "hour", "spend", "shop_week", "basket_mission"),
)
FORMS = (PUBLISHER, COPY)
