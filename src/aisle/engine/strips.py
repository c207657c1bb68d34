"""What products say of each other, learned by strips of the catalogue, which any engine does, laid side by side here.

Every worker opens all lines and lays them out once. The row of a product is worked out whole by whoever has its strip:
nothing is added up between workers, and the result is that of one process to the byte.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import scipy.sparse as sp

from aisle.data.events import stacked
from aisle.engine.base import Engine, Receipt, at_hand, let_go
from aisle.engine.learn import open_shared
from aisle.features.links import Rows
from aisle.files import Receipts, fingerprint, read_arrays, sha256, write_arrays
from aisle.models import create
from aisle.models.base import Model
from aisle.models.strips import InStrips, strips
from aisle.progress import Tick
from aisle.types import Sparse

CELLS = ("data", "indices", "indptr")


def learn_strips(model: Model, shared: dict[str, Any], engine: Engine, receipts: Receipts, tick: Tick) -> None:
    """Let the engine do the strips of the catalogue, and the model learn from their rows."""
    products = shared["products"]
    parts = [{"products": [strip.start, strip.stop]} for strip in strips(products)]
    engine.map(strip_part, parts, shared, receipts=receipts, tick=tick)
    let_go()  # what this process laid out, if it did
    cast(InStrips, model).learn(stacked([_read(part, shared, products) for part in parts]))


def strip_part(part: dict[str, Any], shared: dict[str, Any]) -> Receipt:
    """One strip, by whichever worker."""
    links = at_hand(fingerprint(shared), lambda: _laid_out(shared))
    rows, path = links.rows(slice(*part["products"])), _path(part, shared)
    write_arrays(path, {name: getattr(rows, name) for name in CELLS})
    return {"files": {str(path): sha256(path)}}


def _laid_out(shared: dict[str, Any]) -> Rows:
    model = cast(InStrips, create(shared["model"], **shared["settings"]))
    return model.links(open_shared(shared["data"]))


def _read(part: dict[str, Any], shared: dict[str, Any], products: int) -> Sparse:
    """(R, I) what a part of ``strip_part`` left."""
    cells, (start, stop) = read_arrays(_path(part, shared))[0], part["products"]
    return sp.csr_array(tuple(cells[name] for name in CELLS), shape=(stop - start, products))


def _path(part: dict[str, Any], shared: dict[str, Any]) -> Path:
    start, stop = part["products"]
    return Path(shared["out"]) / f"strip-{start}-{stop}.safetensors"
