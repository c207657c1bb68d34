"""What a preset is: the mapping of a published data set, and how to know its files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from aisle.data.names import Columns
from aisle.data.schema import Join, Mapping, TableMapping, TableName
from aisle.data.sources import Source, files_of, first_line, relative

Found = tuple[Mapping, dict[TableName, list[Path]]]
OR = "|"
"""Separates the spellings that a column has in different copies: ``Invoice|InvoiceNo``."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One form of a known source. A publisher's form and a re-packed copy are two presets of one name.

    Columns may give several spellings (``Invoice|InvoiceNo``); those that a copy lacks are left out, unless
    ``required``. Tables other than transactions are left out when their files are not there.
    """

    mapping: Mapping
    required: tuple[str, ...]
    """Source columns that transactions must have to be this
    source; spellings with ``|`` as in the mapping."""
    beside: tuple[str, ...] = ()
    """Globs of files that must be there too, each."""

    @property
    def signature(self) -> str:
        """The files and columns that tell this source, in words."""
        table = self.mapping.tables[0]
        return f"{' or '.join(table.files)} with {', '.join(self.required or table.header)}"

    def detect(self, root: Path, files: list[Path], reader: Source) -> Found | None:
        """The mapping in the file's own spelling and the files of each table, or None when this is another source."""
        if not all(files_of([glob], root, files) for glob in self.beside):
            return None
        tables: list[TableMapping] = []
        chosen: dict[TableName, list[Path]] = {}
        for table in self.mapping.tables:
            required = self.required if table.table == "transactions" else ()
            hits = [f for f in files_of(table.files, root, files) if _fits(table, f, required, reader)]
            spelt = _spelt(table, hits, root, files, reader) if hits else None
            if spelt is not None:
                if hits != files_of(table.files, root, files):
                    spelt = replace(spelt, files=tuple(relative(hit, root) for hit in hits))
                tables.append(spelt)
                chosen[table.table] = hits
            elif table.table == "transactions":
                return None
        return replace(self.mapping, tables=tuple(tables)), chosen


def _fits(table: TableMapping, path: Path, required: tuple[str, ...], reader: Source) -> bool:
    """Whether the file has the required columns; a file without header line must have as many columns as named."""
    if table.header:
        return first_line(path).count(table.separator) == len(table.header) - 1
    have = Columns(reader.columns_of(path))
    return all(_pick(have, name) is not None for name in required)


def _pick(have: Columns, name: str) -> str | None:
    return next((hit for spelling in name.split(OR) if (hit := have.find(spelling)) is not None), None)


def _spelt(table: TableMapping, hits: list[Path], root: Path, files: list[Path], reader: Source) -> TableMapping | None:
    """The table in the file's own spelling, absent columns left out; None when a key or a join file is missing."""
    names = list(table.header) or [n for hit in hits for n in reader.columns_of(hit)]
    joins = tuple(_spelt_join(join, root, files, reader) for join in table.joins)
    kept = tuple(join for join in joins if join is not None)
    if len(kept) < len(joins):
        return None
    have = Columns([*names, *(c for join in kept for c in join.take)])
    columns: dict[str, tuple[str, ...]] = {}
    for canonical, parts in table.columns.items():
        found = [_pick(have, part) for part in parts]
        if all(part is not None for part in found):
            columns[canonical] = tuple(part for part in found if part is not None)
    key = {"products": "product_id", "customers": "customer_id", "stores": "store_id"}.get(table.table, "product_id")
    if key not in columns:
        return None
    ignore = tuple(hit for name in table.ignore if (hit := _pick(have, name)) is not None)
    return replace(table, columns=columns, ignore=ignore, joins=kept)


def _spelt_join(join: Join, root: Path, files: list[Path], reader: Source) -> Join | None:
    hits = files_of(join.files, root, files)
    if not hits or Columns(reader.columns_of(hits[0])).all([k.split("=")[-1] for k in join.on]) is None:
        return None
    take = Columns(reader.columns_of(hits[0])).all(join.take)
    return replace(join, take=take) if take is not None else None


def columns(**names: str | tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """A mapping's columns, one source column or a tuple of parts each."""
    return {name: (parts,) if isinstance(parts, str) else parts for name, parts in names.items()}
