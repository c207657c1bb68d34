"""What every model is: a keyword-only dataclass whose init fields are its hyperparameters.

Three rules make saving, cloning, printing and tuning generic:

1. init fields are hyperparameters; ``__post_init__`` checks them;
2. ``fit`` returns self and sets attributes whose names end in ``_``: arrays, CSR arrays, or plain JSON values;
3. ``score`` is pure: same batch, same answer, whoever else is in the batch; it never reads the training table.

A model that learns in epochs takes part in ``LearnsInEpochs`` and may leave ``training_ = {"loss": [by epoch],
"validation": [after 0, 1, 2 … epochs], "epochs": kept}`` after ``fit``; the report draws it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
import scipy.sparse as sp

from aisle.data.dataset import Dataset
from aisle.data.events import Batch
from aisle.errors import NotFittedError, UsageError
from aisle.features.pairs import add_sparse, decayed_counts
from aisle.kernels.few import rows_and_columns
from aisle.types import CSR_PARTS, Bools, Clock, Floats, Ints, Sparse

if TYPE_CHECKING:  # torch is imported by the models that learn with it alone
    from aisle.models.nn.train import Watch

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
ByParts: TypeAlias = Literal["strips", "moments"]
"""Strips of the catalogue, or sources and customers at moments of the past."""


class PastFits(NamedTuple):
    """What learning from past windows takes of a member of a model that joins others."""

    times: int
    """Fits."""
    asked: int
    """Customers asked after each, at most."""


@dataclass(kw_only=True, eq=False)
class Model(ABC):
    """Learns from a Dataset and scores products for a batch of customers."""

    name: ClassVar[str] = ""
    """Registry name."""
    simple: ClassVar[bool] = False
    """The popularity family and personal frequency: what a champion must beat to ship."""
    personal: ClassVar[bool] = True
    """Depends on the customer's own purchases; the popularity family does not."""
    needs_history: ClassVar[bool] = True
    """Rows without purchases are answered with -inf throughout: this model cannot tell them apart."""
    joins: ClassVar[str] = ""
    """The setting that takes the models this one joins, registry name -> settings; empty for a model of its own."""
    learns_from: ClassVar[int | None] = None
    """Purchases that it learns from by default, at most; None = all."""
    by_parts: ClassVar[ByParts | None] = None
    """The parts that its fit falls into, which several workers do (``engine/parts``)."""
    space: ClassVar[dict[str, tuple[Any, ...]]] = {}
    """Tuning space: setting -> values worth trying, best guess first."""

    @abstractmethod
    def fit(self, data: Dataset) -> Self:
        """Learn from what was visible at ``data.as_of``; forgets any earlier fit."""

    @abstractmethod
    def score(self, batch: Batch) -> Floats:
        """(B, I) float32 scores, higher is better, -inf = cannot score. Bought products are scored like any other."""

    def drawn(self, data: Dataset) -> Dataset:
        """What of the data it learns from."""
        return data

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """Names of the hyperparameters."""
        return tuple(f.name for f in fields(cls) if f.init)

    @classmethod
    def past_fits(cls, customers: int, products: int, lines: int, clock: Clock) -> dict[str, PastFits]:
        """Registry name -> fits for past windows, at most, of the members that data of such a size get by default.

        Each is fitted once more, to everything. Empty for a model that joins none.
        """
        return {}

    def params(self) -> dict[str, Any]:
        """Hyperparameters by name; ``type(model)(**model.params())`` is an unfitted clone."""
        return {name: getattr(self, name) for name in self.settings()}

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """What was learnt: arrays (CSR arrays as ``name.data`` …) and plain JSON values, by attribute name."""
        arrays: dict[str, Array] = {}
        values: dict[str, Any] = {}
        for name, value in vars(self).items():
            if not name.endswith("_"):
                continue
            if isinstance(value, np.ndarray):
                arrays[name] = value
            elif sp.issparse(value):
                arrays |= {f"{name}.{part}": np.asarray(getattr(value, part)) for part in CSR_PARTS}
            else:
                values[name] = value
        return arrays, values

    def restore(self, arrays: dict[str, Array], values: dict[str, Any]) -> Self:
        """Undo ``state``: afterwards the model scores exactly as the one that was saved."""
        for name, value in {**arrays, **values}.items():
            if "." not in name:
                setattr(self, name, value)
        for name in {key.split(".")[0] for key in arrays if "." in key}:
            data, indices, indptr, shape = (arrays[f"{name}.{part}"] for part in CSR_PARTS)
            setattr(self, name, sp.csr_array((data, indices, indptr), shape=(int(shape[0]), int(shape[1]))))
        return self

    def check_fitted(self) -> None:
        """Raise NotFittedError unless ``fit`` or ``restore`` ran."""
        if not any(name.endswith("_") for name in vars(self)):
            raise NotFittedError(f"{type(self).__name__} was asked to score before fit; call fit(dataset) first")


