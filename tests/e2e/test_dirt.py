"""Every fault that `aisle demo --dirt` plants is found by `aisle check`: each code row for row, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from aisle.data.synthetic.dirt import ACTIONS
from aisle.jobs.demo import demo

ENV = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
FACTS = {"FORMAT", "RETURN", "ATTRIBUTE_BLANK", "NEVER_BOUGHT"}
"""What the doctor says of any shop: true of this one too, but no dirt."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dirt") / "shop"
    demo(folder, customers=300, products=120, days=200, dirt=True)
    return folder


@pytest.fixture(scope="module")
def checked(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("clean")
    command = [sys.executable, "-m", "aisle", "check", str(shop), "--json", "--out", str(out), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENV, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout), out


def planted(shop: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((shop / "truth" / "dirt.json").read_text(encoding="utf-8"))
    return report


def found(data: dict[str, Any]) -> Counter[str]:
    """Rows by code; a code may have a finding for each column."""
    rows: Counter[str] = Counter()
    for finding in data["findings"]:
        rows[finding["code"]] += finding["rows"]
    return rows


def test_every_planted_code_is_found_with_exactly_the_planted_rows(
    shop: Path, checked: tuple[dict[str, Any], Path]
) -> None:
    report, rows = planted(shop), found(checked[0])
    codes = {code: entry["rows"] for code, entry in report["codes"].items()}
    assert set(codes) == set(ACTIONS), "every kind of dirt is in this shop"
    assert min(codes.values()) > 0
    assert {code: rows[code] for code in codes} == codes
    assert set(rows) - set(codes) <= FACTS, "nothing is found that was not planted"
    assert checked[0]["date_order"] == report["date_order"]


def test_rows_add_up_as_planted(shop: Path, checked: tuple[dict[str, Any], Path]) -> None:
    report, (data, out) = planted(shop), checked
    assert data["rows_read"] == report["rows_written"]
    assert data["rows_accepted"] == report["rows_accepted"] == pl.read_parquet(out / "transactions.parquet").height
    assert data["rows_rejected"] == report["rows_rejected"] == data["rows_read"] - data["rows_accepted"]
    rejects = pl.read_parquet(out / "rejects.parquet")
    by_code = dict(rejects.group_by("code").len().rows())
    lost = {code: entry["rows"] for code, entry in report["codes"].items() if entry["action"] == "rejected"}
    assert {code: by_code[code] for code in lost} == lost
    assert sum(lost.values()) == report["rows_rejected"]


def test_what_is_left_is_the_shop_as_it_was_before_the_dirt(shop: Path, checked: tuple[dict[str, Any], Path]) -> None:
    before = pl.read_parquet(shop / "truth" / "clean.parquet")
    after = pl.read_parquet(checked[1] / "transactions.parquet")
    columns = ["customer_id", "product_id", "timestamp", "quantity", "amount", "order_id", "store_id"]
    key = ["order_id", "product_id", "quantity", "timestamp"]
    one, other = (
        table.select(columns)
        .with_columns(pl.col("quantity", "amount").cast(pl.Float64), pl.col("timestamp").cast(pl.Datetime("us")))
        .sort(key)
        for table in (before, after)
    )
    assert one.equals(other, null_equal=True)


def test_the_facts_are_true_too(shop: Path, checked: tuple[dict[str, Any], Path]) -> None:
    rows, data = found(checked[0]), checked[0]
    returns = (pl.read_parquet(shop / "truth" / "clean.parquet")["quantity"] < 0).sum()
    assert rows["RETURN"] == data["returns"] == returns
    customers = pl.read_csv(shop / "customers.csv", infer_schema=False)
    assert rows["ATTRIBUTE_BLANK"] == customers.null_count().sum_horizontal().item() > 0
    bought = pl.read_parquet(shop / "truth" / "clean.parquet")["customer_id"].drop_nulls()
    assert rows["NEVER_BOUGHT"] == (~customers["customer_id"].is_in(bought.implode())).sum() > 0
