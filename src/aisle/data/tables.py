"""Entities as Parquet tables and back, vocabularies and codes exact."""

from __future__ import annotations

from typing import Any

import polars as pl

from aisle.data.entities import Entities, Level
from aisle.data.vocab import Vocab


def entities_frame(entities: Entities) -> tuple[pl.DataFrame, dict[str, Any]]:
    """A table (N rows in code order) and a JSON description that ``entities_of`` needs to rebuild the entities."""
    columns: dict[str, pl.Series] = {"id": entities.vocab.ids}
    for kind, levels in (("tree", entities.tree), ("category", entities.categories)):
        columns |= {f"{kind}:{level.name}": level.vocab.names(level.codes) for level in levels}
    columns |= {f"number:{name}": pl.Series(values) for name, values in entities.numbers.items()}
    columns |= {f"flag:{name}": pl.Series(values) for name, values in entities.flags.items()}
    if entities.names is not None:
        columns["names"] = entities.names
    if entities.valid_from is not None:
        columns["valid_from"] = pl.Series(entities.valid_from)
    vocabularies = {
        f"{kind}:{level.name}": level.vocab.ids.to_list()
        for kind, levels in (("tree", entities.tree), ("category", entities.categories))
        for level in levels
    }
    return pl.DataFrame(columns), {"vocabularies": vocabularies}


def entities_of(frame: pl.DataFrame, described: dict[str, Any]) -> Entities:
    """Undo ``entities_frame``."""

    def levels(kind: str) -> tuple[Level, ...]:
        found = []
        for column, ids in described["vocabularies"].items():
            if column.startswith(f"{kind}:"):
                vocab = Vocab(pl.Series("id", ids, dtype=pl.String))
                found.append(Level(column.split(":", 1)[1], vocab, vocab.codes(frame[column])))
        return tuple(found)

    def arrays(kind: str) -> dict[str, Any]:
        mine = [column for column in frame.columns if column.startswith(f"{kind}:")]
        return {column.split(":", 1)[1]: frame[column].to_numpy() for column in mine}

    return Entities(
        vocab=Vocab(frame["id"]),
        tree=levels("tree"),
        categories=levels("category"),
        numbers=arrays("number"),
        flags=arrays("flag"),
        names=frame["names"] if "names" in frame.columns else None,
        valid_from=frame["valid_from"].to_numpy() if "valid_from" in frame.columns else None,
    )
