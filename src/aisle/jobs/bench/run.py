"""``aisle bench accuracy``: runs the cells that are missing, compares them, and can be stopped at any time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from aisle.errors import AisleError, DataError, UsageError
from aisle.evaluate.tune import BUDGETS, Budget
from aisle.files import Receipts, fingerprint, write_json
from aisle.jobs.bench import measure, recipes
from aisle.jobs.bench.cells import VERSUS, Cell, Json, Values, read_json
from aisle.jobs.bench.fits import Fit, Fits
from aisle.jobs.bench.measure import means
from aisle.jobs.bench.protocols import chosen, module_of, protocol
from aisle.jobs.bench.recipes import PLAIN, PUBLISHED, Choice, choose, metric_of, parse, tried, whole
from aisle.jobs.bench.search import PARTS, Search, Tell, model_module, source_of, trial_row, with_joined
from aisle.jobs.bench.spent import less
from aisle.jobs.bench.split import Protocol, Settings, Split
from aisle.jobs.bench.versus import versus
from aisle.models import MODELS, model_class
from aisle.progress import Progress, Tick

RESULTS = Path("benchmarks/results/accuracy")
CACHE = Path(".bench")
COMPARISONS = "comparisons"
"""Stands for a recipe where those of a protocol failed."""
CODE = (*PARTS, "aisle.jobs", "aisle.evaluate")
"""Packages whose code may change the figures of a part."""
NEAR = 0.01
"""Relative difference of a model that was fitted once more, on another machine perhaps."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be measured."""

    only: tuple[str, ...] = ()
    """Protocols, by name or the beginning of one; empty = all."""
    models: tuple[str, ...] = ()
    """Recipes; empty = those of the protocol."""
    seeds: tuple[int, ...] = (0,)
    results: Path = RESULTS
    cache: Path = CACHE
    budget: Budget = field(default_factory=lambda: BUDGETS["full"])
    force: bool = False
    without: tuple[str, ...] = ()
    """Models that S and C leave out, to save time."""

    def __post_init__(self) -> None:
        for recipe in self.models:
            parse(recipe)
        for name in self.without:
            model_class(name)  # refuses what is no model
        if not self.seeds or min(self.seeds) < 0:
            raise UsageError(f"seeds are {self.seeds}; give whole numbers from 0, for example 0,1,2")

    def cells(self) -> tuple[Cell, ...]:
        """The cells asked for, whether measured or not; a recipe that draws nothing has a cell of seed 0 alone."""
        return tuple(
            Cell(name, recipe, seed)
            for name in chosen(self.only)
            for recipe in self.models or protocol(name).recipes
            for seed in (self.seeds if _drawn(recipe) else (0,))
        )

    def missing(self) -> tuple[Cell, ...]:
        """Those to be run: not there, or from before a figure was asked for.

        A cell that was measured with less counts as there: ``kept`` names those.
        """
        return tuple(cell for cell in self.cells() if self.force or self._whole(cell) is None)

    def kept(self) -> dict[Cell, str]:
        """Cells that are not run though they were measured with less than this order, and with what."""
        there = {} if self.force else {cell: self._whole(cell) for cell in self.cells()}
        said = {cell: less(found, self.budget, self.without) for cell, found in there.items() if found}
        return {cell: what for cell, what in said.items() if what}

    def _whole(self, cell: Cell) -> Json | None:
        """What was measured, where that is every figure of the protocol."""
        found = cell.read(self.results)
        return found if found is not None and set(protocol(cell.protocol).metrics) <= set(found["figures"]) else None


@dataclass(frozen=True)
class Done:
    """What a run did."""

    written: tuple[Cell, ...]
    failed: dict[Cell, str]
    """Why a cell could not be measured; the others were."""


def data_folder() -> Path:
    """The folder of the real data sets; raises UsageError without one."""
    folder = os.environ.get("AISLE_DATA", "")
    if not folder or not Path(folder).is_dir():
        said = f"{folder!r}, no folder" if folder else "not set"
        raise UsageError(
            f"AISLE_DATA is {said}; set it to the folder that holds the data sets (tafeng_nbr, gowalla_lightgcn …), "
            "see docs/accuracy.md"
        )
    return Path(folder)


