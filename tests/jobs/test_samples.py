"""Sales over time: counted in blocks of whole customers, the same as all at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from aisle.data.dataset import Dataset
from aisle.jobs import samples
from aisle.jobs.samples import sales_by_period
from aisle.types import DAY
from tests.evaluate.shops import random_shop


def by_hand(data: Dataset) -> pl.DataFrame:
    lines = data.lines
    frame = pl.DataFrame({"time": lines.time, "amount": lines.amount, "customer": lines.customer})
    week = pl.col("time").cast(pl.Datetime("us")).dt.truncate("1w").dt.date()
    return frame.group_by(period=week).agg(
        lines=pl.len(),
        amount=pl.col("amount").cast(pl.Float64).sum(),
        customers=pl.col("customer").filter(pl.col("customer") >= 0).n_unique(),
    )


@pytest.mark.parametrize("lines", [1, 7, 100, 10**6])
def test_blocks_count_every_customer_once(lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_shop(3)
    nobody = data.all_events.customer < 20
    events = replace(data.all_events, customer=np.where(nobody, np.int32(-1), data.all_events.customer))
    data = replace(data, all_events=events)
    monkeypatch.setattr(samples, "BLOCK_LINES", lines)
    found = sales_by_period(data)
    assert found.height > 5
    assert_frame_equal(found, by_hand(data).sort("period"))


def test_a_shop_without_sales_has_no_periods() -> None:
    data = random_shop(3)
    assert sales_by_period(data.before(int(data.all_events.time.min()) - DAY)).is_empty()
