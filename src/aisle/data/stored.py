"""A Dataset as a folder that others open, exact to the last bit::

    dataset.json   moments, clock and vocabularies · customers.parquet · products.parquet · stores.parquet
    channels.parquet · lines/COLUMN.npy · sales/first_sale.npy · assortment/COLUMN.npy where there is one

Lines are mapped into memory, not read: processes of one machine share them. ``packed``, to be kept, columns lie in
Parquet instead (``lines.parquet`` …), a third as large, and damage is found. A bundle (``bundle/store.py``) keeps only
what answers need.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.lib.format import write_array_header_1_0

from aisle.data.build import Assortment
from aisle.data.dataset import Dataset
from aisle.data.events import Events
from aisle.data.tables import entities_frame, entities_of
from aisle.data.vocab import Vocab
from aisle.errors import BundleError
from aisle.files import atomic_dir, read_parquet, write_json, write_parquet

FORMAT = 1
LINES = tuple(field.name for field in fields(Events))
SPANS = ("store", "product", "start", "stop")
VOCABULARIES = ("stores", "channels")
ENTITIES = ("customers", "products")
MAPPED = 1_000_000
"""Lines from which a Dataset is kept as plain arrays that are mapped, not read: larger on the disk, at once there."""


def save_dataset(data: Dataset, folder: Path, *, packed: bool = False, lines: Path | None = None) -> None:
    """Write a Dataset, every line of it; the folder appears whole or not at all, in place of an earlier one.

    ``lines``: where ``write_lines`` has written them already; that folder is taken over.
    """
    save = _pack if packed else _save
    values: dict[str, Any] = {"format": FORMAT, "clock": data.clock, "as_of": int(data.as_of), "end": int(data.end)}
    values["currency"] = data.currency
    with atomic_dir(folder) as temporary:
        for name in ENTITIES:
            frame, values[name] = entities_frame(getattr(data, name))
            write_parquet(temporary / f"{name}.parquet", frame)
        for name in VOCABULARIES:
            write_parquet(temporary / f"{name}.parquet", pl.DataFrame({"id": getattr(data, name).ids}))
        if lines is None:
            save(temporary / "lines", {name: getattr(data.all_events, name) for name in LINES})
        else:
            os.replace(lines, temporary / "lines")
        save(temporary / "sales", {"first_sale": data.first_sale})
        if data.assortment is not None:
            values["assortment"] = list(data.assortment.shape)
            save(temporary / "assortment", {name: getattr(data.assortment, name) for name in SPANS})
        write_json(temporary / "dataset.json", values)


def open_dataset(folder: Path) -> Dataset:
    """Undo ``save_dataset``; raises BundleError where something is missing, damaged or from a newer format."""
    try:
        values: dict[str, Any] = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise BundleError(f"{folder} has format {values['format']!r}, this version reads {FORMAT}; upgrade aisle")
        customers, products = (entities_of(read_parquet(folder / f"{n}.parquet"), values[n]) for n in ENTITIES)
        stores, channels = (Vocab(read_parquet(folder / f"{name}.parquet")["id"]) for name in VOCABULARIES)
        assortment = None
        if "assortment" in values:
            n_stores, n_products = values["assortment"]
            assortment = Assortment(**_open(folder / "assortment", SPANS), shape=(n_stores, n_products))
        return Dataset(
            all_events=Events(**_open(folder / "lines", LINES)),
            customers=customers,
            products=products,
            stores=stores,
            channels=channels,
            clock=values["clock"],
            as_of=values["as_of"],
            first_sale=_open(folder / "sales", ("first_sale",))["first_sale"],
            end=values["end"],
            assortment=assortment,
            currency=values["currency"],
        )
    except (OSError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{folder} holds no whole Dataset: {error}; write it again") from error


def write_lines(folder: Path, column: Callable[[str], Iterator[np.ndarray]], count: int) -> Events:
    """Write the columns of ``count`` lines, by name and block by block, into a new folder, and map them."""
    folder.mkdir()
    for name in LINES:
        with (folder / f"{name}.npy").open("wb") as file:
            for block in column(name):
                if not file.tell():
                    head = {"descr": block.dtype.str, "fortran_order": False, "shape": (count,)}
                    write_array_header_1_0(file, head)
                file.write(block.data)
    return Events(**_open(folder, LINES))


def _save(folder: Path, columns: dict[str, np.ndarray]) -> None:
    folder.mkdir()
    for name, values in columns.items():
        np.save(folder / f"{name}.npy", values, allow_pickle=False)


def _pack(folder: Path, columns: dict[str, np.ndarray]) -> None:
    write_parquet(folder.with_suffix(".parquet"), pl.DataFrame(columns), quick=True)


def _open(folder: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Columns of a folder, mapped, or of a packed file; what is written to them stays in this process."""
    if not folder.exists():  # a column after the other: all at once would stand here twice
        packed = folder.with_suffix(".parquet")
        return {name: read_parquet(packed, [name])[name].to_numpy(writable=True) for name in names}
    return {name: _mapped(folder / f"{name}.npy") for name in names}


def _mapped(path: Path) -> np.ndarray:
    plain: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
    return plain.view(np.ndarray)  # one of no lines cannot be mapped, and is read
