"""Whatever the dirt: rows accepted + rejected = rows read, each reject has its place, and clean data stays as it is."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from hypothesis import event, given, settings
from hypothesis import strategies as st

from aisle.data.dataset import Dataset
from aisle.data.doctor.codes import RULES
from aisle.errors import DataError
from tests.data.shop import check_identity, sale, visit

DIRT = st.text(max_size=10) | st.sampled_from(["", "NULL", "nan", "-inf", "1e400", "2.7E+05", "0", "-1", "31-02-2013"])
IDS = st.sampled_from(["1", "2", "3", "007", "x y"])
DAYS = st.sampled_from(["2013-05-14", "2013-05-15 10:00:00", "25.12.2013", "13/01/2013", "2013-05-14T00:00:00Z"])
ROWS = st.lists(
    st.tuples(
        IDS | DIRT,
        IDS | DIRT,
        IDS | DIRT,
        DAYS | DIRT,
        st.sampled_from(["1", "2", "-1"]) | DIRT,
        st.sampled_from(["5", "-5", "1,000.00"]) | DIRT,
    ),
    min_size=1,
    max_size=25,
)


@given(ROWS)
@settings(max_examples=60, deadline=None)
def test_no_row_is_lost_and_none_is_counted_twice(rows: list[tuple[str, ...]]) -> None:
    lines = [sale(o, c, p, when, q, amount=a) for o, c, p, when, q, a in rows]
    with TemporaryDirectory() as folder:
        try:
            tables = visit(Path(folder), lines, products=[{"product_id": "1"}], customers=[{"customer_id": "2"}])
        except DataError as error:
            event(str(error).split(":")[0])  # DATE_AMBIGUOUS and the like refuse the whole
            return
    check_identity(tables)
    found = {finding.code for finding in tables.report.findings}
    assert set(tables.rejects["code"]) <= found
    assert all(f.what and (f.action == "kept" or f.code in RULES or f.severity) for f in tables.report.findings)
    good = tables.transactions
    assert good["product_id"].null_count() == 0
    assert good["timestamp"].null_count() == 0
    assert all(math.isfinite(q) and q != 0 for q in good["quantity"])
    assert all(a is None or (math.isfinite(a) and a * q >= 0) for a, q in good.select("amount", "quantity").iter_rows())
    assert good.filter(pl.col("void_at") < pl.col("timestamp")).height == 0
    assert tables.products["product_id"].is_unique().all()
    assert tables.customers["customer_id"].is_unique().all()
    used = set(good["product_id"].cast(pl.String))
    assert used <= set(tables.products["product_id"])
    if good.height:
        assert len(Dataset.of(tables).all_events) == good.height


def test_clean_tables_pass_a_second_visit_unchanged(tmp_path: Path) -> None:
    days = ["2013-05-14 10:00:00", "2013-05-15 11:30:00", "2013-06-01 09:00:00"]
    lines = [sale(f"o{i}", f"c{i % 3}", f"p{i % 4}", days[i % 3], 1 + i % 2, amount=2.5 * i + 1) for i in range(12)]
    products: list[dict[str, object]] = [
        {"product_id": f"p{i}", "category_1": "Food", "category_2": f"Kind {i % 2}", "kg": 1.5 * i} for i in range(4)
    ]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = visit(tmp_path / "a", lines, products=products)
    assert not [f for f in first.report.findings if f.severity != "info"]
    again = first.transactions.with_columns(pl.col("timestamp").dt.strftime("%Y-%m-%d %H:%M:%S")).drop("void_at")
    second = visit(tmp_path / "b", again.to_dicts(), products=first.products.to_dicts())
    text = pl.col(pl.Categorical).cast(pl.String)
    columns = first.transactions.columns
    assert second.transactions.select(columns).with_columns(text).equals(first.transactions.with_columns(text))
    assert second.products.equals(first.products)
    assert second.products["category_2"][1] == "Food > Kind 1"


def test_rejects_name_file_line_column_and_the_row_as_it_stood(tmp_path: Path) -> None:
    rows = [
        sale("1", "c", "p", "2013-05-14"),
        sale("2", "c", "p", "2013-05-14", "two"),
        sale("1", "c", "p", "2013-05-14"),
    ]
    tables = visit(tmp_path, rows)
    assert tables.rejects.rows() == [
        ("transactions.csv", 3, "quantity", "QTY_TEXT", "rejected", "2,c,p,2013-05-14,two"),
        ("transactions.csv", 4, "", "DUP_ROW", "rejected", "1,c,p,2013-05-14,1"),
    ]
    finding = next(f for f in tables.report.findings if f.code == "DUP_ROW")
    assert (finding.rows, finding.example, bool(finding.undo)) == (1, "1,c,p,2013-05-14,1", True)
