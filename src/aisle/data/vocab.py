"""Outside ids <-> dense codes. Codes are internal and append-only; unknown is -1."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from aisle.errors import UsageError
from aisle.types import UNKNOWN, Codes


@dataclass(frozen=True, eq=False)
class Vocab:
    """An ordered set of text ids; the code of an id is its position."""

    ids: pl.Series
    """(N,) String, unique, no nulls."""

    @classmethod
    def of(cls, ids: Iterable[str] | pl.Series) -> Vocab:
        """Vocabulary of the given ids, in order of first appearance; nulls are left out."""
        series = ids if isinstance(ids, pl.Series) else pl.Series(list(ids), dtype=pl.String)
        return cls(series.cast(pl.String).drop_nulls().unique(maintain_order=True).alias("id"))

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _table(self) -> pl.DataFrame:
        return pl.DataFrame({"id": self.ids, "code": np.arange(len(self.ids), dtype=np.int32)})

    def codes(self, ids: Iterable[str] | pl.Series) -> Codes:
        """(N,) code of each id, -1 for null or unknown."""
        series = ids if isinstance(ids, pl.Series) else pl.Series(list(ids), dtype=pl.String)
        if series.dtype in (pl.Categorical, pl.Enum):
            return self._codes_of_categories(series)
        asked = pl.DataFrame({"id": series.cast(pl.String)})
        joined = asked.join(self._table, on="id", how="left", maintain_order="left")
        return joined["code"].fill_null(UNKNOWN).to_numpy().astype(np.int32, copy=False)

    def known(self, ids: Iterable[str] | pl.Series, what: str) -> Codes:
        """(N,) code of each id; raises UsageError for an id that is not here, ``what`` naming the kind of thing."""
        listed = pl.Series(ids if isinstance(ids, pl.Series) else list(ids), dtype=pl.String)
        codes = self.codes(listed)
        if (codes < 0).any():
            wrong = listed[int(np.flatnonzero(codes < 0)[0])]
            example = self.ids[0] if len(self) else "none"
            raise UsageError(f"{wrong!r} is not a known {what}; ids look like {example!r}")
        return codes

    def _codes_of_categories(self, series: pl.Series) -> Codes:
        """Look up each category once and spread the answer over the rows by its physical number."""
        found = series.unique().drop_nulls()
        place = found.to_physical().cast(pl.UInt32).to_numpy()
        nothing = int(place.max(initial=0)) + 1
        code_of = np.full(nothing + 1, UNKNOWN, dtype=np.int32)
        code_of[place] = self.codes(found.cast(pl.String))
        codes: Codes = code_of[series.to_physical().cast(pl.UInt32).fill_null(nothing).to_numpy()]
        return codes

    def names(self, codes: Codes) -> pl.Series:
        """(N,) id of each code, null for -1."""
        index = pl.Series(codes).cast(pl.Int64)
        return self.ids.gather(index.set(index < 0, None)).alias("id")
