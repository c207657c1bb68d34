"""A real shop (Online Retail II): the figures must stay sane."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from aisle.data.dataset import Dataset
from aisle.evaluate.assess import assess
from aisle.evaluate.certificate import certify
from aisle.evaluate.horizon import choose_horizon, choose_windows
from aisle.evaluate.tune import Budget
from tests.evaluate.shops import shop_of

pytestmark = pytest.mark.data
FILE = Path(os.environ.get("AISLE_DATA", "")) / "online_retail_ii" / "transactions.parquet"


@pytest.fixture(scope="module")
def shop() -> Dataset:
    """Known customers, goods, sales alone: 724,152 lines of 5,700 customers and 4,598 products."""
    if not FILE.is_file():
        pytest.skip(f"no {FILE}; point AISLE_DATA at the folder of real data sets")
    sold = (pl.col("quantity") > 0) & (pl.col("unit_price") > 0) & pl.col("stock_code").str.contains(r"^\d{5}")
    known = pl.col("customer_id").is_not_null() & ~pl.col("dup_of_other_sheet")
    lines = pl.read_parquet(FILE).filter(sold & known)
    return shop_of(
        lines.select(
            customer_id=pl.col("customer_id").cast(pl.Int64).cast(pl.String),
            product_id="stock_code",
            timestamp=pl.col("invoice_ts").cast(pl.Datetime("us")),
            quantity=pl.col("quantity").cast(pl.Float64),
            amount=pl.col("quantity") * pl.col("unit_price"),
            order_id="invoice",
        )
    )


def test_its_customers_are_asked_thirty_days_ahead(shop: Dataset) -> None:
    assert shop.shape == (5_700, 4_598)
    assert len(shop.purchases) == 724_152
    assert choose_horizon(shop)[0] == 30
    assert len(choose_windows(shop, 30)[0]) == 3


@pytest.mark.slow
def test_personal_models_beat_what_sells(shop: Dataset) -> None:
    names = ["random", "popularity", "recent_popularity", "personal_frequency", "item_knn", "tifu_knn"]
    found = certify(assess(shop, names, budget=Budget(settings=2))).to_json()
    score = {name: model["ndcg@10"]["mean"] for name, model in found["models"].items()}
    assert found["protocol"]["customers_scored"] == 1_249
    assert found["floor"]["ndcg@10"] == pytest.approx(0.0069, abs=0.0001)
    assert score["random"] == pytest.approx(found["floor"]["ndcg@10"], abs=0.002)
    assert score["popularity"] == pytest.approx(0.084, abs=0.002)
    assert score["popularity"] < score["recent_popularity"] < 0.15
    assert min(score["personal_frequency"], score["item_knn"], score["tifu_knn"]) > 0.29
    assert found["verdict"]["personal_signal"] is True
