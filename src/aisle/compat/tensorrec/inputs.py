"""What may be given as interactions and features: SciPy sparse matrices, or lists of them as ready batches."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import scipy.sparse as sp

from aisle.errors import DataError, UsageError
from aisle.types import Sparse


def matrices(raw: Any, name: str = "input") -> list[Sparse]:
    """A matrix as a list of one, or a list of matrices: CSR float32 copies, or views where they are that already."""
    if isinstance(raw, (list, tuple)) and not raw:
        raise UsageError(f"{name} is an empty list; give at least one scipy.sparse matrix")
    return [_csr(one, name) for one in (raw if isinstance(raw, (list, tuple)) else [raw])]


def single(raw: Any, name: str) -> Sparse:
    """The rows of one matrix, or of a list of batches below each other."""
    found = matrices(raw, name)
    return found[0] if len(found) == 1 else cast(Sparse, sp.vstack(found, format="csr"))


def _csr(raw: Any, name: str) -> Sparse:
    if isinstance(raw, str):
        raise UsageError(
            f"{name} is the path {raw!r}: TFRecord files need TensorFlow; store the matrix with scipy.sparse.save_npz "
            "and give scipy.sparse.load_npz(path)"
        )
    if not sp.issparse(raw):
        raise UsageError(
            f"{name} is a {type(raw).__module__}.{type(raw).__qualname__}; allowed are scipy.sparse matrices and lists "
            "of them. Turn an array into one with scipy.sparse.csr_matrix(array), a tf.data.Dataset with the arrays "
            "that it was made from"
        )
    found: Sparse = sp.csr_array(cast(Any, raw), dtype=np.float32)
    if found.ndim == 1:  # a single row taken from a csr_array
        found = found.reshape((1, -1))
    if not found.has_canonical_format:
        found = found.copy()
        found.sum_duplicates()
    if not np.isfinite(found.data).all():
        bad = int((~np.isfinite(found.data)).sum())
        raise DataError(f"{name} has {bad} of {found.nnz} stored values that are NaN or infinite; drop or fill them")
    return found
