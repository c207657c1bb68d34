"""What a comparison is: sides that do the same work, pairs of them, and what is asked of those."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeAlias

from aisle.errors import UsageError

Json: TypeAlias = dict[str, Any]
ROWS_A_CUSTOMER = 50
MILLION = 1_000_000
LEAST_ROWS = 2_000
"""Fewer are no retailer: growth begins at an eighth of them, or at a million rows."""
FULL = 10_000_000
"""Rows at which most is asked."""
TASKS = ("limits", "ingest", "topk", "fit", "lists", "growth")
"""Each a file of this folder."""


@dataclass(frozen=True)
class Size:
    """How much work there is."""

    rows: int
    """Transaction lines of the generated retailer."""
    products: int
    threads: int

    @property
    def customers(self) -> int:
        """Customers of the retailer."""
        return max(self.rows // ROWS_A_CUSTOMER, 1)


@dataclass(frozen=True)
class Place:
    """Where the pieces of a retailer of one size lie."""

    root: Path
    size: Size

    @property
    def folder(self) -> Path:
        """All that belongs to this size."""
        return self.root / f"{self.size.rows}-{self.size.products}"

    def path(self, piece: str) -> Path:
        """A piece of it."""
        return self.folder / piece


@dataclass(frozen=True)
class Work:
    """Work that is ready: nothing but ``run`` is timed."""

    run: Callable[[], Any]
    tell: Callable[[Any], Json] = lambda found: {}
    """What was found, and how much work it was; cleans up after it."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One way to do the work of a task."""

    name: str
    ready: Callable[[Place], Work]
    """Loads what is needed; called in the process that is measured, before the clock starts."""
    pieces: tuple[str, ...] = ()
    """What must lie there; see ``pieces``."""
    imports: tuple[str, ...] = ()
    """Modules loaded before memory is looked at for the first time."""
    rival: str = ""
    """The package of others that it needs, installed or not; empty = none."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two sides of a task whose costs are divided, or a side and a limit."""

    ours: str
    theirs: str
    """A side of the task, or with ``limit`` one of the task ``limits``."""
    limit: Literal["", "gflop", "gigabytes"] = ""
    """What both say how much of they did: a limit would have taken so long for that."""
    most: float | None = None
    """The largest ratio by CPU seconds that is asked for; None = it is shown."""
    at: int = FULL
    """Rows for which that is asked."""
    bfloat16: bool | None = None
    """Asked only where the processor has, or has not, products of bfloat16; None = wherever."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What is asked of a figure itself."""

    ours: str
    figure: Literal["wall_seconds", "peak_mb"]
    most: float
    at: int = FULL


@dataclass(frozen=True, kw_only=True)
class Task:
    """A comparison."""

    name: str
    title: str
    about: str
    """A sentence on what is done."""
    sides: tuple[Side, ...]
    pairs: tuple[Pair, ...] = ()
    goals: tuple[Goal, ...] = ()
    steps: int = 1
    """Sizes; several make a curve."""

    def side(self, name: str) -> Side:
        """The side of a name."""
        return next(side for side in self.sides if side.name == name)

    def sizes(self, size: Size) -> tuple[Size, ...]:
        """The sizes it is measured at: a curve begins at an eighth or a million rows, and rises by one factor."""
        if self.steps == 1:
            return (size,)
        least = min(size.rows / 8, MILLION)
        shares = [step / (self.steps - 1) for step in range(self.steps)]
        return tuple(replace(size, rows=round(least * (size.rows / least) ** share)) for share in shares)

    @property
    def limited(self) -> bool:
        """Whether limits are needed beside it."""
        return any(pair.limit for pair in self.pairs)


def task(name: str) -> Task:
    """The task of a name."""
    found = import_module(f"{__package__}.{name}").TASK
    assert isinstance(found, Task)
    return found


def chosen(names: tuple[str, ...]) -> tuple[str, ...]:
    """Tasks by name, none = all; ``limits`` among them where one needs those. Raises UsageError for a typo."""
    for name in names:
        if name not in TASKS:
            raise UsageError(f"no task {name!r}; known: {', '.join(TASKS)}")
    wanted = set(names or TASKS)
    if any(task(name).limited for name in wanted):
        wanted.add("limits")
    return tuple(name for name in TASKS if name in wanted)
