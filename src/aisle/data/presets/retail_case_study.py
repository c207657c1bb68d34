"""Retail Case Study (Kaggle, darpan25bajaj): three CSV files, 23 products keyed by category and sub-category code.

``prod_subcat_code`` is unique only inside its category, so the product is the pair. Returns repeat the id of their
sale with negative quantity *and* rate, so that quantity · rate is positive: the total carries the sign. Dates come
in two shapes, ``28-02-2014`` and ``9/2/2014``, both day first; the doctor proves it from the order of the rows.
"""

from __future__ import annotations

from aisle.data.presets.base import Preset, columns
from aisle.data.schema import Mapping, TableMapping

FORMS = (
    Preset(
        mapping=Mapping(
            name="retail_case_study",
            tables=(
                TableMapping(
                    "transactions",
                    ("transactions*.*",),
                    columns(
                        customer_id="cust_id",
                        product_id=("prod_cat_code", "prod_subcat_code"),
                        timestamp="tran_date",
                        quantity="Qty",
                        price="Rate",
                        tax="Tax",
                        amount="total_amt",
                        order_id="transaction_id",
                        channel="Store_type",
                    ),
                ),
                TableMapping(
                    "products",
                    ("prod_cat_info*.*",),
                    columns(
                        product_id=("prod_cat_code", "prod_sub_cat_code"),
                        category_1="prod_cat",
                        category_2="prod_subcat",
                    ),
                ),
                TableMapping(
                    "customers", ("customer*.*",), columns(customer_id="customer_Id|cust_id", group_1="city_code")
                ),
            ),
            numeric_ids=True,
            note="Kaggle retail case study; city codes have no names; 141 listed customers never buy.",
        ),
        required=("cust_id", "prod_cat_code", "prod_subcat_code", "tran_date", "transaction_id"),
    ),
)
