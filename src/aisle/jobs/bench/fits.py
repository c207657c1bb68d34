"""Fits that were measured already: the same model with the same settings on the same split is not fitted twice.

``S`` often picks what the row of a single model holds, and a comparison needs values that another cell has found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from aisle.evaluate.meter import Meter
from aisle.files import Receipts, fingerprint, read_parquet, write_parquet
from aisle.jobs.bench.measure import answers
from aisle.jobs.bench.recipes import whole
from aisle.jobs.bench.split import Settings, Split
from aisle.models import create
from aisle.types import Doubles


@dataclass(frozen=True, eq=False)
class Fit:
    """What a fit gave, and its cost."""

    columns: dict[str, Doubles]
    """figure -> (N,) by customer of the split."""
    seconds: float
    """CPU seconds of fitting and answering, when it was measured."""
    peak_mb: float


@dataclass(frozen=True)
class Fits:
    """Fits kept in a folder."""

    folder: Path
    fresh: bool = False
    """Look nothing up."""

    def fit(self, about: Sequence[Any], split: Split, metrics: Sequence[str], model: str, settings: Settings) -> Fit:
        """Fit on the data of the split and ask once, or take what that gave before.

        ``about`` tells one split, and the code that figures come from, from another.
        """
        key = [*about, split.sizes(), list(metrics), model, whole(model, settings)]
        receipts, values = Receipts(self.folder), self.folder / f"{fingerprint(key)}.parquet"
        known = None if self.fresh else receipts.get(key)
        if known is not None and values.exists():
            table = read_parquet(values)
            columns = {name: table[name].to_numpy().astype(np.float64) for name in table.columns}
            return Fit(columns, known["seconds"], known["peak_mb"])
        with Meter() as meter:
            columns = answers(create(model, **settings).fit(split.data), split, metrics)
        write_parquet(values, pl.DataFrame(columns))
        receipts.put(key, {"seconds": meter.seconds, "peak_mb": meter.peak_mb})
        return Fit(columns, meter.seconds, meter.peak_mb)
