"""Every known source is recognised in its published form and lands on the right canonical columns."""

import random
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
import xlsxwriter

from aisle.data.doctor import clean
from aisle.data.mapping import apply, from_toml, load_joins, resolve, to_toml
from aisle.data.names import Columns, plain
from aisle.data.presets import PRESETS
from aisle.data.read import read_blocks
from aisle.data.schema import Mapping, TableName
from tests.data.disk import PlainSource
from tests.data.schemas import ROWS, WRITERS, write

SOURCE = PlainSource()
NAMES = {"online_retail_ii": "online_retail", "online_retail_i": "online_retail", "dunnhumby": "dunnhumby_sort_of_real"}
NAMES |= {f"movielens_{size}": "movielens" for size in ("100k", "1m", "20m")}
TABLES = {
    "retail_case_study": {"transactions", "products", "customers"},
    "online_retail_ii": {"transactions"},
    "online_retail_i": {"transactions"},
    "dunnhumby": {"transactions"},
    "complete_journey": {"transactions", "products", "customers"},
    "ta_feng": {"transactions"},
    "instacart": {"transactions", "products"},
    "hm": {"transactions", "products", "customers"},
    "movielens_100k": {"transactions", "products", "customers"},
    "movielens_1m": {"transactions", "products", "customers"},
    "movielens_20m": {"transactions", "products"},
    "canonical": {"transactions", "products", "customers", "stores", "availability"},
}


def frame_of(mapping: Mapping, files: dict[TableName, list[Path]], folder: Path, name: TableName) -> pl.DataFrame:
    """All files of a table under canonical names."""
    table = next(t for t in mapping.tables if t.table == name)
    joined = load_joins(table, folder, reader=SOURCE)
    pieces = [SOURCE.headless(f, table.header, table.separator) for f in files[name]]
    return pl.concat([apply(table, piece, joined) for piece in pieces])


