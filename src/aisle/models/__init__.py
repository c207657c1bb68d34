"""The line-up: one file a model, read top to bottom. ``MODELS`` is the only registry."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from aisle.errors import UsageError
from aisle.models.base import Model

MODELS: dict[str, str] = {
    "random": "aisle.models.random:Random",
    "popularity": "aisle.models.popularity:Popularity",
    "recent_popularity": "aisle.models.popularity:RecentPopularity",
    "seasonal_popularity": "aisle.models.popularity:SeasonalPopularity",
    "group_popularity": "aisle.models.popularity:GroupPopularity",
    "personal_frequency": "aisle.models.personal_frequency:PersonalFrequency",
    "item_knn": "aisle.models.item_knn:ItemKNN",
    "ease": "aisle.models.ease:EASE",
    "tifu_knn": "aisle.models.tifu_knn:TIFUKNN",
    "repeat_hazard": "aisle.models.repeat_hazard:RepeatHazard",
    "hybrid_factorization": "aisle.models.hybrid_factorization:HybridFactorization",
}
"""registry name -> "module:Class"; lazy, so that asking for the names imports no model."""


def model_class(name: str) -> type[Model]:
    """The class behind a registry name; raises UsageError with the known names."""
    if name not in MODELS:
        raise UsageError(f"no model named {name!r}; known: {', '.join(MODELS)}")
    module, cls = MODELS[name].split(":")
    return getattr(import_module(module), cls)  # type: ignore[no-any-return]


def create(name: str, **settings: Any) -> Model:
    """A new, unfitted model by registry name; raises UsageError for an unknown name or setting."""
    cls = model_class(name)
    unknown = set(settings) - set(cls.settings())
    if unknown:
        raise UsageError(f"{name} has no setting {sorted(unknown)}; it has {', '.join(cls.settings()) or 'none'}")
    return cls(**settings)
