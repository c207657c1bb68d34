"""A model whose fit falls into parts that need not speak with each other, fitted by whoever does them.

Each part leaves a file, and is not done again while that is whole. ``gather`` has the parts of a ranker, ``strips``
those of models of what products say of each other.
"""

from __future__ import annotations

import errno
import json
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, TypeAlias

from aisle.data.dataset import Dataset
from aisle.data.stored import save_dataset
from aisle.engine.base import Engine, let_go
from aisle.engine.gather import gather
from aisle.engine.learn import WORK, shared_place
from aisle.engine.strips import learn_strips
from aisle.errors import BundleError, UsageError
from aisle.files import Receipts, fingerprint, remove, sha256
from aisle.models.base import ByParts, Model
from aisle.progress import Tick
from aisle.version import VERSION

Way: TypeAlias = Callable[[Model, dict[str, Any], Engine, Receipts, Tick], None]
WAYS: dict[ByParts, Way] = {"strips": learn_strips, "moments": gather}
TRIES = 3
"""Times that a copy of the data is laid down, where others take it away."""
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
    if model.by_parts is None:
        raise UsageError(f"the fit of {model.name} does not fall into parts; let one process do it")
    with nullcontext(checkpoint.absolute()) if checkpoint else shared_place(None, place) as root:
        folder, shared = _laid_out(model, model.drawn(data), root)
        try:
            WAYS[model.by_parts](model, shared, engine, Receipts(folder / "receipts"), tick)
        except (UsageError, BundleError) as error:
            if Path(shared["data"]).exists():
                raise
            raise _crowded(root) from error
        finally:
            let_go()
            with suppress(OSError):  # another command has, or will; what was fitted stands
                remove(folder / WORK)


def _laid_out(model: Model, data: Dataset, root: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of this very fit, by all that it hangs on, with a copy of the data; and what its parts share."""
    for left in root.glob(f"*{WORK}-*"):  # of a command that was killed in the middle of this
        if left.stat().st_mtime < time.time() - STALE:
            shutil.rmtree(left, ignore_errors=True)
    fresh = root / f"{WORK}-{secrets.token_hex(4)}"
    try:
        save_dataset(data, fresh)
        files = _hashes(fresh)
        # as text, since the order of sources is that of the columns of the table
        folder = root / fingerprint([VERSION, model.name, json.dumps(model.params()), files])
        copy = folder / WORK / "data"
        if not any(_settled(fresh, copy, files) for _ in range(TRIES)):
            raise _crowded(root)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    paths, size = {"data": str(copy), "out": str(folder)}, {"products": data.shape[1]}
    return folder, {**paths, **size, "model": model.name, "settings": model.params()}


def _settled(fresh: Path, copy: Path, files: dict[str, str]) -> bool:
    """Give a copy its name, unless the same lies there whole; False where another command took that away meanwhile."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        fresh.rename(copy)
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    with suppress(FileNotFoundError):
        if _hashes(copy) == files:
            return True
        remove(copy)  # torn: somebody deleted some of it
    return False


def _crowded(root: Path) -> UsageError:
    return UsageError(f"another command fits in {root}, too; give each a folder of its own")


def _hashes(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): sha256(file) for file in sorted(folder.rglob("*")) if file.is_file()}
