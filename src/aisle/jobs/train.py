"""``aisle train``: one model, fitted on everything, as a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aisle.bundle import Recommender, save
from aisle.config import EngineName, RunConfig
from aisle.data.dataset import Dataset
from aisle.engine import Engine, Local, open_engine
from aisle.engine.learn import fit_together
from aisle.engine.parts import fit_by_parts
from aisle.errors import UsageError
from aisle.jobs.cache import ingest
from aisle.jobs.line_up import refuse
from aisle.models import create, learner
from aisle.models.base import LearnsInEpochs, Model
from aisle.progress import Progress, Tick

if TYPE_CHECKING:
    from aisle.models.nn.train import Epoch, Watch

PREPARING = "Preparing reasons and fallbacks"
"""Name of the step between a fit and its bundle."""


@dataclass(frozen=True, kw_only=True)
class Follow:
    """How a training in epochs is done, kept and followed; and by whom, and kept where, a fit that falls into parts."""

    checkpoint: Path | None = None
    """Folder of the state after each epoch, or of the parts."""
    tensorboard: Path | None = None
    """Folder of its curves."""
    mlflow: str | None = None
    """Id of the run its curves belong to."""
    workers: int = 1
    """Workers that learn together, or do the parts."""
    engine: EngineName = "local"
    """Whose: processes of this machine, or of a Ray cluster."""
    address: str | None = None
    """``HOST:PORT`` of the cluster; None = one that lives as long as the training, on this machine."""

    def __post_init__(self) -> None:
        self.whose  # noqa: B018  (validates)

    @property
    def whose(self) -> RunConfig:
        """What says so to ``open_engine``."""
        return RunConfig(engine=self.engine, workers=self.workers, address=self.address)

    def check(self, model: Model) -> None:
        """Raise UsageError for a model that is fitted at once, or one without curves where these are wanted."""
        parts_alone = self.tensorboard is None and self.mlflow is None
        if self != Follow() and not (model.by_parts and parts_alone):
            learner(model)

    def watches(self) -> list[Watch]:
        """One for each place that wants the curves; raises UsageError for a package that is not installed."""
        if self.tensorboard is None and self.mlflow is None:
            return []
        from aisle.models.nn import sinks

        found = [] if self.tensorboard is None else [sinks.tensorboard(self.tensorboard)]
        return found if self.mlflow is None else [*found, sinks.mlflow(self.mlflow)]


def train(
    source: str | Path,
    out: Path,
    model: str,
    *,
    settings: Mapping[str, Any] | None = None,
    follow: Follow | None = None,
    config: RunConfig | None = None,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Recommender:
    """Fit one model, by ``follow.workers`` of its engine, and write the bundle to ``out``.

    Raises UsageError for its name, its settings or ``follow``, before any work.
    """
    config, progress, follow = config or RunConfig(), progress or Progress(), follow or Follow()
    fresh = create(model, **(settings or {}))
    follow.check(fresh)
    watches = follow.watches()
    with ExitStack() as held:
        engine = held.enter_context(open_engine(follow.whose)) if follow.whose.several else None
        dataset = ingest(source, config, progress, cache).dataset
        refuse(model, dataset, config)
        place = out.absolute().with_name(f".{out.name}.training") if follow.engine == "ray" else None
        crew = Crew(engine, follow.workers, place) if engine else None
        with progress.step(f"Fitting {model}") as tick:
            if isinstance(fresh, LearnsInEpochs):
                watches.append(ticking(tick, int(fresh.params().get("epochs", 0))))
            fit(fresh, dataset, checkpoint=follow.checkpoint, watches=watches, crew=crew, tick=tick)
    with progress.step(PREPARING) as tick:
        recommender = Recommender.prepare(fresh, dataset, seed=config.seed, tick=tick)
        save(recommender, out)
    return recommender


@dataclass(frozen=True, eq=False)
class Crew:
    """Workers that learn together, or do the parts of a fit."""

    engine: Engine
    size: int
    place: Path | None = None
    """Folder for what they share where there is no checkpoint; None = among the temporary files of this machine."""


def fit(
    model: Model,
    data: Dataset,
    *,
    checkpoint: Path | None = None,
    watches: Sequence[Watch] = (),
    crew: Crew | None = None,
    tick: Tick = lambda done, total: None,
) -> Model:
    """Fit in place, by this process or by a crew; ``tick`` counts the parts of a fit that falls into some.

    Raises UsageError where a model that neither learns in epochs nor falls into parts is to be kept or shared, and one
    without epochs to be watched.
    """
    if checkpoint is None and not watches and crew is None:
        return model.fit(data)
    if model.by_parts and not watches:
        engine, place = (crew.engine, crew.place) if crew else (Local(), None)
        fit_by_parts(model, data, engine, checkpoint=checkpoint, place=place, tick=tick)
        return model

    def watch(epoch: Epoch) -> None:
        for one in watches:
            one(epoch)

    if crew is not None:
        engine, place = crew.engine, crew.place
        fit_together(model, data, crew.size, engine=engine, checkpoint=checkpoint, place=place, watch=watch)
    else:
        learner(model).fit(data, checkpoint=checkpoint, watch=watch)
    return model


def ticking(tick: Tick, epochs: int) -> Watch:
    """Shows how far a training is: at most ``epochs`` to choose how long to learn, then at most as many again."""
    chosen = 0

    def watch(epoch: Epoch) -> None:
        nonlocal chosen
        if epoch.validation is not None:
            chosen = epoch.number
        total = 2 * epochs if epoch.validation is not None else 2 * chosen or epochs
        tick(epoch.number, max(total, epoch.number))

    return watch


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` as on the command line: values are JSON, and plain text where they are not.

    Raises UsageError for a text without a name.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise UsageError(f"--set {text!r} names no setting; write NAME=VALUE, for example epochs=10")
        try:
            found[name.strip()] = json.loads(value, parse_constant=_refuse)
        except ValueError:
            found[name.strip()] = value.strip()
    return found


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and Infinity are no settings
