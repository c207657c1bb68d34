"""A certificate as a real run would write it, invented figures."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl

from aisle.data.schema import REJECTS
from aisle.report import SampleCustomer


def span(mean: float, half: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - half, "high": mean + half}


def model(ndcg: float, seconds: float, mb: float, gap: float, settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "ndcg@10": span(ndcg, 0.006),
        "recall@10": span(ndcg * 0.62, 0.005),
        "hit@10": span(min(ndcg * 2.4, 0.95), 0.012),
        "map@10": span(ndcg * 0.55, 0.005),
        "repeat_recall@10": span(ndcg * 1.1, 0.009),
        "explore_recall@10": span(0.02 + ndcg * 0.12, 0.003),
        "fresh_recall@10": span(0.004, 0.002),
        "coverage@10": 0.34,
        "seconds": seconds,
        "peak_mb": mb,
        "settings": settings,
        "difference_to_best_simple": span(gap, 0.0051),
        "flags": [],
        "training": None,
    } | more


TRAINING: dict[str, Any] = {
    "loss": [5.913, 5.402, 5.187, 5.066, 4.981, 4.917, 4.866, 4.822, 4.785, 4.752, 4.723, 4.697],
    "validation": [
        0.2812,
        0.3043,
        0.3161,
        0.3225,
        0.3267,
        0.3291,
        0.3302,
        0.3311,
        0.3309,
        0.3314,
        0.3306,
        0.3301,
        0.3298,
    ],
    "epochs": 9,
}
MODELS: dict[str, Any] = {
    "hybrid_factorization": model(
        0.2431, 212.4, 812.0, 0.0263, {"width": 64, "epochs": 12, "loss": "softmax"}, training=TRAINING
    ),
    "ease": model(0.2316, 14.2, 655.0, 0.0148, {"l2": 500.0}),
    "tifu_knn": model(0.2294, 6.3, 402.0, 0.0126, {"neighbours": 300, "decay": 0.9}),
    "item_knn": model(0.2107, 3.1, 240.0, -0.0061, {"neighbours": 200, "shrink": 10.0}),
    "personal_frequency": model(0.2168, 0.4, 96.0, 0.0, {"half_life_days": 90.0}),
    "recent_popularity": model(0.0871, 0.1, 80.0, -0.1297, {"half_life_days": 28.0}),
    "popularity": model(0.0642, 0.1, 80.0, -0.1526, {}),
    "group_popularity": model(0.0902, 0.3, 81.0, -0.1266, {"shrinkage": 100}),
}


def finding(code: str, rows: int, severity: str, action: str, what: str, **more: str) -> dict[str, Any]:
    base = {"example": "", "undo": "", "file": "transactions.csv", "column": ""}
    return {"code": code, "rows": rows, "severity": severity, "action": action, "what": what} | base | more


DATA: dict[str, Any] = {
    "rows_read": 956_781,
    "rows_accepted": 931_240,
    "rows_rejected": 25_541,
    "customers": 5_728,
    "products": 4_610,
    "duplicates": 10_526,
    "returns": 21_351,
    "returns_matched": 19_870,
    "date_order": "dmy",
    "date_proof": "412,310 dates have a first number above 12, none a second one; in this order the file is sorted",
    "preset": "online_retail_ii",
    "files": [
        {
            "file": "transactions-2010.csv",
            "table": "transactions",
            "read": 525_461,
            "accepted": 511_002,
            "rejected": 14_459,
        },
        {
            "file": "transactions-2011.csv",
            "table": "transactions",
            "read": 431_320,
            "accepted": 420_238,
            "rejected": 11_082,
        },
        {"file": "products.csv", "table": "products", "read": 4_610, "accepted": 4_610, "rejected": 0},
    ],
    "mapping": {
        "transactions": {"customer_id": "Customer ID", "product_id": "StockCode", "timestamp": "InvoiceDate"},
        "products": {"product_id": "StockCode", "name": "Description"},
    },
    "findings": [
        finding("DATE_ORDER", 956_781, "info", "kept", "Dates are written day first."),
        finding(
            "DUP_ROW",
            10_526,
            "warning",
            "rejected",
            "The same line occurs twice in one order.",
            example="489517,21491,SET OF THREE VINTAGE GIFT WRAPS,1,2009-12-01 11:34",
            undo="keep_duplicates = true",
        ),
        finding(
            "NOT_PRODUCT",
            5_871,
            "warning",
            "rejected",
            "The code stands for postage, fees or corrections, not for a product.",
            example="POST",
            undo='product_pattern = ""',
            column="StockCode",
        ),
        finding("QTY_BAD", 3, "error", "rejected", "The quantity is no number.", example="1O", column="Quantity"),
    ],
}

PROTOCOL: dict[str, Any] = {
    "cut": "2011-10-10",
    "end": "2011-11-09",
    "horizon_days": 30,
    "horizon_reason": "30 days: half of all customers' next visits come within 28 days",
    "windows": [{"cut": "2011-09-10", "end": "2011-10-10"}, {"cut": "2011-10-10", "end": "2011-11-09"}],
    "customers_scored": 1_412,
    "k": 10,
    "seed": 0,
    "settings_tried": {"ease": 6, "item_knn": 8},
    "cpu_seconds": 812.4,
}

FLOOR = {"ndcg@10": 0.0021, "recall@10": 0.0022, "repeat_recall@10": 0.0022, "explore_recall@10": 0.0022}


def certificate() -> dict[str, Any]:
    """A learned model wins."""
    return {
        "data": DATA,
        "protocol": PROTOCOL,
        "floor": FLOOR,
        "models": MODELS,
        "verdict": {
            "ship": "hybrid_factorization",
            "champion": "hybrid_factorization",
            "best_baseline": "personal_frequency",
            "lift": {"metric": "ndcg@10"} | span(0.0263, 0.0051),
            "personal_signal": True,
            "reason": "hybrid_factorization was picked on 2 earlier windows and beat personal_frequency on the last.",
        },
        "by_segment": {
            "hybrid_factorization": {
                "recent, frequent, high spend": {
                    "ndcg@10": span(0.31, 0.012),
                    "recall@10": span(0.14, 0.01),
                    "customers": 412,
                },
                "recent, occasional, middle spend": {
                    "ndcg@10": span(0.24, 0.014),
                    "recall@10": span(0.15, 0.01),
                    "customers": 604,
                },
                "lapsed, occasional, low spend": {
                    "ndcg@10": span(0.17, 0.021),
                    "recall@10": span(0.12, 0.02),
                    "customers": 396,
                },
            }
        },
        "cold": {
            "customers": 318,
            "popularity": {"ndcg@10": span(0.051, 0.011)},
            "group_popularity": {"ndcg@10": span(0.062, 0.012)},
        },
        "lists": {
            "as_of": "2011-11-10",
            "customers": 5_728,
            "k": 10,
            "rows": 57_262,
            "missing": 18,
            "listed_products": 3_120,
            "gone_products": 1_490,
            "repeats": "mixed",
        },
    }


SAME = "calls itself personal but gives everybody the same list"
LOSES = "loses to recent_popularity: showing everybody what sells scores higher"


def flagged() -> dict[str, Any]:
    """Two learned models that should not pass unnoticed, beside rules that bear a flag by design."""
    found = certificate()
    against = {"difference_to_popularity": {"model": "recent_popularity", "metric": "ndcg@10"} | span(-0.02, 0.005)}
    found["models"] = found["models"] | {
        "two_tower": model(0.0612, 20.1, 300.0, -0.15, {}, flags=[SAME, LOSES], **against),
        "item_knn": model(0.0651, 3.1, 240.0, -0.15, {}, flags=[LOSES], **against),
        "popularity": MODELS["popularity"] | {"flags": ["gives everybody the same list"], "personal": False},
        "random": model(0.0021, 0.1, 80.0, -0.21, {}, flags=["gives everybody the same list"], reference=True),
    }
    return found


def simple_wins() -> dict[str, Any]:
    """No signal: the simple rule ships."""
    names = ("popularity", "personal_frequency", "ease", "item_knn")
    models = {name: MODELS[name] | {"ndcg@10": span(0.2157 - 0.002 * i, 0.011)} for i, name in enumerate(names)}
    verdict = {
        "ship": "popularity",
        "champion": "ease",
        "best_baseline": "popularity",
        "lift": {"metric": "ndcg@10"} | span(-0.0021, 0.0094),
        "personal_signal": False,
        "reason": "",
    }
    return {"data": DATA, "protocol": PROTOCOL, "floor": {"ndcg@10": 0.2144}, "models": models, "verdict": verdict}


def sales() -> pl.DataFrame:
    weeks = [date(2009, 11, 30) + timedelta(weeks=i) for i in range(101)]
    season = [1.0 + 0.9 * ((i % 52) > 38) * ((i % 52) - 38) / 13 + 0.13 * ((i * 7919) % 11) / 11 for i in range(101)]
    season[-1] *= 0.4
    return pl.DataFrame(
        {
            "period": weeks,
            "lines": [round(7_000 * s) for s in season],
            "amount": [142_000.0 * s for s in season],
            "customers": [round(610 * s**0.7) for s in season],
        }
    )


def samples() -> list[SampleCustomer]:
    first = SampleCustomer(
        label="Customer A",
        history=[
            ("2011-11-03", "White hanging heart T-light holder", 7),
            ("2011-10-20", "Jumbo bag red retrospot", 4),
            ("2011-10-20", "Lunch bag pink polkadot", 1),
            ("2011-09-30", "Regency cakestand 3 tier", 2),
        ],
        list=[
            (1, "White hanging heart T-light holder", "You buy this every ~5 weeks", "hybrid_factorization"),
            (2, "Jumbo bag red retrospot", "You last bought this on 20 October 2011", "hybrid_factorization"),
            (3, "Lunch bag red retrospot", "Often bought with Jumbo bag red retrospot", "hybrid_factorization"),
            (4, "Set of 3 cake tins pantry design", "You often buy from Kitchen", "hybrid_factorization"),
            (5, "Paper chain kit 50's Christmas", "Popular now", "hybrid_factorization"),
        ],
    )
    newcomer = SampleCustomer(
        label="Customer B",
        history=[],
        list=[
            (1, "Paper chain kit 50's Christmas", "Popular in Bath", "group"),
            (2, "Rabbit night light", "Popular now", "popularity"),
        ],
    )
    return [first, newcomer]


def rejects() -> pl.DataFrame:
    rows = [("transactions.csv", i + 2, "StockCode", "NOT_PRODUCT", "rejected", "489597,POST,1") for i in range(5)]
    rows += [("transactions.csv", 99, "Quantity", "QTY_BAD", "rejected", "489600,21491,1O")]
    return pl.DataFrame(rows, schema=REJECTS, orient="row")
