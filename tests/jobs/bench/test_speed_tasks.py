"""What ``aisle bench speed`` measures: tasks, their sides and pairs, the pieces they need, the generated retailer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from aisle.errors import UsageError
from aisle.jobs.bench.speed.pieces import PIECES, missing
from aisle.jobs.bench.speed.retailer import BAD_CELLS, write_products, write_sales
from aisle.jobs.bench.speed.task import TASKS, Place, Size, chosen, task

SIZE = Size(rows=2_000, products=200, threads=1)


@pytest.mark.parametrize("name", TASKS)
def test_pairs_and_goals_speak_of_sides_that_there_are(name: str) -> None:
    now, limits = task(name), {one.name for one in task("limits").sides}
    mine = {one.name for one in now.sides}
    assert len(mine) == len(now.sides)
    for pair in now.pairs:
        assert pair.ours in mine
        assert pair.theirs in (limits if pair.limit else mine)
    assert {goal.ours for goal in now.goals} <= mine
    assert {piece for one in now.sides for piece in one.pieces} <= set(PIECES)


def test_every_task_but_limits_has_a_rival_a_limit_or_a_curve_of_four_sizes() -> None:
    for name in TASKS[1:]:
        now = task(name)
        assert now.pairs or now.steps >= 4
    assert [size.rows for size in task("growth").sizes(replace(SIZE, rows=8_000))] == [1_000, 2_000, 4_000, 8_000]
    large = [size.rows for size in task("growth").sizes(replace(SIZE, rows=100_000_000))]
    assert large == [1_000_000, 4_641_589, 21_544_347, 100_000_000]


def test_limits_are_measured_beside_what_needs_them() -> None:
    assert chosen(("topk",)) == ("limits", "topk")
    assert chosen(("ingest",)) == ("ingest",)
    assert chosen(()) == TASKS
    with pytest.raises(UsageError, match="no task 'inges'; known: limits, ingest"):
        chosen(("inges",))


def test_pieces_are_made_in_order_and_once(tmp_path: Path) -> None:
    place = Place(tmp_path, SIZE)
    assert missing(place, ("implicit ials.npz", "kept")) == ("shop", "kept", "matrix", "implicit ials.npz")
    place.path("shop").mkdir(parents=True)
    place.path("kept").mkdir()
    assert missing(place, ("implicit ials.npz",)) == ("matrix", "implicit ials.npz")


def test_the_retailer_is_what_it_says(tmp_path: Path) -> None:
    size = Size(rows=10_000, products=1_000, threads=1)
    write_sales(tmp_path / "a.csv", size)
    write_sales(tmp_path / "b.csv", size)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    lines = pl.read_csv(tmp_path / "a.csv", infer_schema=False)
    assert lines.height == 10_000
    assert lines["customer_id"].n_unique() == size.customers == 200
    assert (lines["quantity"] == BAD_CELLS["quantity"]).sum() == 5
    assert 50 < (lines["quantity"].str.starts_with("-")).sum() < 150
    assert lines["timestamp"].is_sorted()
    write_products(tmp_path / "products.csv", 1_000)
    known = pl.read_csv(tmp_path / "products.csv", infer_schema=False)
    assert set(lines["product_id"]) <= set(known["product_id"])
    # taste: six of ten lines come from one of 50 groups, and the rest from all
    group = (lines["product_id"].cast(pl.Int64) - 100_000) % 50
    largest = pl.DataFrame({"customer": lines["customer_id"], "group": group}).group_by("customer", "group").len()
    share = largest.group_by("customer").agg(pl.col("len").max())["len"].sum() / lines.height
    assert 0.5 < share < 0.75
    write_sales(tmp_path / "more.csv", size, first=10_000, rows=100)
    more = pl.read_csv(tmp_path / "more.csv", infer_schema=False)
    assert more.height == 100
    assert more["timestamp"].min() >= lines["timestamp"].max()  # type: ignore[operator]
