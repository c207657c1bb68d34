"""What the cells of a protocol prove against each other: paired bootstrap intervals over the same customers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from aisle.errors import DataError
from aisle.evaluate.compare import Interval, intervals
from aisle.jobs.bench.cells import Cell, Json, Values, cells_of
from aisle.jobs.bench.recipes import is_classic, parse
from aisle.jobs.bench.split import Beat, Protocol
from aisle.models import MODELS, model_class

ValuesOf: TypeAlias = Callable[[Cell, Json], tuple[Values, bool]]
ITEM_KNN = ("item_knn", "sequence_knn")
BEST: dict[str, Callable[[str], bool]] = {
    "best classic": is_classic,
    "best item-kNN": lambda name: name in ITEM_KNN,
    "best popularity": lambda name: not model_class(name).personal,
}


def versus(now: Protocol, results: Path, values_of: ValuesOf, known: Sequence[Json] = ()) -> list[Json]:
    """One entry for each bar with a rival whose cells are there; several seeds are averaged by customer.

    An entry that is ``known`` for cells with these very figures is kept: nothing need be worked out again.
    """
    every, found = cells_of(results, now.name), []
    for beat in now.beats:
        entry = question(beat, every)
        if entry is None:
            continue
        cells = {cell: one for cell, one in every.items() if beat.metric in one["figures"]}
        kept = next((one for one in known if entry.items() <= one.items()), None)
        found.append(kept or entry | _compared(beat, entry["rival"], cells, values_of))
    return found


def question(beat: Beat, every: dict[Cell, Json]) -> Json | None:
    """What an entry compares, and the figures it was made for; None where cells are missing, or no rival is asked."""
    cells = {cell: one for cell, one in every.items() if beat.metric in one["figures"]}
    rival = rival_of(beat, cells) if beat.rival else None
    if rival is None or not _of(cells, beat.recipe):
        return None
    return {
        "label": beat.label,
        "recipe": beat.recipe,
        "rival": rival,
        "metric": beat.metric,
        "factor": beat.factor,
        "ours": round(_figure(_of(cells, beat.recipe), beat.metric), 6),
        "theirs": round(_figure(_of(cells, rival), beat.metric), 6),
        "seeds": {r: sorted(cell.seed for cell in _of(cells, r)) for r in (beat.recipe, rival)},
    }


def rivals_missing(beat: Beat, now: Protocol, cells: dict[Cell, Json]) -> list[str]:
    """Recipes of the protocol that might be the best of their kind, and were not run."""
    if beat.rival not in BEST:
        return []
    there = {cell.recipe for cell, one in cells.items() if beat.metric in one["figures"]}
    return [recipe for recipe in now.recipes if _fits(beat, recipe) and recipe not in there]


def _compared(beat: Beat, rival: str, cells: dict[Cell, Json], values_of: ValuesOf) -> Json:
    (ours, again), (theirs, redone) = (_mean(r, beat.metric, cells, values_of) for r in (beat.recipe, rival))
    if not np.array_equal(ours.customer, theirs.customer) or not ours.part.equals(theirs.part):
        raise DataError(f"{beat.recipe} and {rival} asked different customers; run both with --force")
    gap_by_row = ours.columns[beat.metric] - beat.factor * theirs.columns[beat.metric]
    gap = intervals(gap_by_row[:, None], customer=ours.customer)[0]
    recomputed = [name for name, was in ((beat.recipe, again), (rival, redone)) if was]
    return {"difference": gap.to_json(), "met": holds(beat, gap), "recomputed": recomputed}


def holds(beat: Beat, gap: Interval) -> bool:
    """The interval of the difference lies above 0; where level is enough, not below it."""
    return gap.high >= 0 if beat.level else gap.above_zero


def rival_of(beat: Beat, cells: dict[Cell, Json]) -> str | None:
    """The recipe to be passed: the one named, or the best of its kind on the test itself, which is the hardest."""
    if beat.rival not in BEST:
        return beat.rival if _of(cells, beat.rival) else None
    names = {cell.recipe for cell in cells if _fits(beat, cell.recipe)}
    figures = {name: _figure(_of(cells, name), beat.metric) for name in sorted(names)}
    return max(figures, key=lambda name: figures[name]) if figures else None


def _fits(beat: Beat, recipe: str) -> bool:
    name, _ = parse(recipe)
    return name in MODELS and BEST[beat.rival](name)


def _of(cells: dict[Cell, Json], recipe: str) -> dict[Cell, Json]:
    return {cell: found for cell, found in cells.items() if cell.recipe == recipe}


def _figure(cells: dict[Cell, Json], metric: str) -> float:
    return float(np.mean([found["figures"][metric]["mean"] or 0.0 for found in cells.values()]))


def _mean(recipe: str, metric: str, cells: dict[Cell, Json], values_of: ValuesOf) -> tuple[Values, bool]:
    """The values of a recipe, its seeds averaged, and whether some are not those its cell was written from."""
    found = [values_of(cell, one) for cell, one in _of(cells, recipe).items()]
    columns = np.mean([values.columns[metric] for values, _ in found], axis=0)
    first = found[0][0]
    return Values(first.customer, first.part, {metric: columns}), any(again for _, again in found)