@runtime_checkable
class Embeds(Protocol):
    """A model that places products and customers in one space: similar products and customers, exports, ANN indexes.

    The inner product of two vectors, the largest over a customer's tastes, is the part of the score that speaks of
    taste, where the model's similarity is the inner product. What a model adds for own products alone (a repeat head)
    is not in it.
    """

    def product_vectors(self) -> Floats:
        """(I, D) float32."""
        ...

    def customer_vectors(self, batch: Batch) -> Floats:
        """(B, T, D) float32: T tastes a customer, worked out for each row alone; customer -1 is ordinary."""
        ...


@runtime_checkable
class Biased(Protocol):
    """A model whose score holds parts that know only the product, or only the customer."""

    def product_biases(self) -> Floats:
        """(I,) the part of the score that is the same for everybody."""
        ...

    def customer_biases(self, batch: Batch) -> Floats:
        """(B,) the part of the score that is the same for all products; it moves no rank."""
        ...


@dataclass(frozen=True, eq=False)
class Dots:
    """Scores of B customers, told by vectors but for P pairs of a row and a product."""

    queries: Floats
    """(B, D)."""
    row: Ints
    """(P,)."""
    code: Ints
    """(P,); each pair once."""
    score: Floats
    """(P,) the score of the pair, whatever the vectors say."""


@runtime_checkable
class Dotted(Protocol):
    """A model whose score is the inner product of two vectors and a bias, but for pairs that it names.

    Its lists are found without dense scores; they are those of ``score`` but for the order of equals up to rounding.
    """

    def dot_targets(self) -> tuple[Floats, Floats]:
        """(I, D) vectors and (I,) biases of products."""
        ...

    def dots(self, batch: Batch) -> Dots:
        """What the customers of a batch meet them with."""
        ...


@dataclass(frozen=True, eq=False)
class Few:
    """Scores of B customers, who score but few products in a way of their own."""

    cells: Sparse
    """(B, I) own scores, also where they are 0; no product twice in a row."""
    rest: Floats
    """(I,) what all other products score."""
    silent: Bools
    """(B,) rows that score -inf throughout."""
    own: Sparse | None = None
    """(B, I) what some scores get on top, columns sorted."""

    def dense(self) -> Floats:
        """(B, I) all scores."""
        if self.rest.any():
            scores = np.tile(self.rest, (self.cells.shape[0], 1))
            scores[rows_and_columns(self.cells)] = self.cells.data
        else:
            scores = self.cells.toarray()
        if self.own is not None:
            add_sparse(scores, self.own, 1.0)
        scores[self.silent] = -np.inf
        return scores


@runtime_checkable
class ScoresFew(Protocol):
    """A model that scores most products alike for everybody: its lists are found without dense scores.

    ``score`` is ``few(batch).dense()``: who changes one in a subclass changes the other.
    """

    def few(self, batch: Batch) -> Few:
        """What ``score`` says, as few cells."""
        ...


@runtime_checkable
class LearnsInEpochs(Protocol):
    """A model whose training can be followed, stopped and gone on with."""

    def fit(self, data: Dataset, *, checkpoint: Path | None = None, watch: Watch | None = None) -> Self:
        """As every fit; after each epoch its state is in the folder ``checkpoint``, and ``watch`` is told.

        The same call with the same folder goes on where a stopped one was.
        """
        ...

    def fit_partial(self, data: Dataset, *, epochs: int = 1, watch: Watch | None = None) -> Self:
        """Go on from what was learnt, on other or more data."""
        ...


def without_empty(scores: Floats, batch: Batch) -> Floats:
    """Scores (B, I) with the rows of customers without purchases set to -inf, in place."""
    scores[batch.empty] = -np.inf
    return scores


def check_own(half_life_days: float | None, own_weight: float) -> None:
    """Raise UsageError unless the two settings that ``with_own`` takes make sense."""
    if half_life_days is not None and not half_life_days > 0:
        raise UsageError(f"half_life_days must be > 0 or None, got {half_life_days}")
    if not own_weight >= 0:
        raise UsageError(f"own_weight must be >= 0, got {own_weight}")


def few_with_own(taste: Sparse, batch: Batch, own: Sparse, own_weight: float) -> Few:
    """Scores ``taste`` (B, I), 0 for all else, plus ``own_weight`` times the customer's ``own`` counts (B, I).

    Models of what goes together know no repeats, or too little of them. Rows without purchases are silent.
    """
    counts: Sparse | None = None
    if own_weight > 0:
        counts = sp.csr_array((np.float32(own_weight) * own.data, own.indices, own.indptr), shape=own.shape)
    return Few(taste, np.zeros(batch.n_products, dtype=np.float32), batch.empty, counts)


def with_own(scores: Floats, batch: Batch, half_life_days: float | None, own_weight: float) -> Floats:
    """Scores (B, I) plus ``own_weight`` times the customer's own decayed purchase counts, in place.

    Models of what goes together know no repeats, or too little of them. Rows without purchases become -inf.
    """
    if own_weight > 0:
        add_sparse(scores, decayed_counts(batch, half_life_days), own_weight)
    return without_empty(scores, batch)
