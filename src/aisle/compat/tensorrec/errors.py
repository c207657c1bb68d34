"""The error classes of TensorRec; each is also one of ours, so ``except AisleError`` catches them all."""

from __future__ import annotations

from typing import Any, ClassVar

from aisle.errors import AisleError, NotFittedError, UsageError


class TensorRecException(AisleError):
    """Base of the errors that have TensorRec's names; ``kwargs`` fill the words of ``msg``."""

    msg: ClassVar[str | None] = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__((self.msg or "").format(**kwargs))
        self.kwargs = kwargs

    @property
    def message(self) -> str:
        """What ``str`` says."""
        return str(self)


class ModelNotBiasedException(TensorRecException, UsageError):
    """A bias was asked of a model without biases."""

    msg = "this model has no {actor} biases; build it with TensorRec(biased=True)"


class ModelNotFitException(TensorRecException, NotFittedError):
    """A model was asked for something before its first fit."""

    msg = "{method}() needs a fitted model; call fit() or fit_partial() first"


class ModelWithoutAttentionException(TensorRecException, UsageError):
    """Attention was asked of a model without any."""

    msg = "this model has no attention; build it with TensorRec(n_tastes=2, attention_graph=…) or more tastes"


class BatchNonSparseInputException(TensorRecException, UsageError):
    """``user_batch_size`` was given with inputs that are not one SciPy sparse matrix each."""

    msg = "user_batch_size cuts SciPy sparse matrices; give interactions and user_features as one matrix each"


class TfVersionException(TensorRecException, UsageError):
    """Kept for ``except`` clauses; nothing raises it, since TensorFlow is not used."""

    msg = "TensorFlow {tf_version} is too old"
