"""Settings found on the inner split of a protocol, by the same search as in ``aisle run``; trials outlive a kill."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aisle.errors import AisleError
from aisle.evaluate.meter import Meter
from aisle.evaluate.protocol import mean
from aisle.evaluate.tune import Budget, Selection, Trial, climb, given_to
from aisle.files import Receipts, fingerprint
from aisle.jobs.bench.measure import answers
from aisle.jobs.bench.split import Settings, Split
from aisle.models import MODELS, create, model_class

Tell = Callable[[float], None]
"""Called with the share done."""
PARTS = ("aisle.models", "aisle.features", "aisle.kernels", "aisle.data")
SHARED = ("aisle.models",)
"""The registry, which every model is in: a change there changes no score."""


@dataclass(frozen=True)
class Search:
    """The search of one part of a protocol."""

    split: Split
    """The inner split: the one whose answers may be looked at."""
    metric: str
    budget: Budget
    seed: int
    store: Receipts
    about: Sequence[Any]
    """What makes the trials of this part different from others: the split, and the code of protocol and measure."""

    def single(self, name: str, tell: Tell = lambda share: None, given: Settings | None = None) -> list[Trial]:
        """The trials of one model: its defaults, then one setting after another, until the budget is spent."""
        return climb(name, partial(self._trial, name), self.budget, seed=self.seed, given=given, report=tell)

    def all(self, names: Sequence[str], tell: Tell = lambda share: None) -> Selection:
        """The trials of several models; those that join others come last and are given what was found for them."""
        trials: list[Trial] = []
        for done, name in enumerate(sorted(names, key=lambda name: bool(model_class(name).joins))):
            given = given_to(name, Selection(tuple(trials), (), self.budget), self.split.days)
            at = done / len(names)
            trials += self.single(name, lambda share, at=at: tell(at + share / len(names)), given)  # type: ignore[misc]
        return Selection(tuple(trials), (), self.budget)

    def _trial(self, name: str, settings: Settings) -> Trial:
        code = [code_of(one) for one in with_joined(name, settings)]
        key = [*self.about, name, settings, self.metric, self.budget.customers, self.seed, code]
        known = self.store.get(key)
        if known is None:
            known = self._run(name, settings)
            if not known["error"]:  # what failed is tried again next time
                self.store.put(key, known)
        value = float("nan") if known["value"] is None else float(known["value"])
        return Trial(name, settings, (value,), known["seconds"], known["peak_mb"], known["error"])

    def _run(self, name: str, settings: Settings) -> dict[str, Any]:
        found: dict[str, Any] = {"value": None, "error": ""}
        asked = self.split.some(self.budget.customers, self.seed)
        with Meter() as meter:
            try:
                model = create(name, **settings).fit(self.split.data)
                value = mean(answers(model, asked, [self.metric])[self.metric])
                found["value"] = None if value != value else value
            except (AisleError, MemoryError) as error:  # one model must not stop the others; bugs still do
                found["error"] = str(error) or type(error).__name__
        return found | {"seconds": round(meter.seconds, 3), "peak_mb": round(meter.peak_mb, 1)}


def trial_row(trial: Trial, metric: str) -> dict[str, Any]:
    """A row of the table of trials; what a model was given of others is left to their own rows."""
    joins = model_class(trial.name).joins
    settings = {key: value for key, value in trial.settings.items() if key != joins}
    value = trial.mean
    row = {"model": trial.name, "settings": settings, metric: None if value != value else round(value, 6)}
    row |= {"seconds": trial.seconds, "peak_mb": trial.peak_mb}
    return row | ({"error": trial.error} if trial.error else {})


def code_of(name: str) -> str:
    """A hash of the source of a model and of the models, features and kernels it is made from."""
    return source_of([model_module(name)], PARTS)


def with_joined(name: str, settings: Settings) -> tuple[str, ...]:
    """A model, those that it joins with these settings, and those that these join."""
    joins = model_class(name).joins
    if not joins:
        return (name,)
    held = settings.get(joins) or dict.fromkeys(MODELS)  # told nothing, it chooses among all
    below = [with_joined(one, given) if given is not None else (one,) for one, given in held.items()]
    return tuple(dict.fromkeys([name, *(one for names in below for one in names)]))


def model_module(name: str) -> str:
    """The module of a model."""
    return MODELS[name].split(":")[0]


def source_of(modules: Iterable[str], inside: tuple[str, ...]) -> str:
    """A hash of the source of modules and of all they import from the packages ``inside``."""
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        spec = _spec(module) if module not in found else None
        if spec is None or spec.origin is None:
            continue
        text = Path(spec.origin).read_text(encoding="utf-8")
        found[module] = hashlib.sha256(text.encode()).hexdigest()
        waiting += [name for name in _imported(text) if name.startswith(inside) and name not in SHARED]
    return fingerprint(found)


@cache
def _imported(text: str) -> tuple[str, ...]:
    """The modules, and the names in them, that a source imports from; names may be modules as well."""
    nodes = [node for node in _seen(ast.parse(text)) if isinstance(node, ast.ImportFrom) and node.module]
    return tuple(name for n in nodes for name in (n.module or "", *(f"{n.module}.{one.name}" for one in n.names)))


def _seen(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it, but for what type checkers alone see."""
    yield node
    below: Iterable[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        below = node.orelse
    for one in below:
        yield from _seen(one)


def _spec(name: str) -> ModuleSpec | None:
    """Where a module is; None for what is no module but a name in one."""
    try:
        return find_spec(name)
    except ModuleNotFoundError:
        return None
