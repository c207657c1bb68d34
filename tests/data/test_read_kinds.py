"""Parquet, workbooks, databases and folders: types kept, damage refused by name, rows numbered as in the file."""

from __future__ import annotations

import datetime as dt
import sqlite3
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter

from aisle.data.read import columns_of, list_files, read_blocks, sample_of
from aisle.data.read import sql as sql_module
from aisle.data.read.sql import export_tables
from aisle.errors import DataError, UsageError

FRAME = pl.DataFrame({"customer_id": ["a", "b", "c"], "quantity": [1, 2, 3], "day": [dt.date(2020, 1, 2)] * 3})


def book(path: Path, *sheets: Callable[[Any], None]) -> Path:
    with xlsxwriter.Workbook(path) as workbook:
        for fill in sheets:
            fill(workbook.add_worksheet())
    return path


def rows_at(top: int, *rows: Sequence[object]) -> Callable[[Any], None]:
    def fill(sheet: Any) -> None:
        for i, row in enumerate(rows):
            sheet.write_row(top + i, 0, row)

    return fill


def test_parquet_row_groups_become_blocks_of_at_most_so_many_rows(tmp_path: Path) -> None:
    path = tmp_path / "T.PARQUET"
    pq.write_table(FRAME.to_arrow(), path, row_group_size=1)
    blocks = list(read_blocks(path, rows=2))
    assert pl.concat([b.frame for b in blocks]).equals(FRAME)
    assert [n for b in blocks for n in b.line] == [1, 2, 3]
    assert max(b.frame.height for b in blocks) <= 2
    assert columns_of(path) == FRAME.columns
    assert sample_of(path, 1).equals(FRAME.head(1))


