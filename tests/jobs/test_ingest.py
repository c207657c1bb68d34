"""Reading foretells what it takes, and refuses what does not fit."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from aisle.config import RunConfig
from aisle.data.read import lines_in
from aisle.errors import ResourceError
from aisle.jobs import ingest
from aisle.jobs.ingest import check_room, clean_source
from aisle.progress import Progress


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    rows = [
        (f"c{i % 97}", f"product-{i % 31}", f"2024-{i % 12 + 1:02}-{i % 28 + 1:02}", i % 3 + 1) for i in range(60_000)
    ]
    path = tmp_path / "transactions.csv"
    pl.DataFrame(rows, schema=["customer_id", "product_id", "timestamp", "quantity"], orient="row").write_csv(path)
    return path


def test_rows_are_told_by_size(sales: Path, tmp_path: Path) -> None:
    assert lines_in(sales) == pytest.approx(60_000, rel=0.02)
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(sales.read_bytes()))
    assert 60_000 / 5 < lines_in(packed) < 60_000 * 5
    table = tmp_path / "table.parquet"
    pl.read_csv(sales).write_parquet(table)
    assert lines_in(table) == 60_000
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(b"no gzip at all")
    assert lines_in(broken) == 0
    empty = tmp_path / "empty.csv"
    empty.touch()
    assert lines_in(empty) == 0


def test_what_does_not_fit_is_refused_with_the_numbers(sales: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_source(sales.parent, RunConfig(memory="10MB"), Progress())
    monkeypatch.setattr(ingest, "SMALL", 1_000)
    monkeypatch.setattr(ingest, "BYTES_A_LINE", 240_000)
    with pytest.raises(
        ResourceError, match=r"about (59|60|61),\d{3} lines takes about 14\.\d GB of memory; 4GB .* --memory 15GB"
    ):
        clean_source(sales, RunConfig(), Progress())
    check_room([sales], RunConfig(memory="16GB"))
