"""What more rows cost: four sizes over one catalogue, 50 lines a customer, everybody asked for lists."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from aisle.jobs.bench.speed import fit, lists
from aisle.jobs.bench.speed.ingest import TASK as INGEST
from aisle.jobs.bench.speed.pieces import SMALL_IALS
from aisle.jobs.bench.speed.task import Side, Task

SIZES = 4
MODELS = {"item_knn": fit.IMPORTS["item_knn"], SMALL_IALS: fit.IMPORTS["ials"]}
"""Name of a model that is measured -> what it imports."""
FLAT = 1.5
"""Costs by the million rows lie within this factor of each other where they are flat."""


def _sides() -> tuple[Side, ...]:
    first = INGEST.sides[0]
    found = [replace(first, name="ingest")]
    for name, imports in MODELS.items():
        found.append(Side(name=f"fit {name}", ready=partial(fit.ours, name), pieces=("kept",), imports=imports))
    for name, imports in MODELS.items():
        ready = partial(lists.ours, name, asked=None)
        needed = (*imports, "aisle.bundle.store", "aisle.rank.by_vectors")
        found.append(Side(name=f"lists {name}", ready=ready, pieces=(f"model {name}",), imports=needed))
    return tuple(found)


TASK = Task(
    name="growth",
    title="Growth",
    about="One catalogue, 50 lines a customer, everybody asked for lists; cost by the million lines.",
    sides=_sides(),
    steps=SIZES,
)
