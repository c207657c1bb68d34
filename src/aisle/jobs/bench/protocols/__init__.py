"""One file a protocol, read top to bottom: the split, its source, the population, the ideal of NDCG, the bars."""

from __future__ import annotations

from importlib import import_module

from aisle.errors import UsageError
from aisle.jobs.bench.split import Protocol

PROTOCOLS: dict[str, str] = {
    "tafeng": "tafeng:TAFENG",
    "gowalla": "gowalla:GOWALLA",
    "beauty_bert4rec": "beauty_bert4rec:BEAUTY",
    "s3rec_beauty": "s3rec:BEAUTY",
    "s3rec_sports": "s3rec:SPORTS",
    "movielens_1m": "movielens_1m:MOVIELENS",
    "online_retail_30": "online_retail:MONTH",
    "online_retail_90": "online_retail:QUARTER",
    "sort_of_real": "sort_of_real:SORT_OF_REAL",
    "cold_products_sort_of_real": "cold_products:SORT_OF_REAL",
    "cold_products_movielens": "cold_products:MOVIELENS",
    "cold_customers_sort_of_real": "cold_customers:SORT_OF_REAL",
    "cold_customers_movielens": "cold_customers:MOVIELENS",
}
"""name -> "file:protocol"; lazy, so that asking for the names reads no file."""


def protocol(name: str) -> Protocol:
    """The protocol of a name."""
    found = getattr(import_module(module_of(name)), PROTOCOLS[name].split(":")[1])
    assert isinstance(found, Protocol)
    return found


def module_of(name: str) -> str:
    """The module of a protocol."""
    return f"{__name__}.{PROTOCOLS[name].split(':')[0]}"


def chosen(names: tuple[str, ...]) -> tuple[str, ...]:
    """Protocols by name or by the beginning of one (``s3rec`` is both); none = all. Raises UsageError for a typo."""
    found: dict[str, None] = {}
    for name in names or PROTOCOLS:
        fits = [known for known in PROTOCOLS if known == name] or [k for k in PROTOCOLS if k.startswith(name)]
        if not fits:
            raise UsageError(f"no protocol {name!r}; known: {', '.join(PROTOCOLS)}")
        found |= dict.fromkeys(fits)
    return tuple(found)
