"""A recipe turns a part of a protocol into the name and settings of a model: by search on the inner split alone.

* ``MODEL``: that model, tuned on the metric of the protocol; ``MODEL:new``: tuned on the same figure of new products;
* ``MODEL:published``: no search; the settings (and training data) of a published row; ``MODEL:plain``: none either; the
  settings of a plain baseline that the protocol names;
* ``S``: the single model of the line-up that is best on the inner split, each tuned;
* ``C``: what ``aisle run --budget full`` does: every single model tuned, then the models that join them, each given the
  settings found; the best of all on the inner split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aisle.config import RunConfig
from aisle.errors import ResourceError, UsageError
from aisle.evaluate.tune import REFERENCE, Selection, Trial
from aisle.jobs.bench.search import Search, Tell
from aisle.jobs.bench.spent import ON_REQUEST
from aisle.jobs.bench.split import Protocol, Settings, Split
from aisle.jobs.line_up import line_up
from aisle.models import MODELS, create, model_class
from aisle.models.base import LearnsInEpochs

SINGLE, CHAMPION = "S", "C"
UNBOUNDED = "1TB"
"""Memory of a bench: what a published split needs is tried, and a machine that lacks it fails."""
PUBLISHED, PLAIN = "published", "plain"
FORMS = ("", "new", PUBLISHED, PLAIN)


@dataclass(frozen=True)
class Choice:
    """What a recipe decided, and how."""

    model: str
    settings: Settings
    how: str
    trials: tuple[Trial, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    """Models of the line-up that were not tried, and why."""

    @property
    def seconds(self) -> float:
        """CPU seconds of the search."""
        return sum(trial.seconds for trial in self.trials)


def parse(recipe: str) -> tuple[str, str]:
    """Model (or S or C) and form of a recipe; raises UsageError for an unknown one."""
    name, _, form = recipe.partition(":")
    if name in (SINGLE, CHAMPION) and not form:
        return name, form
    if name not in MODELS:
        raise UsageError(f"no recipe {recipe!r}; give S, C or a model: {', '.join(MODELS)}")
    if form not in FORMS:
        raise UsageError(f"no recipe {recipe!r}; a model may be followed by :new, :published or :plain")
    return name, form


def metric_of(protocol: Protocol, recipe: str) -> str:
    """The figure a recipe is tuned on."""
    return f"new {protocol.tuned_on}" if parse(recipe)[1] == "new" else protocol.tuned_on


def choose(protocol: Protocol, recipe: str, split: Split, search: Search, tell: Tell) -> Choice:
    """Decide on a model and its settings without a look at the answers of the split."""
    name, form = parse(recipe)
    if form in (PUBLISHED, PLAIN):
        if name not in protocol.settings:
            raise UsageError(
                f"{protocol.name} names no {form} settings of {name}; it names {', '.join(protocol.settings) or 'none'}"
            )
        seed = {"seed": search.seed} if "seed" in model_class(name).settings() else {}
        return Choice(name, seed | dict(protocol.settings[name]), f"{form} settings")
    if name in (SINGLE, CHAMPION):
        names, left_out = candidates(protocol, split, joined=name == CHAMPION)
        return _best(search.all(names, tell), search, left_out)
    trials = search.single(name, tell)
    return _best(Selection(tuple(trials), (), search.budget), search, {})


def candidates(protocol: Protocol, split: Split, *, joined: bool) -> tuple[tuple[str, ...], dict[str, str]]:
    """The line-up of S, or of C with the models that join others; and who is left out, with the reason."""
    asked = tuple(name for name in protocol.models if name in MODELS)
    found = line_up(split.data, RunConfig(budget="full", memory=UNBOUNDED, models=asked))
    names = [n for n in found.names if n not in REFERENCE and (joined or not model_class(n).joins)]
    left_out = found.left_out | {n: ON_REQUEST for n in names if n in protocol.without}
    return tuple(n for n in names if n not in protocol.without), left_out


def tried(protocol: Protocol, recipe: str, split: Split) -> tuple[str, ...]:
    """The models that a recipe may fit on a split; one that joins others, asked for alone, chooses among all."""
    name, _ = parse(recipe)
    if name in (SINGLE, CHAMPION):
        return candidates(protocol, split, joined=name == CHAMPION)[0]
    return (name, *MODELS) if model_class(name).joins else (name,)


def whole(name: str, settings: Settings) -> Settings:
    """All settings of a model, those left at their defaults too, and so of the models that it joins.

    What is recorded must give the same model when defaults have changed.
    """
    joins = model_class(name).joins
    held = {joins: {one: whole(one, given) for one, given in settings.get(joins, {}).items()}} if joins else {}
    return create(name, **settings).params() | held


def is_classic(name: str) -> bool:
    """Neither learned in epochs nor joined from others."""
    cls = model_class(name)
    return not cls.joins and not issubclass(cls, LearnsInEpochs) and name not in REFERENCE


def _best(found: Selection, search: Search, left_out: dict[str, str]) -> Choice:
    name = found.pick(list(found.best))
    if name is None:
        why: Sequence[str] = [f"{model}: {error}" for model, error in found.failed.items()]
        raise ResourceError(f"no model could be fitted: {'; '.join(why) or 'the line-up is empty'}")
    budget = search.budget
    how = (
        f"best {search.metric} on the inner split of at most {budget.settings} settings and "
        f"{budget.cpu_seconds:g} CPU seconds a model, {len(search.split.some(budget.customers).customers):,} customers"
    )
    return Choice(name, found.best[name].settings, how, found.trials, left_out)