def bench_accuracy(order: Order, progress: Progress | None = None) -> Done:
    """Run what is missing of an order and compare; a cell that was stopped leaves nothing but its finished trials.

    Raises UsageError for unknown names, and without the data.
    """
    progress, folder = progress or Progress(), data_folder()
    missing = order.missing()
    written: list[Cell] = []
    failed: dict[Cell, str] = {}
    for name in chosen(order.only):
        now, todo = replace(protocol(name), without=order.without), [cell for cell in missing if cell.protocol == name]
        source = _Source(now, folder, progress)
        for cell in todo:
            place = f"{len(written) + len(failed) + 1} of {len(missing)}"
            try:
                with progress.step(f"{name} {cell.recipe} seed {cell.seed} ({place})") as tick:
                    found = _Bench(order, now, source).cell(cell, _telling(tick))
            except AisleError as error:  # one cell must not stop the others; bugs still do
                failed[cell] = str(error)
                continue
            cell.write(order.results, found)
            written.append(cell)
        try:
            compare(order, now, source)
        except AisleError as error:  # the other protocols still have theirs
            failed[Cell(name, COMPARISONS, 0)] = str(error)
    return Done(tuple(written), failed)


def compare(order: Order, now: Protocol, source: Callable[[str], Split]) -> None:
    """Write what the cells of a protocol prove against each other."""
    bench = _Bench(order, now, source)
    path = order.results / now.name / VERSUS
    known = read_json(path) if path.exists() and not order.force else []
    found = versus(now, order.results, bench.values, known)
    if found:
        write_json(path, found)


class _Source:
    """The splits of a protocol; its data are read once, and only if a split is asked for."""

    def __init__(self, now: Protocol, folder: Path, progress: Progress) -> None:
        self.now, self.folder, self.progress = now, folder, progress
        self.data: Any = None

    def __call__(self, part: str) -> Split:
        if self.data is None:
            with self.progress.step(f"{self.now.name}: reading"):
                self.data = self.now.load(self.folder)
        return self.now.split(self.data, part)


