"""Finding, applying and pinning a mapping of sources nobody has seen before."""

from collections.abc import Mapping as Mapping_
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.data.mapping import apply, from_toml, load_joins, resolve, shown, to_toml
from aisle.data.names import plain, tokens
from aisle.data.schema import Join, Mapping, TableMapping
from aisle.errors import DataError, UsageError
from tests.data.disk import PlainSource
from tests.data.schemas import write

SOURCE = PlainSource()


def put(folder: Path, file: str, columns: Mapping_[str, Sequence[object]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({name: [str(v) for v in values] for name, values in columns.items()}).write_csv(folder / file)


def sale(customer: str, product: str, time: str) -> dict[str, list[object]]:
    return {
        customer: ["7", "7", "8", "9"],
        product: ["a", "b", "a", "a"],
        time: ["2024-01-31", "2024-02-01", "2024-02-01", "2024-03-09"],
    }


@pytest.mark.parametrize(
    ("customer", "product", "time"),
    [
        ("customer_no", "sku", "date"),
        ("CustomerID", "StockCode", "InvoiceDate"),
        ("cust_id", "item", "tran_date"),
        ("user", "itemid", "timestamp"),
        ("household_key", "upc", "purchase_date"),
        ("Kundennummer", "Artikelnummer", "Kaufdatum"),
        ("client_id", "produit", "date_achat"),
        ("Cliente", "Código producto", "Fecha"),
        ("codice_cliente", "articolo", "data"),
        ("fk_member_id", "dim_product_key", "OrderDate"),
        ("Card No.", "Article Code", "Transaction Date"),
        ("CUSTOMER_ID", "asin", "t_dat"),
    ],
)
def test_names_in_many_styles_are_understood(tmp_path: Path, customer: str, product: str, time: str) -> None:
    put(tmp_path, "sales.csv", {"note": ["x"] * 4, **sale(customer, product, time)})
    mapping, files = resolve(tmp_path, reader=SOURCE)
    assert mapping.name == "inferred"
    assert shown(mapping)["transactions"] == {"customer_id": customer, "product_id": product, "timestamp": time}
    assert [f.name for f in files["transactions"]] == ["sales.csv"]


def test_the_rest_of_a_sale_line_is_understood(tmp_path: Path) -> None:
    columns: dict[str, list[object]] = {
        **sale("client", "article", "date"),
        **{
            n: ["1"] * 4
            for n in ("Menge", "Einzelpreis", "Betrag", "Filiale", "store_type", "invoice_no", "Rabatt", "vat")
        },
    }
    put(tmp_path, "x.csv", columns)
    assert shown(resolve(tmp_path, reader=SOURCE)[0])["transactions"] == {
        "customer_id": "client",
        "product_id": "article",
        "timestamp": "date",
        "quantity": "Menge",
        "price": "Einzelpreis",
        "tax": "vat",
        "amount": "Betrag",
        "store_id": "Filiale",
        "channel": "store_type",
        "discount": "Rabatt",
        "order_id": "invoice_no",
    }


def test_a_lone_date_column_is_the_time_whatever_its_name(tmp_path: Path) -> None:
    put(tmp_path, "x.csv", {"birth_date": ["1970-01-01"] * 4, **sale("client", "article", "gekauft")})
    assert shown(resolve(tmp_path, reader=SOURCE)[0])["transactions"]["timestamp"] == "gekauft"


def test_a_delivery_date_is_not_the_sale(tmp_path: Path) -> None:
    put(tmp_path, "x.csv", {"delivery_date": ["2024-05-05"] * 4, **sale("client", "article", "order_date")})
    assert shown(resolve(tmp_path, reader=SOURCE)[0])["transactions"]["timestamp"] == "order_date"


@pytest.mark.parametrize(
    ("values", "time_from", "first"),
    [
        (["978300760", "978300761"], "s", "2000-12-31 22:12:40"),
        (["978300760123", "978300761123"], "ms", "2000-12-31 22:12:40"),
        (["20240131", "20240201"], "ymd", "2024-01-31 00:00:00"),
    ],
)
def test_numbers_that_are_times_are_found_out(tmp_path: Path, values: list[object], time_from: str, first: str) -> None:
    put(tmp_path, "x.csv", {"user": ["1", "1"], "item": ["5", "5"], "time": values})
    mapping, files = resolve(tmp_path, reader=SOURCE)
    assert mapping.tables[0].time_from == time_from
    assert apply(mapping.tables[0], SOURCE.read_all(files["transactions"][0]))["timestamp"][0] == first


def test_trees_are_ordered_top_first_and_names_beat_codes(tmp_path: Path) -> None:
    put(tmp_path, "sales.csv", sale("customer", "product", "date"))
    columns: dict[str, list[object]] = {
        "product_id": ["a", "b"],
        "sub_category": ["Milk", "Bread"],
        "category_code": ["1", "2"],
        "category_name": ["Dairy", "Bakery"],
        "department": ["Food", "Food"],
        "colour": ["red", "blue"],
    }
    put(tmp_path, "items.csv", columns)
    people: dict[str, list[object]] = {"customer": ["7", "8"], "city": ["York", "Bath"], "region": ["N", "S"]}
    put(tmp_path, "people.csv", people)
    mapping, files = resolve(tmp_path, reader=SOURCE)
    assert set(files) == {"transactions", "products", "customers"}
    products = shown(mapping)["products"]
    assert [products[f"category_{n}"] for n in (1, 2, 3)] == ["department", "category_name", "sub_category"]
    assert shown(mapping)["customers"] == {"customer_id": "customer", "group_1": "region", "group_2": "city"}
    frame = apply(mapping.tables[1], SOURCE.read_all(tmp_path / "items.csv"))
    assert frame["colour"].to_list() == ["red", "blue"]


def test_levels_numbered_from_the_leaf_are_turned(tmp_path: Path) -> None:
    put(tmp_path, "sales.csv", sale("customer", "product", "date"))
    columns: dict[str, list[object]] = {
        "product_id": ["a", "b", "c", "d"],
        "level1_class": ["w", "x", "y", "z"],
        "level2_group": ["g", "g", "h", "h"],
        "level3_division": ["d", "d", "d", "d"],
    }
    put(tmp_path, "items.csv", columns)
    products = shown(resolve(tmp_path, reader=SOURCE)[0])["products"]
    assert [products[f"category_{n}"] for n in (1, 2, 3)] == ["level3_division", "level2_group", "level1_class"]


def test_one_wide_table_carries_facts_of_products_and_customers(tmp_path: Path) -> None:
    columns: dict[str, list[object]] = {
        **sale("customer", "product", "date"),
        "category": ["A"] * 4,
        "product_name": ["Milk"] * 4,
    }
    put(tmp_path, "x.csv", {**columns, "country": ["UK"] * 4})
    found = shown(resolve(tmp_path, reader=SOURCE)[0])["transactions"]
    assert (found["category_1"], found["name"], found["group_1"]) == ("category", "product_name", "country")


def test_order_lines_and_orders_are_joined(tmp_path: Path) -> None:
    lines: dict[str, list[object]] = {
        "OrderID": ["1", "1", "2", "9"],
        "ProductID": ["a", "b", "a", "c"],
        "qty": list("1234"),
    }
    put(tmp_path, "order_lines.csv", lines)
    orders: dict[str, list[object]] = {
        "id": ["2", "1"],
        "customer": ["y", "x"],
        "order_date": ["2024-02-01", "2024-01-01"],
    }
    put(tmp_path, "orders.csv", orders)
    mapping, files = resolve(tmp_path, reader=SOURCE)
    table = mapping.tables[0]
    frame = apply(table, SOURCE.read_all(files["transactions"][0]), load_joins(table, tmp_path, reader=SOURCE))
    assert frame["customer_id"].to_list() == ["x", "x", "y", None]
    assert frame["timestamp"].to_list() == ["2024-01-01", "2024-01-01", "2024-02-01", None]
    assert frame["quantity"].to_list() == list("1234")


def test_pieces_with_the_same_columns_are_all_read(tmp_path: Path) -> None:
    for month in ("january", "february"):
        put(tmp_path, f"{month}.csv", sale("customer", "product", "date"))
    assert len(resolve(tmp_path, reader=SOURCE)[1]["transactions"]) == 2


def test_the_error_shows_files_and_a_snippet_to_paste(tmp_path: Path) -> None:
    put(tmp_path, "exports.csv", {"customer": ["1", "2"], "thing": ["a", "b"], "when": ["x", "y"]})
    with pytest.raises(DataError) as caught:
        resolve(tmp_path, reader=SOURCE)
    text = str(caught.value)
    assert "exports.csv: customer, thing, when" in text
    assert "not found: product_id, timestamp" in text
    assert (
        '[data.transactions]\nfiles = ["exports.csv"]\ncolumns = { customer_id = "customer", product_id = "?"' in text
    )
    assert len(text.splitlines()) < 24


def test_joined_keys_are_unique_or_refused(tmp_path: Path) -> None:
    table = TableMapping(
        "transactions", ("a.csv",), {"product_id": ("p",)}, joins=(Join(("b.csv",), ("k",), ("who",)),)
    )
    put(tmp_path, "a.csv", {"p": ["1"], "k": ["1"]})
    put(tmp_path, "b.csv", {"k": ["1", "1", "2"], "who": ["x", "x", "y"]})
    assert load_joins(table, tmp_path, reader=SOURCE)[0].height == 2, "equal rows are one"
    put(tmp_path, "b.csv", {"k": ["1", "1"], "who": ["x", "y"]})
    with pytest.raises(DataError, match=r"1 keys stand on several different rows.*'k': '1'"):
        load_joins(table, tmp_path, reader=SOURCE)


@given(
    keys=st.lists(st.integers(0, 6), max_size=30),
    known=st.sets(st.integers(0, 6)),
    as_float=st.booleans(),
)
def test_a_join_is_a_look_up_row_by_row(keys: list[int], known: set[int], as_float: bool) -> None:
    table = TableMapping(
        "transactions",
        ("*",),
        {"product_id": ("p",), "customer_id": ("who",)},
        joins=(Join(("o",), ("k=id",), ("who",)),),
    )
    frame = pl.DataFrame({"k": keys, "p": list(range(len(keys)))}, schema={"k": pl.Int64, "p": pl.Int64})
    frame = frame.with_columns(pl.col("k").cast(pl.Float64)) if as_float else frame
    other = pl.DataFrame(
        {"id": [str(k) for k in sorted(known)], "who": [f"u{k}" for k in sorted(known)]},
        schema={"id": pl.String, "who": pl.String},
    )
    out = apply(table, frame, (other,))
    assert out["product_id"].to_list() == list(range(len(keys)))
    assert out["customer_id"].to_list() == [f"u{k}" if k in known else None for k in keys]


@given(
    st.lists(
        st.tuples(st.none() | st.sampled_from(["", " 1", "2 "]), st.none() | st.sampled_from(["", "3"])), min_size=1
    )
)
def test_a_composite_id_is_whole_or_missing(parts: list[tuple[str | None, str | None]]) -> None:
    table = TableMapping("transactions", ("*",), {"product_id": ("a", "b")})
    frame = pl.DataFrame(parts, schema={"a": pl.String, "b": pl.String}, orient="row")
    wanted = [f"{a.strip()}/{b}" if a and b else None for a, b in parts]
    assert apply(table, frame)["product_id"].to_list() == wanted


def test_typed_and_text_parts_give_the_same_id() -> None:
    table = TableMapping("transactions", ("*",), {"product_id": ("a", "b")})
    text = apply(table, pl.DataFrame({"a": ["3"], "b": ["10"]}))["product_id"]
    typed = apply(table, pl.DataFrame({"a": [3], "b": [10.0]}))["product_id"]
    assert text.to_list() == typed.to_list() == ["3/10"]


def test_dates_and_clocks_meet() -> None:
    table = TableMapping("transactions", ("*",), {"product_id": ("p",), "timestamp": ("day", "hour")})
    typed = pl.DataFrame({"p": ["1"], "day": [date(2024, 1, 31)], "hour": [14]})
    assert apply(table, typed)["timestamp"].to_list() == [datetime(2024, 1, 31, 14)]
    text = pl.DataFrame({"p": ["1"] * 3, "day": ["20240131", "31.1.2024", None], "hour": ["9", "09:30", "1"]})
    assert apply(table, text)["timestamp"].to_list() == ["2024-01-31 09:00", "31.1.2024 09:30", None]


def test_text_that_is_no_number_is_left_for_the_doctor() -> None:
    table = TableMapping("transactions", ("*",), {"product_id": ("p",), "timestamp": ("t",)}, time_from="s")
    frame = apply(table, pl.DataFrame({"p": ["1", "2"], "t": ["0", "soon"]}))
    assert frame["timestamp"].to_list() == ["1970-01-01 00:00:00", "soon"]


def test_absent_columns_are_null_and_a_missing_product_is_an_error() -> None:
    table = TableMapping("transactions", ("*",), {"product_id": ("p",), "price": ("x",)})
    assert apply(table, pl.DataFrame({"p": ["1"]})).schema == {"product_id": pl.String, "price": pl.String}
    assert apply(table, pl.DataFrame({"p": [1]})).schema["price"] == pl.Float64
    with pytest.raises(DataError, match="No column p for product_id"):
        apply(table, pl.DataFrame({"q": ["1"]}))


def test_attributes_cannot_pose_as_canonical_columns() -> None:
    table = TableMapping("products", ("*",), {"product_id": ("p",), "name": ("title",)}, ignore=("junk",))
    frame = pl.DataFrame({"p": ["1"], "title": ["a"], "name": ["b"], "junk": ["c"], "size": ["d"], "category_9": ["e"]})
    assert apply(table, frame).row(0, named=True) == {
        "product_id": "1",
        "name": "a",
        "name_raw": "b",
        "size": "d",
        "category_9_raw": "e",
    }


def test_options_alone_are_laid_over_what_is_found(tmp_path: Path) -> None:
    write("retail_case_study", tmp_path)
    mapping, _ = resolve(tmp_path, pinned=from_toml({"date_order": "dmy"}), reader=SOURCE)
    assert (mapping.name, mapping.date_order, mapping.numeric_ids) == ("retail_case_study", "dmy", True)


def test_a_preset_may_be_named_but_must_fit(tmp_path: Path) -> None:
    write("hm", tmp_path)
    assert resolve(tmp_path, pinned=from_toml({"name": "hm"}), reader=SOURCE)[0].name == "hm"
    with pytest.raises(DataError, match="does not look like"):
        resolve(tmp_path, pinned=from_toml({"name": "instacart"}), reader=SOURCE)
    with pytest.raises(UsageError, match='Did you mean "instacart"'):
        resolve(tmp_path, pinned=from_toml({"name": "instakart"}), reader=SOURCE)


TRANSACTIONS = {"files": ["x.csv"], "columns": {"product_id": ["a", "b"], "timestamp": "t"}}


def test_pinned_columns_must_exist(tmp_path: Path) -> None:
    put(tmp_path, "x.csv", {"a": ["1"], "bb": ["1"], "t": ["2024-01-01"]})
    with pytest.raises(DataError, match='no column "b"'):
        resolve(tmp_path, pinned=from_toml({"transactions": TRANSACTIONS}), reader=SOURCE)
    gone = {**TRANSACTIONS, "files": ["y*.csv"]}
    with pytest.raises(DataError, match=r"matches nothing.*Found: x.csv"):
        resolve(tmp_path, pinned=from_toml({"transactions": gone}), reader=SOURCE)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"date_ordr": "dmy"}, 'unknown key "date_ordr". Did you mean "date_order"'),
        ({"transaction": {}}, 'Did you mean "transactions"'),
        ({"date_order": "ddmm"}, "none of dmy, mdy, ymd"),
        ({"numeric_ids": "yes"}, "true or false"),
        ({"product_pattern": "("}, "no regular expression"),
        ({"transactions": {**TRANSACTIONS, "file": "x"}}, 'Did you mean "files"'),
        ({"transactions": {**TRANSACTIONS, "time_from": "hours"}}, "none of s, ms, ymd"),
        ({"transactions": {"files": ["x"]}}, "needs files"),
        ({"transactions": {"files": ["x"], "columns": {"product_id": "p"}}}, "lack timestamp"),
        ({"transactions": {"files": ["x"], "columns": {"produkt_id": "p"}}}, 'Did you mean "product_id"'),
        ({"transactions": {"files": ["x"], "columns": {"product_id": 3, "sequence": "s"}}}, "must be text or a list"),
        ({"products": {"files": ["x"], "columns": {"product_id": "p"}}}, "not [data.transactions]"),
        ({"transactions": {**TRANSACTIONS, "joins": [{"files": ["x"], "on": ["k"]}]}}, "lacks take"),
        ({"transactions": {**TRANSACTIONS, "joins": [{"file": ["x"]}]}}, 'Did you mean "files"'),
    ],
)
def test_the_data_section_is_strict(section: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_toml(section)
    assert message in str(caught.value)


def test_every_field_survives_toml() -> None:
    mapping = Mapping(
        name="mine",
        tables=(
            TableMapping(
                "transactions",
                ("a*.dat",),
                {
                    "product_id": ("a", "b"),
                    "sequence": ("n",),
                    "_part": ("s",),
                    "customer.age": ("age",),
                    "group_1": ("c",),
                },
                attributes=("z",),
                ignore=("i",),
                joins=(Join(("o.csv",), ("k=id",), ("who",)),),
                header=("a", "b"),
                separator="::",
                time_from="2020-01-01",
            ),
        ),
        numeric_ids=True,
        date_order="dmy",
        product_pattern=r"^\d",
        cancel_prefix="C",
        note="mine",
    )
    assert from_toml(to_toml(mapping)) == mapping


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("prod_subcatCode2", ["prod", "subcat", "code", "2"]),
        ("CustomerID", ["customer", "id"]),
        ("customer_Id", ["customer", "id"]),
        ("HTTPStatus", ["http", "status"]),
        ("Código  producto", ["codigo", "producto"]),
    ],
)
def test_names_fall_into_words(name: str, words: list[str]) -> None:
    assert tokens(name) == words
    assert plain(name) == "".join(words)


def test_a_column_called_date_without_dates_is_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "x.csv", {"date_type": ["order", "order", "web", "web"], **sale("client", "article", "day")})
    assert shown(resolve(tmp_path, reader=SOURCE)[0])["transactions"]["timestamp"] == "day"
