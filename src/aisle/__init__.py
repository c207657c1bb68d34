"""aisle: from a retailer's raw files to honest recommendations.

    import aisle

    shop = aisle.read("exports/")                 # files, a database URL, or frames of pandas, Polars or Arrow
    best = aisle.fit(shop, "ease")                # or aisle.evaluate(shop) to let the data choose
    aisle.recommend(best, ["17850"], k=5)         # a frame with the ids you gave

Importing this module is quick: everything heavy is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aisle.version import VERSION as __version__

if TYPE_CHECKING:
    from aisle.api import (
        check,
        due,
        evaluate,
        fit,
        load,
        ranks,
        read,
        recommend,
        recommend_groups,
        recommend_new,
        rules,
        run,
        save,
        similar,
        similar_customers,
        vectors,
    )

__all__ = [
    "__version__",
    "check",
    "due",
    "evaluate",
    "fit",
    "load",
    "ranks",
    "read",
    "recommend",
    "recommend_groups",
    "recommend_new",
    "rules",
    "run",
    "save",
    "similar",
    "similar_customers",
    "vectors",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module("aisle.api"), name)
    raise AttributeError(f"module 'aisle' has no attribute {name!r}; it has {', '.join(__all__)}")
