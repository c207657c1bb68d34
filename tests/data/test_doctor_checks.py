"""Checks over the whole source: duplicates, references, trees, attributes, history."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from aisle.data.hierarchy import check_parents, full_paths
from aisle.data.schema import PART, Mapping
from aisle.errors import DataError
from tests.data.shop import Rows, check_identity, codes, sale, visit


def order(number: int, day: str, *products: str, customer: str = "c1") -> Rows:
    return [sale(f"o{number}", customer, p, day, 1 + i, amount=10 * (1 + i)) for i, p in enumerate(products)]


FIRST = order(1, "2013-05-01", "a", "b") + order(2, "2013-05-02", "a") + order(3, "2013-05-03", "b", "c")


def test_an_order_in_two_files_counts_once(tmp_path: Path) -> None:
    second = order(3, "2013-05-03", "b", "c") + order(4, "2013-05-04", "a")
    second[0]["quantity"], second[0]["amount"] = "1.0", "10.00"  # the same sale in another hand
    tables = visit(tmp_path, {"may.csv": FIRST, "june.csv": second})
    assert codes(tables)["DUP_FILE"] == 2
    assert set(tables.rejects.select("file", "line").rows()) == {("june.csv", 2), ("june.csv", 3)}
    assert tables.report.duplicates == 2
    check_identity(tables)


def test_an_order_that_differs_in_one_line_is_no_copy(tmp_path: Path) -> None:
    tables = visit(tmp_path, {"may.csv": FIRST, "june.csv": order(3, "2013-05-03", "b", "d")})
    assert "DUP_FILE" not in codes(tables)
    assert tables.transactions.height == len(FIRST) + 1, "the equal line is a repeat within its order"
    check_identity(tables)


def test_sheets_of_one_file_are_parts(tmp_path: Path) -> None:
    rows = [line | {PART: "2010"} for line in FIRST] + [line | {PART: "2011", "name": "later"} for line in FIRST[:2]]
    rows[0]["name"] = "Kettle"
    tables = visit(tmp_path, [{"name": None} | row for row in rows])
    assert codes(tables)["DUP_FILE"] == 2
    assert PART not in tables.transactions.columns
    check_identity(tables)


def test_whole_days_in_two_files_are_copies_even_without_order_ids(tmp_path: Path) -> None:
    bare = [{k: v for k, v in line.items() if k != "order_id"} for line in FIRST]
    tables = visit(tmp_path, {"a.csv": bare, "b.csv": bare[3:]})
    assert codes(tables)["DUP_FILE"] == 2


def test_equal_lines_without_order_id_are_kept_and_flagged(tmp_path: Path) -> None:
    row = {"customer_id": "c", "product_id": "p", "timestamp": "2013-05-01", "quantity": 1}
    tables = visit(tmp_path, [row, row])
    assert codes(tables)["DUP_KEPT"] == 1
    assert tables.transactions.height == 2
    assert tables.rejects["action"].to_list() == ["kept"]


def test_only_an_order_id_makes_equal_lines_one(tmp_path: Path) -> None:
    rows = [sale(f"o{i}" if i % 2 else "", f"c{i}", "p", "2013-05-01") for i in range(40)]
    tables = visit(tmp_path, [*rows, rows[0], rows[1]])
    assert {c: n for c, n in codes(tables).items() if c.startswith("DUP")} == {"DUP_ROW": 1, "DUP_KEPT": 1}
    assert tables.transactions.height == 41
    check_identity(tables)


def test_lines_that_differ_in_an_unmapped_column_are_no_duplicates(tmp_path: Path) -> None:
    rows = [sale("1", "c", "p", "2013-05-01") | {"till_line": i} for i in range(2)]
    assert visit(tmp_path, rows).transactions.height == 2


def test_order_ids_used_again_by_habit_are_kept(tmp_path: Path) -> None:
    rows = [sale(f"o{i % 20}", f"c{i}", "p", "2013-05-01") for i in range(40)]
    tables = visit(tmp_path, rows)
    assert tables.transactions.height == 40
    assert "ORDER_ID_REUSED" in codes(tables)


def test_a_hole_among_order_ids_is_rejected_and_a_habit_is_not(tmp_path: Path) -> None:
    rows = [sale(f"o{i}" if i else "", f"c{i}", "p", "2013-05-01") for i in range(5)]
    assert codes(visit(tmp_path, rows))["ID_MISSING"] == 1
    rows = [sale(f"o{i}" if i % 2 else "", f"c{i}", "p", "2013-05-01") for i in range(40)]
    assert visit(tmp_path, rows).transactions.height == 40


def test_inner_codes_known_under_other_parents_only(tmp_path: Path) -> None:
    rows = [sale(i, "c", None, "2013-05-01", cat=c, sub=s) for i, (c, s) in enumerate([(1, 4), (1, 12), (7, 99)])]
    products: Rows = [{"product_id": "1/4"}, {"product_id": "5/12"}]
    tables = visit(tmp_path, rows, products=products, columns={"product_id": ("cat", "sub")})
    assert {c: n for c, n in codes(tables).items() if "UNKNOWN" in c} == {"PAIR_UNKNOWN": 1, "PROD_UNKNOWN": 1}
    assert tables.transactions["product_id"].cast(pl.String).to_list() == ["1/4", "7/99"]
    assert tables.products["product_id"].to_list() == ["1/4", "5/12", "7/99"]


def test_postage_and_adjustments_are_set_aside(tmp_path: Path) -> None:
    rows = [
        sale(1, "c", "85048", "2013-05-01", 2, price=3),
        sale(2, "c", "POST", "2013-05-01", 1, price=3),
        sale(3, "c", "85048", "2013-05-01", 1, price=0),
        sale(4, "c", "85048", "2013-05-01", -1, price=3),
        sale(5, "c", "85048", "2013-05-02", -1, price=0),
    ]
    tables = visit(tmp_path, rows, options=Mapping("x", (), product_pattern=r"^\d{5}"))
    assert codes(tables)["NOT_PRODUCT"] == 1
    assert codes(tables)["PRICE_NOT_POSITIVE"] == 2
    assert tables.transactions["amount"].to_list() == [6.0, -3.0]
    check_identity(tables)


def test_amounts_are_derived_with_tax_and_the_sign_of_the_quantity(tmp_path: Path) -> None:
    rows = [
        sale(1, "c", "p", "2013-05-01", 2, price=10, tax=2.1),
        sale(2, "c", "p", "2013-05-01", -2, price=-10, tax=2.1),
        sale(3, "c", "p", "2013-05-01", -2, price=10, tax=None),
        sale(4, "c", "p", "2013-05-01", 2, price=None, tax=None),
    ]
    assert visit(tmp_path, rows).transactions["amount"].to_list() == [22.1, -22.1, -20.0, None]


def test_a_sequence_instead_of_times(tmp_path: Path) -> None:
    rows: Rows = [{"customer_id": "a", "product_id": "p", "sequence": s} for s in ("1", "2", "x", "2.5")]
    tables = visit(tmp_path, rows)
    assert tables.transactions["sequence"].to_list() == [1, 2]
    assert tables.transactions["quantity"].to_list() == [1.0, 1.0]
    assert codes(tables)["SEQ_MISSING"] == 2
    assert tables.report.date_order == "sequence"


def test_a_column_of_the_mapping_that_is_gone_is_refused(tmp_path: Path) -> None:
    rows = [{k: v for k, v in line.items() if k != "customer_id"} for line in FIRST]
    with pytest.raises(DataError, match=r"^MISSING_COLUMN.*buyer"):
        visit(tmp_path, rows, columns={"customer_id": ("buyer",)})


def test_facts_on_the_lines_make_a_table_as_of_the_moment(tmp_path: Path) -> None:
    rows = [
        sale(1, "c", "p", "2013-05-01", name="Kettle", category_1="Home", group_1="UK"),
        sale(2, "c", "p", "2013-06-01", name="Red kettle", category_1="Home", group_1="UK"),
        sale(3, "c", "p", "2013-07-01", name="?? damaged", category_1="", group_1=""),
        sale(4, "d", "q", "2013-06-01", name="", category_1="Home", group_1="FR"),
    ]
    tables = visit(tmp_path, rows, at=datetime(2013, 6, 15))
    assert tables.products.select("product_id", "name", "category_1").rows() == [
        ("p", "Red kettle", "Home"),
        ("q", None, "Home"),
    ]
    assert tables.customers.rows() == [("c", "UK"), ("d", "FR")]
    assert codes(tables)["PROD_CONFLICT"] == 1
    assert "name" not in tables.transactions.columns


def test_customers_are_typed_by_content(tmp_path: Path) -> None:
    customers: Rows = [
        {"customer_id": "c1", "DOB": "13-05-1980", "gender": "F", "income": "1,000", "member": "yes", "zip": "01234"},
        {"customer_id": "c2", "DOB": "01-01-1800", "gender": "", "income": "2,500", "member": "no", "zip": "99999"},
        {"customer_id": "c2", "DOB": "02-01-1990", "gender": "M", "income": "", "member": "", "zip": "5"},
        {"customer_id": "", "DOB": "02-01-1990", "gender": "M", "income": "", "member": "", "zip": "5"},
    ]
    tables = visit(tmp_path, FIRST, customers=customers)
    assert tables.customers.schema == {
        "customer_id": pl.String,
        "DOB": pl.Datetime("us"),
        "gender": pl.String,
        "income": pl.Float64,
        "member": pl.Boolean,
        "zip": pl.String,
    }
    assert tables.customers["DOB"].to_list() == [datetime(1980, 5, 13), None]
    assert tables.customers["income"].to_list() == [1000.0, 2500.0]
    found = codes(tables)
    assert (found["DUP_ID"], found["ID_MISSING"], found["DOB_BAD"], found["NEVER_BOUGHT"]) == (1, 1, 1, 1)
    assert [f.rejected for f in tables.report.files] == [0, 2]


def test_attributes_computed_from_the_purchases_are_set_aside(tmp_path: Path) -> None:
    rows, customers = [], []
    for i in range(60):
        dates = [date(2013, 1, 1) + timedelta(days=(7 * i + 13 * k) % 300) for k in range(1 + i % 7)]
        rows += [sale(f"{i}-{k}", f"c{i}", f"p{k}", day, 1, amount=i * 1.5 + k) for k, day in enumerate(dates)]
        spend = sum(i * 1.5 + k for k in range(len(dates)))
        row: dict[str, object] = {"customer_id": f"c{i}", "age": 20 + i * 17 % 50, "total": spend, "latest": max(dates)}
        customers.append(row | {"since": min(dates)})
    tables = visit(tmp_path, rows, customers=customers)
    assert tables.customers.columns == ["customer_id", "age", "since"]
    leaks = {f.column: f.example for f in tables.report.findings if f.code == "ATTRIBUTE_AFTER_FACT"}
    assert leaks == {"total": "total follows total spend", "latest": "latest follows last purchase"}


def test_gaps_and_breaks_in_the_history(tmp_path: Path) -> None:
    start = date(2012, 1, 2)
    days = [start + timedelta(days=d) for d in range(300) if not 100 <= d < 122]
    # from day 200 on another catalogue: two data sets glued together
    goods = ["new" if (d - start).days >= 200 else "old" for d in days] * 2
    rows = [sale(i, f"c{i % 9}", f"{goods[i]}{i % 40}", d) for i, d in enumerate(days * 2)]
    tables = visit(tmp_path, rows)
    found = codes(tables)
    assert found["GAP"] == 3
    assert found["FIRST_TIME_BREAK"] > 0
    whole = [sale(i, f"c{i % 9}", f"old{i % 40}", d) for i, d in enumerate(days * 2)]
    (tmp_path / "whole").mkdir()
    assert "FIRST_TIME_BREAK" not in codes(visit(tmp_path / "whole", whole))


def test_levels_are_keyed_by_their_full_path() -> None:
    table = pl.DataFrame({"category_1": ["A", "B", None, "A"], "category_2": ["Mens", "Mens", "Mens", None]})
    paths, broken = full_paths(table, "category_")
    assert paths["category_2"].to_list() == ["A > Mens", "B > Mens", None, None]
    assert broken.tolist() == [False, False, True, False]
    assert full_paths(paths, "category_")[0].equals(paths), "full paths stay as they are"


def test_parents_must_exist_and_end() -> None:
    table = pl.DataFrame({"id": list("abcdef"), "up": ["b", "c", "a", "a", "z", None]})
    fixed, orphan, cyclic = check_parents(table, "id", "up")
    assert orphan.tolist() == [False, False, False, False, True, False]
    assert cyclic.tolist() == [True, True, True, False, False, False]
    assert fixed["up"].to_list() == [None, None, None, "a", None, None]