def test_parquet_without_rows_keeps_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with pq.ParquetWriter(path, FRAME.to_arrow().schema):
        pass
    (block,) = read_blocks(path)
    assert block.frame.schema == FRAME.schema
    assert block.frame.height == 0


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (pl.DataFrame({"customer_id": [[1, 2]]}), "NESTED_COLUMN"),
        (pl.DataFrame({"customer_id": [{"a": 1}]}), "NESTED_COLUMN"),
        (pl.DataFrame({"who": [1]}), "MISSING_COLUMN"),
        (pl.DataFrame({"customer_id": [1], "Customer_ID": [1]}), "DUP_COLUMN"),
        (pl.DataFrame({f"c{i}": [1] for i in range(2001)}), "TOO_MANY_COLUMNS"),
    ],
)
def test_parquet_that_is_no_flat_table_is_refused(frame: pl.DataFrame, code: str, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    frame.write_parquet(path)
    with pytest.raises(DataError, match=rf"{code}: t\.parquet"):
        list(read_blocks(path, required=frozenset({"customer_id"})))


def test_every_flipped_byte_of_parquet_is_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    wanted = pl.DataFrame({"customer_id": [f"customer {i}" for i in range(300)], "quantity": range(300)})
    pq.write_table(wanted.to_arrow(), path, write_page_checksum=True, use_dictionary=False)
    good = path.read_bytes()
    refused = 0
    for at in range(0, len(good), 23):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        try:
            got = pl.concat([b.frame for b in read_blocks(path)])
        except DataError as error:
            refused += "t.parquet" in str(error)
            continue
        if at < len(good) * 3 // 4:  # the rest is the footer, whose statistics and notes nobody reads
            assert got.equals(wanted), f"byte {at} changed the data unseen"
    assert refused > 20


def test_encrypted_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PARE" + b"\0" * 100 + b"PARE")
    with pytest.raises(DataError, match=r"NOT_PARQUET: t\.parquet"):
        columns_of(path)


def test_text_stored_as_binary_is_text(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": pa.array([b"a", b"b"]), "none": pa.nulls(2)}), path)
    (block,) = read_blocks(path)
    assert block.frame.rows() == [("a", None), ("b", None)]
    assert set(block.frame.dtypes) == {pl.String}


def test_sheets_are_text_with_their_own_row_numbers(tmp_path: Path) -> None:
    head = [" customer_id", "when", "big"]
    first = rows_at(1, ["Sales report"], [], head, ["C1", "2020", 50012345678901], [], [7, 2.5, 1])
    path = book(tmp_path / "book.xlsx", first, rows_at(0), rows_at(0, [h.strip() for h in head], ["x", "y", 3]))
    blocks = list(read_blocks(path, required=frozenset({"customer_id", "when"})))
    assert [b.file for b in blocks] == ["book.xlsx#Sheet1", "book.xlsx#Sheet3"]
    assert blocks[0].frame.rows() == [("C1", "2020", "50012345678901"), ("7", "2.5", "1")]
    assert blocks[0].line.to_list() == [5, 7]
    assert blocks[1].line.to_list() == [2]
    assert {f.code for f in blocks[0].findings} == {"PREAMBLE", "HEADER_NORM"}
    assert columns_of(path) == ["customer_id", "when", "big"]
    assert sample_of(path, 10).height == 2


def test_sheets_of_another_table_are_passed_over_and_named(tmp_path: Path) -> None:
    fits, notes = rows_at(0, ["customer_id", "n"], ["a", 1]), rows_at(0, ["Written by", "me"])
    blocks = list(read_blocks(book(tmp_path / "b.xlsx", notes, fits, notes), required=frozenset({"customer_id"})))
    assert [b.file for b in blocks] == ["b.xlsx#Sheet2"]
    (finding,) = blocks[0].findings
    assert finding.code == "SHEET_SKIPPED"
    assert "Sheet1, Sheet3" in finding.what


@pytest.mark.parametrize(
    ("sheet", "code"),
    [
        (rows_at(0), "EMPTY"),
        (rows_at(0, ["who", "n"], ["a", 1]), "MISSING_COLUMN"),
        (rows_at(0, ["customer_id", "n", "N"], ["a", 1, 2]), "DUP_COLUMN"),
        (rows_at(0, [1, 2], [3, 4]), "NO_HEADER"),
    ],
)
def test_workbooks_without_the_table_are_refused(sheet: Callable[[Any], None], code: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{code}: b\.xlsx"):
        list(read_blocks(book(tmp_path / "b.xlsx", sheet), required=frozenset({"customer_id"})))


def test_broken_and_inflated_workbooks_are_refused(tmp_path: Path) -> None:
    broken = tmp_path / "b.xlsx"
    broken.write_bytes(b"PK\x03\x04 no workbook")
    with pytest.raises(DataError, match=r"NOT_EXCEL: b\.xlsx"):
        list(read_blocks(broken))
    with zipfile.ZipFile(tmp_path / "bomb.xlsx", "w", zipfile.ZIP_DEFLATED) as parts:
        for i in range(6):
            parts.writestr(f"xl/worksheets/sheet{i}.xml", bytes(10 << 20))
    with pytest.raises(DataError, match=r"INFLATE_LIMIT: bomb\.xlsx"):
        list(read_blocks(tmp_path / "bomb.xlsx"))


def test_folders_list_their_data_files_one_level_deep(tmp_path: Path) -> None:
    for name in (
        "b.csv",
        "a.PARQUET",
        "in/c.csv.gz",
        "in/deep/d.csv",
        ".hidden.csv",
        "~$book.xlsx",
        "notes.md",
        "x.tar.gz",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert [p.relative_to(tmp_path).as_posix() for p in list_files(tmp_path)] == ["a.PARQUET", "b.csv", "in/c.csv.gz"]
    assert list_files(tmp_path / "b.csv") == [tmp_path / "b.csv"]


def test_a_wrong_path_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no"):
        list_files(tmp_path / "none")
    for name in ("none.csv", "none.parquet", "none.xlsx"):
        with pytest.raises(UsageError, match="none"):
            list(read_blocks(tmp_path / name))


def test_files_without_a_header_line_take_the_names_given(tmp_path: Path) -> None:
    path = tmp_path / "ratings.dat"
    path.write_bytes(b'1::1193::5::97830\n1::66"1::3::97831\nbad\n')
    (block,) = read_blocks(path, header=("user", "item", "rating", "at"), separator="::")
    assert block.frame.rows() == [("1", "1193", "5", "97830"), ("1", '66"1', "3", "97831")]
    assert block.line.to_list() == [1, 2]
    assert block.rejects.select("line", "code", "column", "raw").rows() == [(3, "TOO_FEW", "item", "bad")]


def test_required_names_are_spelt_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b" CUSTOMER_ID,Name,,\na,b,c,d\n")
    (block,) = read_blocks(path, required=frozenset({"customer_id"}))
    assert block.frame.columns == ["customer_id", "Name", "column_3", "column_4"]
    assert "HEADER_NORM" in {f.code for f in block.findings}


def database(tmp_path: Path, script: str) -> str:
    connection = sqlite3.connect(tmp_path / "shop.db")
    connection.executescript(script)
    connection.close()
    return f"sqlite:///{tmp_path / 'shop.db'}"


def test_tables_and_views_of_a_database_become_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_module, "ROWS", 2)
    url = database(
        tmp_path,
        """
        create table sales (who text, what text, day date, n integer, price numeric, late integer, odd integer);
        insert into sales values ('a', '01', '2020-01-02', 1, 2.50, null, 1), ('b', '02', '2020-01-03', 2, 1, null, 2),
          (null, '03', '2020-01-04', 3, 0.1, 7, 'many');
        create view Transactions as select who as customer_id, what as product_id, day, n, price, late, odd from sales;
        create table products (product_id text, name text);
        create table other (x integer);
        """,
    )
    written = export_tables(url, tmp_path)
    assert [p.name for p in written] == ["products.parquet", "transactions.parquet"]
    frame = pl.concat([b.frame for b in read_blocks(tmp_path / "transactions.parquet")])
    assert frame["customer_id"].to_list() == ["a", "b", None]
    assert frame["product_id"].to_list() == ["01", "02", "03"]
    assert frame["day"].to_list() == ["2020-01-02", "2020-01-03", "2020-01-04"], "SQLite has no dates"
    assert frame["n"].to_list() == [1, 2, 3]
    assert frame["late"].to_list() == [None, None, 7]
    assert frame["odd"].to_list() == ["1", "2", "many"], "a column that breaks its type is text, and nothing is lost"
    assert [float(p) for p in frame["price"]] == [2.5, 1.0, 0.1]
    (empty,) = read_blocks(tmp_path / "products.parquet")
    assert empty.frame.columns == ["product_id", "name"]


def test_databases_that_cannot_serve_say_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no table or view named transactions; it has other"):
        export_tables(database(tmp_path, "create table other (x integer)"), tmp_path)
    with pytest.raises(UsageError, match="cannot open"):
        export_tables("nonsense://user:secret@host/db", tmp_path)
    with pytest.raises(UsageError) as error:
        export_tables(f"sqlite:///{tmp_path}/no/such/folder/x.db", tmp_path)
    assert "cannot read" in str(error.value)


def test_a_view_that_fails_is_bad_data(tmp_path: Path) -> None:
    url = database(tmp_path, "create table t (x); create view transactions as select x from t; drop table t;")
    with pytest.raises((DataError, UsageError), match="no such table"):
        export_tables(url, tmp_path)
