"""A split: what is learned from, who is asked, and the answers; and what a protocol is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from aisle.data.dataset import Dataset
from aisle.data.split import Window, truth
from aisle.jobs.bench.mark import content
from aisle.types import Bools, Codes, Sparse

Settings: TypeAlias = dict[str, Any]
Figures: TypeAlias = dict[str, float]


@dataclass(frozen=True, eq=False)
class Split:
    """Training data, and what was bought after them or hidden from them."""

    data: Dataset
    """What a model learns from, as of the end of training."""
    wanted: Sparse
    """(U, I) 1 where the product should be listed."""
    customers: Codes
    """Customers who are scored, each with something wanted."""
    repeats: bool = False
    """Products bought before may be listed."""
    candidates: Bools | None = None
    """(I,) products that may be listed; None = the whole catalogue."""
    inner: Callable[[], Split] | None = None
    """The same kind of split inside the training data, to tune settings on."""
    asked: Dataset | None = None
    """Where the histories of the asked customers are, if not in ``data``; same codes."""
    plain: Dataset | None = None
    """What the published rows learned from, where ``data`` holds more."""
    days: int | None = None
    """Length of the window that is asked about, where purchases have dates."""
    ideal_all: bool = False
    """The ideal list of NDCG holds everything wanted, not the first k alone."""

    @cached_property
    def histories(self) -> Dataset:
        """Where the inputs of the asked customers are read."""
        return self.data if self.asked is None else self.asked

    def as_published(self) -> Split:
        """The same questions to a model that learned what the published ones did."""
        return self if self.plain is None else replace(self, data=self.plain, plain=None)

    def some(self, limit: int, seed: int = 0) -> Split:
        """The same split with at most ``limit`` of its customers, drawn at random."""
        if len(self.customers) <= limit:
            return self
        drawn = np.random.default_rng(seed).choice(self.customers, limit, replace=False)
        return replace(self, customers=np.sort(drawn))

    def sizes(self) -> dict[str, Any]:
        """What the split holds, in figures."""
        return {
            "lines": len(self.data.purchases),
            "customers": int((np.diff(self.histories.indptr) > 0).sum()),
            "products": self.data.shape[1],
            "candidates": int(self.candidates.sum()) if self.candidates is not None else self.data.shape[1],
            "asked": len(self.customers),
            "wanted": int(self.wanted[self.customers].sum()),
        }

    @cached_property
    def mark(self) -> str:
        """A hash of what is learned from, asked and wanted: other data with the same sizes have another.

        ``plain`` counts too: it may say who is asked inside, where ``data`` does not.
        """
        about = [self.data, self.asked, self.plain, self.wanted, self.customers, self.candidates]
        return content([*about, self.repeats, self.ideal_all])


def window_split(data: Dataset, window: Window, *, repeats: bool, whole: bool = False) -> Split:
    """What customers known at the cut bought in a window.

    Products known at the cut may be listed, with ``whole`` all of the catalogue.
    """
    answer = truth(data, window)
    who = np.flatnonzero(answer.warm).astype(np.int32)
    candidates = None if whole else answer.known
    return Split(data.before(window.cut), answer.bought, who, repeats=repeats, candidates=candidates)


@dataclass(frozen=True)
class Published:
    """A row of a published table."""

    label: str
    figures: Figures
    mark: str
    """Where the figures come from."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """Our figures must equal published ones: the re-implementation is right."""

    label: str
    recipe: str
    figures: Figures
    within: float
    """Relative difference that passes."""


@dataclass(frozen=True, kw_only=True)
class Beat:
    """A figure to pass: ``factor`` times the rival's, beyond chance, and at least ``least``."""

    label: str
    recipe: str
    metric: str
    least: float | None = None
    """A number the mean must reach."""
    beyond: float | None = None
    """A number that must lie below the whole interval."""
    rival: str = ""
    """A recipe, or ``best classic``, ``best item-kNN``, ``best popularity``: that with the best figure on the test."""
    factor: float = 1.0
    level: bool = False
    """Level with the rival is enough: the interval of the difference must not lie below 0."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One published or planned examination; its file says where it comes from."""

    name: str
    title: str
    load: Callable[[Path], Any]
    """The data, from the folder of all data sets."""
    split: Callable[[Any, str], Split]
    """The split of a part of the protocol, from what ``load`` gave."""
    metrics: tuple[str, ...]
    tuned_on: str
    """The metric that picks settings on the inner split."""
    parts: tuple[str, ...] = ("all",)
    """Partitions or draws; their rows are pooled, and a customer counts once however often asked."""
    published: tuple[Published, ...] = ()
    settings: Mapping[str, Settings] = field(default_factory=dict)
    """Model -> fixed settings: of a published row (``MODEL:published``), or of a plain baseline (``MODEL:plain``)."""
    matches: tuple[Match, ...] = ()
    beats: tuple[Beat, ...] = ()
    recipes: tuple[str, ...] = ()
    """What runs where nothing else is asked for."""
    models: tuple[str, ...] = ()
    """The line-up of the recipes S and C; empty = all that the full budget pays for."""
    without: tuple[str, ...] = ()
    """Models that S and C leave out on request, to save time."""
