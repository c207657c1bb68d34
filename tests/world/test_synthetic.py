"""The synthetic retailer keeps its word: same bytes, consistent tables, and an oracle that is right about its shop."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aisle.data.dataset import Dataset
from aisle.data.schema import PATH, CleanTables
from aisle.data.split import Window, truth
from aisle.data.synthetic import Shop, oracle, planted
from aisle.data.synthetic.catalogue import make_catalogue
from aisle.data.synthetic.names import DEPARTMENTS
from aisle.data.synthetic.people import make_people
from aisle.data.synthetic.shop import BLOCK, DEPTH, HORIZONS
from aisle.data.synthetic.shopping import shop_block
from aisle.errors import DataError, UsageError
from aisle.jobs.demo import DemoSummary, demo
from aisle.types import DAY, Bools, Doubles, Floats

CUSTOMERS, PRODUCTS, DAYS = 400, 150, 150


def write_small(folder: Path, seed: int = 3, dirt: bool = False) -> DemoSummary:
    return demo(folder, customers=CUSTOMERS, products=PRODUCTS, days=DAYS, seed=seed, dirt=dirt)


def read(folder: Path) -> CleanTables:
    """The files of a shop without dirt as canonical tables, no doctor needed."""
    text = dict.fromkeys(("customer_id", "product_id", "order_id", "store_id", "channel", "promotion"), pl.String)
    lines = pl.read_csv(folder / "transactions.csv", schema_overrides=text, try_parse_dates=True)
    products = pl.read_csv(folder / "products.csv", try_parse_dates=True)
    customers = pl.read_csv(folder / "customers.csv", try_parse_dates=True)
    lines = lines.with_columns(pl.col("timestamp").cast(pl.Datetime("us")), pl.col("quantity").cast(pl.Float64))
    return CleanTables(lines, _paths(products, "category_"), _paths(customers, "group_"))


def _paths(table: pl.DataFrame, prefix: str) -> pl.DataFrame:
    levels = [f"{prefix}{i}" for i in (1, 2, 3)]
    joined = [pl.concat_str(levels[: i + 1], separator=PATH).alias(levels[i]) for i in range(3)]
    return table.with_columns(*joined, pl.col("valid_from").cast(pl.Datetime("us")))


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "shop"
    write_small(folder)
    return folder


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dirty") / "shop"
    write_small(folder, dirt=True)
    return folder


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoSummary]:
    folder = tmp_path_factory.mktemp("default") / "shop"
    return folder, demo(folder)


def test_same_seed_same_bytes_and_another_seed_another_shop(small: Path, tmp_path: Path) -> None:
    write_small(tmp_path / "again")
    assert hashes(tmp_path / "again") == hashes(small)
    write_small(tmp_path / "other", seed=4)
    assert hashes(tmp_path / "other")["transactions.csv"] != hashes(small)["transactions.csv"]


def test_dirt_has_the_same_bytes_too(dirty: Path, tmp_path: Path) -> None:
    write_small(tmp_path / "again", dirt=True)
    assert hashes(tmp_path / "again") == hashes(dirty)


def test_a_block_of_customers_is_the_same_alone_and_in_a_row(tmp_path: Path) -> None:
    shop = Shop(customers=BLOCK + 200, products=60, days=90, seed=1)
    demo(tmp_path / "shop", customers=shop.customers, products=60, days=90, seed=1)
    lines = read(tmp_path / "shop").transactions
    catalogue = make_catalogue(shop)
    people = make_people(catalogue, 1)
    alone, _ = shop_block(catalogue, people, 1)
    later = lines.filter(pl.col("customer_id") > f"C{BLOCK:08d}")
    assert len(alone) == later.height > 1000
    assert later["product_id"].to_list() == catalogue.ids.gather(alone.product).to_list()
    assert later["customer_id"].to_list() == people.ids.gather(alone.row).to_list()
    assert lines["order_id"].n_unique() == lines.select("customer_id", "order_id").n_unique()


def test_tree_and_groups_are_trees_and_names_repeat_under_different_parents(small: Path) -> None:
    products = pl.read_csv(small / "products.csv")
    planned = {(d.name, c, leaf) for d in DEPARTMENTS for c, leaves in d.tree.items() for leaf in leaves}
    assert set(products.select("category_1", "category_2", "category_3").rows()) <= planned
    parents = products.group_by("category_3").agg(pl.col("category_2").n_unique())
    assert parents["category_2"].max() > 1  # type: ignore[operator]
    assert products.null_count().sum_horizontal().item() == 0
    assert (products["price"] > 0).all()
    assert products["product_id"].n_unique() == PRODUCTS
    customers, stores = pl.read_csv(small / "customers.csv"), pl.read_csv(small / "stores.csv")
    groups = customers.select(region="group_1", city="group_2", store="group_3").unique()
    assert groups.join(stores, on=["region", "city", "store"]).height == groups.height
    assert (
        stores.group_by("city").agg(pl.col("region").n_unique())["region"].to_list() == [1] * stores["city"].n_unique()
    )
    assert customers["customer_id"].n_unique() == CUSTOMERS
    assert 0 < customers["no_profile"].sum() < 20
    assert 0 < customers["age"].null_count() < 40


def test_every_return_has_an_earlier_sale_in_its_order(small: Path) -> None:
    lines = read(small).transactions
    keys = ["order_id", "product_id", "customer_id", "store_id"]
    sales, returns = lines.filter(pl.col("quantity") > 0), lines.filter(pl.col("quantity") < 0)
    assert 0.01 < returns.height / sales.height < 0.03
    assert sales.select(keys).n_unique() == sales.height
    pairs = returns.join(sales, on=keys, suffix="_sale")
    assert pairs.height == returns.height
    assert (pairs["timestamp"] > pairs["timestamp_sale"]).all()
    assert (-pairs["quantity"] <= pairs["quantity_sale"]).all()
    exact = (lines["quantity"] * lines["price"] - lines["amount"]).abs().max()
    assert isinstance(exact, float)
    assert exact < 0.0051
    assert (sales["promotion"].is_not_null() == (sales["discount"] > 0)).mean() > 0.95  # type: ignore[operator]


def test_nothing_is_sold_before_its_launch_after_its_end_or_to_absent_customers(small: Path) -> None:
    lines = read(small).transactions.filter(pl.col("quantity") > 0).with_columns(day=pl.col("timestamp").dt.date())
    products = pl.read_parquet(small / "truth" / "products.parquet")
    customers = pl.read_parquet(small / "truth" / "customers.parquet")
    assert products["gone"].drop_nulls().len() > 3
    assert (products["launch"] > Shop(days=DAYS).start).sum() > 5
    sold = lines.join(products, on="product_id").join(customers, on="customer_id")
    assert sold.height == lines.height
    assert (sold["day"] >= sold["launch"]).all()
    assert (sold["day"] < sold["gone"]).fill_null(True).all()
    assert (sold["day"] >= sold["arrival"]).all()
    assert (sold["day"] < sold["leave"]).fill_null(True).all()
    silent = customers.filter(pl.col("visits_per_day") == 0)["customer_id"]
    assert len(silent) > 2
    assert not lines["customer_id"].is_in(silent.implode()).any()
    since = pl.read_csv(small / "products.csv", try_parse_dates=True)["valid_from"]
    assert since.to_list() == products["launch"].to_list()


def test_the_default_shop_has_the_promised_size_and_rhythm(default: tuple[Path, DemoSummary]) -> None:
    folder, summary = default
    lines = read(folder).transactions
    assert 80_000 <= summary.lines <= 150_000
    assert (summary.lines, summary.orders) == (lines.height, lines["order_id"].n_unique())
    assert summary.returns == (lines["quantity"] < 0).sum()
    visits = lines.filter(pl.col("quantity") > 0).group_by("customer_id", "order_id").agg(pl.col("timestamp").min())
    gaps = visits.sort("customer_id", "timestamp").with_columns(
        gap=pl.col("timestamp").diff().over("customer_id").dt.total_minutes() / 1440
    )
    for median in (gaps["gap"].median(), gaps.group_by("customer_id").agg(pl.col("gap").median())["gap"].median()):
        assert isinstance(median, float)
        assert 7 < median <= 14  # so that `aisle run` picks 14 days
    assert lines["timestamp"].max().date() == date(2025, 6, 30)  # type: ignore[union-attr]
    assert planted(folder)["end"] == "2025-07-01"


def test_oracle_lists_are_ranked_and_name_only_what_was_known_at_the_cut(default: tuple[Path, DemoSummary]) -> None:
    folder, _ = default
    launch = pl.read_parquet(folder / "truth" / "products.parquet")
    arrival = pl.read_parquet(folder / "truth" / "customers.parquet")
    windows = {w["horizon_days"]: date.fromisoformat(w["cut"]) for w in planted(folder)["windows"]}
    assert set(windows) == set(HORIZONS)
    for horizon, cut in windows.items():
        lists = oracle(folder, horizon).join(launch, on="product_id").join(arrival, on="customer_id")
        lists = lists.sort("customer_id", "rank")
        assert lists.select("customer_id", "product_id").is_unique().all()
        assert (lists["launch"] < cut).all()
        assert (lists["arrival"] < cut).all()
        sizes = lists.group_by("customer_id").agg(pl.len(), pl.col("rank").max())
        assert (sizes["len"] == sizes["rank"]).all()
        assert (sizes["len"] == DEPTH).mean() > 0.95  # type: ignore[operator]
        falls = lists.select(pl.col("probability").diff().over("customer_id")).to_series().drop_nulls()
        assert (falls <= 0).all()
        assert lists["probability"].is_between(0, 1).all()


def scores(folder: Path, horizon: int = 14) -> dict[str, float]:
    """NDCG@10 by the metric contract of the oracle, popularity and own counts in the last window."""
    dataset = Dataset.of(read(folder))
    window = Window(dataset.end - horizon * DAY, dataset.end)
    answer, past = truth(dataset, window), dataset.before(window.cut)
    bought = np.asarray(answer.bought[answer.warm].todense()) > 0
    month = np.bincount(
        past.purchases.product[past.purchases.time >= window.cut - 28 * DAY], minlength=dataset.shape[1]
    )
    counts = np.asarray(past.counts[answer.warm].todense(), dtype=np.float64)
    tie = past.popularity / (past.popularity.max() + 1) / 1000
    best = oracle(folder, horizon)
    table = np.zeros(dataset.shape)
    row, column = dataset.customers.vocab.codes(best["customer_id"]), dataset.products.vocab.codes(best["product_id"])
    table[row, column] = best["probability"].to_numpy()
    wide = np.ones((len(bought), 1))
    return {
        "popularity": ndcg(wide * past.popularity, bought, answer.known),
        "month": ndcg(wide * (month + tie), bought, answer.known),
        "own": ndcg(counts + tie, bought, answer.known),
        "oracle": ndcg(table[answer.warm] + tie * 1e-3, bought, answer.known),
    }


def ndcg(values: Doubles | Floats, bought: Bools, known: Bools, k: int = 10) -> float:
    top = np.argsort(-np.where(known, values, -np.inf), axis=1, kind="stable")[:, :k]
    gain = 1 / np.log2(np.arange(k) + 2)
    ideal = np.cumsum(gain)[np.minimum(bought.sum(axis=1), k) - 1]
    return float(((np.take_along_axis(bought, top, axis=1) * gain).sum(axis=1) / ideal).mean())


def _check_signal(folder: Path) -> None:
    found = scores(folder)
    simple = max(found["popularity"], found["month"])
    assert found["oracle"] >= 2 * simple
    assert found["own"] - simple >= 0.6 * (found["oracle"] - simple)  # what is planted can be learnt
    assert found["oracle"] - found["own"] >= 0.05  # and leaves room for better models


def _check_no_signal(folder: Path) -> None:
    found = scores(folder)
    simple = max(found["popularity"], found["month"])
    assert found["own"] <= simple
    assert found["oracle"] <= simple + 0.03


def test_the_oracle_beats_popularity_twice_over_and_is_learnable(default: tuple[Path, DemoSummary]) -> None:
    _check_signal(default[0])


def test_without_signal_nothing_personal_helps(tmp_path: Path) -> None:
    demo(tmp_path / "shop", signal=False)
    _check_no_signal(tmp_path / "shop")
    assert pl.read_parquet(tmp_path / "shop" / "truth" / "staples.parquet").height == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_both_worlds_hold_for_other_seeds(seed: int, tmp_path: Path) -> None:
    demo(tmp_path / "shop", seed=seed)
    _check_signal(tmp_path / "shop")
    demo(tmp_path / "flat", seed=seed, signal=False)
    _check_no_signal(tmp_path / "flat")


def test_dirt_is_counted_exactly(dirty: Path) -> None:
    report = json.loads((dirty / "truth" / "dirt.json").read_text())
    rows = {code: entry["rows"] for code, entry in report["codes"].items()}
    pieces = [(dirty / f"transactions-{i}.csv").read_text(encoding="utf-8").splitlines() for i in (1, 2)]
    header, body = pieces[0][0], pieces[0][1:] + pieces[1][1:]
    assert report["rows_written"] == len(body) == report["rows_accepted"] + report["rows_rejected"]
    assert body.count(header) == rows["REPEAT_HEADER"] == 1
    assert body[-1].startswith("Total,")
    good = [line for line in body if line != header and not line.startswith("Total,")]
    assert len(good) - len(set(good)) == rows["DUP_ROW"] + rows["DUP_FILE"]
    torn = [line for line in good if line.count(",") == 3]
    assert len(torn) == rows["TOO_FEW"]
    seen = pl.read_csv(
        "\n".join([header, *sorted(set(good) - set(torn))]).encode(),
        infer_schema=False,
    ).fill_null("")
    plain = pl.read_parquet(dirty / "truth" / "clean.parquet")
    bad = {
        "QTY_ZERO": pl.col("quantity") == "0",
        "QTY_TEXT": pl.col("quantity") == "two",
        "AMT_NAN": pl.col("amount") == "NaN",
        "AMT_TEXT": pl.col("amount") == "1_2a",
        "SIGN_MISMATCH": pl.col("amount").str.starts_with("-"),
        "DATE_MISSING": pl.col("timestamp") == "",
        "DATE_INVALID": pl.col("timestamp").str.starts_with("31-02"),
        "DATE_FUTURE": pl.col("timestamp").str.contains("2091"),
        "ID_MISSING": pl.col("product_id") == "",
    }
    fine = {
        "AMT_CURRENCY": pl.col("amount").str.starts_with("€"),
        "AMT_PAREN": pl.col("amount").str.starts_with("("),
        "INVISIBLE_CHAR": pl.col("product_id").str.contains("\u200b"),
        "CUST_MISSING": ~pl.col("customer_id").str.starts_with("C"),
    }
    counted = seen.select(**bad, **fine).sum().row(0, named=True)
    assert counted == {code: rows[code] for code in (*bad, *fine)}
    kept = seen.filter(~pl.any_horizontal(*bad.values()))
    assert kept.height == plain.height == report["rows_accepted"]
    assert kept["timestamp"].str.contains("/").sum() == rows["DATE_MIXED"]
    assert kept["amount"].str.contains(",").sum() == rows["AMT_THOUSANDS"] > 0
    assert _repaired(kept).equals(plain.select(kept.columns).sort("order_id", "product_id", "quantity"))
    listed = pl.read_csv(dirty / "products.csv")["product_id"], pl.read_csv(dirty / "customers.csv")["customer_id"]
    assert (~plain["product_id"].is_in(listed[0].implode())).sum() == rows["PROD_UNKNOWN"]
    assert (~plain["customer_id"].is_in(listed[1].implode())).sum() == rows["CUST_UNKNOWN"]
    shared = (set(pieces[0]) & set(pieces[1])) - {header}
    assert len(shared) == rows["DUP_FILE"] > 10
    text = dict(zip(_text(seen), seen["order_id"], strict=True))
    orders = {text[line] for line in shared}
    assert {line for line, order in text.items() if order in orders} == shared


def _text(lines: pl.DataFrame) -> list[str]:
    return lines.write_csv(include_header=False, quote_style="never").splitlines()


def _repaired(text: pl.DataFrame) -> pl.DataFrame:
    """What a perfect doctor makes of the surviving rows."""
    amount = pl.col("amount")
    number = amount.str.replace_all(r"[€(),]", "").cast(pl.Float64)
    return text.with_columns(
        customer_id=pl.when(pl.col("customer_id").str.starts_with("C")).then("customer_id"),
        product_id=pl.col("product_id").str.replace("\u200b", ""),
        timestamp=pl.col("timestamp").str.replace_all("/", "-").str.to_datetime("%d-%m-%Y %H:%M:%S", time_unit="us"),
        quantity=pl.col("quantity").cast(pl.Int64),
        price=pl.col("price").cast(pl.Float64),
        amount=pl.when(amount.str.starts_with("(")).then(-number).otherwise(number),
        discount=pl.col("discount").cast(pl.Float64),
        promotion=pl.when(pl.col("promotion") != "").then("promotion"),
    ).sort("order_id", "product_id", "quantity")


@pytest.mark.parametrize(
    ("setting", "value"), [("customers", 0), ("products", 5), ("days", 30), ("seed", -1), ("customers", True)]
)
def test_impossible_sizes_are_refused(setting: str, value: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=setting):
        demo(tmp_path / "shop", **{setting: value})  # type: ignore[arg-type]
    assert not (tmp_path / "shop").exists()


def test_other_peoples_files_are_never_replaced(small: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UsageError, match="mine"):
        write_small(tmp_path)
    with pytest.raises(UsageError, match="file"):
        write_small(tmp_path / "mine.txt")
    write_small(tmp_path / "shop", seed=5)
    write_small(tmp_path / "shop")  # a shop may be written anew
    assert hashes(tmp_path / "shop") == hashes(small)


def test_truth_is_asked_for_in_known_horizons_and_places(small: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="7, 14, 30, 60"):
        oracle(small, 21)
    with pytest.raises(DataError, match=r"truth\.json"):
        oracle(tmp_path, 14)
