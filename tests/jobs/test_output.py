"""Lists on disk: parts that survive a crash, cells that no spreadsheet runs, one row a customer."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from aisle.bundle import RECOMMENDATIONS, Recommender, save
from aisle.data.dataset import Dataset
from aisle.errors import UsageError
from aisle.jobs import lists
from aisle.jobs.ingest import read_ids
from aisle.jobs.lists import Policy, lists_for, write_lists
from aisle.jobs.output import customers_frame, escape_formulas, one_row_each, publish_lists
from aisle.jobs.similar import similar
from aisle.models import create
from tests.contract.worlds import CUSTOMERS, world
from tests.data.shops import Line, shop

K = 6


def recommender(data: Dataset | None = None, name: str = "personal_frequency") -> Recommender:
    data = world() if data is None else data
    return Recommender.prepare(create(name).fit(data), data)


def parts(made: Recommender, folder: Path, k: int = K, **policy: Any) -> list[Path]:
    save(made, folder / "model")
    return write_lists(
        made, folder / "model", made.dataset.customers.vocab.ids, Policy(k=k, **policy), folder / "parts"
    )


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "CUSTOMERS_A_PART", 17)


@pytest.mark.usefixtures("small_parts")
def test_parts_hold_every_customer_once_in_order(tmp_path: Path) -> None:
    made = recommender()
    paths = parts(made, tmp_path)
    assert len(paths) == 4
    whole = pl.concat([pl.read_parquet(p) for p in paths])
    assert whole["customer_id"].unique(maintain_order=True).to_list() == made.dataset.customers.vocab.ids.to_list()
    assert whole.height == CUSTOMERS * K
    assert dict(whole.schema) == dict(RECOMMENDATIONS)


@pytest.mark.usefixtures("small_parts")
def test_three_files_say_the_same(tmp_path: Path) -> None:
    made = recommender()
    rows = publish_lists(parts(made, tmp_path / "work"), tmp_path / "out", K)
    long = pl.read_parquet(tmp_path / "out" / "recommendations.parquet")
    assert rows == long.height == CUSTOMERS * K
    text = pl.read_csv(tmp_path / "out" / "recommendations.csv", infer_schema=False)
    assert text.columns == list(RECOMMENDATIONS)
    for column in ("customer_id", "product_id", "source", "reason_code"):
        assert text[column].to_list() == long[column].to_list()
    wide = pl.read_csv(tmp_path / "out" / "recommendations_wide.csv", infer_schema=False)
    assert wide.columns == ["customer_id", *(f"{what}_{i + 1}" for what in ("product", "reason") for i in range(K))]
    assert wide.height == CUSTOMERS
    for place in range(1, K + 1):
        ranked = long.filter(pl.col("rank") == place)
        assert wide[f"product_{place}"].to_list() == ranked["product_id"].to_list()
        assert wide[f"reason_{place}"].to_list() == ranked["reason"].to_list()


@pytest.mark.usefixtures("small_parts")
def test_short_lists_keep_all_columns_in_every_part(tmp_path: Path) -> None:
    made = recommender()
    publish_lists(parts(made, tmp_path / "work", k=30, repeats="only"), tmp_path / "out", 30)
    long = pl.read_parquet(tmp_path / "out" / "recommendations.parquet")
    assert long.height < CUSTOMERS * 30
    with (tmp_path / "out" / "recommendations_wide.csv").open(newline="") as file:
        table = list(csv.reader(file))
    assert {len(row) for row in table} == {1 + 2 * 30}
    assert [row[0] for row in table].count("customer_id") == 1, "one header"


def test_nobody_to_list_gives_empty_files_with_columns(tmp_path: Path) -> None:
    made = recommender(shop([Line(None, "x", 1), Line(None, "y", 2)]), "popularity")
    assert publish_lists(parts(made, tmp_path / "work"), tmp_path / "out", K) == 0
    assert dict(pl.read_parquet(tmp_path / "out" / "recommendations.parquet").schema) == dict(RECOMMENDATIONS)
    assert (tmp_path / "out" / "recommendations.csv").read_text().startswith("customer_id,rank,product_id")
    assert customers_frame(made, []).height == 0


def test_a_failure_while_publishing_leaves_the_old_files(tmp_path: Path) -> None:
    made = recommender()
    good = parts(made, tmp_path / "work")
    publish_lists(good, tmp_path / "out", K)
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    with pytest.raises(Exception, match="none"):
        publish_lists([*good, tmp_path / "none.parquet"], tmp_path / "out", K)
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize(
    "cell", ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "-1+cmd|' /C calc'!A0", "+"]
)
def test_cells_that_a_spreadsheet_would_run_are_quoted(cell: str) -> None:
    assert escape_formulas(pl.DataFrame({"a": [cell]}))["a"].to_list() == ["'" + cell]


@pytest.mark.parametrize("cell", ["tea", "a=b", "-5", "+49", "-1.5", "-1,5", "", None, "'quoted"])
def test_other_cells_stay(cell: str | None) -> None:
    frame = pl.DataFrame({"a": [cell]}, schema={"a": pl.String})
    assert escape_formulas(frame).equals(frame)


def test_numbers_stay_numbers() -> None:
    frame = pl.DataFrame({"score": [-1.5, 2.0], "rank": [-1, 1]})
    assert escape_formulas(frame).equals(frame)


def test_hostile_product_ids_reach_no_csv_unquoted(tmp_path: Path) -> None:
    made = recommender(shop([Line("=cmd", '=HYPERLINK("x")', 1), Line("b", "@y", 2)]))
    publish_lists(parts(made, tmp_path / "work"), tmp_path / "out", K)
    for name in ("recommendations.csv", "recommendations_wide.csv"):
        with (tmp_path / "out" / name).open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [c for c in cells if c[:1] in "=+@\t\r" and c], name
    assert '=HYPERLINK("x")' in pq.read_table(tmp_path / "out" / "recommendations.parquet")["product_id"].to_pylist()


def test_one_row_each_keeps_the_order_and_blanks_what_is_missing() -> None:
    frame = pl.DataFrame(
        {"customer_id": ["b", "b", "a"], "rank": [1, 2, 1], "product_id": ["x", "y", "z"], "reason": ["1", "2", "3"]}
    )
    assert one_row_each(frame, 2).rows() == [("b", "x", "y", "1", "2"), ("a", "z", None, "3", None)]


@pytest.mark.usefixtures("small_parts")
def test_customers_get_values_segment_and_the_source_of_their_list(tmp_path: Path) -> None:
    made = recommender()
    paths = parts(made, tmp_path)
    found = customers_frame(made, paths)
    assert found.columns == ["customer_id", "recency_days", "frequency", "monetary", "variety", "segment", "source"]
    assert found["customer_id"].to_list() == made.dataset.customers.vocab.ids.to_list()
    empty = made.dataset.batch(np.arange(CUSTOMERS, dtype=np.int32)).empty
    assert found["frequency"].is_null().to_list() == empty.tolist()
    assert found["segment"].is_null().to_list() == empty.tolist()
    first = pl.concat([pl.read_parquet(p) for p in paths]).filter(pl.col("rank") == 1)
    assert found["source"].to_list() == first["source"].to_list()


def test_any_ids_may_be_asked_for(tmp_path: Path) -> None:
    made = recommender()
    known = made.dataset.customers.vocab.ids.to_list()[3]
    found = lists_for(made, pl.Series(["stranger", known, "stranger", known]), K, made.rules())
    assert found["customer_id"].unique(maintain_order=True).to_list() == ["stranger", known]
    assert found.height == 2 * K, "repeated ids are answered once"
    strangers = found.filter(pl.col("customer_id") == "stranger")
    assert set(strangers["source"]) == {"popularity"}
    assert lists_for(made, pl.Series([], dtype=pl.String), K, made.rules()).height == 0


def test_rules_and_neighbours_refuse_what_makes_no_sense() -> None:
    made = recommender()
    with pytest.raises(UsageError, match="mixed, new, only"):
        made.rules(repeats="never")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least 1"):
        similar(made, ["p00"], k=0)
    with pytest.raises(UsageError, match="p999"):
        similar(made, ["p999"])


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a\nb\n", ["a", "b"]),
        ("customer_id\na\n\n b \n", ["a", "b"]),
        ("CustomerID,name\na,Ann\n", ["a"]),
        ("Product ID;x\n1;2\n", ["1"]),
        ('"a,b",x\n"c"\n', ["a,b", "c"]),
        ("a\r\nb", ["a", "b"]),
        ("\ufeffid\n007\n", ["007"]),
        ("", []),
    ],
)
def test_ids_are_read_from_text_and_csv(text: str, ids: list[str], tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_bytes(text.encode())
    assert read_ids(path).to_list() == ids


def test_files_of_ids_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.txt"):
        read_ids(tmp_path / "none.txt")
    (tmp_path / "x.csv").write_bytes("größe".encode("cp1252"))
    with pytest.raises(UsageError, match="UTF-8"):
        read_ids(tmp_path / "x.csv")
