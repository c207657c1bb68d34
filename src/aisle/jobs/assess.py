"""Which model to ship: the line-up and the budget of a run, and the certificate of the result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aisle.config import BudgetName, RunConfig
from aisle.data.dataset import Dataset
from aisle.data.schema import DataReport
from aisle.evaluate.assess import assess
from aisle.evaluate.certificate import certify
from aisle.evaluate.tune import BUDGETS, Store
from aisle.files import write_json
from aisle.jobs.check import data_summary
from aisle.jobs.ingest import build_dataset, clean_source
from aisle.models import MODELS
from aisle.progress import Progress

LEFT_OUT: dict[BudgetName, tuple[str, ...]] = {
    "quick": ("hybrid_factorization", "tifu_knn", "basket_transformer"),
    "standard": (),
    "full": (),
}
"""Models a budget does not pay for."""


@dataclass(frozen=True, eq=False)
class Assessment:
    """The model to ship, its settings, and the certificate (without ``data``) that says why."""

    ship: str
    settings: dict[str, Any]
    certificate: dict[str, Any]


def line_up(config: RunConfig) -> tuple[str, ...]:
    """The models of a run: those asked for, else all that the budget pays for."""
    return config.models or tuple(name for name in MODELS if name not in LEFT_OUT[config.budget])


def assess_dataset(
    dataset: Dataset,
    config: RunConfig,
    *,
    store: Store | None = None,
    progress: Progress | None = None,
    report: DataReport | None = None,
) -> Assessment:
    """Examine the line-up as of ``dataset.as_of``; raises UsageError for unknown models."""
    names = line_up(config)
    with (progress or Progress()).step(f"Examining {len(names)} models") as tick:
        found = assess(
            dataset,
            names,
            k=config.k,
            horizon=config.horizon,
            budget=BUDGETS[config.budget],
            seed=config.seed,
            store=store,
            progress=tick,
        )
    certificate = certify(found, report).to_json()
    certificate["protocol"]["budget"] = config.budget
    certificate["protocol"]["left_out"] = [name for name in MODELS if name not in names]
    return Assessment(found.ship, dict(found.settings), certificate)


def assess_source(
    source: str | Path, config: RunConfig, *, out: Path | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """The certificate of a source, written to ``out`` where given: ``aisle evaluate``."""
    tables = clean_source(source, config, progress or Progress())
    found = assess_dataset(build_dataset(tables, config), config, progress=progress, report=tables.report)
    certificate = {**found.certificate, "data": data_summary(tables)}
    if out is not None:
        write_json(out, certificate)
    return certificate
