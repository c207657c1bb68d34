"""Typed sale lines of a file, kept by its content: a source that grows by a file reads that file alone."""

from __future__ import annotations

import shutil
from collections.abc import Mapping as Marks
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from aisle.data.doctor.ledger import Ledger, Listed, Tally
from aisle.data.schema import REJECTS, Finding, Mapping
from aisle.errors import BundleError
from aisle.files import Receipts, atomic_dir, fingerprint, read_parquet, write_parquet

TEXTS = pl.Schema({"_file": pl.Int64, "_line": pl.Int64, "raw": pl.String})
LEDGER = "ledger"
"""Key of the receipt."""


class Pieces:
    """What the files of the transactions came to, one folder each."""

    def __init__(self, folder: Path, marks: Marks[Path, str], code: Any) -> None:
        """``marks`` are hashes of the content of every file of the source, ``code`` stands for whatever reads them."""
        self.folder, self.marks, self.code = folder, marks, code
        self.used: set[str] = set()

    def get(self, path: Path, mapping: Mapping, now: datetime) -> tuple[pl.DataFrame, Ledger] | None:
        """Lines of a file and what was found in it; None where it is not kept whole, or was judged on another day."""
        entry = self.folder / self._key(path, mapping)
        told = Receipts(entry).get(LEDGER)
        if told is None or (told["by_day"] and told["day"] != now.date().isoformat()):
            return None
        try:
            lines = _with_texts(read_parquet(entry / "lines.parquet"), entry)
            listed, texts = read_parquet(entry / "listed.parquet"), read_parquet(entry / "texts.parquet")
        except (BundleError, FileNotFoundError):
            return None
        self.used.add(entry.name)
        return lines, _restored(path, told, listed, texts)

    def put(self, path: Path, mapping: Mapping, now: datetime, lines: pl.DataFrame, ledger: Ledger) -> None:
        """Keep the lines of a file."""
        entry = self.folder / self._key(path, mapping)
        with atomic_dir(entry) as folder:
            for name in (n for n in lines.columns if lines.schema[n] == pl.Categorical):
                lines = lines.with_columns(_coded(lines[name], folder / f"{name}.parquet"))
            write_parquet(folder / "lines.parquet", lines, quick=True)
            listed = [rows.with_columns(_entry=pl.lit(at)) for at, rows in enumerate(one.rows for one in ledger.listed)]
            write_parquet(folder / "listed.parquet", pl.concat(listed) if listed else pl.DataFrame(schema=REJECTS))
            write_parquet(folder / "texts.parquet", _texts(ledger.texts))
            Receipts(folder).put(LEDGER, _told(ledger) | {"day": now.date().isoformat()})
        self.used.add(entry.name)

    def put_texts(self, path: Path, mapping: Mapping, texts: dict[int, list[pl.DataFrame]]) -> None:
        """Keep raw texts of a file's tables in place of those kept with its lines."""
        frame = _texts(texts).unique(["_file", "_line"], maintain_order=True)
        write_parquet(self.folder / self._key(path, mapping) / "texts.parquet", frame)

    def forget_others(self) -> None:
        """Delete what was not asked for: files that are gone, or are read in another way by now."""
        for entry in self.folder.iterdir() if self.folder.exists() else ():
            if entry.name not in self.used:
                shutil.rmtree(entry)

    def _key(self, path: Path, mapping: Mapping) -> str:
        table = next(t for t in mapping.tables if t.table == "transactions")
        joined = sorted(self.marks.values()) if table.joins else None
        settings = [asdict(table), mapping.numeric_ids, mapping.product_pattern, mapping.cancel_prefix]
        return fingerprint([self.marks[path], path.name, joined, settings, pl.__version__, self.code])


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


def _with_texts(lines: pl.DataFrame, entry: Path) -> pl.DataFrame:
    """Undo ``_coded``."""
    for name in (n for n in lines.columns if (entry / f"{n}.parquet").exists()):
        texts = read_parquet(entry / f"{name}.parquet")["text"].cast(pl.Categorical)
        lines = lines.with_columns(texts.gather(lines[name]).alias(name))
    return lines


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
