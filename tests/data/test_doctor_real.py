"""Published figures of the real data sets (counted independently when they were studied)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from aisle.data.doctor import clean
from aisle.data.mapping import resolve
from aisle.data.schema import CleanTables
from tests.data.shop import check_identity, codes

pytestmark = pytest.mark.data


def see(folder: Path) -> CleanTables:
    mapping, files = resolve(folder)
    return clean(folder, mapping, files)


def test_the_retail_case_study(real_data: Path) -> None:
    tables = see(real_data / "retail_case_study")
    report = tables.report
    check_identity(tables)
    assert (report.total("read"), report.duplicates) == (23_053, 13)
    assert (report.returns, report.returns_matched) == (2_177, 2_175)
    assert report.date_order == "dmy"
    assert "422 dates after the last day, 552 returns before their sale, 68 breaks" in report.date_proof
    lines = tables.transactions
    assert lines["timestamp"].min() == datetime(2011, 1, 25)
    assert lines["timestamp"].max() == datetime(2014, 2, 28)
    assert lines["product_id"].n_unique() == tables.products.height == 23
    assert tables.customers.height == 5_647
    assert codes(tables)["NEVER_BOUGHT"] == 141
    bought = lines.filter((pl.col("quantity") > 0) & pl.col("void_at").is_null())
    assert (bought.height, bought["customer_id"].n_unique()) == (18_819, 5_444)
    assert tables.products.filter(pl.col("category_2") == "Clothing > Mens").height == 1
    assert not {"DUP_ID_CONFLICT", "TOTAL_MISMATCH", "SIGN_MISMATCH"} & set(codes(tables))


def test_online_retail_ii(real_data: Path) -> None:
    tables = see(real_data / "online_retail_ii")
    check_identity(tables)
    assert tables.report.total("read") == 979_304
    found = codes(tables)
    assert found["DUP_FILE"] == 22_523, "found without the column that marks them"
    assert found["DUP_ROW"] == 10_526
    lines = tables.transactions
    assert lines["timestamp"].min() == datetime(2009, 12, 1, 7, 45)
    clean_lines = lines.filter(
        pl.col("customer_id").is_not_null(),
        pl.col("quantity") > 0,
        pl.col("product_id").cast(pl.String).str.contains(r"^\d{5}"),
    )
    assert clean_lines["customer_id"].n_unique() == 5_700
    assert clean_lines["product_id"].n_unique() == 4_598
    assert clean_lines.select("customer_id", "product_id").n_unique() == 449_756
    assert not lines["customer_id"].cast(pl.String).str.contains(".", literal=True).any()
