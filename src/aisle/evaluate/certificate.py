"""The certificate: what was measured, on whom, how surely, and what follows from it. See ``docs/architecture.md``.

It has the sections ``data``, ``protocol``, ``floor``, ``models``, ``verdict``, and ``selection`` with every trial of
the rolling windows. Values that cannot be known (no customer, no amount) are null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from aisle.data.schema import DataReport
from aisle.data.split import Window
from aisle.evaluate.assess import Assessment
from aisle.evaluate.compare import DRAWS, Interval, interval, intervals
from aisle.evaluate.newcomers import CHAIN
from aisle.evaluate.protocol import FRESH_DAYS, HEADLINE, Exam, random_floor
from aisle.evaluate.tune import REFERENCE
from aisle.models import model_class
from aisle.types import Doubles

Json = dict[str, Any]
COLD_METRICS = ("ndcg@10", "recall@10", "hit@10")


@dataclass(frozen=True)
class Certificate:
    """The sections of ``certificate.json`` as plain values."""

    data: Json
    protocol: Json
    floor: Json
    models: Json
    verdict: Json
    by_segment: Json
    """Segments of the shipped model and of the best simple one."""
    cold: Json
    """Figures of every model for customers without a purchase before the cut."""
    selection: Json

    def to_json(self) -> Json:
        """The whole certificate as one JSON object."""
        return {
            "data": self.data,
            "protocol": self.protocol,
            "floor": self.floor,
            "models": self.models,
            "verdict": self.verdict,
            "by_segment": self.by_segment,
            "cold": self.cold,
            "selection": self.selection,
        }


def certify(found: Assessment, report: DataReport | None = None) -> Certificate:
    """Write the certificate of an assessment; without a doctor's report the row counts are null."""
    popularity = found.selection.pick(
        [n for n in found.scores if model_class(n).simple and not model_class(n).personal]
    )
    shown = dict.fromkeys((found.ship, found.verdict.best_baseline))
    return Certificate(
        data=_data(found, report),
        protocol=_protocol(found),
        floor={name: _number(value) for name, value in random_floor(found.exam, found.k).items()},
        models={name: _model(found, name, popularity) for name in found.scores},
        verdict=found.verdict.to_json() | {"newcomers": found.newcomers.to_json()},
        by_segment={name: _by_segment(found, name) for name in shown},
        cold=_cold(found),
        selection={
            "trials": [trial.to_json() for trial in found.selection.trials],
            "failed": found.failed,
            "best_popularity": popularity,
        },
    )


def _data(found: Assessment, report: DataReport | None) -> Json:
    customers, products = found.dataset.shape
    sizes: Json = {"customers": customers, "products": products}
    if report is None:
        counts = ("rows_read", "rows_accepted", "rows_rejected", "duplicates", "returns", "returns_matched")
        return dict.fromkeys(counts) | sizes | {"date_order": None, "findings": []}
    return {
        "rows_read": report.total("read"),
        "rows_accepted": report.total("accepted"),
        "rows_rejected": report.total("rejected"),
        **sizes,
        "duplicates": report.duplicates,
        "returns": report.returns,
        "returns_matched": report.returns_matched,
        "date_order": report.date_order,
        "findings": [
            {
                "code": finding.code,
                "rows": finding.rows,
                "severity": finding.severity,
                "example": finding.example,
                "action": finding.action,
                "what": finding.what,
                "undo": finding.undo,
                "file": finding.file,
                "column": finding.column,
            }
            for finding in report.findings
        ],
    }


def _protocol(found: Assessment) -> Json:
    exam, selection, dataset = found.exam, found.selection, found.dataset
    tried = {name: selection.tried(name) for name in selection.best}
    seconds = dict.fromkeys(tried, 0.0)
    for trial in selection.trials:
        seconds[trial.name] = round(seconds.get(trial.name, 0.0) + trial.seconds, 3)
    return {
        "cut": dataset.moment(exam.truth.window.cut),
        "horizon_days": found.horizon,
        "windows": len(selection.windows),
        "customers_scored": len(exam.warm.customers),
        "customers_in_window": int(exam.truth.warm.sum()),
        "k": found.k,
        "seed": found.seed,
        "settings_tried": sum(tried.values()),
        "settings_by_model": tried,
        "tuning_seconds_by_model": seconds,
        "budget": {
            "settings": selection.budget.settings,
            "cpu_seconds": selection.budget.cpu_seconds,
            "customers": selection.budget.customers,
        },
        "horizon_unit": "days" if dataset.clock == "time" else "baskets",
        "horizon_reason": found.horizon_reason,
        "rolling_windows": [_window(found, window) for window in selection.windows],
        "last_window": _window(found, exam.truth.window),
        "candidates": int(exam.truth.known.sum()),
        "cold_customers": len(exam.cold.customers),
        "cold_customers_in_window": int(exam.truth.cold.sum()),
        "cold_products": _cold_products(exam),
        "bootstrap_draws": DRAWS,
    }


