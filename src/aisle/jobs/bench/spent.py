"""What a cell was measured with: the budget of its search, and who was left out of its line-up."""

from __future__ import annotations

from collections.abc import Sequence

from aisle.evaluate.tune import Budget
from aisle.jobs.bench.cells import Json

ON_REQUEST = "left out on request"


def searched(found: Json) -> bool:
    """Settings were looked for, no fixed ones taken."""
    return any(part["trials"] for part in found.get("parts", {}).values())


def budget_of(found: Json) -> str:
    """``8 settings / 300 s / 2,500 customers``: what each model was given at most."""
    budget = found["budget"]
    return f"{budget['settings']} settings / {budget['cpu_seconds']:g} s / {budget['customers']:,} customers"


def left_out(found: Json) -> dict[str, str]:
    """Models of the line-up that were not tried in some part, and why."""
    return {name: why for part in found["parts"].values() for name, why in part.get("left_out", {}).items()}


def less(found: Json, budget: Budget, without: Sequence[str] = ()) -> str:
    """What a cell was measured with, where that is less than this budget and line-up; empty where it is not.

    Fixed settings cost no search: no budget is larger than theirs.
    """
    if not searched(found):
        return ""
    missed = sorted(name for name, why in left_out(found).items() if why == ON_REQUEST and name not in without)
    smaller = any(found["budget"][name] < getattr(budget, name) for name in ("settings", "cpu_seconds", "customers"))
    if not smaller and not missed:
        return ""
    return budget_of(found) + (f", without {', '.join(missed)}" if missed else "")
