"""``aisle bench speed``: measures what is missing, one fresh process at a time, and can be stopped at any time."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from aisle.errors import ResourceError, UsageError
from aisle.files import Receipts, write_json
from aisle.jobs.bench.cells import read_json
from aisle.jobs.bench.machine import SOURCE, commit, machine
from aisle.jobs.bench.speed import process
from aisle.jobs.bench.speed.figures import curve, paired, reached, summary
from aisle.jobs.bench.speed.pieces import missing
from aisle.jobs.bench.speed.rivals import RIVALS
from aisle.jobs.bench.speed.task import LEAST_ROWS, TASKS, Json, Place, Side, Size, Task, chosen, task
from aisle.progress import Progress

RESULTS = Path("benchmarks/results/speed.json")
CACHE = Path(".bench/speed")
ROWS, PRODUCTS, TURNS = 400_000, 10_000, 3
BYTES_A_ROW = 600
"""Disk that all pieces of all sizes take at most, by rows of the largest."""

Measure = Callable[[str, str, Place], Json]
Make = Callable[[tuple[str, ...], Place], None]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be measured."""

    only: tuple[str, ...] = ()
    """Tasks; empty = all."""
    rows: int = ROWS
    """Rows of the largest retailer."""
    products: int = PRODUCTS
    turns: int = TURNS
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    results: Path = RESULTS
    cache: Path = CACHE
    force: bool = False
    """Measure again what is there."""

    def __post_init__(self) -> None:
        chosen(self.only)  # refuses what is no task
        if self.rows < LEAST_ROWS:
            raise UsageError(f"--rows {self.rows} are too few to tell anything; give {LEAST_ROWS:,} or more")
        for name, value, least in (("products", self.products, 100), ("turns", self.turns, 1)):
            if value < least:
                raise UsageError(f"--{name} is {value}; give {least} or more")

    @property
    def size(self) -> Size:
        """The largest size."""
        return Size(self.rows, self.products, self.threads)

    @property
    def command(self) -> str:
        """The command that asks for this."""
        only = f" --only {','.join(self.only)}" if self.only else ""
        sizes = f"--rows {self.rows} --products {self.products} --turns {self.turns} --threads {self.threads}"
        return f"aisle bench speed{only} {sizes}"


@dataclass(frozen=True)
class Done:
    """What a run did."""

    tasks: tuple[str, ...]
    measured: int
    kept: int
    """Measurements that an earlier run of the same commit on the same machine has left."""
    absent: dict[str, str]
    """Library -> why it was not measured."""
    failed: dict[str, str]
    """Measurement -> why it could not be made; the others were."""


@dataclass(frozen=True)
class One:
    """A measurement."""

    task: Task
    side: Side
    size: Size
    turn: int

    @property
    def name(self) -> str:
        """Task, side and, where there are several, size."""
        rows = f", {self.size.rows:,} rows" if self.task.steps > 1 else ""
        return f"{self.task.name}: {self.side.name}{rows}"


def bench_speed(
    order: Order,
    progress: Progress | None = None,
    *,
    measure: Measure = process.measure,
    make: Make = process.make,
    imported: Callable[[str, str], Json] = process.imported,
) -> Done:
    """Measure what is missing of an order and write its results; tasks that were measured before stay in the file.

    Raises UsageError for unknown tasks and sizes, ResourceError where the disk is too small.
    """
    _check_disk(order)
    run = _Run(order, progress or Progress(), measure, make, imported)
    for name in run.names:
        run.task(task(name))
    if not run.failed:
        shutil.rmtree(run.data, ignore_errors=True)
    return Done(run.names, run.measured, run.kept, run.absent, run.failed)


