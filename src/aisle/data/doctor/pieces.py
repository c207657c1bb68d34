"""Typed sale lines of a file, kept by its content: a source that grows by a file reads that file alone."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as Marks
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from aisle.data.doctor.ledger import Ledger, Listed, Tally
from aisle.data.schema import REJECTS, Finding, Mapping
from aisle.errors import BundleError
from aisle.files import (
    Receipts,
    atomic_dir,
    fingerprint,
    forgiving,
    parquet_parts,
    read_parquet,
    remove,
    write_parquet,
)
from aisle.types import Bools

TEXTS = pl.Schema({"_file": pl.Int64, "_line": pl.Int64, "raw": pl.String})
PAIR = pl.Schema({"customer_id": pl.String, "product_id": pl.String})
LEDGER = "ledger"
"""Key of the receipt."""
RISING = ("_line", "ticks")
"""Columns whose numbers mostly rise."""


class Pieces:
    """What the files of the transactions came to, one folder each."""

    def __init__(self, folder: Path, marks: Marks[Path, str], code: Any) -> None:
        """``marks`` are hashes of the content of every file of the source, ``code`` stands for whatever reads them."""
        self.folder, self.marks, self.code = folder, marks, code
        self.states = {path: state(path) for path in marks}
        self.used: set[str] = set()

    def get(self, path: Path, mapping: Mapping, now: datetime) -> tuple[pl.DataFrame, Ledger] | None:
        """Lines of a file and what was found in it; None where it is not kept whole, or was judged on another day."""
        try:
            piece = self.piece(path, mapping, now)
            return None if piece is None else (piece.lines(), piece.ledger())
        except (BundleError, FileNotFoundError):
            return None

    def piece(self, path: Path, mapping: Mapping, now: datetime) -> Piece | None:
        """A file as it is kept, none of its lines read; None where it is not, or was judged on another day."""
        entry = self.folder / self._key(path, mapping)
        told = Receipts(entry).get(LEDGER)
        if told is None or (told["by_day"] and told["day"] != now.date().isoformat()):
            return None
        self.used.add(entry.name)
        return Piece(entry, path, told)

    def put(self, path: Path, mapping: Mapping, now: datetime, lines: pl.DataFrame, ledger: Ledger) -> None:
        """Keep the lines of a file, unless it was written to since its mark was taken."""
        if state(path) != self.states[path]:
            return
        entry = self.folder / self._key(path, mapping)
        coded = [name for name in lines.columns if lines.schema[name] == pl.Categorical]
        with forgiving(f"lines of {path.name}"):
            self._write(entry, lines, coded, ledger, now)
        self.used.add(entry.name)

    def _write(self, entry: Path, lines: pl.DataFrame, coded: list[str], ledger: Ledger, now: datetime) -> None:
        returned = pairs_returned(lines)
        with atomic_dir(entry) as folder:
            for name in coded:
                lines = lines.with_columns(_coded(lines[name], folder / f"{name}.parquet"))
            rising = [name for name in RISING if name in lines.columns]
            write_parquet(folder / "lines.parquet", lines, quick=True, rising=rising)
            listed = [rows.with_columns(_entry=pl.lit(at)) for at, rows in enumerate(one.rows for one in ledger.listed)]
            write_parquet(folder / "listed.parquet", pl.concat(listed) if listed else pl.DataFrame(schema=REJECTS))
            write_parquet(folder / "texts.parquet", _texts(ledger.texts))
            write_parquet(folder / "returned.parquet", returned)
            Receipts(folder).put(LEDGER, _told(ledger) | {"coded": coded, "day": now.date().isoformat()})

    def put_texts(self, path: Path, mapping: Mapping, texts: dict[int, list[pl.DataFrame]]) -> None:
        """Keep raw texts of a file's tables in place of those kept with its lines."""
        entry = self.folder / self._key(path, mapping)
        if entry.exists():
            rows = _texts(texts).unique(["_file", "_line"], maintain_order=True)
            with forgiving(f"texts of {path.name}"):
                write_parquet(entry / "texts.parquet", rows)

    def untouched(self) -> bool:
        """Whether no file of the source was written to since its mark was taken."""
        return all(path.exists() and state(path) == before for path, before in self.states.items())

    def forget_others(self) -> None:
        """Delete what was not asked for: files that are gone, or are read in another way by now."""
        for entry in self.folder.iterdir() if self.folder.exists() else ():
            if entry.name not in self.used:
                remove(entry)

    def _key(self, path: Path, mapping: Mapping) -> str:
        table = next(t for t in mapping.tables if t.table == "transactions")
        joined = sorted(self.marks.values()) if table.joins else None
        settings = [asdict(table), mapping.numeric_ids, mapping.product_pattern, mapping.cancel_prefix]
        return fingerprint([self.marks[path], path.name, joined, settings, self.code])


Pick: TypeAlias = Callable[[pl.DataFrame], Bools]
"""Which (E,) of some lines of a file, with numbers for texts, are wanted."""


