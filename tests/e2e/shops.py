"""Settings that keep end-to-end runs short."""

from typing import Any

from aisle.config import RunConfig

FEW = ("random", "popularity", "recent_popularity", "personal_frequency", "item_knn")


def few_models(**settings: Any) -> RunConfig:
    """A quick budget over quick models."""
    return RunConfig(**{"budget": "quick", "models": FEW, **settings})
