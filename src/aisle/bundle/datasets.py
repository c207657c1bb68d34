"""A Dataset as a folder of Parquet, and back: the very arrays, so that whoever opens it need not build it again.

A bundle keeps only what answers need (``bundle/store.py``); this keeps every line, returns and anonymous ones included.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import polars as pl

from aisle.bundle.tables import entities_frame, entities_of
from aisle.data.build import Assortment
from aisle.data.dataset import Dataset
from aisle.data.entities import Entities
from aisle.data.events import Events
from aisle.data.vocab import Vocab
from aisle.errors import BundleError
from aisle.files import Receipts, read_parquet, write_parquet

SPANS = ("store", "product", "start", "stop")
NUMBERS = "dataset"
"""Key of the receipt that holds what is not an array."""


def save_dataset(dataset: Dataset, folder: Path) -> None:
    """Write all lines and entities; ``folder`` is filled file by file, so give one that nobody reads yet."""
    folder.mkdir(parents=True, exist_ok=True)
    events = dataset.all_events
    lines = pl.DataFrame({f.name: getattr(events, f.name) for f in fields(events)})
    write_parquet(folder / "events.parquet", lines, quick=True)
    described = {}
    for name in ("customers", "products"):
        frame, described[name] = entities_frame(getattr(dataset, name))
        write_parquet(folder / f"{name}.parquet", frame)
    write_parquet(folder / "first_sale.parquet", pl.DataFrame({"first_sale": dataset.first_sale}))
    write_parquet(folder / "stores.parquet", pl.DataFrame({"id": dataset.stores.ids}))
    write_parquet(folder / "channels.parquet", pl.DataFrame({"id": dataset.channels.ids}))
    spans = dataset.assortment
    if spans is not None:
        write_parquet(folder / "assortment.parquet", pl.DataFrame({name: getattr(spans, name) for name in SPANS}))
    numbers = {"clock": dataset.clock, "as_of": dataset.as_of, "end": dataset.end, "currency": dataset.currency}
    Receipts(folder).put(NUMBERS, {**numbers, "described": described, "assortment": spans is not None})


def load_dataset(folder: Path) -> Dataset:
    """Undo ``save_dataset``; raises BundleError where a file is missing, torn or altered."""
    numbers = Receipts(folder).get(NUMBERS)
    if numbers is None:
        raise BundleError(f"{folder} holds no whole data set; write it again")
    entities: dict[str, Entities] = {
        name: entities_of(read_parquet(folder / f"{name}.parquet"), numbers["described"][name])
        for name in ("customers", "products")
    }
    stores, channels = (Vocab(read_parquet(folder / f"{name}.parquet")["id"]) for name in ("stores", "channels"))
    assortment = None
    if numbers["assortment"]:
        spans = _arrays(folder / "assortment.parquet")
        assortment = Assortment(**spans, shape=(len(stores), len(entities["products"])))
    return Dataset(
        all_events=Events(**_arrays(folder / "events.parquet")),
        customers=entities["customers"],
        products=entities["products"],
        stores=stores,
        channels=channels,
        clock=numbers["clock"],
        as_of=numbers["as_of"],
        first_sale=_arrays(folder / "first_sale.parquet")["first_sale"],
        end=numbers["end"],
        assortment=assortment,
        currency=numbers["currency"],
    )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    frame = read_parquet(path)
    return {name: frame[name].to_numpy(writable=True) for name in frame.columns}