class Piece:
    """A file of transactions as it is kept. Raises BundleError or FileNotFoundError where that is not whole."""

    def __init__(self, folder: Path, path: Path, told: dict[str, Any]) -> None:
        self.folder, self.path, self.told = folder, path, told
        self.file = folder / "lines.parquet"
        self.read: dict[str, pl.Series] = {}
        """Texts that were asked for, until lines are."""

    def ledger(self) -> Ledger:
        """What was found in the file."""
        listed, texts = read_parquet(self.folder / "listed.parquet"), read_parquet(self.folder / "texts.parquet")
        return _restored(self.path, self.told, listed, texts)

    def lines(self) -> pl.DataFrame:
        """All typed lines."""
        lines = read_parquet(self.file)
        for name in self.told["coded"]:
            lines = lines.with_columns(self._spelt(lines[name]))
        return lines

    def some(self, pick: Pick) -> pl.DataFrame:
        """The typed lines that are picked; texts read for it are let go."""
        found = [lines.filter(pl.Series(pick(lines))) for lines in parquet_parts(self.file)]
        lines = pl.concat(found) if found else read_parquet(self.file)
        lines = lines.with_columns(self._spelt(lines[name]) for name in self.told["coded"])
        self.read.clear()
        return lines

    def returned(self) -> pl.DataFrame:
        """(customer_id, product_id) of returns, as text, each pair once."""
        return read_parquet(self.folder / "returned.parquet")

    def texts(self, name: str) -> pl.Series:
        """The different texts of a column, whose places there stand in the lines."""
        if name not in self.read:
            self.read[name] = read_parquet(self.folder / f"{name}.parquet")["text"]
        return self.read[name]

    def _spelt(self, codes: pl.Series) -> pl.Series:
        """Undo ``_coded``; only the texts that are there become categories."""
        texts = self.texts(codes.name)
        if len(codes) < len(texts):
            used = codes.drop_nulls().unique().sort()
            place = np.zeros(len(texts), dtype=np.int32)
            place[used.to_numpy()] = np.arange(len(used), dtype=np.int32)
            texts = texts.gather(used)
            blank = codes.is_null()
            codes = pl.Series(codes.name, place[codes.fill_null(0).to_numpy()]).set(blank, None)
        return texts.cast(pl.Categorical).gather(codes).alias(codes.name)


def state(path: Path) -> tuple[int, ...]:
    """What changes when a file is written to; the time of its entry (ctime) moves even where its own is set back."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def pairs_returned(lines: pl.DataFrame) -> pl.DataFrame:
    """(customer_id, product_id) of the returns among lines, as text, each pair once."""
    if "customer_id" not in lines.columns:
        return pl.DataFrame(schema=PAIR)
    pairs = lines.filter(pl.col("quantity") < 0).select(list(PAIR)).drop_nulls().unique()
    return pairs.cast(PAIR)


def _told(ledger: Ledger) -> dict[str, Any]:
    """All of a ledger that is no table, as JSON."""
    return {
        "names": [name for _, _, name in ledger.files],
        "read": ledger.read,
        "rejected": ledger.rejected,
        "tallies": [[*key, asdict(tally) | {"files": sorted(tally.files)}] for key, tally in ledger.tallies.items()],
        "foreign": [[*key, asdict(finding)] for key, finding in ledger.foreign.items()],
        "listed": [one.issue for one in ledger.listed],
        "by_day": any(code == "DATE_FUTURE" for code, _ in ledger.tallies),
    }


def _coded(values: pl.Series, path: Path) -> pl.Series:
    """Categories as numbers by a list of their own in ``path``: each text is written, and read, once."""
    found = values.unique().drop_nulls()
    write_parquet(path, found.cast(pl.String).to_frame("text"))
    place, last = found.to_physical(), int(found.to_physical().max() or 0)  # type: ignore[arg-type]
    code = np.full(last + 1, -1, dtype=np.int32)
    code[place.to_numpy()] = np.arange(len(found), dtype=np.int32)
    blank = values.is_null()
    codes = pl.Series(values.name, code[values.to_physical().fill_null(0).to_numpy()])
    return codes.set(blank, None) if blank.any() else codes


def _texts(texts: dict[int, list[pl.DataFrame]]) -> pl.DataFrame:
    frames = [
        frame.select(pl.lit(number, dtype=pl.Int64).alias("_file"), "_line", "raw")
        for number, held in texts.items()
        for frame in held
    ]
    return pl.concat(frames) if frames else pl.DataFrame(schema=TEXTS)


def _restored(path: Path, told: dict[str, Any], listed: pl.DataFrame, texts: pl.DataFrame) -> Ledger:
    """Undo ``_told``, ``_texts`` and what ``put`` does to the lists."""
    issues = [None if issue is None else (issue[0], issue[1]) for issue in told["listed"]]
    columns = list(REJECTS)
    return Ledger(
        files=[("transactions", path, name) for name in told["names"]],
        read=told["read"],
        rejected=told["rejected"],
        tallies={(c, column): Tally(**tally | {"files": set(tally["files"])}) for c, column, tally in told["tallies"]},
        foreign={(code, column, file): Finding(**finding) for code, column, file, finding in told["foreign"]},
        listed=[
            Listed(listed.filter(pl.col("_entry") == at).select(columns), issue) for at, issue in enumerate(issues)
        ],
        texts={
            number: [texts.filter(pl.col("_file") == number).select("_line", "raw")]
            for number in texts["_file"].unique().sort().to_list()
        },
    )
