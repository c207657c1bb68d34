"""A source as a Dataset, kept by the content of its files: a second look at the same data costs a second.

One entry a source: ``CACHE/<source>/<key>/`` holds the Dataset, the rejects and the report. The key is made of the
files' content, the settings that change how they are read, and the code that reads them; a new one takes the place of
the old. ``lines/`` beside it keeps the typed lines of each file, so that a source with a new file reads that one alone,
and a receipt keeps hashes by size and times of a file, so that large ones are read for their hash once. It is personal
data like the source: delete it whenever you like.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

import aisle.data
from aisle.config import RunConfig
from aisle.data.dataset import Dataset
from aisle.data.doctor.pieces import Pieces
from aisle.data.read import list_files
from aisle.data.schema import CleanTables, DataReport, FileCount, Finding
from aisle.data.stored import open_dataset, save_dataset
from aisle.errors import BundleError
from aisle.files import Receipts, atomic_dir, fingerprint, read_parquet, sha256, write_parquet
from aisle.jobs.check import data_summary
from aisle.jobs.ingest import build_dataset, clean_source, existing, read_ids
from aisle.progress import Progress, Tick
from aisle.version import VERSION

LINES = "lines"
"""Folder of typed lines, one a file."""
SEEN, REPORT = "seen", "report"
"""Keys of receipts: hashes of files, and what the doctor said."""
DATASET = "dataset/dataset.json"
"""The file of a stored Dataset that has no checksum of its own."""
OFF = "off"
"""Given in place of a folder: nothing is kept."""
TIMELESS = ("iso", "sequence")
"""Orders of dates that nothing had to be known of today for."""


@dataclass(frozen=True, eq=False)
class Ingested:
    """A source read, cleaned and coded."""

    dataset: Dataset
    data: dict[str, Any]
    """The ``data`` object of the certificate."""
    report: DataReport
    rejects: pl.DataFrame

    @classmethod
    def of(cls, tables: CleanTables, config: RunConfig) -> Ingested:
        """From clean tables, whose transactions are used up; raises as ``build_dataset``."""
        data = data_summary(tables)
        return cls(build_dataset(tables, config, consume=True), data, tables.report, tables.rejects)


def ingest(
    source: str | Path, config: RunConfig, progress: Progress | None = None, folder: Path | None = None
) -> Ingested:
    """Read, clean and build a source, or take what ``folder`` keeps of the very same data.

    Databases are always asked anew. Raises DataError for data that cannot be trusted, UsageError for a wrong path.
    """
    progress = progress or Progress()
    if folder is None or "://" in str(source):
        return Ingested.of(clean_source(source, config, progress), config)
    path = existing(source)
    mine = folder / fingerprint(str(path.resolve()))
    with progress.step("Comparing files with those known") as tick:
        marks = _marks(path, mine, tick)
        entry = mine / _key(path, marks, config)
        found = _load(entry)
    if found is None:
        lines = Pieces(mine / LINES, marks, _code())
        found = Ingested.of(clean_source(source, config, progress, lines), config)
        if marks == _marks(path, mine, tick):  # no file has changed while it was read
            _keep(found, entry)
            lines.forget_others()
        else:
            shutil.rmtree(mine / LINES)
    return found


def place_of(text: str | None, default: Path | None = None) -> Path | None:
    """The folder that an option or variable names; ``off`` is none."""
    if text is None:
        return default
    return None if text == OFF else Path(text)


def _marks(path: Path, mine: Path, tick: Tick) -> dict[Path, str]:
    """SHA-256 of each file; one that no write has touched since its hash was taken is not read again."""
    receipts = Receipts(mine)
    seen, found, marks = receipts.get(SEEN) or {}, {}, {}
    files = list_files(path)
    total, done = sum(file.stat().st_size for file in files), 0
    for file in files:
        state = file.stat()
        # the time of the last change of a file's entry (ctime) moves even where its own time is set back by hand
        name = fingerprint([str(file.resolve()), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino])
        found[name] = marks[file] = seen.get(name) or sha256(file)
        done += state.st_size
        tick(done, total)
    if found != seen:
        receipts.put(SEEN, found)
    return marks


def _key(path: Path, marks: dict[Path, str], config: RunConfig) -> str:
    """What the outcome follows from: files, settings and code."""
    root = path if path.is_dir() else path.parent
    return fingerprint(
        {
            "code": [VERSION, _code()],
            "files": [(file.relative_to(root).as_posix(), mark) for file, mark in marks.items()],
            "single": path.is_file(),
            "settings": [config.date_order, config.at, config.data],
            "no_profile": read_ids(Path(config.no_profile)).to_list() if config.no_profile else None,
        }
    )


@cache
def _code() -> str:
    """A hash of the code that reads and cleans."""
    digest = hashlib.sha256()
    for file in sorted(Path(aisle.data.__path__[0]).rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _keep(found: Ingested, entry: Path) -> None:
    """Write an entry in place of all others of its source."""
    with atomic_dir(entry) as folder:
        save_dataset(found.dataset, folder / "dataset", packed=True)
        write_parquet(folder / "rejects.parquet", found.rejects)
        told = {"data": found.data, "report": asdict(found.report), "day": _today()}
        Receipts(folder).put(REPORT, told | {"dataset": sha256(folder / DATASET)})
    for other in entry.parent.iterdir():
        if other.is_dir() and other not in (entry, entry.parent / LINES):
            shutil.rmtree(other)


def _load(entry: Path) -> Ingested | None:
    """What an entry holds; None where it is not there, not whole, or was read with another day for today."""
    told = Receipts(entry).get(REPORT)
    if told is None:
        return None
    report = report_of(told["report"])
    if told["day"] != _today() and not _timeless(report):
        return None
    try:
        if sha256(entry / DATASET) != told["dataset"]:
            return None
        data, rejects = open_dataset(entry / "dataset"), read_parquet(entry / "rejects.parquet")
    except (BundleError, FileNotFoundError):
        return None
    return Ingested(data, told["data"], report, rejects)


def report_of(found: dict[str, Any]) -> DataReport:
    """A report from its JSON."""
    files = tuple(FileCount(**file) for file in found["files"])
    return DataReport(**{**found, "files": files, "findings": tuple(Finding(**one) for one in found["findings"])})


def _timeless(report: DataReport) -> bool:
    """Whether the doctor would judge every date alike on another day."""
    future = any(finding.code == "DATE_FUTURE" for finding in report.findings)
    return report.date_order in TIMELESS and not future


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
