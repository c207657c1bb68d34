"""Options of the main job, on one small generated retailer: each changes what it should and nothing else."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from aisle.errors import DataError, UsageError
from aisle.jobs.check import check
from aisle.jobs.demo import demo
from aisle.jobs.run import run as run_job
from aisle.jobs.train import train
from tests.e2e.shops import few_models

K = 10


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("options") / "shop"
    demo(folder, customers=120, products=60, days=300, seed=3)
    return folder


def lists(shop: Path | str, out: Path, **settings: Any) -> pl.DataFrame:
    run_job(shop, out, few_models(**settings))
    return pl.read_parquet(out / "recommendations.parquet")


@pytest.fixture(scope="module")
def plain(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    return lists(shop, tmp_path_factory.mktemp("plain") / "out")


def bought(shop: Path) -> set[tuple[str, str]]:
    rows = pl.read_csv(shop / "transactions.csv", infer_schema=False).drop_nulls("customer_id")
    return set(rows.filter(~pl.col("quantity").str.starts_with("-")).select("customer_id", "product_id").iter_rows())


def test_new_only_lists_nothing_bought_and_repeat_only_nothing_else(shop: Path, tmp_path: Path) -> None:
    seen = bought(shop)
    new = lists(shop, tmp_path / "new", repeats="new")
    returned = 0.02  # a product whose every purchase came back is new again
    assert sum(pair in seen for pair in new.select("customer_id", "product_id").iter_rows()) <= returned * new.height
    only = lists(shop, tmp_path / "only", repeats="only")
    assert all(pair in seen for pair in only.select("customer_id", "product_id").iter_rows())
    told = json.loads((tmp_path / "only" / "certificate.json").read_text())["lists"]
    assert told["rows"] == only.height
    assert told["missing"] == told["customers"] * K - only.height > 0, "short lists must be told"


def test_allow_lists_limit_what_is_listed_and_nothing_that_is_learnt(
    shop: Path, tmp_path: Path, plain: pl.DataFrame
) -> None:
    products = sorted(plain["product_id"].unique())[:25]
    (tmp_path / "products.txt").write_text("\n".join(products))
    customers = sorted(plain["customer_id"].unique())[:5]
    (tmp_path / "customers.csv").write_text("customer_id\n" + "\n".join(customers))
    some = lists(
        shop,
        tmp_path / "out",
        only_products=str(tmp_path / "products.txt"),
        only_customers=str(tmp_path / "customers.csv"),
    )
    assert set(some["customer_id"]) == set(customers)
    assert set(some["product_id"]) <= set(products)
    kept = plain.filter(pl.col("customer_id").is_in(customers) & pl.col("product_id").is_in(products))
    kept = kept.filter(pl.col("source") == some["source"][0])
    both = kept.join(some, on=["customer_id", "product_id"], suffix="_now")
    assert both.height == kept.height
    assert np.allclose(both["score"], both["score_now"]), "the model must not change with what may be listed"


def test_opted_out_customers_get_plain_lists_and_leave_no_trace(
    shop: Path, tmp_path: Path, plain: pl.DataFrame
) -> None:
    out_of = plain.filter(~pl.col("source").is_in(["popularity", "group", "segment", "attribute"]))["customer_id"][0]
    (tmp_path / "ids.txt").write_text(f"{out_of}\n")
    found = lists(shop, tmp_path / "out", no_profile=str(tmp_path / "ids.txt"))
    mine = found.filter(pl.col("customer_id") == out_of)
    assert mine.height == K
    assert set(mine["source"]) == {"popularity"}
    customers = pl.read_parquet(tmp_path / "out" / "customers.parquet").filter(pl.col("customer_id") == out_of)
    assert customers["recency_days"].is_null().all()
    bundle = pl.concat([pl.read_parquet(p) for p in (tmp_path / "out" / "model" / "customers").glob("part-*")])
    codes = pl.read_parquet(tmp_path / "out" / "model" / "customers" / "customers.parquet")["id"].to_list()
    assert codes.index(out_of) not in set(bundle["customer"])


def test_at_forgets_what_came_later_and_the_last_day_counts(shop: Path, tmp_path: Path, plain: pl.DataFrame) -> None:
    rows = pl.read_csv(shop / "transactions.csv", infer_schema=False)
    last = str(rows["timestamp"].str.slice(0, 10).max())
    on_last = set(rows.filter(pl.col("timestamp").str.starts_with(last))["customer_id"].drop_nulls())
    assert lists(shop, tmp_path / "same", at=last).equals(plain)
    day_before = str(pl.Series([last]).str.to_date().dt.offset_by("-1d")[0])
    earlier = lists(shop, tmp_path / "earlier", at=day_before)
    changed = {
        customer
        for customer in on_last
        if earlier.filter(pl.col("customer_id") == customer)["score"].to_list()
        != plain.filter(pl.col("customer_id") == customer)["score"].to_list()
    }
    assert changed, "purchases of the last day must change the lists of those who bought"


def test_a_pinned_mapping_reads_other_names(shop: Path, tmp_path: Path, plain: pl.DataFrame) -> None:
    other = tmp_path / "other"
    other.mkdir()
    names = {"customer_id": "wer", "product_id": "was", "timestamp": "wann", "quantity": "stueck"}
    rows = pl.read_csv(shop / "transactions.csv", infer_schema=False)
    rows.rename({k: v for k, v in names.items() if k in rows.columns}).write_csv(other / "bons.csv", separator=";")
    for table in ("products.csv", "customers.csv", "stores.csv"):
        (other / table).write_bytes((shop / table).read_bytes())
    same = {
        c: c
        for c in ("order_id", "amount", "price", "store_id", "channel", "promotion", "discount")
        if c in rows.columns
    }
    section = {"transactions": {"files": ["bons.csv"], "columns": names | same}}
    for table in ("products", "customers", "stores"):
        head = (shop / f"{table}.csv").read_text().split("\n")[0].split(",")
        known = [c for c in head if c.startswith(("category_", "group_")) or c in _canonical(table)]
        section[table] = {"files": [f"{table}.csv"], "columns": {c: c for c in known}}
    assert lists(other, tmp_path / "out", data=section).equals(plain)


def _canonical(table: str) -> set[str]:
    from aisle.data.schema import KINDS

    return set(KINDS[table])  # type: ignore[index]


def test_a_database_is_read_by_url(shop: Path, tmp_path: Path, plain: pl.DataFrame) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        for table in ("transactions", "products", "customers"):
            frame = pl.read_csv(shop / f"{table}.csv", infer_schema=False)
            columns = ", ".join(f'"{c}" TEXT' for c in frame.columns)
            connection.execute(f"CREATE TABLE {table} ({columns})")
            marks = ", ".join("?" * frame.width)
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", frame.rows())
    connection.close()
    found = lists(f"sqlite:///{path}", tmp_path / "out")
    assert found.select("customer_id", "product_id", "rank").equals(plain.select("customer_id", "product_id", "rank"))
    with pytest.raises(UsageError, match="database"):
        lists("sqlite:////no/such/folder/x.db", tmp_path / "none")


def test_customers_who_never_bought_get_the_list_of_their_group(shop: Path, plain: pl.DataFrame) -> None:
    shoppers = set(pl.read_csv(shop / "transactions.csv", infer_schema=False)["customer_id"].drop_nulls())
    listed = pl.read_csv(shop / "customers.csv", infer_schema=False)
    never = set(listed["customer_id"]) - shoppers
    assert never
    sources = plain.filter(pl.col("customer_id").is_in(list(never)))
    assert sources.height == K * len(never)
    assert set(sources["source"]) <= {"group", "attribute", "popularity"}
    assert "group" in set(sources["source"])
    assert sources.filter(pl.col("source") == "group")["reason"].str.starts_with("Popular in").any()


def test_training_one_model_and_refusing_an_unknown_one(shop: Path, tmp_path: Path) -> None:
    train(shop, tmp_path / "model", "item_knn")
    assert (tmp_path / "model" / "products" / "manifest.json").exists()
    with pytest.raises(UsageError, match="ease"):
        train(shop, tmp_path / "other", "easy")
    assert not (tmp_path / "other").exists()


def test_bad_data_leaves_no_output(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    text = "customer_id,product_id,timestamp,quantity\n1,a,03/04/2020,1\n2,b,05/06/2020,1\n"
    (tmp_path / "shop" / "transactions.csv").write_text(text)
    with pytest.raises(DataError, match="date-order"):
        run_job(tmp_path / "shop", tmp_path / "out", few_models())
    assert not [p for p in (tmp_path / "out").glob("*") if p.name != ".work"]


def test_results_are_never_written_over_the_source_or_anything_else_of_the_user(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is the source or holds it"):
        run_job(shop, shop, few_models())
    with pytest.raises(UsageError, match="is the source or holds it"):
        check(shop, out=shop.parent)
    kept = tmp_path / "kept"
    (kept / "model").mkdir(parents=True)
    (kept / "model" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="no model of ours"):
        run_job(shop, kept, few_models())
    with pytest.raises(UsageError, match=r"notes\.txt"):
        train(shop, kept / "model", "popularity")
    assert (kept / "model" / "notes.txt").read_text() == "mine"


def test_a_horizon_without_a_rolling_window_decides_nothing(shop: Path, tmp_path: Path) -> None:
    run_job(shop, tmp_path / "out", few_models(horizon=200))
    verdict = json.loads((tmp_path / "out" / "certificate.json").read_text())["verdict"]
    assert verdict["personal_signal"] is False
    assert "nothing could be chosen" in verdict["reason"]
