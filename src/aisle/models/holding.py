"""Models that hold models: make, fit, save and restore several by name, with the plain code of one.

The state of a member is the state of any model; its keys get the member's name in front (``ease:weights_``), so that
one flat set of arrays and one JSON value hold them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.entities import Features
from aisle.data.events import Batch, slices
from aisle.errors import UsageError
from aisle.models import MODELS, create, model_class
from aisle.models.base import Array, Model

BETWEEN = ":"
Settings = dict[str, dict[str, Any]]
"""registry name -> settings."""


def check_members(members: Mapping[str, Any], setting: str, never: Iterable[str] = ()) -> None:
    """Raise UsageError unless every member is a registered model with settings of its own."""
    for name, settings in members.items():
        if name not in MODELS or name in never:
            known = ", ".join(other for other in MODELS if other not in set(never))
            raise UsageError(f"{setting} names {name!r}; it may hold {known}")
        if not isinstance(settings, dict):
            raise UsageError(f"{setting} gives {settings!r} to {name}; give its settings, such as {{}}")
        create(name, **settings)


def fit_members(members: Settings, data: Dataset, given: Mapping[str, Model] | None = None) -> dict[str, Model]:
    """The members fitted to the data, in order; those ``given`` are taken as they are."""
    given = given or {}
    return {name: given[name] if name in given else create(name, **s).fit(data) for name, s in members.items()}


def state_of(held: Mapping[str, Model]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Arrays of all members with their names in front, and ``{name: {"settings": …, "values": …}}``."""
    arrays: dict[str, Array] = {}
    values: dict[str, Any] = {}
    for name, model in held.items():
        own, plain = model.state()
        arrays |= {f"{name}{BETWEEN}{key}": array for key, array in own.items()}
        values[name] = {"settings": model.params(), "values": plain}
    return arrays, values


def restored(arrays: Mapping[str, Array], values: Mapping[str, Any]) -> dict[str, Model]:
    """Undo ``state_of``; arrays that belong to no member are left alone."""
    held: dict[str, Model] = {}
    for name, kept in values.items():
        front = name + BETWEEN
        own = {key.removeprefix(front): array for key, array in arrays.items() if key.startswith(front)}
        held[name] = model_class(name)(**kept["settings"]).restore(own, kept["values"])
    return held


def blocks(rows: int, products: int, members: int, cells: int) -> list[slice]:
    """Slices of rows so that the scores of all members for one slice stay within ``cells``."""
    return slices(rows, cells // max(products * max(members, 1), 1))


def part(batch: Batch, rows: slice) -> Batch:
    """Some neighbouring rows of a batch."""
    indptr = batch.indptr[rows.start : rows.stop + 1]
    picked = np.arange(rows.start, rows.stop, dtype=np.int32)
    return Batch(
        customers=batch.customers[rows],
        indptr=indptr - indptr[0],
        lines=batch.lines.take(slice(int(indptr[0]), int(indptr[-1]))),
        features=Features(
            tree=tuple(level.take(picked) for level in batch.features.tree),
            categories=tuple(level.take(picked) for level in batch.features.categories),
            numbers={name: values[rows] for name, values in batch.features.numbers.items()},
        ),
        at=batch.at,
        n_products=batch.n_products,
        clock=batch.clock,
    )