def _window(found: Assessment, window: Window) -> Json:
    return {"cut": found.dataset.moment(window.cut), "end": found.dataset.moment(window.end)}


def _cold_products(exam: Exam) -> Json:
    """Products new at the cut, and the share of the warm customers' truth that nobody could have listed."""
    total = max(int(exam.warm.wanted.sum()), 1)
    return {
        "first_sold_within_days": FRESH_DAYS,
        "products": int(exam.warm.fresh.sum()),
        "never_sold": int((exam.truth.known & (exam.past.popularity == 0)).sum()),
        "share_of_truth": _number(int(exam.warm.parts["fresh"][0].sum()) / total),
        "unknown_at_cut_share_of_truth": _number(1 - int(exam.warm.parts["all"][1].sum()) / total),
    }


def _model(found: Assessment, name: str, popularity: str | None) -> Json:
    scores, cost, cls = found.scores[name], found.costs[name], model_class(name)
    rivals = {
        "difference_to_best_simple": found.verdict.best_baseline,
        "difference_to_shipped": found.ship,
        "difference_to_popularity": popularity,
    }
    columns: dict[str, Doubles] = dict(scores.values)
    for key, rival in rivals.items():
        if rival is not None and rival != name:
            columns[key] = scores.values[HEADLINE] - found.scores[rival].values[HEADLINE]
    table = np.stack(list(columns.values()), axis=1)
    by_column = dict(zip(columns, intervals(table, seed=found.seed), strict=True))
    out: Json = {key: by_column[key].to_json() for key in scores.values}
    out |= {"seconds": round(cost.seconds, 3), "peak_mb": round(cost.peak_mb, 1)}
    out |= {"simple": cls.simple, "personal": cls.personal, "reference": name in REFERENCE}
    out |= {"settings": found.chosen(name), "rolling_mean": _number(found.selection.best[name].mean)}
    out["training"] = _training(found.training[name]) if name in found.training else None
    out["lists"] = {key: _number(value) for key, value in scores.whole.items()}
    for key, rival in rivals.items():
        against = by_column.get(key)
        out[key] = None if against is None else {"model": rival, "metric": HEADLINE, **against.to_json()}
    out["flags"] = _warnings(found, name, popularity, by_column.get("difference_to_popularity"))
    return out


def _training(left: Json) -> Json:
    """Loss and validation by epoch, and the epochs behind the kept weights; what diverged is null."""
    curves = {key: [_number(np.float64(value)) for value in left.get(key) or ()] for key in ("loss", "validation")}
    return {**curves, "epochs": int(left.get("epochs", len(curves["loss"])))}


def _warnings(found: Assessment, name: str, popularity: str | None, against: Interval | None) -> list[str]:
    """Plain sentences on what should not pass unnoticed."""
    said = []
    if found.scores[name].same_for_all and model_class(name).personal:
        said.append("calls itself personal but gives everybody the same list")
    elif found.scores[name].same_for_all:
        said.append("gives everybody the same list")
    if against is not None and against.high < 0 and name not in REFERENCE:
        said.append(f"loses to {popularity}: showing everybody what sells scores higher")
    return said


def _by_segment(found: Assessment, name: str) -> Json:
    """NDCG@10 and its interval in each RFMV segment, best customers first."""
    names, codes = found.exam.segments
    values = found.scores[name].values[HEADLINE]
    return {
        segment: {"customers": int((codes == code).sum()), HEADLINE: interval(values[codes == code]).to_json()}
        for code, segment in enumerate(names)
    }


def _cold(found: Assessment) -> Json:
    """Headline figures of every model, and of the fallback chain, for customers without a purchase before the cut."""
    asked = {name: scores.cold for name, scores in found.scores.items()} | {CHAIN: found.chain}
    return {
        name: {key: interval(cold[key], seed=found.seed).to_json() for key in COLD_METRICS if key in cold}
        for name, cold in asked.items()
        if cold
    }


def _number(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
