"""Which models a run tries: what budget and memory allow at the size of the data, and why others are left out.

What a model costs is foretold from the size of the data alone, by constants measured once (``costs.json``, written by
``benchmarks/model_costs.py``): the choice is the same on a slow and on a fast machine. Models that fit into the memory
that the data leave are admitted in the order of ``WORTH`` until the CPU seconds of the budget are spoken for; a model
whose turn comes when too little is left makes room for cheaper ones behind it. A model that joins others costs its own
part, which follows from the number of purchases since tables and candidates are bounded, and the single models that it
fits by default, as often as it does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

import numpy as np

from aisle.config import BudgetName, RunConfig
from aisle.data.dataset import BATCH_LINES, Dataset
from aisle.errors import ResourceError
from aisle.evaluate.tune import BUDGETS, REFERENCE
from aisle.models import MODELS, model_class
from aisle.types import Clock

FITS = 4
"""Windows a model is fitted and asked on with its defaults, the last one included."""
SECONDS: dict[BudgetName, float] = {"quick": 60.0, "standard": 240.0, "full": 28_800.0}
"""CPU seconds that the defaults of all models may take together."""
LIBRARIES_MB = 450.0
"""A process with all libraries in it."""
COPIES = 2.5
"""The lines as such, what is visible of them at a cut, and their histories."""
MARGIN = 1.25
SMALL_MB = 100.0
"""Models that need no more than this are never refused: a shop so small must run under any budget."""
WORTH = (
    *("personal_frequency", "popularity", "recent_popularity", "seasonal_popularity", "group_popularity"),
    *("item_knn", "sequence_knn", "repeat_hazard", "tree_shares", "ease", "graph_filter", "up_cf", "tifu_knn", "slim"),
    *("ials", "content_knn", "bought_together", "rp3beta", "hybrid_factorization", "basket_transformer"),
)
"""What has proved itself on real shops comes first; models not named here come after these, in registry order."""


@dataclass(frozen=True)
class Size:
    """What the cost of a model follows from."""

    customers: int
    """With purchases."""
    products: int
    """Sold."""
    lines: int
    """Purchases of known customers."""
    asked: int
    """Customers asked in a window, at most."""
    clock: Clock = "time"

    @classmethod
    def of(cls, data: Dataset, asked: int) -> Size:
        """The size of what is visible at ``data.as_of``."""
        customers = int((np.diff(data.indptr) > 0).sum())
        products = int((data.popularity > 0).sum())
        return cls(customers, products, int(data.indptr[-1] - data.indptr[0]), min(asked, customers), data.clock)

    def learned_by(self, name: str) -> Size:
        """What a model makes of it with its defaults: a sample of the customers, where it takes no more.

        The sample counts anonymous purchases too: where there are many, this is too much rather than too little.
        """
        most = model_class(name).learns_from
        if most is None or self.lines <= most:
            return self
        return replace(self, lines=most, customers=-(-self.customers * most // self.lines))

    def drivers(self) -> dict[str, float]:
        """What a cost may rise with: a start, 10^6 purchases (those of a batch), 10^4 products, 10^9 scores and pairs,
        products³.
        """
        return {
            "start": 1.0,
            "lines": self.lines / 1e6,
            "batch": min(self.lines, BATCH_LINES) / 1e6,
            "products": self.products / 1e4,
            "scores": self.asked * self.products / 1e9,
            "customer_pairs": self.asked * self.customers / 1e9,
            "product_pairs": self.products**2 / 1e9,
            "products_cubed": (self.products / 1e4) ** 3,
        }


@dataclass(frozen=True)
class LineUp:
    """The models of a run."""

    names: tuple[str, ...]
    left_out: dict[str, str]
    """Model -> why the budget does not pay for it; none where models were asked for."""


def line_up(data: Dataset, config: RunConfig) -> LineUp:
    """The models asked for, else all that fit into memory and that the budget pays for.

    Raises ResourceError where a model asked for does not fit into ``config.memory``.
    """
    size = Size.of(data, BUDGETS[config.budget].customers)
    if config.models:
        for name in config.models:
            refuse(name, data, config, size)
        return LineUp(config.models, {})
    left, names, left_out = SECONDS[config.budget], set(REFERENCE), {}
    for name in _by_worth(MODELS):
        wanted = FITS * seconds(name, size)
        if (why := too_large(name, data, config, size)) is not None:
            left_out[name] = why
        elif wanted <= left:
            names.add(name)
            left -= wanted
        else:
            left_out[name] = (
                f"would take about {wanted:,.0f} CPU seconds before any tuning; "
                f"{left:,.0f} of {SECONDS[config.budget]:,.0f} are left in the budget {config.budget}"
            )
    return LineUp(tuple(name for name in MODELS if name in names), left_out)


def seconds(name: str, size: Size) -> float:
    """CPU seconds foretold for one fit and one asking of a model with its defaults, its single members included.

    A run gives single models to those that join, so that members that join others themselves cost nothing here. It may
    give more of them than a model holds by default: up to ``tune.MEMBERS`` and one.
    """
    size = size.learned_by(name)
    drivers = size.drivers()
    own = sum(rate * drivers[driver] for driver, rate in _costs()[name].items())
    past = model_class(name).past_fits(size.customers, size.products, size.lines, size.clock)
    for member, (times, asked) in past.items():
        if not model_class(member).joins:
            own += times * seconds(member, replace(size, asked=asked)) + seconds(member, size)
    return own


def megabytes(name: str, size: Size) -> float:
    """Most memory in MB that fitting and asking a model takes beside the data, with a margin.

    0 for models that join others: their tables are bounded, and which members they will hold is not known yet.
    """
    drivers = size.drivers()
    return MARGIN * sum(rate * drivers[driver] for driver, rate in _memory().get(name, {}).items())


def too_large(name: str, data: Dataset, config: RunConfig, size: Size | None = None) -> str | None:
    """Why a model does not fit into ``config.memory`` beside the data, with the numbers; None where it does."""
    need = megabytes(name, size or Size.of(data, BUDGETS[config.budget].customers))
    held = LIBRARIES_MB + COPIES * data.all_events.nbytes / 1e6
    left = config.memory_bytes / 1e6 - held
    if need <= max(left, SMALL_MB):
        return None
    return (
        f"would need about {need / 1e3:,.1f} GB of memory; {max(left, 0) / 1e3:,.1f} of the {config.memory} allowed "
        f"are left beside {held / 1e3:,.1f} GB for the data and the program"
    )


def refuse(name: str, data: Dataset, config: RunConfig, size: Size | None = None) -> None:
    """Raise ResourceError with the numbers where a model that was asked for does not fit into memory."""
    why = too_large(name, data, config, size)
    if why is not None:
        raise ResourceError(f"{name} {why}. Give a larger --memory where the machine has it, or leave the model out.")


def _by_worth(names: Sequence[str] | dict[str, str]) -> list[str]:
    """Models that join others last, else by worth."""
    place = {name: at for at, name in enumerate(dict.fromkeys((*WORTH, *names)))}
    return sorted((n for n in names if n not in REFERENCE), key=lambda n: (bool(model_class(n).joins), place[n]))


def _costs() -> dict[str, dict[str, float]]:
    """Model -> driver -> CPU seconds a unit."""
    return _measured()["models"]


def _memory() -> dict[str, dict[str, float]]:
    """Model -> driver -> MB a unit."""
    return _measured()["memory"]


@cache
def _measured() -> dict[str, dict[str, dict[str, float]]]:
    text = files("aisle.jobs").joinpath("costs.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, dict[str, float]]] = json.loads(text)
    return found
