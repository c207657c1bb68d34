"""Which model to ship: the line-up and the budget of a run, and the certificate of the result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aisle.config import RunConfig
from aisle.data.dataset import Dataset
from aisle.data.schema import DataReport
from aisle.engine import Engine
from aisle.evaluate.assess import Kept, assess, need_simple
from aisle.evaluate.certificate import certify
from aisle.evaluate.tune import BUDGETS
from aisle.files import write_json
from aisle.jobs.ahead import examine_ahead
from aisle.jobs.cache import ingest
from aisle.jobs.line_up import line_up
from aisle.models import MODELS
from aisle.progress import Progress


@dataclass(frozen=True, eq=False)
class Assessment:
    """The model to ship, its settings, and the certificate (without ``data``) that says why."""

    ship: str
    settings: dict[str, Any]
    certificate: dict[str, Any]
    cold_by_model: bool
    """The model answers customers without purchases too: proven better for them than the fallback chain."""


def assess_dataset(
    dataset: Dataset,
    config: RunConfig,
    *,
    kept: Path | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    report: DataReport | None = None,
) -> Assessment:
    """Examine the line-up as of ``dataset.as_of``; raises UsageError for unknown models.

    ``kept`` is a folder of this dataset alone: what an earlier call has finished is not done again. ``engine`` does
    most of the work, where there is one with several workers.
    """
    tried = line_up(dataset, config)
    need_simple(tried.names)
    if kept is not None and engine is not None and config.several:
        with (progress or Progress()).step(f"Fitting {len(tried.names)} models by several workers") as tick:
            examine_ahead(dataset, tried.names, config, kept, engine, tick)
    with (progress or Progress()).step(f"Examining {len(tried.names)} models") as tick:
        found = assess(
            dataset,
            tried.names,
            k=config.k,
            horizon=config.horizon,
            budget=BUDGETS[config.budget],
            seed=config.seed,
            kept=Kept.at(kept) if kept else None,
            progress=tick,
        )
    certificate = certify(found, report).to_json()
    certificate["protocol"]["budget"] = config.budget
    certificate["protocol"]["left_out"] = [name for name in MODELS if name not in tried.names]
    certificate["protocol"]["left_out_because"] = tried.left_out
    return Assessment(found.ship, dict(found.settings), certificate, found.newcomers.by_model)


def assess_source(
    source: str | Path,
    config: RunConfig,
    *,
    out: Path | None = None,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> dict[str, Any]:
    """The certificate of a source, written to ``out`` where given: ``aisle evaluate``."""
    read = ingest(source, config, progress, cache)
    found = assess_dataset(read.dataset, config, progress=progress, report=read.report)
    certificate = {**found.certificate, "data": read.data}
    if out is not None:
        write_json(out, certificate)
    return certificate
