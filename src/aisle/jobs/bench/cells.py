"""Cells: one JSON a protocol, recipe and seed, whole or absent; and the values of its customers in a local cache."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from aisle.errors import BundleError, DataError
from aisle.evaluate.compare import intervals
from aisle.files import read_parquet, write_json, write_parquet
from aisle.types import Codes, Doubles

Json = dict[str, Any]
VERSUS, ATTEMPTS = "versus.json", "attempts.json"


@dataclass(frozen=True, eq=False)
class Values:
    """Figures by customer, parts pooled."""

    customer: Codes
    """(N,) whose row it is; one customer may have a row in each part."""
    part: pl.Series
    """(N,)"""
    columns: dict[str, Doubles]
    """figure -> (N,), NaN where the customer has none."""

    def figures(self) -> dict[str, dict[str, float | None]]:
        """Mean and 95 % interval of each figure; customers are drawn, not rows."""
        table = np.stack(list(self.columns.values()), axis=1)
        found = intervals(table, customer=self.customer)
        return {name: one.to_json() for name, one in zip(self.columns, found, strict=True)}


@dataclass(frozen=True)
class Cell:
    """A place in the table."""

    protocol: str
    recipe: str
    seed: int

    @property
    def stem(self) -> str:
        """The name of its files."""
        return f"{self.recipe.replace(':', '-')}-s{self.seed}"

    def path(self, results: Path) -> Path:
        """Where its JSON is."""
        return results / self.protocol / f"{self.stem}.json"

    def read(self, results: Path) -> Json | None:
        """What was measured, None where nothing was."""
        path = self.path(results)
        return read_json(path) if path.exists() else None

    def write(self, results: Path, found: Json) -> None:
        """Put it there at once."""
        write_json(self.path(results), found)

    def value_file(self, cache: Path, part: str) -> Path:
        """Where the values of a part are kept."""
        return cache / "values" / self.protocol / self.stem / f"{part}.parquet"

    def keep(self, cache: Path, part: str, customers: Codes, columns: dict[str, Doubles]) -> None:
        """Keep the values of a part."""
        write_parquet(self.value_file(cache, part), pl.DataFrame({"customer": customers, **columns}))

    def values(self, cache: Path, parts: tuple[str, ...]) -> Values | None:
        """The values of all parts, None where one is not in the cache, or torn."""
        try:
            frames = [read_parquet(self.value_file(cache, part)).with_columns(part=pl.lit(part)) for part in parts]
        except BundleError:
            return None
        table = pl.concat(frames)
        names = [name for name in table.columns if name not in ("customer", "part")]
        columns = {name: table[name].to_numpy().astype(np.float64) for name in names}
        return Values(table["customer"].to_numpy().astype(np.int32), table["part"], columns)


def cells_of(results: Path, protocol: str) -> dict[Cell, Json]:
    """Every cell of a protocol that was measured, by file name."""
    found: dict[Cell, Json] = {}
    for path in sorted((results / protocol).glob("*-s*.json")):
        cell = read_json(path)
        found[Cell(protocol, cell["recipe"], cell["seed"])] = cell
    return found


def read_json(path: Path) -> Any:
    """A JSON file of ours; raises DataError where it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is no JSON ({error}); delete it and run the cell again") from error
