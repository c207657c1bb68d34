"""What a run finds before it starts: its own folder, what an earlier one left, and settings that make no sense."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from aisle.errors import UsageError
from aisle.jobs.run import _work_folder
from aisle.jobs.run import run as run_job
from tests.e2e.shops import few_models


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    rows = [(f"c{i % 23}", f"p{(i * i) % 11}", f"2024-{1 + i % 6:02}-{1 + i % 28:02}", 1) for i in range(600)]
    columns = ["customer_id", "product_id", "timestamp", "quantity"]
    pl.DataFrame(rows, schema=columns, orient="row").write_csv(folder / "transactions.csv")
    return folder


def test_results_below_the_source_are_not_read_as_data(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    first = run_job(".", Path("aisle-out"), few_models())
    again = run_job(".", Path("aisle-out"), few_models())
    assert again.certificate["data"]["rows_read"] == first.certificate["data"]["rows_read"] == 600
    assert [f["file"] for f in again.certificate["data"]["files"]] == ["transactions.csv"]


def test_finished_work_belongs_to_settings_files_and_ids(shop: Path, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("p1\np2\n")
    config = few_models(only_products=str(ids))
    for out in (tmp_path / "out", shop / "out"):
        marks = []
        for change in (None, None, "ids", "data"):
            if change == "ids":
                ids.write_text(f"p1\n{out.parent.name}\n")
            elif change == "data":
                (shop / "transactions.csv").write_text((shop / "transactions.csv").read_text() + "c1,p1,2024-01-01,1\n")
            work = _work_folder(shop, out, config)
            kept = (work / "kept").exists()
            (work / "kept").touch()
            marks.append(kept)
        assert marks == [False, True, False, False]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"models": ("easy",)}, "easy"),
        ({"only_products": "none.txt"}, r"none\.txt"),
        ({"only_customers": "none.txt"}, r"none\.txt"),
        ({"no_profile": "none.txt"}, r"none\.txt"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_written(
    settings: dict[str, object], told: str, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=told):
        run_job(shop, tmp_path / "out", few_models(**settings))
    assert not (tmp_path / "out").exists()


def test_ids_that_nobody_has_are_told_before_the_models_are_examined(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisle.jobs.run.assess_dataset", lambda *_, **__: pytest.fail("examined first"))
    (tmp_path / "ids.txt").write_text("nobody\n")
    for name in ("only_products", "only_customers"):
        with pytest.raises(UsageError, match="known"):
            run_job(shop, tmp_path / name, few_models(**{name: str(tmp_path / "ids.txt")}))


def test_opting_out_strangers_adds_nobody(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("c1\nstranger\n")
    found = run_job(shop, tmp_path / "out", few_models(no_profile=str(tmp_path / "ids.txt")))
    lists = pl.read_parquet(tmp_path / "out" / "recommendations.parquet")
    assert set(lists["customer_id"]) == {f"c{i}" for i in range(23)}
    assert found.certificate["lists"]["opted_out"] == 1


def test_a_torn_bundle_of_a_killed_run_is_made_again(shop: Path, tmp_path: Path) -> None:
    config = few_models()
    plain = run_job(shop, tmp_path / "plain", config)
    work = _work_folder(shop, tmp_path / "out", config)
    (work / "model" / "products").mkdir(parents=True)
    again = run_job(shop, tmp_path / "out", config)
    assert again.certificate["verdict"] == plain.certificate["verdict"]
    files = [folder / "recommendations.csv" for folder in (plain.out, again.out)]
    assert files[0].read_bytes() == files[1].read_bytes()
