"""A small stand-in for the reader: text files all String, Parquet typed."""

from __future__ import annotations

from pathlib import Path

import polars as pl

SUFFIXES = {".csv", ".parquet", ".data", ".item", ".user", ".dat"}


class PlainSource:
    def list_files(self, source: Path) -> list[Path]:
        if source.is_file():
            return [source]
        return sorted(p for p in source.rglob("*") if p.suffix in SUFFIXES)

    def columns_of(self, path: Path) -> list[str]:
        return self.sample_of(path, 1).columns

    def sample_of(self, path: Path, rows: int) -> pl.DataFrame:
        if path.suffix == ".parquet":
            return pl.scan_parquet(path).head(rows).collect()
        return pl.read_csv(path, n_rows=rows, infer_schema=False, encoding="utf8-lossy", truncate_ragged_lines=True)

    def read_all(self, path: Path) -> pl.DataFrame:
        return self.sample_of(path, 2**31)

    def headless(self, path: Path, header: tuple[str, ...], separator: str) -> pl.DataFrame:
        """A whole file, with its names given where it has no header line."""
        if not header:
            return self.read_all(path)
        rows = [line.split(separator) for line in path.read_text(encoding="utf-8").splitlines()]
        return pl.DataFrame(rows, schema=dict.fromkeys(header, pl.String), orient="row")
