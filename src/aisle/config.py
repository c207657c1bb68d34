"""Settings of a run: ``aisle.toml`` and command-line options become one checked dataclass."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args

from aisle.errors import UsageError
from aisle.types import Repeats, Searching, Variants

BudgetName = Literal["quick", "standard", "full"]
DateOrder = Literal["dmy", "mdy", "ymd"]
EngineName = Literal["local", "ray"]
BY_WHOM = ("engine", "workers", "address")
"""Settings that say who does the work; they change nothing about the outcome, but for a network that several workers of
Ray learn together."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that changes the outcome of ``aisle run``, and who does the work."""

    k: int = 10
    """Length of every list."""
    at: str | None = None
    """ISO moment as of which the lists are made; None = the end of the last day in the data."""
    horizon: int | None = None
    """Days (baskets, under a sequence clock) of the evaluation window; None = chosen from the data."""
    budget: BudgetName = "standard"
    memory: str = "4GB"
    seed: int = 0
    repeats: Repeats = "mixed"
    variants: Variants = "one"
    """Of products that are variants of one master, a list holds one at most; ``all`` lists them like any product."""
    search: Searching = "exact"
    """``auto``: an index of measured recall finds the lists where very many products may be listed."""
    least_recall: float = 0.99
    """Share of the exact lists that such an index must find; one that finds less is refused."""
    date_order: DateOrder | None = None
    only_products: str | None = None
    """A text or CSV file of product ids: limits what is listed, never what is learnt."""
    only_customers: str | None = None
    no_profile: str | None = None
    """A text or CSV file of customers who opted out of profiling."""
    list_gone: bool = False
    """List products that are out of stock or gone from sale too."""
    models: tuple[str, ...] = ()
    """Registry names to try; empty = the whole line-up."""
    engine: EngineName = "local"
    workers: int | None = None
    """Processes that examine models, fit a ranker and make the lists; each holds the data, or the bundle. None =
    one, with Ray every core."""
    address: str | None = None
    """``HOST:PORT`` of a Ray cluster; None = one that lives as long as the run, on this machine."""
    data: dict[str, Any] = field(default_factory=dict)
    """The pinned mapping: the ``[data]`` section of aisle.toml."""

    def __post_init__(self) -> None:
        choices = {"budget": BudgetName, "repeats": Repeats, "variants": Variants, "date_order": DateOrder}
        choices["search"] = Searching
        choices["engine"] = EngineName
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value is not None and value not in get_args(allowed):
                raise UsageError(f"{name} is {value!r}; allowed: {', '.join(get_args(allowed))}")
        for name, least in (("k", 1), ("horizon", 1), ("seed", 0), ("workers", 1)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise UsageError(f"{name} is {value!r}; give a whole number of at least {least}")
        if self.k > 1000:
            raise UsageError(f"k is {self.k}; lists may have at most 1000 rows")
        if self.seed >= 1 << 32:
            raise UsageError(f"seed is {self.seed}; give a whole number below 2^32")
        for name in ("at", "memory", "only_products", "only_customers", "no_profile", "address"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise UsageError(f"{name} is {value!r}; write it as text in quotes")
        self._check_search_and_engine()
        if not isinstance(self.list_gone, bool):
            raise UsageError(f"list_gone is {self.list_gone!r}; allowed: true, false")
        models: Any = self.models
        if not isinstance(models, tuple) or not all(isinstance(name, str) for name in models):
            raise UsageError(f'models is {models!r}; write a list of names such as ["popularity", "ease"]')
        self.memory_bytes  # noqa: B018  (validates)
        self.at_moment  # noqa: B018

    def _check_search_and_engine(self) -> None:
        share: Any = self.least_recall
        if not isinstance(share, (int, float)) or isinstance(share, bool) or not 0 < share <= 1:
            raise UsageError(f"least_recall is {share!r}; give a number above 0 and up to 1, such as 0.99")
        if self.address is not None and self.engine != "ray":
            raise UsageError(f"address is {self.address!r} and engine {self.engine!r}; an address needs engine 'ray'")

    @property
    def several(self) -> bool:
        """Whether several workers share the work."""
        return self.engine == "ray" or (self.workers or 1) > 1

    @property
    def memory_bytes(self) -> int:
        """The memory budget in bytes; raises UsageError for anything but a size such as ``512MB`` or ``4GB``."""
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", self.memory, re.IGNORECASE)
        if not match or float(match[1]) <= 0:
            raise UsageError(f"memory is {self.memory!r}; write a size such as 512MB or 4GB")
        return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))

    @property
    def at_moment(self) -> datetime | None:
        """``at`` as a naive UTC datetime, exclusive; a bare date stands for the end of that day."""
        if self.at is None:
            return None
        try:
            moment = datetime.fromisoformat(self.at)
            if len(self.at) <= len("2011-11-09"):
                return moment + timedelta(days=1)
            return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
        except (ValueError, OverflowError) as error:
            raise UsageError(f"at is {self.at!r}; write an ISO date such as 2011-11-09 or 2011-11-09T18:00") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values by name, of the settings that change the outcome."""
        return {name: value for name, value in asdict(self).items() if name not in BY_WHOM}


def load_config(path: Path | None, **options: Any) -> RunConfig:
    """Read ``[run]`` and ``[data]`` of an aisle.toml and lay command-line options (None = not given) over it.

    Raises UsageError naming file and key for an unknown section or key, with the nearest known one.
    """
    values: dict[str, Any] = {}
    if path is not None:
        values = _read(path)
    given = {name: value for name, value in options.items() if value is not None}
    if isinstance(values.get("models"), list):
        values["models"] = tuple(values["models"])
    if isinstance(values.get("at"), date):  # TOML has dates of its own; a datetime is a date too
        values["at"] = values["at"].isoformat()
    return replace(RunConfig(**values), **given) if values else RunConfig(**given)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"no configuration file {path}; give --config the path of an aisle.toml") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; give --config the path of an aisle.toml") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    sections = {"run", "data"}
    for name in document:
        if name not in sections:
            raise UsageError(f"{path}: unknown section [{name}]{_hint(name, sections)}; allowed: [run], [data]")
        if not isinstance(document[name], dict):
            raise UsageError(f"{path}: {name} must be a section, written [{name}] on a line of its own")
    run: dict[str, Any] = document.get("run", {})
    known = {f.name for f in fields(RunConfig)} - {"data"}
    for name in run:
        if name not in known:
            raise UsageError(
                f"{path}: unknown key {name!r} in [run]{_hint(name, known)}; allowed: {', '.join(sorted(known))}"
            )
    return {**run, "data": document.get("data", {})}


def _hint(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
