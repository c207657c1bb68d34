"""Files that are whole or absent: atomic publishing, hashes, checked Parquet, and receipts of finished parts."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from aisle.errors import BundleError


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place, fsynced, when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
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
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for file in sorted(temporary.rglob("*")):
            sync(file)
        sync(temporary)
        old = path.with_name(f".{path.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
        sync(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sync(path: Path) -> None:
    """Force a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: indented, keys in the order given, no NaN."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_parquet(path: Path, frame: pl.DataFrame) -> None:
    """Write Parquet atomically with page checksums."""
    with atomic(path) as temporary:
        pq.write_table(frame.to_arrow(), temporary, compression="zstd", write_page_checksum=True)


def read_parquet(path: Path) -> pl.DataFrame:
    """Read Parquet of ours, page checksums verified; raises BundleError naming the file when it is torn or altered."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read: {error}; restore it or write it again") from error
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """A short hash of a JSON value, for keys of receipts."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


class Receipts:
    """JSON results by key in a folder: what a killed job had finished, so that it need not be done again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: Any) -> dict[str, Any] | None:
        """The stored result of a key, or None; a torn receipt counts as none."""
        path = self._path(key)
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        value: dict[str, Any] = stored["value"]
        return value

    def put(self, key: Any, value: dict[str, Any]) -> None:
        """Store a result; it is on disk when this returns."""
        write_json(self._path(key), {"key": key, "value": value})

    def _path(self, key: Any) -> Path:
        return self.folder / f"{fingerprint(key)}.json"
