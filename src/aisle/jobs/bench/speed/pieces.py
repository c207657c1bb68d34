"""What tasks are measured on, made once a size and not timed: each piece is there whole or not at all.

Our parts are imported where they are used: the process of a rival must not hold them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from aisle.files import atomic, atomic_dir
from aisle.jobs.bench.speed import rivals
from aisle.jobs.bench.speed.retailer import write_products, write_sales
from aisle.jobs.bench.speed.task import Place

if TYPE_CHECKING:
    from pathlib import Path

    from aisle.data.dataset import Dataset
    from aisle.jobs.cache import Ingested

SALES, PRODUCTS = "transactions.csv", "products.csv"
NEW_SHARE = 100
"""One new line to so many known ones."""
MODELS: dict[str, dict[str, Any]] = {
    "item_knn": {"neighbours": 200, "half_life_days": None},
    "ials": {"dim": 64, "sweeps": 8, "half_life_days": None},
}
"""Settings of the models that are measured; rivals get as many neighbours, dimensions and sweeps."""
SMALL_IALS = "ials of one sweep"
SMALL: dict[str, Any] = {"dim": 32, "sweeps": 1, "half_life_days": None}
"""iALS where rows are many: how its cost grows shows in one narrow sweep too."""


def unfitted(name: str) -> Any:
    """A model that is measured, by its name here."""
    from aisle.models import create

    return create("ials", **SMALL) if name == SMALL_IALS else create(name, **MODELS[name])


def shop(place: Place) -> None:
    """``shop/``: the tables of a retailer, as CSV."""
    with atomic_dir(place.path("shop")) as folder:
        write_products(folder / PRODUCTS, place.size.products)
        write_sales(folder / SALES, place.size)


def new(place: Place) -> None:
    """``new/``: a further file with one new line to 100 known ones."""
    rows = place.size.rows
    with atomic_dir(place.path("new")) as folder:
        write_sales(folder / "transactions-2.csv", place.size, first=rows, rows=max(rows // NEW_SHARE, 1))


def kept(place: Place) -> None:
    """``kept/``: what a first command on ``shop/`` keeps."""
    with atomic_dir(place.path("kept")) as folder:
        read(place.path("shop"), folder)


def grown(place: Place) -> None:
    """``grown/``: a copy of the shop that may grow, and what a first command on it keeps."""
    shutil.rmtree(place.path("grown"), ignore_errors=True)
    source = place.path("grown") / "shop"
    shutil.copytree(place.path("shop"), source)  # a link would change the time of the entry of the other
    read(source, place.path("grown") / "kept")
    (place.path("grown") / "done").touch()


def matrix(place: Place) -> None:
    """``matrix``: who bought what, (U, I) ones, as others want it."""
    from aisle.features.pairs import decayed_presence, of_everyone

    bought = of_everyone(dataset(place), decayed_presence)
    with atomic(place.path("matrix")) as temporary, temporary.open("wb") as file:
        sp.save_npz(file, sp.csr_matrix(bought), compressed=False)


def model(place: Place, name: str) -> None:
    """``model NAME/``: a bundle of a model fitted on all lines."""
    from aisle.bundle.recommender import Recommender
    from aisle.bundle.store import save

    data = dataset(place)
    save(Recommender.prepare(unfitted(name).fit(data), data), place.path(f"model {name}"))


def rival(place: Place, name: str) -> None:
    """``implicit NAME.npz``: the model of implicit that answers to one of ours."""
    found = rivals.implicit_model(name, MODELS[name], place.size.threads)
    found.fit(read_matrix(place), show_progress=False)
    with atomic(place.path(f"implicit {name}.npz")) as temporary, temporary.open("wb") as file:
        found.save(file)


def answers(place: Place) -> None:
    """``answers``: (N, k) our lists of the vectors of ``topk``, to compare those of others with."""
    from aisle.jobs.bench.speed.topk import ours

    codes = ours(place).run()
    with atomic(place.path("answers")) as temporary, temporary.open("wb") as file:
        np.save(file, codes, allow_pickle=False)


PIECES: dict[str, tuple[tuple[str, ...], Callable[[Place], None]]] = {
    "shop": ((), shop),
    "new": ((), new),
    "kept": (("shop",), kept),
    "grown": (("shop",), grown),
    "matrix": (("kept",), matrix),
    "model item_knn": (("kept",), lambda place: model(place, "item_knn")),
    "model ials": (("kept",), lambda place: model(place, "ials")),
    f"model {SMALL_IALS}": (("kept",), lambda place: model(place, SMALL_IALS)),
    "implicit item_knn.npz": (("matrix",), lambda place: rival(place, "item_knn")),
    "implicit ials.npz": (("matrix",), lambda place: rival(place, "ials")),
    "answers": ((), answers),
}
"""Name -> the pieces that it is made from, and how."""


def is_there(place: Place, piece: str) -> bool:
    """Whether a piece has been made."""
    path = place.path(piece)
    return (path / "done").exists() if piece == "grown" else path.exists()


def missing(place: Place, pieces: tuple[str, ...]) -> tuple[str, ...]:
    """What must be made for some pieces to be there, in order."""
    found: dict[str, None] = {}
    for piece in pieces:
        if not is_there(place, piece):
            found |= dict.fromkeys((*missing(place, PIECES[piece][0]), piece))
    return tuple(found)


def read(source: Path, folder: Path | None = None) -> Ingested:
    """A source as ``aisle run`` reads it, with a folder that keeps what was read, or without.

    All memory of the machine is allowed: what reading takes is measured here, not refused.
    """
    from aisle.config import RunConfig
    from aisle.jobs.cache import ingest

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return ingest(source, RunConfig(memory=f"{memory // 10**6}MB"), folder=folder)


def dataset(place: Place) -> Dataset:
    """The Dataset of the retailer of a place, read before."""
    return read(place.path("shop"), place.path("kept")).dataset


def read_matrix(place: Place) -> Any:
    """(U, I) who bought what: a ``csr_matrix``, since implicit takes no ``csr_array``."""
    with place.path("matrix").open("rb") as file:
        return sp.load_npz(file)
