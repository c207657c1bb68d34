"""The small parts of the bench: intervals over customers, names of recipes and figures, cells on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aisle.errors import DataError, UsageError
from aisle.evaluate.compare import intervals, paired
from aisle.jobs.bench.cells import Cell
from aisle.jobs.bench.measure import Metric, against
from aisle.jobs.bench.recipes import is_classic, parse, whole
from aisle.models import create


def test_customers_are_drawn_not_rows() -> None:
    values = np.random.default_rng(0).normal(size=(400, 1))
    thrice = np.tile(values, (3, 1))
    customer = np.tile(np.arange(400, dtype=np.int32), 3)
    once, rows, drawn = intervals(values)[0], intervals(thrice)[0], intervals(thrice, customer=customer)[0]
    assert drawn.mean == pytest.approx(once.mean)
    assert drawn.high - drawn.low == pytest.approx(once.high - once.low, rel=0.02)
    assert rows.high - rows.low < 0.7 * (once.high - once.low)


def test_a_customer_with_more_rows_weighs_more() -> None:
    values = np.concatenate([np.ones(30), np.zeros(10), [np.nan] * 5])[:, None]
    customer = np.concatenate([np.repeat(np.arange(10), 3), np.arange(10, 20), np.arange(5)]).astype(np.int32)
    found = intervals(values, customer=customer)[0]
    assert found.mean == 0.75
    assert found.low < 0.75 < found.high


def test_recipes_are_understood_or_refused() -> None:
    assert parse("C") == ("C", "")
    assert parse("ease:new") == ("ease", "new")
    for wrong in ("C:new", "nothing", "ease:old"):
        with pytest.raises(UsageError, match="no recipe"):
            parse(wrong)
    assert is_classic("item_knn")
    assert not is_classic("hybrid_factorization")
    assert not is_classic("ranker")


def test_recorded_settings_hold_the_defaults_of_members_too() -> None:
    found = whole("stack", {"members": {"ease": {}, "tifu_knn": {"groups": 3}}})
    assert found["members"] == {"ease": create("ease").params(), "tifu_knn": create("tifu_knn", groups=3).params()}
    assert json.loads(json.dumps(found)) == found
    assert create("stack", **found).params() == found
    assert whole("ranker", {}) == create("ranker").params()


def test_figures_are_understood_or_refused() -> None:
    assert Metric.of("new ndcg@20") == Metric("ndcg", 20, new=True)
    with pytest.raises(UsageError, match="no figure"):
        Metric.of("map@10")


def test_a_damaged_cell_is_named(tmp_path: Path) -> None:
    cell = Cell("tafeng", "C", 0)
    cell.path(tmp_path).parent.mkdir(parents=True)
    cell.path(tmp_path).write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"C-s0\.json"):
        cell.read(tmp_path)


def test_who_has_several_rows_counts_once_in_a_difference() -> None:
    rng = np.random.default_rng(0)
    rival = rng.random(300)
    ours = rival + 0.1 + rng.normal(size=300)
    once = against(ours, rival, (1.1,))
    assert once["difference"] == paired(ours, rival).to_json()
    assert once["difference to 1.1 times the rival"] == paired(ours, 1.1 * rival).to_json()
    again = against(np.tile(ours, 5), np.tile(rival, 5), customer=np.tile(np.arange(300, dtype=np.int32), 5))
    assert again["customers"] == once["customers"] == 300
    width = {
        key: found["difference"]["high"] - found["difference"]["low"] for key, found in (("1", once), ("5", again))
    }
    assert width["5"] == pytest.approx(width["1"], rel=0.05)
