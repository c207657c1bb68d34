"""What more rows cost: 1, 2, 4 and 8 units of them over one catalogue, 50 a customer, everybody asked for lists."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from aisle.jobs.bench.speed import fit, lists
from aisle.jobs.bench.speed.ingest import TASK as INGEST
from aisle.jobs.bench.speed.task import Side, Task

SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
FLAT = 1.5
"""Costs by the million rows lie within this factor of each other where they are flat."""


def _sides() -> tuple[Side, ...]:
    first = INGEST.sides[0]
    found = [replace(first, name="ingest")]
    for name, imports in fit.IMPORTS.items():
        found.append(Side(name=f"fit {name}", ready=partial(fit.ours, name), pieces=("kept",), imports=imports))
    for name, imports in fit.IMPORTS.items():
        ready = partial(lists.ours, name, asked=None)
        needed = (*imports, "aisle.bundle.store", "aisle.rank.by_vectors")
        found.append(Side(name=f"lists {name}", ready=ready, pieces=(f"model {name}",), imports=needed))
    return tuple(found)


TASK = Task(
    name="growth",
    title="Growth",
    about="One catalogue, 50 lines a customer, everybody asked for lists; cost by the million lines.",
    sides=_sides(),
    shares=SHARES,
)
