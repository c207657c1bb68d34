"""TensorRec's input helpers. A "dataset" here is the sparse matrix itself; what only TensorFlow can do says so."""

from __future__ import annotations

from typing import Any, NoReturn

from aisle.compat.tensorrec.inputs import single
from aisle.errors import UsageError
from aisle.types import Sparse


def create_tensorrec_iterator(name: str) -> NoReturn:
    """Raise UsageError: there are no iterators, give matrices to ``fit``."""
    raise UsageError(f"the iterator {name!r} needs TensorFlow; give scipy.sparse matrices to fit() and predict()")


def create_tensorrec_dataset_from_sparse_matrix(sparse_matrix: Any) -> Sparse:
    """The matrix as CSR float32, which every method takes where TensorRec takes a dataset."""
    return single(sparse_matrix, "sparse_matrix")


def get_dimensions_from_tensorrec_dataset(dataset: Any) -> tuple[int, int]:
    """Rows and columns of a matrix."""
    rows, columns = single(dataset, "dataset").shape
    return int(rows), int(columns)


def write_tfrecord_from_sparse_matrix(tfrecord_path: str, sparse_matrix: Any) -> NoReturn:
    """Raise UsageError: use ``scipy.sparse.save_npz``."""
    _no_tfrecord(tfrecord_path)


def write_tfrecord_from_tensorrec_dataset(tfrecord_path: str, dataset: Any) -> NoReturn:
    """Raise UsageError: use ``scipy.sparse.save_npz``."""
    _no_tfrecord(tfrecord_path)


def create_tensorrec_dataset_from_tfrecord(tfrecord_path: str) -> NoReturn:
    """Raise UsageError: use ``scipy.sparse.load_npz``."""
    _no_tfrecord(tfrecord_path)


def _no_tfrecord(path: str) -> NoReturn:
    raise UsageError(
        f"{path}: TFRecord files need TensorFlow; write the matrix with scipy.sparse.save_npz(path, matrix), read it "
        "with scipy.sparse.load_npz(path) and give it to fit()"
    )
