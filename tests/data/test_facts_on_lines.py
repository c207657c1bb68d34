"""Facts that stand on sale lines: names are the newest, whatever may become a feature is the oldest."""

from datetime import datetime

import polars as pl

from aisle.data.doctor.ledger import Ledger
from aisle.data.doctor.tables import both_told, settled, told_on


def test_a_later_fact_cannot_reach_back_before_a_cut() -> None:
    lines = pl.DataFrame(
        {
            "product_id": ["a", "a", "b"],
            "timestamp": [datetime(2020, 2, 1), datetime(2020, 1, 1), datetime(2020, 1, 5)],
            "name": ["New name", "Old name", None],
            "brand": ["later", "first", "only"],
        }
    )
    together = told_on(lines, "products", "timestamp")
    apart = both_told(*(told_on(part, "products", "timestamp") for part in (lines[:1], lines[1:])))
    for told in (together, apart):
        table = settled(told, lines["product_id"].unique(), "products", Ledger())
        assert table is not None
        assert table.rows(named=True) == [
            {"product_id": "a", "name": "New name", "brand": "first"},
            {"product_id": "b", "name": None, "brand": "only"},
        ]
