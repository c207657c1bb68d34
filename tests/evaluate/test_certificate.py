"""The verdict rule on made-up scores, and the certificate of real runs on small shops."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from aisle.data.schema import DataReport, FileCount, Finding
from aisle.errors import UsageError
from aisle.evaluate.assess import Assessment, assess
from aisle.evaluate.certificate import certify
from aisle.evaluate.protocol import Scores
from aisle.evaluate.tune import Budget, Selection, Trial
from aisle.evaluate.verdict import Verdict, decide
from tests.evaluate import toys
from tests.evaluate.shops import lines_of, random_shop, shop_of

QUICK = Budget(settings=2, cpu_seconds=100.0)


def verdict(rolling: dict[str, float], last: dict[str, float], noise: float = 0.01, size: int = 400) -> Verdict:
    """The verdict for given NDCG@10 means on the rolling windows and on the last one."""
    rng = np.random.default_rng(0)
    trials = tuple(Trial(name, {}, (score,), 1.0, 1.0) for name, score in rolling.items())
    none = np.zeros((size, 0), dtype=np.int32)
    people = np.arange(size, dtype=np.int32)
    scores = {
        name: Scores(people, {"ndcg@10": rng.normal(score, noise, size)}, none, {}, {}, False)
        for name, score in last.items()
    }
    return decide(Selection(trials, (), QUICK), scores)


def test_a_champion_that_wins_again_ships() -> None:
    found = verdict(
        {"popularity": 0.1, "personal_frequency": 0.2, "ease": 0.3, "item_knn": 0.25},
        {"popularity": 0.1, "personal_frequency": 0.2, "ease": 0.25, "item_knn": 0.4},
    )
    assert (found.ship, found.champion, found.best_baseline) == ("ease", "ease", "personal_frequency")
    assert found.lift.mean == pytest.approx(0.05, abs=0.005)
    assert found.lift.above_zero
    assert found.personal_signal
    assert (found.best_personal, found.best_impersonal) == ("ease", "popularity")


def test_a_champion_that_cannot_prove_it_does_not_ship() -> None:
    found = verdict(
        {"popularity": 0.1, "personal_frequency": 0.2, "ease": 0.3},
        {"popularity": 0.1, "personal_frequency": 0.2, "ease": 0.201},
        noise=0.2,
    )
    assert (found.ship, found.champion) == ("personal_frequency", "ease")
    assert not found.lift.above_zero
    assert "not proven" in found.reason
    assert found.personal_signal


def test_a_champion_that_falls_behind_does_not_ship_whatever_else_won() -> None:
    found = verdict(
        {"popularity": 0.1, "recent_popularity": 0.05, "ease": 0.3, "item_knn": 0.29},
        {"popularity": 0.1, "recent_popularity": 0.3, "ease": 0.02, "item_knn": 0.5},
    )
    assert found.ship == "popularity"
    assert found.lift.high < 0
    assert not found.personal_signal


def test_a_simple_champion_ships_without_a_lift() -> None:
    found = verdict({"popularity": 0.3, "ease": 0.2}, {"popularity": 0.1, "ease": 0.5})
    assert (found.ship, found.champion, found.best_baseline) == ("popularity",) * 3
    assert found.to_json()["lift"] == {"metric": "ndcg@10", "mean": 0.0, "low": 0.0, "high": 0.0}
    assert found.personal_signal  # a question of its own


def test_random_never_ships_and_is_nobodys_baseline() -> None:
    found = verdict({"random": 0.9, "popularity": 0.1}, {"random": 0.9, "popularity": 0.1})
    assert (found.ship, found.best_impersonal, found.signal) == ("popularity", "popularity", None)
    assert not found.personal_signal
    with pytest.raises(UsageError, match="no simple model"):
        verdict({"random": 0.9, "ease": 0.1}, {"random": 0.9, "ease": 0.1})


def test_few_customers_ship_the_simple_one() -> None:
    found = verdict({"popularity": 0.1, "ease": 0.3}, {"popularity": 0.1, "ease": 0.9}, size=9)
    assert found.ship == "popularity"
    assert not found.personal_signal
    assert "too few customers" in found.reason


@pytest.fixture(scope="module")
def assessed() -> Assessment:
    shop = random_shop(5, taste="repeat", customers=120)
    return assess(
        shop, ["random", "popularity", "personal_frequency", "item_knn", "ease"], k=5, horizon=20, budget=QUICK
    )


def test_the_certificate_keeps_its_contract(assessed: Assessment) -> None:
    findings = (Finding("DUP_ROW", 3, "warning", "rejected", "Equal rows.", "a;b", "--keep-duplicates"),)
    counts = (FileCount("t.csv", "transactions", 100, 97, 3),)
    report = DataReport(files=counts, findings=findings, date_order="dmy", returns=2, returns_matched=1, duplicates=3)
    found = certify(assessed, report).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert {"data", "protocol", "floor", "models", "verdict"} <= set(found)
    data = found["data"]
    assert (data["rows_read"], data["rows_accepted"], data["rows_rejected"]) == (100, 97, 3)
    assert (data["customers"], data["products"], data["duplicates"]) == (120, 60, 3)
    assert (data["returns"], data["returns_matched"], data["date_order"]) == (2, 1, "dmy")
    assert {"code", "rows", "severity", "example", "action"} <= set(data["findings"][0])
    protocol = found["protocol"]
    assert protocol["horizon_days"] == 20
    assert protocol["windows"] == 3 == len(protocol["rolling_windows"])
    assert protocol["customers_scored"] == len(assessed.exam.warm.customers) == protocol["customers_in_window"]
    assert protocol["cold_customers"] == protocol["cold_customers_in_window"]
    assert (protocol["k"], protocol["seed"]) == (5, 0)
    assert protocol["settings_tried"] == 8 == sum(protocol["settings_by_model"].values())
    assert protocol["cut"] == protocol["last_window"]["cut"]
    assert 0 < found["floor"]["ndcg@10"] < 1
    for model in found["models"].values():
        assert {"ndcg@10", "recall@10", "ndcg@5", "seconds", "peak_mb"} <= set(model)
        assert model["ndcg@10"]["low"] <= model["ndcg@10"]["mean"] <= model["ndcg@10"]["high"]
    assert {"ship", "best_baseline", "lift", "personal_signal", "reason"} <= set(found["verdict"])
    assert set(found["verdict"]["lift"]) == {"metric", "mean", "low", "high"}


def test_the_certificate_says_what_the_shop_is_like(assessed: Assessment) -> None:
    found = certify(assessed).to_json()
    assert found["data"]["rows_read"] is None
    assert found["verdict"]["personal_signal"] is True
    models: dict[str, Any] = found["models"]
    assert models["popularity"]["flags"] == ["gives everybody the same list"]
    assert models["random"]["ndcg@10"]["mean"] == pytest.approx(found["floor"]["ndcg@10"], rel=0.4)
    shipped = models[assessed.ship]
    assert shipped["difference_to_shipped"] is None
    assert shipped["difference_to_popularity"]["low"] > 0
    gap = models["popularity"]["difference_to_shipped"]
    assert gap["mean"] == pytest.approx(-shipped["difference_to_popularity"]["mean"], abs=1e-5)
    assert models["personal_frequency"]["repeat_recall@10"]["mean"] > 0.8
    segments = found["by_segment"][found["verdict"]["ship"]].values()
    assert sum(s["customers"] for s in segments) == found["protocol"]["customers_scored"]
    whole = sum(s["customers"] * s["ndcg@10"]["mean"] for s in segments) / found["protocol"]["customers_scored"]
    assert whole == pytest.approx(shipped["ndcg@10"]["mean"], abs=1e-5)
    assert len({s["ndcg@10"]["mean"] for s in segments}) > 1


def test_the_last_window_asks_the_chosen_settings_fitted_before_it() -> None:
    shop = random_shop(10, customers=60)
    found = assess(shop, ["sells"], horizon=20, budget=Budget(settings=6, cpu_seconds=100.0))
    assert found.settings["noise"] == 0.0
    assert toys.FITS[-1] == {"shift": 0} | found.settings | {"as_of": shop.end - 20 * shop.unit}
    assert {fit["as_of"] for fit in toys.FITS} == {shop.end - 20 * shop.unit * n for n in (1, 2, 3, 4)}


def test_a_personal_model_that_loses_to_popularity_is_named() -> None:
    shop = random_shop(6, customers=120)
    found = certify(assess(shop, ["popularity", "own"], horizon=20, budget=QUICK)).to_json()
    assert any("loses to popularity" in said for said in found["models"]["own"]["flags"])
    assert found["verdict"]["ship"] == "popularity"
    assert found["verdict"]["personal_signal"] is False


def test_how_a_model_learned_is_carried_along() -> None:
    shop = random_shop(6, customers=60)
    found = certify(assess(shop, ["popularity", "stuck"], horizon=20, budget=QUICK)).to_json()
    assert found["models"]["popularity"]["training"] is None
    assert found["models"]["stuck"]["training"] == {
        "loss": [2.0, None, 1.0],
        "validation": [0.1, 0.3, 0.2],
        "epochs": 1,
    }
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    "rows",
    [
        [("a", "x", 0, 1.0)],
        [("a", "x", 0, 1.0), ("b", "y", 1, 1.0)],
        [("a", "x", d, 1.0) for d in range(40)],
        [("a", "x", 0, -1.0), ("a", "x", 9, -1.0)],
    ],
)
def test_tiny_data_ship_the_simple_one(rows: list[tuple[str, str, int, float]]) -> None:
    found = assess(shop_of(lines_of(rows)), ["random", "popularity", "personal_frequency", "item_knn"], budget=QUICK)
    out = certify(found).to_json()
    json.dumps(out, allow_nan=False)
    assert found.ship in {"popularity", "personal_frequency"}
    assert out["verdict"]["personal_signal"] is False


def test_a_model_out_of_memory_stops_nobody() -> None:
    found = assess(random_shop(7, customers=40), ["greedy", "popularity"], budget=QUICK)
    assert "1 TB" in certify(found).to_json()["selection"]["failed"]["greedy"]
    assert found.ship == "popularity"


def test_an_assessment_is_the_same_twice_and_reports_progress() -> None:
    shop, seen = random_shop(8, customers=60), list[tuple[int, int]]()
    runs = [
        assess(shop, ["popularity", "sells"], budget=QUICK, progress=lambda d, t: seen.append((d, t))) for _ in range(2)
    ]
    first, second = (certify(run).to_json() for run in runs)
    assert first["verdict"] == second["verdict"]
    assert first["floor"] == second["floor"]
    assert seen[-1] == (260, 260)


def test_names_are_checked_before_any_work() -> None:
    shop = random_shop(9, customers=5)
    with pytest.raises(UsageError, match="no simple model"):
        assess(shop, ["ease"])
    with pytest.raises(UsageError, match="no model named"):
        assess(shop, ["popularty"])
    with pytest.raises(UsageError, match="at least 1 product"):
        assess(shop, ["popularity"], k=0)
