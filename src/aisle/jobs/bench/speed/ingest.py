"""From CSV to a ready Dataset, doctor included, beside the least that any job must do: a bare read, join and group-by.

Then what is read a second time: the same files, and a further file with one line to 100 known ones.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from aisle.errors import DataError
from aisle.jobs.bench.speed.pieces import PRODUCTS, SALES, read
from aisle.jobs.bench.speed.task import Goal, Json, Pair, Place, Side, Task, Work

if TYPE_CHECKING:
    from aisle.jobs.cache import Ingested

IMPORTS = ("aisle.jobs.cache",)
FIRST, KEEPING, AGAIN, MORE, BARE = "first read", "first read, kept", "read again", "1 % new lines", "bare Polars"


def _first(place: Place) -> Work:
    return Work(lambda: read(place.path("shop")), _told)


def _keeping(place: Place) -> Work:
    folder = _empty(place.path("trial"))

    def tell(found: Ingested) -> Json:
        shutil.rmtree(folder)
        return _told(found)

    return Work(lambda: read(place.path("shop"), folder), tell)


def _again(place: Place) -> Work:
    return Work(lambda: read(place.path("shop"), place.path("kept")), _told)


def _more(place: Place) -> Work:
    """The new file is there and what is kept knows nothing of it; both are as before in the end."""
    source, folder = place.path("grown") / "shop", _empty(place.path("trial"))
    shutil.copytree(place.path("grown") / "kept", folder, dirs_exist_ok=True)
    (file,) = place.path("new").iterdir()
    added = source / file.name
    added.unlink(missing_ok=True)
    shutil.copy(file, added)

    def tell(found: Ingested) -> Json:
        added.unlink()
        shutil.rmtree(folder)
        return _told(found)

    return Work(lambda: read(source, folder), tell)


def _bare(place: Place) -> Work:
    source = place.path("shop")
    return Work(lambda: bare(source), lambda found: found)


def bare(source: Path) -> Json:
    """Read, join and group with Polars, bad cells as nulls, in one go."""
    types: dict[str, Any] = {name: pl.Float64() for name in ("quantity", "price", "amount")}
    types["timestamp"] = pl.Datetime("us")
    lines = pl.read_csv(source / SALES, schema_overrides=types, ignore_errors=True)
    joined = lines.join(pl.read_csv(source / PRODUCTS), on="product_id", how="left")
    by_customer = joined.group_by("customer_id").agg(pl.len(), pl.col("amount").sum(), pl.col("timestamp").max())
    by_product = joined.group_by("product_id", "category_1").agg(pl.len(), pl.col("amount").sum())
    return {"rows": joined.height, "customers": by_customer.height, "products": by_product.height}


def _told(found: Ingested) -> Json:
    """Counts of the doctor; raises DataError where they do not add up."""
    report = found.report
    read, accepted, rejected = (report.total(name) for name in ("read", "accepted", "rejected"))
    if accepted + rejected != read:
        raise DataError(f"{accepted} lines accepted and {rejected} rejected of {read}: the doctor has lost some")
    return {"rows": read, "accepted": accepted, "customers": found.dataset.shape[0]}


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


TASK = Task(
    name="ingest",
    title="CSV to a ready Dataset, doctor included",
    about="A generated retailer with returns and bad cells, 50 lines a customer; then the second look at the same "
    "files, and a look at those with 1 % new lines in a further file.",
    sides=(
        Side(name=FIRST, imports=IMPORTS, ready=_first, pieces=("shop",)),
        Side(name=BARE, ready=_bare, pieces=("shop",)),
        Side(name=KEEPING, imports=IMPORTS, ready=_keeping, pieces=("shop",)),
        Side(name=AGAIN, imports=IMPORTS, ready=_again, pieces=("kept",)),
        Side(name=MORE, imports=IMPORTS, ready=_more, pieces=("grown", "new")),
    ),
    pairs=(
        Pair(ours=FIRST, theirs=BARE, most=4.0),
        Pair(ours=KEEPING, theirs=FIRST),
        Pair(ours=AGAIN, theirs=FIRST),
        Pair(ours=MORE, theirs=FIRST, most=0.2),
    ),
    goals=(
        Goal(ours=FIRST, figure="peak_mb", most=2_500),
        Goal(ours=AGAIN, figure="wall_seconds", most=2),
    ),
)
