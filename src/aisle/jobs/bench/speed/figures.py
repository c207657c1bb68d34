"""The arithmetic of a speed result: what turns give, ratios, what became of what is asked, and growth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from aisle.jobs.bench.speed.growth import FLAT
from aisle.jobs.bench.speed.task import Goal, Json, Pair, Size

COSTS = {"cpu": "cpu_seconds", "wall": "wall_seconds"}
LEAST = 1e-9


def summary(side: str, size: Size, turns: Sequence[Json]) -> Json:
    """The figures of a side: the least seconds of its turns, since what else a machine does only adds; the most memory.

    ``spread`` is the most CPU seconds over the least.
    """
    cpu = [turn["cpu_seconds"] for turn in turns]
    return {
        "side": side,
        "rows": size.rows,
        "cpu_seconds": min(cpu),
        "wall_seconds": min(turn["wall_seconds"] for turn in turns),
        "peak_mb": max(turn["peak_mb"] for turn in turns),
        "base_mb": min(turn["base_mb"] for turn in turns),
        "spread": _over(max(cpu), min(cpu)),
        "facts": turns[-1]["facts"],
        "turns": list(turns),
    }


def paired(pair: Pair, figures: dict[str, Json], limits: dict[str, Json], absent: dict[str, str]) -> Json:
    """Ratios of a pair by CPU and by wall seconds, or why there are none; CPU seconds count.

    ``figures`` and ``limits`` by name of the side; ``absent`` says why a side was not measured.
    """
    known = limits if pair.limit else figures
    told: Json = {"ours": pair.ours, "theirs": pair.theirs, "limit": bool(pair.limit), "counts": "cpu"}
    for name, where in ((pair.ours, figures), (pair.theirs, known)):
        if name not in where:
            return told | {"absent": absent.get(name, "not measured")}
    ours, theirs = figures[pair.ours], known[pair.theirs]
    share = ours["facts"][pair.limit] / theirs["facts"][pair.limit] if pair.limit else 1.0
    for name, cost in COSTS.items():
        told[name] = _over(ours[cost], theirs[cost] * share)
    if pair.most is not None and pair.bfloat16 in (None, ours["facts"].get("bfloat16")):
        told |= _judged(told["cpu"], pair.most, ours["rows"], pair.at)
    return told


def reached(goal: Goal, figures: dict[str, Json]) -> Json:
    """What became of a goal; nothing where its side was not measured."""
    told: Json = {"ours": goal.ours, "figure": goal.figure}
    if goal.ours not in figures:
        return told | {"absent": "not measured"}
    value = figures[goal.ours][goal.figure]
    return told | {"value": value} | _judged(value, goal.most, figures[goal.ours]["rows"], goal.at)


def curve(side: str, figures: Sequence[Json]) -> Json:
    """Costs by the million rows at each size, and how they change.

    Memory is what was held above that of the imports.
    """
    points = [
        {
            "rows": one["rows"],
            "cpu_seconds_per_million": round(one["cpu_seconds"] / one["rows"] * 1e6, 3),
            "wall_seconds_per_million": round(one["wall_seconds"] / one["rows"] * 1e6, 3),
            "mb_per_million": round(max(one["peak_mb"] - one["base_mb"], 0.0) / one["rows"] * 1e6, 1),
            "peak_mb": one["peak_mb"],
        }
        for one in sorted(figures, key=lambda one: one["rows"])
    ]
    named = {"cpu": "cpu_seconds_per_million", "memory": "mb_per_million"}
    return {"side": side, "points": points} | {
        name: growth([point[column] for point in points]) for name, column in named.items()
    }


def growth(costs: Sequence[float]) -> Json:
    """How costs by the million, smallest size first, change: ``within``, the largest over the least; ``rise``, the most
    by which one size costs more than a smaller one; and ``said``, the two in a word.
    """
    within = _over(max(costs), min(costs))
    rise = max((_over(later, sooner) for sooner, later in combinations(costs, 2)), default=1.0)
    said = "flat" if within <= FLAT else "falls" if rise <= FLAT else "grows"
    return {"within": within, "rise": rise, "said": said}


def _judged(value: float, most: float, rows: int, at: int) -> Json:
    """What is asked, from how many rows on, and whether it is so here."""
    return {"most": most, "at": at, "asked_here": rows >= at, "met": value <= most}


def _over(ours: float, theirs: float) -> float:
    return round(ours / max(theirs, LEAST), 4)
