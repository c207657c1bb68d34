"""Facts that stand on sale lines: names are the newest, whatever may become a feature is the oldest."""

from datetime import datetime
from pathlib import Path

import polars as pl

from aisle.config import RunConfig
from aisle.data.doctor.ledger import Ledger
from aisle.data.doctor.tables import both_told, settled, told_on
from aisle.jobs.ingest import clean_source
from aisle.progress import Progress


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


def test_facts_may_be_dates(tmp_path: Path) -> None:
    (tmp_path / "transactions.csv").write_text(
        "customer_id,product_id,timestamp,quantity,launch\n"
        "ann,ale,2024-01-05,1,13/04/2020\nann,bun,2024-01-06,1,14/04/2020\nbob,cod,2024-01-07,1,\n"
    )
    columns = {name: name for name in ("customer_id", "product_id", "timestamp", "quantity")}
    config = RunConfig(
        data={"transactions": {"files": ["transactions.csv"], "columns": columns | {"product.launch": "launch"}}}
    )
    products = clean_source(tmp_path, config, Progress()).products
    assert dict(products.select("product_id", "launch").iter_rows()) == {
        "ale": datetime(2020, 4, 13),
        "bun": datetime(2020, 4, 14),
        "cod": None,
    }