@dataclass(frozen=True)
class _Bench:
    """Runs cells of one protocol."""

    order: Order
    protocol: Protocol
    source: Callable[[str], Split]

    def cell(self, cell: Cell, tell: Tell) -> Json:
        """All parts of a cell, and their rows pooled."""
        parts = self.protocol.parts
        records = {}
        for number, part in enumerate(parts):
            records[part] = self._part(cell, part, lambda share, n=number: tell((n + share) / len(parts)))  # type: ignore[misc]
        values = cell.values(self.order.cache, parts)
        assert values is not None  # each part has just kept its own
        budget = self.order.budget
        return {
            "protocol": cell.protocol,
            "recipe": cell.recipe,
            "seed": cell.seed,
            "models": sorted({record["model"] for record in records.values()}),
            "figures": values.figures(),
            "rows": len(values.customer),
            "customers": len(np.unique(values.customer)),
            "tuned_on": metric_of(self.protocol, cell.recipe),
            "budget": {"settings": budget.settings, "cpu_seconds": budget.cpu_seconds, "customers": budget.customers},
            "cpu_seconds": round(sum(record["cpu_seconds"] for record in records.values()), 2),
            "search_cpu_seconds": round(sum(record["search_cpu_seconds"] for record in records.values()), 2),
            "wall_seconds": round(sum(record["wall_seconds"] for record in records.values()), 2),
            "peak_mb": max(record["peak_mb"] for record in records.values()),
            "command": f"aisle bench accuracy --only {cell.protocol} --models {cell.recipe} --seeds {cell.seed} "
            f"--trials {budget.settings} --budget-seconds {budget.cpu_seconds:g} --customers {budget.customers}"
            + (f" --without {','.join(self.protocol.without)}" if self.protocol.without else ""),
            "commit": ", ".join(dict.fromkeys(record["commit"] for record in records.values())),
            "machine": records[parts[0]]["machine"],  # each part has its own
            "parts": records,
        }

    def values(self, cell: Cell, found: Json) -> tuple[Values, bool]:
        """The values of a measured cell, and whether they are those of another fit with the recorded settings.

        That fit is looked up among the kept ones, or made now.
        """
        known = cell.values(self.order.cache, self.protocol.parts)
        if known is not None and _same(known, found):
            return known, False
        for part in self.protocol.parts:
            record = found["parts"][part]
            asked = _asked(cell, self.source(part))
            fit = self._fitted(cell, part, asked, record["model"], record["settings"])
            cell.keep(self.order.cache, part, asked.customers, fit.columns)
        again = cell.values(self.order.cache, self.protocol.parts)
        assert again is not None  # each part has just been kept
        if not _same(again, found, NEAR):
            raise DataError(
                f"the recorded settings of {cell.protocol} {cell.recipe} seed {cell.seed} give other figures than its "
                f"cell now: {_means(again)}, not {_said(found)}; run the cell again with --force"
            )
        return again, True

    def _part(self, cell: Cell, part: str, tell: Tell) -> Json:
        receipts = Receipts(self.order.cache / "parts")
        start = time.monotonic()
        split = self.source(part)  # read even for a part that is done: its key holds what the split holds
        asked = _asked(cell, split)
        names, budget = tried(self.protocol, cell.recipe, split), fingerprint(repr(self.order.budget))
        about = [cell.protocol, cell.recipe, cell.seed, part, asked.sizes(), asked.mark]
        key = [*about, budget, names, _code(cell, names)]
        known = receipts.get(key)
        if known is not None and not self.order.force and self._kept(cell, part, known):
            return known
        choice, inner = self._choice(cell, part, split, tell)
        fit = self._fitted(cell, part, asked, choice.model, choice.settings)
        cell.keep(self.order.cache, part, asked.customers, fit.columns)
        metric = metric_of(self.protocol, cell.recipe)
        record: Json = {
            "model": choice.model,
            "settings": whole(choice.model, choice.settings),
            "found": choice.how,
            "figures": means(fit.columns),
            "sizes": asked.sizes(),
            "inner": inner,
            "cpu_seconds": round(fit.seconds, 3),
            "search_cpu_seconds": round(choice.seconds, 3),
            "wall_seconds": round(time.monotonic() - start, 2),
            "peak_mb": round(max([fit.peak_mb, *(trial.peak_mb for trial in choice.trials)]), 1),
            "trials": [trial_row(trial, metric) for trial in choice.trials],
            "left_out": choice.left_out,
            **fit.origin,
        }
        receipts.put(key, record)
        return record

    def _kept(self, cell: Cell, part: str, record: Json) -> bool:
        """The values of a part are there, and those of this record: another budget may have left its own since."""
        values = cell.values(self.order.cache, (part,))
        return values is not None and means(values.columns) == record["figures"]

    def _choice(self, cell: Cell, part: str, split: Split, tell: Tell) -> tuple[Choice, Json | None]:
        """What the recipe decides, and the sizes of the inner split it looked at."""
        about: list[Any] = [cell.protocol, part]
        if parse(cell.recipe)[1] in (PUBLISHED, PLAIN):
            inside = split  # never asked
        elif split.inner is None:
            raise UsageError(f"{cell.protocol} has no inner split to tune on")
        else:
            inside = split.inner()
            code = source_of([module_of(cell.protocol), measure.__name__], CODE)
            about += [inside.sizes(), inside.mark, code]
        search = Search(
            split=inside,
            metric=metric_of(self.protocol, cell.recipe),
            budget=self.order.budget,
            seed=cell.seed,
            store=Receipts(self.order.cache / "trials"),
            about=about,
        )
        choice = choose(self.protocol, cell.recipe, split, search, tell)
        return choice, None if inside is split else inside.sizes()

    def _fitted(self, cell: Cell, part: str, asked: Split, model: str, settings: Settings) -> Fit:
        """Fit on the whole training data, ask once."""
        fits = Fits(self.order.cache / "fits", self.order.force)
        about = [cell.protocol, part, _code(cell, with_joined(model, settings))]
        return fits.fit(about, asked, self.protocol.metrics, model, settings)


def _asked(cell: Cell, split: Split) -> Split:
    """The split whose training data the recipe learns from."""
    return split.as_published() if parse(cell.recipe)[1] == PUBLISHED else split


def _code(cell: Cell, names: Sequence[str]) -> str:
    """A hash of the source that the figures of a cell come from: reading, split, choice, measure, and these models."""
    return source_of([module_of(cell.protocol), recipes.__name__, *map(model_module, names)], CODE)


def _telling(tick: Tick) -> Tell:
    """Shares as thousandths."""
    return lambda share: tick(round(1_000 * share), 1_000)


def _drawn(recipe: str) -> bool:
    """The recipe depends on a seed."""
    name, _ = parse(recipe)
    return name not in MODELS or "seed" in model_class(name).settings()


def _same(values: Values, found: Json, near: float = 0.0) -> bool:
    """The values are those the cell was written from, up to a relative difference."""
    said, now = _said(found), _means(values)
    return said.keys() == now.keys() and all(
        abs((said[name] or 0) - (now[name] or 0)) <= 1.5e-6 + near * abs(said[name] or 0) for name in said
    )


def _said(found: Json) -> dict[str, float | None]:
    return {name: figure["mean"] for name, figure in found["figures"].items()}


def _means(values: Values) -> dict[str, float | None]:
    found = {name: float(np.nanmean(column)) if len(column) else None for name, column in values.columns.items()}
    return {name: None if value is None else round(value, 6) for name, value in found.items()}
