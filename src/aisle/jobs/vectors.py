"""Representations: the vectors a model that embeds has learnt, by id."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from aisle.bundle import Recommender
from aisle.errors import UsageError
from aisle.models import MODELS, model_class
from aisle.models.base import Biased, Embeds, Model
from aisle.types import Codes, Floats


def product_frame(recommender: Recommender, product_ids: Sequence[str]) -> pl.DataFrame:
    """``product_id, bias, vector``; ``bias`` is null where the model has none.

    Raises UsageError for a model without vectors and for an id that is not in the catalogue.
    """
    model, vocab = embedding(recommender.model), recommender.dataset.products.vocab
    codes = vocab.known(product_ids, "product")
    bias = model.product_biases()[codes] if isinstance(model, Biased) else [None] * len(codes)
    vectors = model.product_vectors()[codes]
    return pl.DataFrame(
        {"product_id": vocab.names(codes), "bias": pl.Series(bias, dtype=pl.Float32), "vector": _column(vectors)}
    )


def customer_frame(recommender: Recommender, customer_ids: Sequence[str]) -> pl.DataFrame:
    """``customer_id, taste, bias, vector``: a row for each taste, counted from 0.

    Customers who opted out (``no_profile``) get one row without bias and vector. Raises UsageError for a model
    without vectors and for an id that is not known.
    """
    dataset = recommender.dataset
    embedding(recommender.model)
    codes = dataset.customers.vocab.known(customer_ids, "customer")
    vectors = customer_vectors(recommender, codes)  # (N, T, D)
    size, tastes, width = vectors.shape
    frame = pl.DataFrame(
        {
            "customer_id": dataset.customers.vocab.names(np.repeat(codes, tastes)),
            "taste": pl.Series(np.tile(np.arange(tastes), size), dtype=pl.Int32),
            "bias": pl.Series(np.repeat(_biases(recommender, codes), tastes), dtype=pl.Float32, nan_to_null=True),
            "vector": _column(vectors.reshape(size * tastes, width)),
        }
    )
    out = pl.Series(np.repeat(dataset.flag("no_profile")[codes], tastes))
    blank = [pl.when(out).then(None).otherwise(pl.col(name)).alias(name) for name in ("bias", "vector")]
    return frame.with_columns(blank).filter(~out | (frame["taste"] == 0))


def embedding(model: Model) -> Embeds:
    """The model, known to embed; raises UsageError with the models that do."""
    if not isinstance(model, Embeds):
        able = ", ".join(name for name in MODELS if issubclass(model_class(name), Embeds))
        raise UsageError(f"{model.name} has no vectors; fit a model that embeds: {able}")
    return model


def customer_vectors(recommender: Recommender, codes: Codes) -> Floats:
    """(N, T, D) vectors of some customers, worked out a block at a time."""
    model, dataset, size = embedding(recommender.model), recommender.dataset, recommender.block_size
    blocks = [model.customer_vectors(dataset.batch(codes[at : at + size])) for at in range(0, max(len(codes), 1), size)]
    return np.concatenate(blocks)


def _biases(recommender: Recommender, codes: Codes) -> Floats:
    """(N,) NaN where the model has none."""
    model, dataset, size = recommender.model, recommender.dataset, recommender.block_size
    if not isinstance(model, Biased):
        return np.full(len(codes), np.nan, dtype=np.float32)
    blocks = [model.customer_biases(dataset.batch(codes[at : at + size])) for at in range(0, max(len(codes), 1), size)]
    return np.concatenate(blocks)


def _column(vectors: Floats) -> pl.Series:
    """Vectors (N, D) as a fixed-size list."""
    return pl.Series("vector", np.ascontiguousarray(vectors), dtype=pl.Array(pl.Float32, vectors.shape[1]))
