"""The last window in parts: the model is fitted and kept, asked for some customers at a time, and judged by all its
lists. The answer is that of ``ask_last``, whoever did the parts; what is there already is not done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from aisle.errors import AisleError, BundleError
from aisle.evaluate.last import Asked, Cost, Shelf, key_of
from aisle.evaluate.meter import Meter
from aisle.evaluate.protocol import PLACES, Exam, judge, make_lists
from aisle.files import fingerprint, read_arrays, remove, write_arrays
from aisle.models import create
from aisle.models.base import Model
from aisle.types import Codes

ASKED_A_PART = 10_000
"""Customers; more where a block holds more."""
Rows: TypeAlias = tuple[Literal["warm", "cold"], int, int]
"""Some customers of a population: from, to."""
FITTED, LISTS = "fitted.safetensors", "lists"


@dataclass(frozen=True, eq=False)
class InParts:
    """One model, with the settings that were chosen for it, and the last window."""

    folder: Path
    """Of this model alone; gone when the answer is on the shelf."""
    name: str
    settings: dict[str, Any]
    exam: Exam
    k: int

    @cached_property
    def key(self) -> str:
        """Of what the parts are about."""
        return fingerprint(key_of(self.name, self.settings, self.exam, self.k))

    @property
    def rows(self) -> list[Rows]:
        """The customers of each part: whole blocks, so that lists are those of all at once to the last bit."""
        step = max(ASKED_A_PART // self.exam.block_rows, 1) * self.exam.block_rows
        sizes: list[tuple[Literal["warm", "cold"], int]] = [
            ("warm", len(self.exam.warm.customers)),
            ("cold", len(self.exam.cold.customers)),
        ]
        return [(kind, at, min(at + step, size)) for kind, size in sizes for at in range(0, size, step)]

    def fit(self) -> AisleError | MemoryError | None:
        """Fit the model and keep it; the error of one that cannot be fitted."""
        if self._kept(self.folder / FITTED) is not None:
            return None
        try:
            with Meter() as meter:
                model = create(self.name, **self.settings).fit(self.exam.past)
        except (AisleError, MemoryError) as error:
            return error
        arrays, values = model.state()
        told = {"values": values, "training": getattr(model, "training_", None) or None}
        self._keep(self.folder / FITTED, arrays, told, meter)
        return None

    def ask(self, rows: Rows) -> None:
        """Keep the lists of some customers."""
        if self._kept(self._lists(rows)) is not None:
            return
        kind, start, stop = rows
        model = self._model
        with Meter() as meter:
            batches = self.exam.batches(getattr(self.exam, kind).customers[start:stop])
            lists = make_lists(model, self.exam, batches, max(PLACES, self.k))
        self._keep(self._lists(rows), {LISTS: lists}, {}, meter)

    def finish(self, shelf: Shelf) -> None:
        """Judge the lists of all customers and put the answer on the shelf; raises BundleError where one is missing."""
        lists: dict[str, list[Codes]] = {
            kind: [np.zeros((0, max(PLACES, self.k)), dtype=np.int32)] for kind in ("warm", "cold")
        }
        costs: list[Sequence[float]] = []
        for path, kind in [(self.folder / FITTED, ""), *((self._lists(rows), rows[0]) for rows in self.rows)]:
            found = self._kept(path)
            if found is None:
                raise BundleError(f"{path} is missing or torn; give the command again")
            costs.append(found[1]["cost"])
            if kind:
                lists[kind].append(found[0][LISTS])
            else:
                training = found[1]["training"]
        with Meter() as meter:
            scores = judge(np.concatenate(lists["warm"]), np.concatenate(lists["cold"]), self.exam, self.k)
        costs.append((meter.seconds, meter.peak_mb))
        cost = Cost(sum(seconds for seconds, _ in costs), max(peak for _, peak in costs))
        shelf.put(key_of(self.name, self.settings, self.exam, self.k), Asked(scores, cost, training))
        remove(self.folder)

    @cached_property
    def _model(self) -> Model:
        arrays, told = read_arrays(self.folder / FITTED)
        return create(self.name, **self.settings).restore(arrays, told["values"])

    def _lists(self, rows: Rows) -> Path:
        return self.folder / f"{rows[0]}-{rows[1]}.safetensors"

    def _keep(self, path: Path, arrays: dict[str, Any], told: dict[str, Any], meter: Meter) -> None:
        write_arrays(path, arrays, told | {"key": self.key, "cost": (meter.seconds, meter.peak_mb)})

    def _kept(self, path: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """What an earlier call left of this very model; None where there is nothing, or it is torn."""
        try:
            arrays, told = read_arrays(path)
        except BundleError:
            return None
        return (arrays, told) if told["key"] == self.key else None
