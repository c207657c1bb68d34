"""A hash of the content of data: what tells a split from another with the same counts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from aisle.types import CSR_PARTS


def content(value: Any) -> str:
    """A hash of arrays, CSR arrays, series and plain values, and of dataclasses, mappings and sequences of them.

    Raises TypeError for anything else. Cost: one pass over the bytes.
    """
    digest = hashlib.blake2b(digest_size=16)
    _add(digest, value)
    return digest.hexdigest()


def _add(digest: hashlib.blake2b, value: Any) -> None:
    """Add kind and length before the bytes: values that follow one another must not read as others."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        digest.update(f"{value.dtype} {value.shape};".encode())
        digest.update(value.tobytes())
    elif value is None or isinstance(value, bool | int | float | str | np.generic):
        text = repr(value).encode()
        digest.update(b"%s %d;" % (type(value).__name__.encode(), len(text)))
        digest.update(text)
    else:
        parts = _parts(value)
        digest.update(f"{type(value).__name__} {len(parts)};".encode())
        for part in parts:
            _add(digest, part)


def _parts(value: Any) -> list[Any]:
    """What a value is made of."""
    if isinstance(value, sp.csr_array):
        return [getattr(value, name) for name in CSR_PARTS]
    if isinstance(value, pl.Series):
        return list(value.to_list())
    if is_dataclass(value):
        return [part for one in fields(value) for part in (one.name, getattr(value, one.name))]
    if isinstance(value, Mapping):
        return [part for item in value.items() for part in item]
    if isinstance(value, tuple | list):
        return list(value)
    raise TypeError(f"no content of a {type(value).__name__}")
