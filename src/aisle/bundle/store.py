"""Bundles on disk::

    model/
      products/   manifest.json · model.json · weights.safetensors · rank.safetensors · evidence.safetensors
                  products.parquet · stores.parquet · channels.parquet
      customers/  manifest.json · customers.json · customers.parquet · part-000.parquet …   histories, by hash of the id

Each manifest names every file beside it with its SHA-256; a missing, extra or altered file is refused.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from aisle.bundle.recommender import Recommender
from aisle.data.build import Assortment
from aisle.data.dataset import Dataset
from aisle.data.events import Events
from aisle.data.tables import entities_frame, entities_of
from aisle.data.vocab import Vocab
from aisle.errors import BundleError, UsageError
from aisle.explain.reasons import Evidence
from aisle.files import atomic_dir, read_parquet, sha256, write_json, write_parquet
from aisle.models import create
from aisle.models.base import Model
from aisle.rank.fallback import Fallback
from aisle.types import NEVER, UNKNOWN

FORMAT = 1
"""Bundle format; a reader refuses a newer one."""
PARTS = 16
"""Customer histories lie in this many files, so that one customer can be forgotten by rewriting one."""
MAX_HEADER = 1 << 20
"""Longest safetensors header accepted, in bytes."""
HISTORY = ("customer", "product", "time", "quantity", "amount", "basket", "store", "channel")
SNAPSHOT = ("popularity", "tie_rank", "known")


def save(recommender: Recommender, path: Path | str) -> None:
    """Write a bundle folder; it appears whole or not at all, and takes the place of an earlier one."""
    _check_free(Path(path))
    with atomic_dir(Path(path)) as folder:
        _save_products(recommender, folder / "products")
        _save_customers(recommender.dataset, folder / "customers")
        for part in ("products", "customers"):
            _write_manifest(folder / part)


def _check_free(path: Path) -> None:
    """Raise UsageError unless the path is new, an empty folder, or an earlier bundle: nothing else is overwritten."""
    if not path.exists():
        return
    if not path.is_dir():
        raise UsageError(f"{path} is a file; give a new folder for the bundle")
    found = {entry.name for entry in path.iterdir()}
    if found and found != {"products", "customers"}:
        raise UsageError(f"{path} holds other files ({sorted(found)[0]}); give a new folder for the bundle")


def load(path: Path | str) -> Recommender:
    """Open a bundle and check every byte; raises BundleError naming the file and the fix."""
    folder = Path(path)
    if not (folder / "products").is_dir():
        raise BundleError(f"{folder} is not a bundle: it has no products/ folder; give the model/ folder of a run")
    for part in ("products", "customers"):
        _check_manifest(folder / part)
    meta = _read_json(folder / "products" / "model.json")
    if len(missing := {"model", "settings", "values", "dataset", "fallback", "evidence"} - set(meta)):
        raise BundleError(f"{folder}/products/model.json lacks {sorted(missing)}; write the bundle again")
    model = _load_model(folder, meta)
    rank = _tensors(folder / "products" / "rank.safetensors")
    dataset = _load_dataset(folder, meta["dataset"], rank)
    on_sale = rank.pop("on_sale").astype(bool)
    fallback = Fallback.restore(rank, meta["fallback"])
    evidence = Evidence.restore(_tensors(folder / "products" / "evidence.safetensors"), meta["evidence"])
    cold = bool(meta.get("cold_by_model", False))  # bundles of version 0.1 do not say
    recommender = Recommender(model, dataset, fallback, evidence, on_sale, cold_by_model=cold)
    _smoke(recommender, folder)
    return recommender


def _load_model(folder: Path, meta: dict[str, Any]) -> Model:
    weights = _tensors(folder / "products" / "weights.safetensors")
    for name, values in weights.items():
        if values.dtype.kind == "f" and np.isnan(values).any():
            raise BundleError(f"{folder}/products/weights.safetensors holds NaN in {name}; run again to replace it")
    try:
        return create(meta["model"], **meta["settings"]).restore(weights, meta["values"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder}: the model does not fit its weights ({error}); write the bundle again") from error


def _save_products(recommender: Recommender, folder: Path) -> None:
    folder.mkdir()
    dataset, model = recommender.dataset, recommender.model
    weights, values = model.state()
    rank, fallback = recommender.fallback.state()
    evidence, evidence_values = recommender.evidence.state()
    rank |= {name: np.asarray(getattr(dataset, name)) for name in SNAPSHOT}
    rank |= {"on_sale": recommender.on_sale, "first_sale": dataset.first_sale}
    if dataset.assortment is not None:
        rank |= {f"assortment.{n}": getattr(dataset.assortment, n) for n in ("store", "product", "start", "stop")}
    for name, arrays in (("weights", weights), ("rank", rank), ("evidence", evidence)):
        contiguous = {key: np.ascontiguousarray(value) for key, value in sorted(arrays.items())}
        save_file(contiguous, folder / f"{name}.safetensors")
    products, described = entities_frame(dataset.products)
    write_parquet(folder / "products.parquet", products)
    write_parquet(folder / "stores.parquet", pl.DataFrame({"store_id": dataset.stores.ids}))
    write_parquet(folder / "channels.parquet", pl.DataFrame({"channel": dataset.channels.ids}))
    meta = {
        "format": FORMAT,
        "model": model.name,
        "settings": model.params(),
        "values": values,
        "fallback": fallback,
        "evidence": evidence_values,
        "cold_by_model": recommender.cold_by_model,
        "dataset": {"clock": dataset.clock, "as_of": dataset.as_of, "end": dataset.end, "products": described},
    }
    write_json(folder / "model.json", meta)


def _save_customers(dataset: Dataset, folder: Path) -> None:
    folder.mkdir()
    customers, described = entities_frame(dataset.customers)
    write_parquet(folder / "customers.parquet", customers)
    write_json(folder / "customers.json", described)
    part_of = np.array([zlib.crc32(str(i).encode()) % PARTS for i in dataset.customers.vocab.ids], dtype=np.int8)
    whose = np.append(part_of, np.int8(UNKNOWN))[dataset.purchases.customer]  # the last one answers anonymous lines
    for part in range(PARTS):
        lines = dataset.purchases.take(np.flatnonzero(whose == part))
        frame = pl.DataFrame({name: getattr(lines, name) for name in HISTORY})
        write_parquet(folder / f"part-{part:03d}.parquet", frame)


def _load_history(parts: list[Path], n_customers: int) -> Events:
    """The lines (E,) of all parts, each of which holds whole customers, by code: nothing needs to be sorted."""
    number = np.zeros(n_customers, dtype=np.int64)
    for part in parts:
        number += np.bincount(read_parquet(part, ["customer"])["customer"], minlength=n_customers)
    start, total = np.cumsum(number) - number, int(number.sum())
    columns: dict[str, np.ndarray] = {}
    for part in parts:
        frame = read_parquet(part, HISTORY)
        customer = frame["customer"].to_numpy()
        size = np.bincount(customer, minlength=n_customers)
        place = np.arange(len(customer)) + np.repeat(start - (np.cumsum(size) - size), size)
        for name in HISTORY:
            values = frame[name].to_numpy()
            if name not in columns:
                columns[name] = np.empty(total, dtype=values.dtype)
            columns[name][place] = values
    return Events(**columns, void_at=np.full(total, NEVER))


def _load_dataset(folder: Path, meta: dict[str, Any], rank: dict[str, Any]) -> Dataset:
    products = entities_of(read_parquet(folder / "products" / "products.parquet"), meta["products"])
    described = _read_json(folder / "customers" / "customers.json")
    customers = entities_of(read_parquet(folder / "customers" / "customers.parquet"), described)
    stores = Vocab(read_parquet(folder / "products" / "stores.parquet")["store_id"])
    channels = Vocab(read_parquet(folder / "products" / "channels.parquet")["channel"])
    events = _load_history(sorted((folder / "customers").glob("part-*.parquet")), len(customers))
    assortment = None
    if "assortment.store" in rank:
        parts = (rank.pop(f"assortment.{n}") for n in ("store", "product", "start", "stop"))
        store, product, start, stop = parts
        assortment = Assortment(store, product, start, stop, (len(stores), len(products)))
    dataset = Dataset(
        all_events=events,
        customers=customers,
        products=products,
        stores=stores,
        channels=channels,
        clock=meta["clock"],
        as_of=meta["as_of"],
        first_sale=rank.pop("first_sale"),
        end=meta["end"],
        assortment=assortment,
    )
    # What the missing anonymous lines would change is taken from the snapshot instead of being counted again.
    vars(dataset).update({name: rank.pop(name) for name in SNAPSHOT})
    return dataset


def _smoke(recommender: Recommender, folder: Path) -> None:
    """Score one blank customer: shapes that do not fit together are found here, not in front of a customer."""
    try:
        blank = recommender.dataset.batch(np.array([-1], dtype=np.int32))
        scores = recommender.model.score(blank)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder}: the model does not fit its products ({error}); write the bundle again") from error
    if scores.shape != blank.shape or np.isnan(scores).any():
        raise BundleError(f"{folder}: the model gives {scores.shape} scores or NaN, expected {blank.shape}")


def _write_manifest(folder: Path) -> None:
    files = {file.name: sha256(file) for file in sorted(folder.iterdir())}
    write_json(folder / "manifest.json", {"format": FORMAT, "files": files})


def _check_manifest(folder: Path) -> None:
    manifest = _read_json(folder / "manifest.json")
    if manifest.get("format") != FORMAT:
        raise BundleError(
            f"{folder} has bundle format {manifest.get('format')!r}, this version reads {FORMAT}; upgrade aisle"
        )
    listed = manifest.get("files")
    if not isinstance(listed, dict):
        raise BundleError(f"{folder / 'manifest.json'} names no files; restore the bundle or run again")
    present = {file.name for file in folder.iterdir()} - {"manifest.json"}
    if wrong := sorted(present ^ set(listed)):
        raise BundleError(f"{folder}: {wrong[0]} is {'missing' if wrong[0] in listed else 'not in the manifest'}")
    for name, digest in listed.items():
        whole = (folder / name).is_file() and not (folder / name).is_symlink()
        if not whole or sha256(folder / name) != digest:
            raise BundleError(f"{folder / name} was altered after it was written; restore the bundle or run again")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise BundleError(f"{path} holds {type(value).__name__}, expected a JSON object")
    return value


def _tensors(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if header > MAX_HEADER:
            raise BundleError(f"{path} has a header of {header} bytes, at most {MAX_HEADER} are allowed")
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path} cannot be read: {error}; restore it or write it again") from error
