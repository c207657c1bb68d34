"""Texts as short vectors: hashed character n-grams, weighed by TF-IDF, cut to their leading singular directions.

Character n-grams need no language, forgive spelling and join what shares a stem (Bojanowski et al., "Enriching Word
Vectors with Subword Information", TACL 2017); the decomposition is latent semantic analysis (Deerwester et al., 1990).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import polars as pl
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.utils.extmath import randomized_svd

from aisle.features.content import HASHED, LETTERS
from aisle.types import Bools, Floats

MOST_WIDE = 64
"""Numbers a text at most."""
Texts: TypeAlias = Sequence[str]
TextEncoder: TypeAlias = Callable[[Texts], Floats]
"""Texts (N) -> vectors (N, K), such as the ``encode`` of a sentence-embedding model."""
ENCODERS: dict[str, TextEncoder] = {}
"""name -> encoder; enter one here to use it as ``text="name"``."""


def text_vectors(names: pl.Series | None, seen: Bools, kind: str, seed: int) -> Floats:
    """(I, K) vectors of product names, each of length 1 or 0; K is 0 where there is nothing to read.

    ``seen`` (I,) products decide what the directions are; the others are placed among them.
    """
    texts = [str(text or "").lower() for text in names] if names is not None else []
    if kind == "none" or len({text for text, on in zip(texts, seen, strict=False) if on}) < 3:
        return np.zeros((len(seen), 0), dtype=np.float32)
    found = ngram_vectors(texts, seen, seed) if kind == "ngrams" else np.asarray(ENCODERS[kind](texts), np.float32)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    out: Floats = np.divide(found, length, out=np.zeros_like(found), where=length > 1e-6)
    return out


def ngram_vectors(texts: Texts, seen: Bools, seed: int) -> Floats:
    """(N, K) coordinates along the leading directions of the texts that are ``seen``."""
    grams = HashingVectorizer(analyzer="char_wb", ngram_range=LETTERS, n_features=HASHED, alternate_sign=False)
    counts = grams.transform(texts)
    weigh = TfidfTransformer(sublinear_tf=True).fit(counts[seen])
    weighed = weigh.transform(counts)
    rank = min(MOST_WIDE, int(seen.sum()) - 1)
    _, _, right = randomized_svd(weighed[seen], rank, n_iter=4, random_state=seed)
    return np.asarray(weighed @ right.T, dtype=np.float32)


def turned(new: Floats, old: Floats, both: tuple[np.ndarray, np.ndarray]) -> Floats:
    """(I, K) ``new`` vectors (I, J) turned onto the directions of ``old`` ones (I', K), by least squares.

    ``both`` are places of the same texts in either.
    """
    here, there = both
    if not len(here) or not new.shape[1] or not old.shape[1]:
        return np.zeros((len(new), old.shape[1]), dtype=np.float32)
    turn, *_ = np.linalg.lstsq(new[here].astype(np.float64), old[there].astype(np.float64), rcond=1e-3)
    return np.asarray(new @ turn, dtype=np.float32)