class _Run:
    """One run: what is known of the machine, and what has been measured."""

    def __init__(
        self, order: Order, progress: Progress, measure: Measure, make: Make, imported: Callable[[str, str], Json]
    ) -> None:
        self.order, self.progress = order, progress
        self.measure, self.make, self.imported = measure, make, imported
        self.names = chosen(order.only)
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.load = [round(load, 2) for load in os.getloadavg()]
        self.data, self.receipts = order.cache / "data", Receipts(order.cache / "parts")
        self.results: dict[str, Json] = {}
        self.failed: dict[str, str] = {}
        self.measured = self.kept = 0
        self.waiting = [one for name in self.names for one in self._ones(task(name)) if self._known(one) is None]
        self.total, self.walls = len(self.waiting), dict[str, float]()

    @cached_property
    def rivals(self) -> dict[str, Json]:
        """``version`` or ``absent`` of each library that a task asks for."""
        wanted = {side.rival for name in self.names for side in task(name).sides if side.rival}
        found = {}
        for module in (name for name in RIVALS if name in wanted):
            with self.progress.step(f"looking for {module}"):
                found[module] = self.imported(module, RIVALS[module])
        return found

    @property
    def absent(self) -> dict[str, str]:
        """Libraries that are not there, and why."""
        return {name: found["absent"] for name, found in self.rivals.items() if "absent" in found}

    @cached_property
    def origin(self) -> Json:
        """Machine and commit."""
        return {"commit": commit(), "machine": machine() | {"threads": str(self.order.threads)}}

    @cached_property
    def code(self) -> str:
        """A hash of our source: outside of a checkout, or with changes in it, the commit tells nothing."""
        digest = hashlib.sha256()
        for file in sorted((SOURCE / "aisle").rglob("*.py")):
            digest.update(file.read_bytes())
        return digest.hexdigest()[:16]

    def task(self, now: Task) -> None:
        """Measure a task and write its result into the file."""
        turns: dict[tuple[str, int], list[Json]] = {}
        for one in self._ones(now):
            if (found := self._one(one)) is not None:
                turns.setdefault((one.side.name, one.size.rows), []).append(found)
        figures = [
            summary(side.name, size, turns[side.name, size.rows])
            for side in now.sides
            for size in now.sizes(self.order.size)
            if (side.name, size.rows) in turns
        ]
        self.results[now.name] = self._result(now, figures)
        known = read_json(self.order.results) if self.order.results.exists() else {}
        tasks = {**known.get("tasks", {}), **self.results}
        told = {"benchmark": "speed", "data": "generated", "tasks": {n: tasks[n] for n in TASKS if n in tasks}}
        write_json(self.order.results, told)

    def _result(self, now: Task, figures: list[Json]) -> Json:
        """All that is told of a task."""
        mine = {side.rival: self.rivals[side.rival] for side in now.sides if side.rival}
        limits = {one["side"]: one for one in self.results.get("limits", {}).get("figures", [])}
        by_name = {one["side"]: one for one in figures if one["rows"] == self.order.rows}
        told: Json = {
            "command": self.order.command,
            **self.origin,
            "started": self.started,
            "load_at_start": self.load,
            "rivals": mine,
            "sizes": [{"rows": s.rows, "customers": s.customers} for s in now.sizes(self.order.size)],
            "products": self.order.products,
            "turns": self.order.turns,
            "figures": figures,
            "pairs": [paired(pair, by_name, limits, self._why(now)) for pair in now.pairs],
            "goals": [reached(goal, by_name) for goal in now.goals],
        }
        if now.steps > 1:
            sides = {one["side"]: [o for o in figures if o["side"] == one["side"]] for one in figures}
            told["curves"] = [curve(name, found) for name, found in sides.items()]
        return told | {"failed": {n: why for n, why in self.failed.items() if n.startswith(f"{now.name}:")}}

    def _why(self, now: Task) -> dict[str, str]:
        """Why sides of a task were not measured."""
        gone = {side.name: self.absent[side.rival] for side in now.sides if side.rival in self.absent}
        lost = {name.partition(": ")[2]: why for name, why in self.failed.items() if name.startswith(f"{now.name}:")}
        return gone | lost

    def _ones(self, now: Task) -> Iterator[One]:
        """The measurements of a task in order: all sides in turn, again and again, so that noise hits all of them."""
        for turn in range(self.order.turns):
            for size in now.sizes(self.order.size):
                yield from (One(now, side, size, turn) for side in now.sides if side.rival not in self.absent)

    def _known(self, one: One) -> Json | None:
        return None if self.order.force else self.receipts.get(self._key(one))

    def _one(self, one: One) -> Json | None:
        """What a measurement gives, or gave before; None where it fails, or its side did."""
        known = self._known(one)
        if known is not None:
            self.kept += 1
            return known
        if one.name in self.failed:
            return None
        place = Place(self.data, one.size)
        try:
            self._prepare(one, place)
            with self.progress.step(f"{one.name}, turn {one.turn + 1} of {self.order.turns} {self._place()}"):
                start = time.monotonic()
                found = self.measure(one.task.name, one.side.name, place)
        except ResourceError as error:  # a rival that breaks down must not stop the others
            self.failed[one.name] = str(error)
            self.waiting = [other for other in self.waiting if other.name != one.name]
            return None
        self.walls[one.name] = time.monotonic() - start
        self.waiting.remove(one)
        self.measured += 1
        self.receipts.put(self._key(one), found)
        return found

    def _prepare(self, one: One, place: Place) -> None:
        """Make the pieces that are missing: of all our sides at once, of a rival its own."""
        sides = [one.side] if one.side.rival else [side for side in one.task.sides if not side.rival]
        todo = missing(place, tuple(piece for side in sides for piece in side.pieces))
        if todo:
            with self.progress.step(f"{one.task.name}, {one.size.rows:,} rows: preparing {', '.join(todo)}"):
                self.make(todo, place)

    def _place(self) -> str:
        """``(3 of 60, about 9 min left)``: as long as the same took before, or as others did in the mean."""
        number = f"{self.total - len(self.waiting) + 1} of {self.total}"
        if not self.walls:
            return f"({number})"
        mean = sum(self.walls.values()) / len(self.walls)
        left = sum(self.walls.get(one.name, mean) for one in self.waiting)
        return f"({number}, about {left / 60:.0f} min left)" if left >= 90 else f"({number}, about {left:.0f} s left)"

    def _key(self, one: One) -> Json:
        """What a figure may depend on; others' by the version of their library, ours by our source."""
        rival = self.rivals[one.side.rival] if one.side.rival else {}
        about = {"task": one.task.name, "side": one.side.name, "turn": one.turn}
        return about | vars(one.size) | self.origin | {"code": self.code, "rival": rival}


def _check_disk(order: Order) -> None:
    """Raise ResourceError where the pieces would not fit."""
    order.cache.mkdir(parents=True, exist_ok=True)
    there = sum(path.stat().st_size for path in order.cache.rglob("*") if path.is_file())  # of a run that was stopped
    free, needed = shutil.disk_usage(order.cache).free, order.rows * BYTES_A_ROW
    if free + there < needed:
        raise ResourceError(
            f"{order.rows:,} rows need about {needed / 1e9:.0f} GB in {order.cache}, and {free / 1e9:.0f} GB are free; "
            "give fewer --rows, or another --cache"
        )
