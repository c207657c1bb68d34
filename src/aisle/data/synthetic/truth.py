"""The planted answer beside the files: ``truth/`` written once with the shop, read by tests and benchmarks.

::

    truth.json           settings, windows, counts, what the probabilities mean
    oracle.parquet       horizon_days, customer_id, product_id, rank, probability
    customers.parquet    customer_id, segment, visits_per_day, arrival, leave
    staples.parquet      customer_id, product_id, cycle_days, begin, stop
    products.parquet     product_id, popularity, launch, gone, complement_id, complement_chance
    dirt.json            what was planted, by reason code (shops with dirt only)
    clean.parquet        the transactions as they were before the dirt, less the rejected ones (shops with dirt only)
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from aisle.data.synthetic.catalogue import SEGMENTS, Catalogue
from aisle.data.synthetic.people import People
from aisle.data.synthetic.shop import DEPTH, HORIZONS, LAST_DAY, ORACLE_CUSTOMERS, Shop
from aisle.errors import DataError, UsageError
from aisle.types import Ints

FOLDER = "truth"
METHOD = (
    "closed form from the generating law, given each staple's last buy before the cut, the planted parameters and the "
    "calendar of seasons, promotions and assortment: probability of buying at least once in [cut, end), "
    "whether or not it is returned"
)


def oracle(folder: Path, horizon_days: int) -> pl.DataFrame:
    """The best lists there can be: ``customer_id, product_id, rank, probability`` for the last ``horizon_days``.

    Raises UsageError when that horizon was not stored, DataError when the folder holds no planted truth.
    """
    if horizon_days not in HORIZONS:
        raise UsageError(f"no oracle for {horizon_days} days; stored horizons: {', '.join(map(str, HORIZONS))}")
    planted(folder)
    frame = pl.read_parquet(folder / FOLDER / "oracle.parquet")
    return frame.filter(pl.col("horizon_days") == horizon_days).drop("horizon_days")


def planted(folder: Path) -> dict[str, Any]:
    """``truth.json`` of a synthetic retailer; raises DataError where there is none."""
    path = folder / FOLDER / "truth.json"
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} has no {FOLDER}/truth.json; write a retailer there with `aisle demo {folder}`"
        ) from error
    return value


def truth_json(shop: Shop, counts: dict[str, int]) -> dict[str, Any]:
    """The content of ``truth.json``."""
    end = LAST_DAY + timedelta(days=1)
    return {
        "settings": shop.settings(),
        "start": shop.start.isoformat(),
        "end": end.isoformat(),
        "windows": [
            {"horizon_days": h, "cut": (end - timedelta(days=h)).isoformat(), "end": end.isoformat()} for h in HORIZONS
        ],
        "oracle": {
            "method": METHOD,
            "depth": min(DEPTH, shop.products),
            "customers": f"the first {ORACLE_CUSTOMERS}" if shop.customers > ORACLE_CUSTOMERS else "all",
        },
        "counts": counts,
    }


def customer_truth(shop: Shop, people: People) -> pl.DataFrame:
    """The latent state of a block's customers."""
    return pl.DataFrame(
        {
            "customer_id": people.ids,
            "segment": pl.Series(SEGMENTS).gather(people.segment),
            "visits_per_day": people.rate,
            "arrival": _dates(shop, people.arrival),
            "leave": _dates(shop, people.leave),
        }
    )


def staple_truth(catalogue: Catalogue, people: People) -> pl.DataFrame:
    """Every staple of a block's customers, with its cycle and the span of the habit; a null ``stop`` never comes."""
    row, slot = np.nonzero(people.staples >= 0)
    return pl.DataFrame(
        {
            "customer_id": people.ids.gather(row),
            "product_id": catalogue.ids.gather(people.staples[row, slot]),
            "cycle_days": people.cycle[row, slot],
            "begin": _dates(catalogue.shop, people.begin[row, slot]),
            "stop": _dates(catalogue.shop, people.stop[row, slot]),
        }
    )


def product_truth(catalogue: Catalogue) -> pl.DataFrame:
    """The latent state of products; a null ``gone`` never comes."""
    signal = catalogue.shop.signal
    other = pl.Series(catalogue.complement).cast(pl.Int64)
    return pl.DataFrame(
        {
            "product_id": catalogue.ids,
            "popularity": catalogue.taste[0],
            "launch": _dates(catalogue.shop, catalogue.launch),
            "gone": _dates(catalogue.shop, catalogue.gone),
            "complement_id": catalogue.ids.gather(other.set(other < 0 if signal else other >= -1, None)),
            "complement_chance": catalogue.chance * signal,
        }
    )


def _dates(shop: Shop, day: Ints) -> pl.Series:
    """Dates of days counted from the start; days after the end are null."""
    number = pl.Series(day).cast(pl.Int32)
    origin = (shop.start - date(1970, 1, 1)).days
    return (number.set(number > shop.days, None) + origin).cast(pl.Date)
