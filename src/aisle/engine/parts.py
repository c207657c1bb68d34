"""A model whose fit falls into parts that need not speak with each other, fitted by whoever does them.

Each part leaves a file, and is not done again while that is whole. ``gather`` has the parts of a ranker, ``strips``
those of models of what products say of each other.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from aisle.data.dataset import Dataset
from aisle.data.stored import save_dataset
from aisle.engine.base import Engine, let_go
from aisle.engine.gather import gather
from aisle.engine.learn import WORK, shared_place
from aisle.engine.strips import learn_strips
from aisle.errors import UsageError
from aisle.files import Receipts, fingerprint, sha256
from aisle.models.base import Model
from aisle.models.strips import InStrips
from aisle.progress import Tick
from aisle.version import VERSION

if TYPE_CHECKING:  # LightGBM is imported where a ranker is made
    from aisle.models.ranker import Ranker

STALE = 86_400
"""Seconds after which nobody is writing a copy of the data any more."""


def fit_by_parts(
    model: Model,
    data: Dataset,
    engine: Engine,
    *,
    checkpoint: Path | None = None,
    place: Path | None = None,
    tick: Tick = lambda done, total: None,
) -> None:
    """Fit in place a model whose fit falls into parts.

    ``checkpoint``, a folder, keeps what the parts left: the same call does the rest of a stopped one. Without it,
    ``place`` is a folder for that, gone in the end; None = among the temporary files of this machine. Workers on other
    machines must see the one or the other. ``tick`` counts parts. Raises UsageError for a model of another kind;
    ResourceError where a part loses its workers time and again; the errors of the fits themselves.
    """
    if not model.by_parts:
        raise UsageError(f"the fit of {model.name} does not fall into parts; let one process do it")
    lines = data if isinstance(model, InStrips) else cast("Ranker", model).drawn(data)
    with nullcontext(checkpoint.absolute()) if checkpoint else shared_place(None, place) as root:
        folder, shared = _laid_out(model, lines, root)
        receipts = Receipts(folder / "receipts")
        try:
            if isinstance(model, InStrips):
                learn_strips(model, lines.shape[1], shared, engine, receipts, tick)
            else:
                gather(cast("Ranker", model), shared, engine, receipts, tick)
        except UsageError as error:
            if Path(shared["data"]).exists():
                raise
            raise UsageError(f"another command fits in {root}, too; give each a folder of its own") from error
        finally:
            let_go()
            shutil.rmtree(folder / WORK, ignore_errors=True)


def _laid_out(model: Model, data: Dataset, root: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of this very fit, by all that it hangs on, with a copy of the data; and what its parts share."""
    for left in root.glob(f"*{WORK}-*"):  # of a command that was killed in the middle of this
        if left.stat().st_mtime < time.time() - STALE:
            shutil.rmtree(left, ignore_errors=True)
    fresh = root / f"{WORK}-{secrets.token_hex(4)}"
    try:
        save_dataset(data, fresh)
        files = {str(file.relative_to(fresh)): sha256(file) for file in sorted(fresh.rglob("*")) if file.is_file()}
        # as text, since the order of sources is that of the columns of the table
        folder = root / fingerprint([VERSION, model.name, json.dumps(model.params()), files])
        copy = folder / WORK / "data"
        copy.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # the same data, since their hashes name the folder, lie there
            fresh.rename(copy)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder, {"data": str(copy), "out": str(folder), "model": model.name, "settings": model.params()}
