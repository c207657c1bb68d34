"""The corpus of bad files, end to end: verdict, kept rows, reason code, and the row identity."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from aisle.data.doctor import clean
from aisle.data.mapping import resolve
from aisle.data.schema import CleanTables, Mapping
from aisle.errors import DataError
from tests.data.corpus import CASES, Case

BY_ID = {case.id: case for case in CASES}


@pytest.fixture(scope="module")
def retail(tmp_path_factory: pytest.TempPathFactory) -> Mapping:
    """The mapping of the retail case study, found on the good file."""
    folder = tmp_path_factory.mktemp("good")
    BY_ID["e01"].write(folder)
    mapping = resolve(folder)[0]
    assert mapping.name == "retail_case_study"
    return mapping


def see(case: Case, folder: Path, mapping: Mapping) -> CleanTables:
    path = case.write(folder)
    return clean(
        folder,
        mapping,
        {
            "transactions": [path],
            "customers": [folder / "Customer.csv"],
            "products": [folder / "prod_cat_info.csv"],
        },
    )


def kept(tables: CleanTables) -> list[tuple[object, ...]]:
    lines = tables.transactions.select(
        pl.col("order_id", "customer_id").cast(pl.String), pl.col("timestamp").dt.strftime("%Y-%m-%d"), "amount"
    )
    return sorted(lines.rows(), key=str)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_bad_file_gets_its_verdict(case: Case, tmp_path: Path, retail: Mapping) -> None:
    if case.verdict == "X":
        with pytest.raises(DataError, match=f"^{case.code}") as error:
            see(case, tmp_path, retail)
        assert len(str(error.value)) < 800, "an error fits on one screen"
        return
    tables = see(case, tmp_path, retail)
    assert case.kept is not None
    expected = sorted(case.kept, key=str)
    found = kept(tables)
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    assert [row[3] for row in found] == pytest.approx([row[3] for row in expected])
    for file in tables.report.files:
        assert file.accepted + file.rejected == file.read
    (count,) = [file for file in tables.report.files if file.table == "transactions"]
    assert (count.read, count.accepted) == (case.rows, len(case.kept))
    rejected = tables.rejects.filter(pl.col("action") == "rejected")
    assert rejected.height == count.rejected
    codes = {finding.code for finding in tables.report.findings}
    warned = {finding.code for finding in tables.report.findings if finding.severity != "info"}
    if case.verdict == "Q":
        assert rejected["code"].unique().to_list() == [case.code]
        assert all(len(raw) <= 200 for raw in rejected["raw"])
        assert case.code in warned
    if case.verdict == "R":
        assert case.code in warned
    if case.verdict == "A":
        assert not warned
        assert case.code in {"", *codes}


def test_an_order_given_by_hand_opens_the_ambiguous_file(tmp_path: Path, retail: Mapping) -> None:
    path = BY_ID["d03"].write(tmp_path)
    for order, first in (("dmy", "2014-04-03"), ("mdy", "2014-03-04")):
        tables = clean(tmp_path, retail, {"transactions": [path]}, date_order=order)  # type: ignore[arg-type]
        assert str(tables.transactions["timestamp"][0])[:10] == first
        assert tables.report.date_order == order
