"""Reading: the structural cases of the corpus, line numbers, and the fast road against the careful one."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisle.data.read import columns_of, list_files, read_blocks
from aisle.data.read.careful import careful
from aisle.data.read.dialect import sniff
from aisle.data.read.text import read_text
from aisle.errors import DataError, UsageError
from tests.data.corpus import CASES, HEADER, Case

READING = [c for c in CASES if c.family in ("encoding", "structure", "hostile")]
BY_READER = {"ENC_ROW", "NUL", "QUOTE", "TOO_FEW", "TOO_MANY", "REPEAT_HEADER", "FOOTER", "TRUNCATED", "FIELD_TOO_LONG"}
FOUND_BY_READER = {"ENC_UTF16", "ENC_FALLBACK", "DELIM_SNIFFED", "CR", "PREAMBLE"}
REQUIRED = frozenset({"transaction_id", "cust_id", "tran_date", "Qty"})


@pytest.mark.parametrize("case", READING, ids=lambda c: c.id)
def test_the_structural_corpus(case: Case, tmp_path: Path) -> None:
    path = case.write(tmp_path)
    if case.verdict == "X":
        with pytest.raises(DataError, match=case.code) as error:
            list(read_blocks(path, required=REQUIRED))
        assert path.name in str(error.value)
        return
    blocks = list(read_blocks(path, required=REQUIRED))
    read = sum(b.frame.height + b.rejects.height for b in blocks)
    assert read == case.rows
    codes = [code for b in blocks for code in b.rejects["code"]]
    assert codes == ([case.code] if case.code in BY_READER else [])
    if case.code in FOUND_BY_READER:
        assert case.code in {f.code for b in blocks for f in b.findings}
    lines = path.read_bytes().split(b"\n") if case.filename.endswith("csv") else []
    for block in blocks:
        for line, raw in zip(block.rejects["line"], block.rejects["raw"], strict=True):
            if case.code not in ("ENC_ROW", "NUL"):
                assert raw == lines[line - 1].decode()[:200], "line number and raw text of a reject must be right"


@given(
    rows=st.lists(
        st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8), min_size=3, max_size=3),
        max_size=12,
    ),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_csv_writes_is_read_back(rows: list[list[str]], quoting: int, tmp_path: Path) -> None:
    rows = [[cell.strip() or "x" for cell in row] for row in rows]
    rows = [row for row in rows if not row[0].lower().startswith(("total", "sum", "gesamt", "rows", "records", "eof"))]
    text = io.StringIO()
    csv.writer(text, quoting=quoting, lineterminator="\n").writerows([["one", "two", "three"], *rows])  # type: ignore[arg-type]
    path = tmp_path / "t.csv"
    path.write_bytes(text.getvalue().encode())
    blocks = list(read_text(path, rows=1000, required=frozenset({"one"})))
    got = [list(row) for b in blocks for row in b.frame.iter_rows()]
    assert got == rows
    assert sum(b.rejects.height for b in blocks) == 0
    assert [n for b in blocks for n in b.line] == list(range(2, len(rows) + 2))


def test_the_fast_road_equals_the_careful_one_and_small_chunks_change_nothing(tmp_path: Path) -> None:
    rows = [f"{i},c{i % 7},2020-01-{i % 28 + 1:02},1,1,{i % 3},2.5,,{i}.0,shop" for i in range(5000)]
    rows[1234] = rows[1234].replace("shop", '"a, ""quoted"" shop"')
    rows[3000] = "short,row"
    path = tmp_path / "t.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    whole = list(read_text(path, rows=10**6))
    small = list(read_text(path, rows=1))
    assert len(small) > 1
    content = path.read_bytes()
    slow = careful(content.split(b"\n", 1)[1], 2, sniff("t.csv", content), last=True, patient=False)
    for blocks in (whole, small):
        assert pl.concat([b.frame for b in blocks]).equals(slow.frame)
        assert pl.concat([b.line for b in blocks]).to_list() == slow.line.to_list()
        assert pl.concat([b.rejects for b in blocks])["line"].to_list() == [3002]


def test_parquet_keeps_types_and_damage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame({"customer_id": ["a", "b"], "quantity": [1, 2]}).write_parquet(path)
    (block,) = read_blocks(path)
    assert block.frame.schema["quantity"] == pl.Int64
    assert columns_of(path) == ["customer_id", "quantity"]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"t\.parquet"):
        list(read_blocks(path))


def test_excel_sheets_become_blocks(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    pl.DataFrame({"customer_id": ["a", "b"], "quantity": [1, 2]}).write_excel(path, worksheet="2010")
    (block,) = read_blocks(path)
    assert block.file == "book.xlsx#2010"
    assert block.frame.rows() == [("a", "1"), ("b", "2")]
    assert block.line.to_list() == [2, 3]


def test_a_folder_without_data_says_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("no")
    with pytest.raises(UsageError, match="csv"):
        list_files(tmp_path)
