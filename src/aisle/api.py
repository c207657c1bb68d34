"""The Python face: read, fit, recommend, similar, evaluate, save, load. The caller's own ids and frames everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from aisle.bundle import Recommender, load, save
from aisle.config import RunConfig
from aisle.data.dataset import Dataset
from aisle.data.frames import as_polars, like
from aisle.data.schema import CleanTables
from aisle.errors import UsageError
from aisle.jobs.assess import Assessment
from aisle.jobs.check import check as _check
from aisle.jobs.ingest import build_dataset, clean_frames, clean_source
from aisle.jobs.recommend import lists_for
from aisle.jobs.run import RunResult
from aisle.jobs.run import run as _run
from aisle.jobs.similar import similar as _similar
from aisle.models import create
from aisle.progress import Progress
from aisle.types import Repeats

__all__ = ["check", "evaluate", "fit", "load", "read", "recommend", "run", "save", "similar"]


def check(source: str | Path, *, out: str | Path | None = None, **settings: Any) -> CleanTables:
    """Clean tables, rejects and findings of a source; see ``aisle check``."""
    return _check(source, out=Path(out) if out is not None else None, config=RunConfig(**settings))


def read(source: Any, *, products: Any = None, customers: Any = None, **settings: Any) -> Dataset:
    """A Dataset of a folder, file, database URL, or of transactions given as a pandas, Polars or Arrow frame.

    Frames use the canonical column names (``customer_id, product_id, timestamp, quantity, …``). ``settings`` are those
    of ``RunConfig`` (``at``, ``date_order``, ``no_profile``, …). Raises DataError for data that cannot be trusted.
    """
    config = RunConfig(**settings)
    if isinstance(source, str | Path):
        return build_dataset(clean_source(source, config, Progress()), config)
    frames = {"transactions": source, "products": products, "customers": customers}
    given = {name: as_polars(frame) for name, frame in frames.items() if frame is not None}
    return build_dataset(clean_frames(given, config), config)


def fit(data: Dataset, model: str = "personal_frequency", **settings: Any) -> Recommender:
    """A recommender around one model of the line-up, fitted on everything the Dataset shows.

    Raises UsageError for an unknown model or setting, with those that are known.
    """
    return Recommender.prepare(create(model, **settings).fit(data), data)


def recommend(
    recommender: Recommender,
    customer_ids: Any = None,
    *,
    k: int = 10,
    repeats: Repeats = "mixed",
    only_products: Sequence[str] | None = None,
) -> Any:
    """Lists as in ``recommendations.parquet``, k rows a customer; ids may be a list, a series or None = everybody.

    A pandas series or frame column in gives a pandas frame back, an Arrow array an Arrow table, all else Polars.
    """
    if k < 1:
        raise UsageError(f"k is {k}; give a whole number of at least 1")
    dataset = recommender.dataset
    ids = dataset.customers.vocab.ids if customer_ids is None else pl.Series(_ids(customer_ids), dtype=pl.String)
    only = None if only_products is None else dataset.products.vocab.codes(_ids(only_products))
    if only is not None and not (only >= 0).any():
        raise UsageError(f"none of the {len(only)} ids in only_products is a known product")
    frame = lists_for(recommender, ids, k, recommender.rules(repeats=repeats, only=only))
    return like(frame, customer_ids)


def similar(recommender: Recommender, product_ids: Any, *, k: int = 10) -> Any:
    """Products bought by the same customers; the query itself is left out. The frame kind follows ``product_ids``."""
    return like(_similar(recommender, _ids(product_ids), k=k), product_ids)


def evaluate(data: Dataset, models: Sequence[str] = (), **settings: Any) -> Assessment:
    """Measure models on rolling windows and a last window never used for tuning; see ``aisle run``."""
    from aisle.jobs.assess import assess_dataset

    return assess_dataset(data, RunConfig(models=tuple(models), **settings))


def run(source: str | Path, out: str | Path, **settings: Any) -> RunResult:
    """The main job: what ``aisle run`` does."""
    return _run(source, Path(out), RunConfig(**settings), Progress())


def _ids(values: Any) -> list[str]:
    """Ids as text: 17850 and 17850.0 (what pandas makes of ids with gaps) are "17850"; blanks are left out."""
    if isinstance(values, str):
        raise UsageError(f"give a list of ids, not the text {values!r}: [{values!r}]")
    if hasattr(values, "columns"):
        raise UsageError(f"give one column of ids, not a whole {type(values).__name__}")
    tolist = getattr(values, "to_list", None) or getattr(values, "to_pylist", None) or getattr(values, "tolist", None)
    listed = list(tolist() if tolist else values)
    return [
        str(int(value) if isinstance(value, float) and value.is_integer() else value)
        for value in listed
        if value is not None and value == value  # NaN is a blank too
    ]
