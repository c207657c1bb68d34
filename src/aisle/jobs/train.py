"""``aisle train``: one model, fitted on everything, as a bundle."""

from __future__ import annotations

from pathlib import Path

from aisle.bundle import Recommender, save
from aisle.config import RunConfig
from aisle.jobs.ingest import build_dataset, clean_source
from aisle.models import create
from aisle.progress import Progress


def train(
    source: str | Path,
    out: Path,
    model: str,
    *,
    config: RunConfig | None = None,
    progress: Progress | None = None,
) -> Recommender:
    """Fit one model with its default settings and write the bundle to ``out``; raises UsageError for its name."""
    config, progress = config or RunConfig(), progress or Progress()
    fresh = create(model)
    dataset = build_dataset(clean_source(source, config, progress), config)
    with progress.step(f"Fitting {model}"):
        recommender = Recommender.prepare(fresh.fit(dataset), dataset, seed=config.seed)
        save(recommender, out)
    return recommender
