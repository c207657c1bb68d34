"""The line-up: one file a model, read top to bottom. ``MODELS`` is the only registry."""

from __future__ import annotations

import difflib
from dataclasses import Field, fields
from importlib import import_module
from numbers import Integral, Real
from typing import Any, cast

from aisle.errors import UsageError
from aisle.models.base import LearnsInEpochs, Model

MODELS: dict[str, str] = {
    "random": "aisle.models.random:Random",
    "popularity": "aisle.models.popularity:Popularity",
    "recent_popularity": "aisle.models.popularity:RecentPopularity",
    "seasonal_popularity": "aisle.models.popularity:SeasonalPopularity",
    "group_popularity": "aisle.models.popularity:GroupPopularity",
    "tree_shares": "aisle.models.tree_shares:TreeShares",
    "personal_frequency": "aisle.models.personal_frequency:PersonalFrequency",
    "item_knn": "aisle.models.item_knn:ItemKNN",
    "ease": "aisle.models.ease:EASE",
    "rp3beta": "aisle.models.rp3beta:RP3beta",
    "graph_filter": "aisle.models.graph_filter:GraphFilter",
    "slim": "aisle.models.slim:SLIM",
    "ials": "aisle.models.ials:IALS",
    "tifu_knn": "aisle.models.tifu_knn:TIFUKNN",
    "sequence_knn": "aisle.models.sequence_knn:SequenceKNN",
    "up_cf": "aisle.models.up_cf:UPCF",
    "bought_together": "aisle.models.bought_together:BoughtTogether",
    "content_knn": "aisle.models.content_knn:ContentKNN",
    "repeat_hazard": "aisle.models.repeat_hazard:RepeatHazard",
    "hybrid_factorization": "aisle.models.hybrid_factorization:HybridFactorization",
    "basket_transformer": "aisle.models.basket_transformer:BasketTransformer",
    "ranker": "aisle.models.ranker:Ranker",
    "stack": "aisle.models.stack:Stack",
}
"""registry name -> "module:Class"; lazy, so that asking for the names imports no model."""


def model_class(name: str) -> type[Model]:
    """The class behind a registry name; raises UsageError with the known names."""
    if name not in MODELS:
        raise UsageError(f"no model named {name!r}; known: {', '.join(MODELS)}")
    module, cls = MODELS[name].split(":")
    return getattr(import_module(module), cls)  # type: ignore[no-any-return]


def learner(model: Model) -> LearnsInEpochs:
    """The model, known to learn in epochs; raises UsageError with the models that do, and those fitted by parts."""
    if not issubclass(type(model), LearnsInEpochs):
        able = ", ".join(name for name in MODELS if issubclass(model_class(name), LearnsInEpochs))
        parted = ", ".join(name for name in MODELS if model_class(name).by_parts)
        raise UsageError(
            f"{model.name} does not learn in epochs: there is no training to keep, to follow or to share; "
            f"models that do: {able}; models fitted by parts, to be kept and shared, not followed: {parted}"
        )
    return cast(LearnsInEpochs, model)


def create(name: str, **settings: Any) -> Model:
    """A new, unfitted model by registry name.

    Raises UsageError for an unknown name, an unknown setting, with the nearest known one, or a value of the wrong kind.
    """
    cls = model_class(name)
    known = {f.name: f for f in fields(cls) if f.init}
    for setting, value in settings.items():
        if setting not in known:
            near = difflib.get_close_matches(setting, known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise UsageError(f"{name} has no setting {setting!r}{hint}; it has {', '.join(known) or 'none'}")
        kinds = _kinds(known[setting])
        if not any(_fits(value, kind) for kind in kinds):
            raise UsageError(f"{setting} is {value!r}; give {' or '.join(KINDS.get(kind, kind) for kind in kinds)}")
    return cls(**settings)


KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "None": "null"}


def _kinds(setting: Field[Any]) -> list[str]:
    """Kinds of values that a setting takes, by its annotation; a named choice is of the kind of its default."""
    said = str(getattr(setting.type, "__name__", setting.type))
    parts = [part.strip() for part in said.split("|")]
    return [part if part in KINDS else type(setting.default).__name__ for part in parts]


def _fits(value: Any, kind: str) -> bool:
    if kind == "None":
        return value is None
    types: dict[str, type] = {"int": Integral, "float": Real, "bool": bool, "str": str}
    return isinstance(value, types.get(kind, object)) and (kind == "bool" or not isinstance(value, bool))
