"""Fits that were measured already: the same model with the same settings on the same split is not fitted twice.

``S`` often picks what the row of a single model holds, and a comparison needs values that another cell has found.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import polars as pl

from aisle.data.dataset import Dataset
from aisle.errors import BundleError
from aisle.evaluate.meter import Meter
from aisle.files import Receipts, fingerprint, read_parquet, write_parquet
from aisle.jobs.bench.machine import origin
from aisle.jobs.bench.measure import answers
from aisle.jobs.bench.recipes import whole
from aisle.jobs.bench.search import with_joined
from aisle.jobs.bench.split import Settings, Split
from aisle.kernels.device import device_kind
from aisle.models import create, model_class
from aisle.models.base import LearnsInEpochs, Model
from aisle.types import Doubles

if TYPE_CHECKING:
    from aisle.models.nn.train import Epoch

SPENT = "spent"
"""Key of the receipt of CPU seconds, in the folder of a training."""


@dataclass(frozen=True, eq=False)
class Fit:
    """What a fit gave, and its cost."""

    columns: dict[str, Doubles]
    """figure -> (N,) by customer of the split."""
    seconds: float
    """CPU seconds of fitting and answering, when it was measured."""
    peak_mb: float
    origin: dict[str, Any]
    """``commit`` and ``machine`` that it was measured with."""


@dataclass(frozen=True)
class Fits:
    """Fits kept in a folder."""

    folder: Path
    fresh: bool = False
    """Look nothing up."""

    def fit(self, about: Sequence[Any], split: Split, metrics: Sequence[str], model: str, settings: Settings) -> Fit:
        """Fit on the data of the split and ask once, or take what that gave before.

        ``about`` says which part of which protocol it is, and tells the code that figures come from.
        """
        key = [*about, split.sizes(), split.mark, list(metrics), model, whole(model, settings), device(model, settings)]
        receipts, values = Receipts(self.folder), self.folder / f"{fingerprint(key)}.parquet"
        known = None if self.fresh else receipts.get(key)
        kept = _columns(values) if known is not None else None
        if known is not None and kept is not None:
            return Fit(kept, known["seconds"], known["peak_mb"], known["origin"])
        training = self.folder / f"{fingerprint(key)}.training"
        if self.fresh:
            shutil.rmtree(training, ignore_errors=True)
        with Meter() as meter:
            fitted, before = learned(create(model, **settings), split.data, training)
            columns = answers(fitted, split, metrics)
        fit = Fit(columns, before + meter.seconds, meter.peak_mb, origin())
        write_parquet(values, pl.DataFrame(columns))
        receipts.put(key, {"seconds": fit.seconds, "peak_mb": fit.peak_mb, "origin": fit.origin})
        shutil.rmtree(training, ignore_errors=True)
        return fit


def learned(model: Model, data: Dataset, training: Path) -> tuple[Model, float]:
    """A model fitted in place, and the CPU seconds that stopped fits had spent on it.

    One that learns in epochs is kept in ``training`` after each, so that hours are not lost where a cell is stopped.
    """
    if not issubclass(type(model), LearnsInEpochs):
        return model.fit(data), 0.0
    receipts = Receipts(training)
    before, begun = float((receipts.get(SPENT) or {}).get("cpu", 0.0)), time.process_time()

    def watch(epoch: Epoch) -> None:
        receipts.put(SPENT, {"cpu": before + time.process_time() - begun, "epoch": epoch.number})

    cast(LearnsInEpochs, model).fit(data, checkpoint=training, watch=watch)
    return model, before


def device(model: str, settings: Settings) -> str:
    """The kind of device that the figures of a model depend on; only a model that learns in epochs asks torch."""
    learns = any(issubclass(model_class(name), LearnsInEpochs) for name in with_joined(model, settings))
    return device_kind() if learns else "cpu"


def _columns(path: Path) -> dict[str, Doubles] | None:
    """The columns of a file, None where it is missing or torn."""
    try:
        table = read_parquet(path)
    except BundleError:
        return None
    return {name: table[name].to_numpy().astype(np.float64) for name in table.columns}
