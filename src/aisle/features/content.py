"""What products are, as vectors: their place in the tree, their attributes and the letters of their names."""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.sparse as sp
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer
from threadpoolctl import threadpool_limits

from aisle.data.entities import Entities, Level
from aisle.data.tags import pieces, split, tagged
from aisle.types import Bools, Codes, Doubles, Floats, Sparse

LETTERS = (3, 5)
"""Lengths of the pieces that names are cut into, at word borders."""
HASHED = 2**16
"""Columns of these pieces; rarely do two share one."""
BINS = 8
"""Parts of equal size that a number is cut into."""


def content_matrix(entities: Entities, known: Bools) -> Sparse:
    """(I, F) rows of length 1: a block for each level, attribute, number and the names, rarer values louder.

    A value counts √(log(known products / those with it)); each block that a product has weighs the same. How rare a
    value is, and where numbers are cut, is taken from ``known`` products (I,) alone.
    """
    blocks = [_of_level(level) for level in (*entities.tree, *entities.categories)]
    blocks += [_of_codes(_binned(values, known)) for values in entities.numbers.values()]
    if entities.names is not None:
        blocks.append(_of_names(entities.names))
    total = max(int(known.sum()), 1)
    scaled = []
    for block in blocks:
        held: Doubles = np.asarray(block[known].sign().sum(axis=0)).ravel()
        loud = np.sqrt(np.log((total + 1.0) / np.maximum(held, 1.0)))
        scaled.append(_unit(sp.csr_array(block.multiply(loud[None, :]))))
    if not scaled:
        return sp.csr_array(np.zeros((len(entities), 0), dtype=np.float32))
    return _unit(sp.csr_array(sp.hstack(scaled, format="csr")))


def content_vectors(x: Sparse, known: Bools, dim: int, seed: int) -> Floats:
    """(I, D) rows of length 1 (zeros where nothing is said) of x (I, F), by the SVD of the known products."""
    width = min(dim, min(int(known.sum()), x.shape[1]) - 1)
    if width < 1:
        return np.zeros((x.shape[0], 1), dtype=np.float32)
    with threadpool_limits(limits=1):  # threads would add up in an order of their own
        svd = TruncatedSVD(width, n_iter=4, random_state=seed).fit(x[known])
    vectors = np.asarray(x @ svd.components_.T, dtype=np.float64)
    return unit(vectors).astype(np.float32)


def unit(vectors: Doubles) -> Doubles:
    """(N, D) rows of length 1; zeros stay zeros."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 1e-9))


def _of_level(level: Level) -> Sparse:
    """(I, V) 1 at the value of each product, or at each of its tags."""
    values, some = level.vocab.ids.to_list(), level.codes >= 0
    if not tagged(values):
        return _of_codes(level.codes)
    place = {tag: at for at, tag in enumerate(sorted(set(pieces(values))))}
    held = [[place[tag] for tag in split(value, True)] for value in values]
    sizes = np.array([len(tags) for tags in held])
    rows = np.repeat(np.flatnonzero(some), sizes[level.codes[some]])
    columns = np.concatenate([np.array(held[code]) for code in level.codes[some]]) if len(rows) else rows
    ones = np.ones(len(rows), dtype=np.float32)
    return sp.csr_array((ones, (rows, columns)), shape=(len(level.codes), len(place)))


def _of_codes(codes: Codes) -> Sparse:
    """(I, V) 1 at the value of each row, none where it is -1."""
    some = np.flatnonzero(codes >= 0)
    shape = (len(codes), int(codes.max(initial=0)) + 1)
    return sp.csr_array((np.ones(len(some), dtype=np.float32), (some, codes[some])), shape=shape)


def _binned(values: Floats, known: Bools) -> Codes:
    """(I,) the part of the known products that each number falls into, -1 where there is none."""
    told = values[known & ~np.isnan(values)]
    edges = np.unique(np.quantile(told, np.linspace(0, 1, BINS + 1)[1:-1])) if len(told) else np.zeros(0)
    return np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="right")).astype(np.int32)


def _of_names(names: pl.Series) -> Sparse:
    """(I, ``HASHED``) counts of the letters of each name."""
    cut = HashingVectorizer(
        analyzer="char_wb", ngram_range=LETTERS, n_features=HASHED, alternate_sign=False, norm=None, dtype=np.float32
    )
    return sp.csr_array(cut.transform([name or "" for name in names]))


def _unit(x: Sparse) -> Sparse:
    """The rows of x scaled to length 1."""
    length = np.sqrt(np.asarray(x.multiply(x).sum(axis=1), dtype=np.float64)).ravel()
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    return sp.csr_array(x.multiply(scale[:, None])).astype(np.float32)
