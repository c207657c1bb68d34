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
from aisle.files import read_sealed, write_sealed
from aisle.models import create
from aisle.models.base import Model

ASKED_A_PART = 10_000
"""Customers, at most: whole blocks of them."""
Rows: TypeAlias = tuple[Literal["warm", "cold"], int, int]
"""Some customers of a population: from, to."""
FITTED, LISTS = "fitted.safetensors", "lists"


@dataclass(frozen=True, eq=False)
class InParts:
    """One model, with the settings that were chosen for it, and the last window."""

    folder: Path
    """Of this model alone; of no use any more when the answer is on the shelf."""
    name: str
    settings: dict[str, Any]
    exam: Exam
    k: int

    @cached_property
    def key(self) -> list[Any]:
        """Of the answer on the shelf, and of what the parts leave."""
        return key_of(self.name, self.settings, self.exam, self.k)

    @property
    def rows(self) -> list[Rows]:
        """The customers of each part: whole blocks, so that lists are those of all at once to the last bit."""
        step = max(ASKED_A_PART // self.exam.block_rows, 1) * self.exam.block_rows
        sizes: list[tuple[Literal["warm", "cold"], int]] = [
            ("warm", len(self.exam.warm.customers)),
            ("cold", len(self.exam.cold.customers)),
        ]
        return [(kind, at, min(at + step, size)) for kind, size in sizes for at in range(0, size, step)]

    def fit(self) -> bool:
        """Fit the model and keep it; False for one that cannot be fitted."""
        if self._kept(self.folder / FITTED) is not None:
            return True
        try:
            with Meter() as meter:
                model = create(self.name, **self.settings).fit(self.exam.past)
        except (AisleError, MemoryError):  # the examination meets it again, and says why
            return False
        arrays, values = model.state()
        told = {"values": values, "training": getattr(model, "training_", None) or None}
        self._keep(self.folder / FITTED, arrays, told, meter)
        return True

    def ask(self, rows: Rows) -> None:
        """Keep the lists of some customers; nothing where the model cannot make them."""
        if self._kept(self._lists(rows)) is not None:
            return
        kind, start, stop = rows
        try:
            model = self._model
            with Meter() as meter:
                batches = self.exam.batches(getattr(self.exam, kind).customers[start:stop])
                lists = make_lists(model, self.exam, batches, max(PLACES, self.k))
        except (AisleError, MemoryError):
            return
        self._keep(self._lists(rows), {LISTS: lists}, {}, meter)

    def finish(self, shelf: Shelf) -> None:
        """Judge the lists of all customers and put the answer on the shelf; nothing where that cannot be done."""
        lists = {kind: [np.zeros((0, max(PLACES, self.k)), dtype=np.int32)] for kind in ("warm", "cold")}
        fitted = self._kept(self.folder / FITTED)
        found = [(rows[0], self._kept(self._lists(rows))) for rows in self.rows]
        if fitted is None:
            return
        costs: list[Sequence[float]] = [fitted[1]["cost"]]
        for kind, part in found:
            if part is None:
                return
            lists[kind].append(part[0][LISTS])
            costs.append(part[1]["cost"])
        try:
            with Meter() as meter:
                scores = judge(np.concatenate(lists["warm"]), np.concatenate(lists["cold"]), self.exam, self.k)
        except MemoryError:
            return
        costs.append((meter.seconds, meter.peak_mb))
        cost = Cost(sum(seconds for seconds, _ in costs), max(peak for _, peak in costs))
        shelf.put(self.key, Asked(scores, cost, fitted[1]["training"]))

    @cached_property
    def _model(self) -> Model:
        found = self._kept(self.folder / FITTED)
        if found is None:
            raise BundleError(f"{self.folder / FITTED} is missing or torn; give the command again")
        return create(self.name, **self.settings).restore(found[0], found[1]["values"])

    def _lists(self, rows: Rows) -> Path:
        return self.folder / f"{rows[0]}-{rows[1]}-{rows[2]}.safetensors"

    def _keep(self, path: Path, arrays: dict[str, Any], told: dict[str, Any], meter: Meter) -> None:
        write_sealed(path, self.key, arrays, told | {"cost": [meter.seconds, meter.peak_mb]})

    def _kept(self, path: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """What an earlier call left of this very model; None where there is nothing, or it is torn."""
        return read_sealed(path, self.key)
