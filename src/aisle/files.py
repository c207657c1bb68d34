"""Files that are whole or absent: atomic publishing, hashes, checked Parquet, and receipts of finished parts."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from aisle.errors import BundleError

log = logging.getLogger(__name__)


@contextmanager
def atomic(path: Path, *, own: str = "") -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place, fsynced, when the block ends without an error.

    Where several processes may write one path at a time, each gives a text of its ``own``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}{own}.tmp")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """A fresh temporary folder that takes the place of folder ``path`` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = (path.with_name(f".{path.name}.{end}") for end in ("tmp", "old"))
    shutil.rmtree(temporary, ignore_errors=True)
    if old.exists() and not path.exists():  # an earlier job was killed between the two renames below
        os.replace(old, path)
    temporary.mkdir()
    try:
        yield temporary
        for file in sorted(temporary.rglob("*")):
            sync(file)
        sync(temporary)
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
        sync(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove(folder: Path) -> None:
    """Delete a folder; nobody finds it half deleted under its name."""
    gone = folder.with_name(f".{folder.name}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    os.replace(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)


def sync(path: Path) -> None:
    """Force a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str, *, own: str = "") -> None:
    """Write text atomically; ``own`` as in ``atomic``."""
    with atomic(path, own=own) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, own: str = "") -> None:
    """Write JSON atomically: indented, keys in the order given, no NaN; ``own`` as in ``atomic``."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", own=own)


ROWS = 1 << 20
"""Rows of a row group of Parquet."""
SHAPE = b"aisle.shape"
"""Key of the Parquet metadata that repeats rows, names and types: page checksums do not cover the footer."""
ALTERED = "{} was altered after it was written; restore it or write it again"


def write_parquet(path: Path, frame: pl.DataFrame, *, quick: bool = False, rising: Sequence[str] = ()) -> None:
    """Write Parquet atomically with page checksums; ``quick``, for numbers, takes half the time and twice the room.

    Of columns of ``rising`` whole numbers (with ``quick`` alone) the differences are written: a tenth of the room, read
    in no time.
    """
    schema: pa.Schema = frame.clear().to_arrow().schema
    marked, packing = schema.with_metadata({SHAPE: _shape(schema, frame.height)}), "lz4" if quick else "zstd"
    with (
        atomic(path) as temporary,
        pq.ParquetWriter(
            temporary,
            marked,
            compression=packing,
            use_dictionary=not quick,
            column_encoding=dict.fromkeys(rising, "DELTA_BINARY_PACKED") or None,
            write_page_checksum=True,
        ) as writer,
    ):
        for part in frame.iter_slices(ROWS):  # all at once would stand here twice
            writer.write_table(part.to_arrow())


def join_parquet(path: Path, parts: Sequence[Path]) -> int:
    """Join one file or more of ``write_parquet``, of the same columns, a part at a time; returns the rows written."""
    schema: pa.Schema = read_parquet(parts[0]).to_arrow().schema
    rows = sum(int(pq.read_metadata(part).num_rows) for part in parts)
    marked = schema.with_metadata({SHAPE: _shape(schema, rows)})
    with (
        atomic(path) as temporary,
        pq.ParquetWriter(temporary, marked, compression="zstd", write_page_checksum=True) as writer,
    ):
        for part in parts:
            writer.write_table(read_parquet(part).to_arrow())
    return rows


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Read Parquet of ours, or some columns of it, checksums verified.

    Raises BundleError naming the file when it is torn or altered.
    """
    with _readable(path):
        file = pq.ParquetFile(path, page_checksum_verification=True)
        table = file.read(None if columns is None else list(columns))
        return _verified(path, file, table, table.num_rows)


def parquet_parts(path: Path) -> Iterator[pl.DataFrame]:
    """The same a row group after the other, in memory that is used again; raises as ``read_parquet``, on the way."""
    with _readable(path):
        file = pq.ParquetFile(path, page_checksum_verification=True)
    rows = 0
    for number in range(file.num_row_groups):
        with _readable(path):
            part = _verified(path, file, file.read_row_group(number), file.metadata.num_rows)
        rows += part.height
        yield part
    if rows != file.metadata.num_rows:
        raise BundleError(ALTERED.format(path))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except BundleError:
        raise
    except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
        raise BundleError(f"{path} cannot be read: {error}; restore it or write it again") from error


def _verified(path: Path, file: pq.ParquetFile, table: pa.Table, rows: int) -> pl.DataFrame:
    """What was read of a file of so many rows, as it was written."""
    table.validate(full=True)  # page headers have no checksum
    read = {field.name: field for field in table.schema}  # as it came out, not as the footer has it
    schema = pa.schema([read.get(field.name, field) for field in file.schema_arrow], table.schema.metadata)
    if (schema.metadata or {}).get(SHAPE) != _shape(schema, rows):
        raise BundleError(ALTERED.format(path))
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _shape(schema: pa.Schema, rows: int) -> bytes:
    """A hash of rows, names, types and what Polars notes about its own types."""
    kinds = [str(field.type).replace("large_string", "string") for field in schema]  # one kind in dictionaries
    notes = [sorted((k, v) for k, v in (f.metadata or {}).items() if b"PARQUET" not in k) for f in schema]
    return fingerprint([rows, schema.names, kinds, notes]).encode()


ARRAYS = "aisle"
"""Key of the header of a file of arrays that holds JSON values."""


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]], values: Any = None) -> None:
    """Write arrays by name, and a JSON value beside them, as one file of safetensors; atomically, whoever else does."""
    plain = {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}
    with atomic(path, own=f".{secrets.token_hex(4)}") as temporary:
        save_file(plain, temporary, {ARRAYS: json.dumps(values)})


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray[Any, Any]], Any]:
    """Undo ``write_arrays``; raises BundleError naming the file where it is torn or of another kind."""
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no dict)
            return arrays, json.loads(file.metadata()[ARRAYS])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise BundleError(f"{path} cannot be read: {error}; delete it, and it is made again") from error


def write_sealed(path: Path, key: Any, arrays: Mapping[str, np.ndarray[Any, Any]], values: dict[str, Any]) -> None:
    """``write_arrays`` under a key of what they hang on, JSON too, with a hash of it all."""
    told = json.loads(json.dumps({"key": key, "values": values}))  # as it will be read back
    write_arrays(path, arrays, told | {"seal": _seal(told, arrays)})


def read_sealed(path: Path, key: Any) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]] | None:
    """Arrays and values of ``write_sealed``; None where nothing whole lies there under this very key."""
    try:
        arrays, told = read_arrays(path)
        whole = told.pop("seal") == _seal(told, arrays) and told["key"] == json.loads(json.dumps(key))
        return (arrays, told["values"]) if whole else None
    except (BundleError, KeyError, TypeError, AttributeError):
        return None


def _seal(told: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
    sums = {name: hashlib.sha256(np.ascontiguousarray(array).data).hexdigest() for name, array in arrays.items()}
    return fingerprint([json.dumps(told, sort_keys=True), sums])


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """A short hash of a JSON value, for keys of receipts."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


@contextmanager
def forgiving(what: str) -> Iterator[None]:
    """A full disk is no reason to stop: a warning tells what is not kept."""
    try:
        yield
    except OSError as error:
        log.warning("not kept for the next command: %s: %s", what, error)


class Receipts:
    """JSON results by key in a folder: what a killed job had finished, so that it need not be done again.

    Several processes may put the same key at a time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: Any) -> dict[str, Any] | None:
        """The stored result of a key, or None; a torn or altered receipt counts as none."""
        path = self._path(key)
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            value: dict[str, Any] = stored["value"]
            whole = stored["hash"] == fingerprint([key, value])
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
            return None
        return value if whole else None

    def put(self, key: Any, value: dict[str, Any]) -> None:
        """Store a result; it is on disk when this returns."""
        value = json.loads(json.dumps(value))  # as it will be read back
        told = {"key": key, "value": value, "hash": fingerprint([key, value])}
        write_json(self._path(key), told, own=f".{secrets.token_hex(4)}")

    def _path(self, key: Any) -> Path:
        return self.folder / f"{fingerprint(key)}.json"