@pytest.fixture(params=sorted(WRITERS))
def form(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    return request.param, write(request.param, tmp_path / "source")


def test_every_form_is_recognised_with_its_tables(form: tuple[str, Path]) -> None:
    name, folder = form
    mapping, files = resolve(folder, reader=SOURCE)
    assert mapping.name == NAMES.get(name, name)
    assert set(files) == TABLES[name]


def test_no_row_is_lost_and_no_required_value_is_empty(form: tuple[str, Path]) -> None:
    name, folder = form
    mapping, files = resolve(folder, reader=SOURCE)
    for table in mapping.tables:
        frame = frame_of(mapping, files, folder, table.table)
        rows = sum(SOURCE.headless(f, table.header, table.separator).height for f in files[table.table])
        assert frame.height == rows > 0
    sales = frame_of(mapping, files, folder, "transactions")
    assert sales.height == {"instacart": 36}.get(name, ROWS)
    clock = "timestamp" if "timestamp" in sales.columns else "sequence"
    assert sales.select("product_id", clock).null_count().row(0) == (0, 0)
    assert sales["customer_id"].n_unique() > 1


def test_no_source_column_is_mapped_twice(form: tuple[str, Path]) -> None:
    mapping, _ = resolve(form[1], reader=SOURCE)
    for table in mapping.tables:
        used = [plain(c) for parts in table.columns.values() for c in parts]
        used += [] if table.attributes == "rest" else [plain(c) for c in table.attributes]
        used += [plain(c) for c in table.ignore]
        assert len(used) == len(set(used)), table.table


def test_the_mapping_survives_toml_and_pinning(form: tuple[str, Path]) -> None:
    mapping, files = resolve(form[1], reader=SOURCE)
    again = from_toml(to_toml(mapping))
    assert again == mapping
    assert resolve(form[1], pinned=again, reader=SOURCE) == (mapping, files)


def test_products_of_lines_are_listed(form: tuple[str, Path]) -> None:
    mapping, files = resolve(form[1], reader=SOURCE)
    if "products" in files:
        sold = set(frame_of(mapping, files, form[1], "transactions")["product_id"])
        listed = set(frame_of(mapping, files, form[1], "products")["product_id"])
        assert sold <= listed


def one(name: str, folder: Path, table: TableName = "transactions", row: int = 0) -> dict[str, object]:
    write(name, folder)
    mapping, files = resolve(folder, reader=SOURCE)
    return frame_of(mapping, files, folder, table).row(row, named=True)


def test_case_study_products_are_keyed_by_category_and_sub_category(tmp_path: Path) -> None:
    line = one("retail_case_study", tmp_path)
    values = ["270000", "1/1", "01-02-2014", "2", "100", "21", "221", "80000000000", "MBR"]
    names = "customer_id product_id timestamp quantity price tax amount order_id channel"
    assert line == dict(zip(names.split(), values, strict=True))
    product = one("retail_case_study", tmp_path, "products", row=4)
    assert product == {"product_id": "2/2", "category_1": "Cat2", "category_2": "Sub2"}
    customer = one("retail_case_study", tmp_path, "customers")
    assert (customer["group_1"], customer["DOB"], set(customer)) == (
        "1",
        "02-01-1970",
        {"customer_id", "group_1", "DOB", "Gender"},
    )


def test_online_retail_carries_names_and_countries_on_lines(tmp_path: Path) -> None:
    line = one("online_retail_ii", tmp_path)
    assert (line["name"], line["group_1"], line["order_id"], line["price"]) == ("CANDLE", "France", "489434", "6.95")
    mapping, _ = resolve(tmp_path, reader=SOURCE)
    codes = pl.Series(["85048", "79323P", "DCGS0003", "POST", "M", "gift_0001_20", "BANK CHARGES"])
    assert mapping.product_pattern is not None
    assert codes.str.contains(mapping.product_pattern).to_list() == [True, True, True, False, False, False, False]


def test_dunnhumby_joins_compact_days_and_hours_and_turns_the_tree_top_first(tmp_path: Path) -> None:
    line = one("dunnhumby", tmp_path, row=1)
    assert line["timestamp"] == "2006-04-11 09:00"
    assert [line[f"category_{n}"] for n in (1, 2, 3, 4)] == ["D1", "G1", "DEP1", "CL1"]
    assert line["customer.lifestage"] == "YF"


@pytest.mark.parametrize(("row", "time"), [(0, "16:31"), (1, "00:05"), (2, "00:45"), (3, "09:59")])
def test_complete_journey_counts_days_and_reads_clock_numbers(tmp_path: Path, row: int, time: str) -> None:
    day = f"2016-03-{23 + row // 3}"
    assert one("complete_journey", tmp_path, row=row)["timestamp"] == f"{day} {time}"


def test_ta_feng_amount_is_a_quantity(tmp_path: Path) -> None:
    line = one("ta_feng", tmp_path)
    assert (line["quantity"], line["amount"], line["group_1"]) == ("2", "30", "115")
    assert resolve(tmp_path, reader=SOURCE)[0].date_order == "mdy"


def test_instacart_borrows_customer_and_order_number(tmp_path: Path) -> None:
    line = one("instacart", tmp_path, row=3)
    assert line == {"customer_id": "1", "product_id": "33120", "sequence": "2", "order_id": "101"}
    assert one("instacart", tmp_path, "products", row=1) == {
        "product_id": "33121",
        "name": "Organic Egg 1",
        "category_1": "dairy eggs",
        "category_2": "milk",
    }


def test_hm_keeps_leading_zeros(tmp_path: Path) -> None:
    assert one("hm", tmp_path)["product_id"] == "0663713001"
    assert one("hm", tmp_path, "products")["category_3"] == "Underwear body"


@pytest.mark.parametrize("size", ["100k", "1m", "20m"])
def test_movielens_seconds_become_times(tmp_path: Path, size: str) -> None:
    line = one(f"movielens_{size}", tmp_path)
    assert line == {"customer_id": "1", "product_id": "1", "timestamp": "2000-12-31 22:12:40"}


def test_movielens_titles_may_hold_colons(tmp_path: Path) -> None:
    assert one("movielens_1m", tmp_path, "products")["name"] == "Film: part 1 (1995)"


def test_the_order_of_columns_and_their_case_do_not_matter(tmp_path: Path) -> None:
    write("retail_case_study", tmp_path)
    for path in list(tmp_path.glob("*.csv")):
        frame = pl.read_csv(path, infer_schema=False)
        frame = frame.rename({c: c.upper() for c in frame.columns}).select(reversed(frame.rename(str.upper).columns))
        path.unlink()
        frame.write_csv(tmp_path / path.name.upper().replace(".CSV", ".csv"))
    mapping, files = resolve(tmp_path, reader=SOURCE)
    assert mapping.name == "retail_case_study"
    assert set(files) == TABLES["retail_case_study"]
    assert frame_of(mapping, files, tmp_path, "transactions")["product_id"][0] == "1/1"


def test_a_missing_required_column_is_another_source(tmp_path: Path) -> None:
    write("hm", tmp_path)
    path = tmp_path / "transactions_train.csv"
    pl.read_csv(path, infer_schema=False).drop("sales_channel_id").write_csv(path)
    assert resolve(tmp_path, reader=SOURCE)[0].name == "inferred"


def test_preset_columns_are_spelt_once() -> None:
    for preset in PRESETS:
        for table in preset.mapping.tables:
            assert len({plain(h) for h in table.header}) == len(table.header)
            assert table.header == () or all(
                Columns(table.header).find(c) for parts in table.columns.values() for c in parts
            )


@pytest.mark.data
@pytest.mark.parametrize(
    ("folder", "name", "rows", "tables"),
    [
        ("retail_case_study", "retail_case_study", 23_053, 3),
        ("online_retail_ii", "online_retail", 979_304, 1),
        ("dunnhumby_sort_of_real", "dunnhumby_sort_of_real", 2_573_552, 4),
        ("complete_journey_sample", "complete_journey", 75_000, 3),
        ("tafeng_nbr", "ta_feng", 571_933, 1),
        ("movielens_100k", "movielens", 100_000, 3),
        ("movielens_1m", "movielens", 999_611, 3),
    ],
)
def test_the_copies_on_disk_are_recognised(real_data: Path, folder: str, name: str, rows: int, tables: int) -> None:
    source = real_data / folder
    mapping, files = resolve(source, reader=SOURCE)
    assert (mapping.name, len(files)) == (name, tables)
    read = 0
    for path in files["transactions"]:
        scan = pl.scan_parquet(path) if path.suffix == ".parquet" else pl.scan_csv(path, infer_schema=False)
        read += scan.select(pl.len()).collect().item()
    assert read == rows
    for table in mapping.tables:
        used = [c for parts in table.columns.values() for c in parts]
        assert len(used) == len(set(used))
        frame = apply(table, SOURCE.sample_of(files[table.table][0], 1_000), load_joins(table, source, reader=SOURCE))
        key = {"customers": "customer_id", "stores": "store_id"}.get(table.table, "product_id")
        assert frame[key].null_count() == 0


@pytest.mark.data
def test_typed_times_stay_typed(real_data: Path) -> None:
    source = real_data / "dunnhumby_sort_of_real"
    mapping, files = resolve(source, reader=SOURCE)
    frame = apply(mapping.tables[0], SOURCE.sample_of(files["transactions"][0], 5))
    assert frame["timestamp"][0] == datetime(2006, 4, 10, 14)


def test_writers_are_deterministic(tmp_path: Path) -> None:
    first = write("retail_case_study", tmp_path / "a") / "Customer.csv"
    WRITERS["retail_case_study"](tmp_path / "b", random.Random(0))
    assert first.read_text() == (tmp_path / "b" / "Customer.csv").read_text()


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_the_doctor_takes_every_form_whole(tmp_path: Path, name: str) -> None:
    """From the publisher's files to clean tables, through the real reader."""
    source = write(name, tmp_path / "source")
    mapping, files = resolve(source)
    tables = clean(source, mapping, files)
    assert tables.report.total("read") == {"instacart": 36}.get(name, ROWS)
    assert tables.report.total("accepted") + tables.report.total("rejected") == tables.report.total("read")
    assert tables.transactions.height > 0
    assert tables.transactions["customer_id"].n_unique() > 1
    if name != "instacart":
        assert tables.transactions["timestamp"].null_count() == 0
    levels = [c for c in tables.products.columns if c.startswith("category_")]
    assert len(levels) == sum(c.startswith("category_") for t in mapping.tables for c in t.columns)


def test_files_without_header_keep_their_first_line(tmp_path: Path) -> None:
    source = write("movielens_1m", tmp_path / "source")
    (block,) = read_blocks(source / "movies.dat", header=("movie_id", "title", "genres"), separator="::")
    assert block.frame.row(0) == ("1", "Film: part 1 (1995)", "Drama|War")
    assert block.line[0] == 1


def test_the_two_sheets_of_the_workbook_overlap_once(tmp_path: Path) -> None:
    """Twenty invoices on the first sheet, fifteen on the second, five of them on both; every second one is postage."""
    path = tmp_path / "online_retail_II.xlsx"
    with xlsxwriter.Workbook(path) as book:
        for sheet, numbers in (("Year 2009-2010", range(20)), ("Year 2010-2011", range(15, 30))):
            rows = {
                "Invoice": [str(489_434 + i) for i in numbers],
                "StockCode": ["85048" if i % 2 else "POST" for i in numbers],
                "Description": ["CANDLE"] * len(numbers),
                "Quantity": [12] * len(numbers),
                "InvoiceDate": [datetime(2010, 12, 1 + i, 7, 45) for i in numbers],
                "Price": [6.95] * len(numbers),
                "Customer ID": [13_085.0 + i % 3 for i in numbers],
                "Country": ["France"] * len(numbers),
            }
            pl.DataFrame(rows).write_excel(book, sheet)
    mapping, files = resolve(path)
    tables = clean(path, mapping, files)
    assert mapping.name == "online_retail"
    assert tables.report.total("read") == 35
    assert tables.transactions.height == 15
    assert sorted(tables.transactions["customer_id"].cast(pl.String).unique()) == ["13085", "13086", "13087"]
