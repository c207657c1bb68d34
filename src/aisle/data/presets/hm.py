"""H&M Personalized Fashion Recommendations (Kaggle 2022): articles, customers and one line a unit sold.

Article ids begin with zeros and must stay text. Prices are scaled by the publisher. The tree is taken from the names:
index group, product group, product type.
"""

from __future__ import annotations

from aisle.data.presets.base import Preset, columns
from aisle.data.schema import Mapping, TableMapping

FORMS = (
    Preset(
        mapping=Mapping(
            name="hm",
            tables=(
                TableMapping(
                    "transactions",
                    ("transactions*.*",),
                    columns(
                        customer_id="customer_id",
                        product_id="article_id",
                        timestamp="t_dat",
                        price="price",
                        channel="sales_channel_id",
                    ),
                ),
                TableMapping(
                    "products",
                    ("articles*.*",),
                    columns(
                        product_id="article_id",
                        name="prod_name",
                        category_1="index_group_name",
                        category_2="product_group_name",
                        category_3="product_type_name",
                    ),
                    attributes=(
                        *("graphical_appearance_name", "colour_group_name", "perceived_colour_value_name"),
                        *("perceived_colour_master_name", "department_name", "section_name", "garment_group_name"),
                        *("product_code", "detail_desc"),
                    ),
                ),
                TableMapping(
                    "customers",
                    ("customers*.*",),
                    columns(customer_id="customer_id"),
                    ignore=("postal_code",),
                ),
            ),
            date_order="ymd",
            note="H&M; 1 unit a line; a basket is a customer and day; postal codes are hashes and not read.",
        ),
        required=("t_dat", "customer_id", "article_id", "sales_channel_id"),
    ),
)
