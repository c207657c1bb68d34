"""A source as a Dataset, kept by the content of its files: a second look at the same data costs a second.

One entry a source: ``CACHE/<source>/<key>/`` holds the Dataset, the rejects and the report. The key is made of the
files' content, the settings that change how they are read, the code that reads them, and the day: what lies in the
future, and so how dates are read, may be another thing tomorrow. A new entry takes the place of the old. ``lines/``
beside it keeps the typed lines of each file, so that a source with a new file, or a new day, reads little anew, and a
receipt keeps hashes by size and times of a file, so that large ones are read for their hash once. It is personal data
like the source: delete it whenever you like.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

import aisle.data
from aisle.config import RunConfig
from aisle.data.dataset import Dataset
from aisle.data.doctor.further import Grown
from aisle.data.doctor.pieces import Pieces, state
from aisle.data.doctor.standing import Standing
from aisle.data.read import list_files
from aisle.data.schema import CleanTables, DataReport, FileCount, Finding
from aisle.data.stored import MAPPED, open_dataset, save_dataset
from aisle.errors import BundleError, UsageError
from aisle.files import Receipts, atomic_dir, fingerprint, forgiving, read_parquet, remove, sha256, write_parquet
from aisle.jobs.check import data_summary
from aisle.jobs.growth import WRITTEN, grow, keep_standing
from aisle.jobs.ingest import build_dataset, clean_source, existing, read_ids
from aisle.progress import Progress, Tick
from aisle.version import VERSION

try:
    import fcntl
except ImportError:  # Windows has no such locks: there, two commands had better not share a folder
    fcntl = None  # type: ignore[assignment]

LINES = "lines"
"""Folder of typed lines, one a file."""
log = logging.getLogger(__name__)
SEEN, REPORT = "seen", "report"
"""Keys of receipts: hashes of files, and what the doctor said."""
DATASET = "dataset/dataset.json"
OFF = "off"
"""Given in place of a folder: nothing is kept."""


@dataclass(frozen=True, eq=False)
class Ingested:
    """A source read, cleaned and coded."""

    dataset: Dataset
    data: dict[str, Any]
    """The ``data`` object of the certificate."""
    report: DataReport
    rejects: pl.DataFrame
    standing: Standing | None = None
    """From which further files can be judged; None where they cannot, and of what was kept."""
    written: Path | None = None
    """Where its lines lie already, to be kept."""

    @classmethod
    def of(cls, tables: CleanTables, config: RunConfig) -> Ingested:
        """From clean tables, whose transactions are used up; raises as ``build_dataset``."""
        data = data_summary(tables)
        dataset = build_dataset(tables, config, consume=True)
        return cls(dataset, data, tables.report, tables.rejects, tables.standing)

    @classmethod
    def grown(cls, found: Grown) -> Ingested:
        """From what a source has become."""
        tables = found.tables
        data = data_summary(tables, found.with_lines)
        return cls(found.dataset, data, tables.report, tables.rejects, tables.standing, found.written)


def ingest(
    source: str | Path, config: RunConfig, progress: Progress | None = None, folder: Path | None = None
) -> Ingested:
    """Read, clean and build a source, or take what ``folder`` keeps of the very same data.

    Databases are always asked anew, and a folder that cannot be written to keeps nothing. Raises DataError for data
    that cannot be trusted, UsageError for a wrong path.
    """
    progress, today = progress or Progress(), _today()
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UsageError(f"--cache {folder} is a file; give a folder, or off")
    if folder is None or "://" in str(source):
        return Ingested.of(clean_source(source, config, progress, today=today), config)
    path = existing(source)
    mine = folder / fingerprint(str(path.resolve()))
    with _alone(mine) as writable, _gone(mine / WRITTEN), progress.step("Comparing files with those known") as tick:
        marks = _marks(path, mine, config, tick)
        lines = Pieces(mine / LINES, marks, _code())
        entry = mine / _key(path, marks, config, today)
        found = _load(entry)
        if found is None:
            found = _grown(mine, path, config, lines, progress, today) if writable else None
            kept = lines if writable else None
            found = found or Ingested.of(clean_source(source, config, progress, kept, today), config)
            if writable and lines.untouched():
                is_kept = _keep(found, entry, path, lines, config)
                lines.forget_others()
                if is_kept and len(found.dataset.all_events) >= MAPPED:
                    # what is mapped takes no memory that others need
                    found = replace(found, dataset=open_dataset(entry / "dataset"))
    return replace(found, written=None)


@contextmanager
def _gone(folder: Path) -> Iterator[None]:
    """Before and after, the folder is not there: a command that was killed may have left it."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """One command at a time works on what is kept of a source; False where the folder cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "alone.lock").open("w")
    except OSError as error:
        log.warning("nothing is kept of what is read: %s", error)
        yield False
        return
    with file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield True


def place_of(text: str | None, default: Path | None = None) -> Path | None:
    """The folder that an option or variable names; ``off`` is none."""
    if text is None:
        return default
    return None if text == OFF else Path(text)


def _marks(path: Path, mine: Path, config: RunConfig, tick: Tick) -> dict[Path, str]:
    """SHA-256 of each file of a source."""
    files = list_files(path)
    if path.is_file() and any("joins" in table for table in config.data.values() if isinstance(table, dict)):
        files += [file for file in list_files(path.parent) if file not in files]
    return _hashes(files, mine, tick)


def _hashes(files: list[Path], folder: Path, tick: Tick = lambda done, total: None) -> dict[Path, str]:
    """SHA-256 of each; one that no write has touched since its hash was noted in ``folder`` is not read again."""
    receipts, found, hashes = Receipts(folder), dict[str, str](), dict[Path, str]()
    seen = receipts.get(SEEN) or {}
    total, done = sum(file.stat().st_size for file in files), 0
    for file in files:
        place = file.relative_to(folder) if file.is_relative_to(folder) else file.resolve()  # an entry is moved
        name = fingerprint([place.as_posix(), *state(file)])
        found[name] = hashes[file] = seen.get(name) or sha256(file)
        done += file.stat().st_size
        tick(done, total)
    if found != seen:
        with forgiving("hashes of files"):
            receipts.put(SEEN, found)
    return hashes


def _key(path: Path, marks: dict[Path, str], config: RunConfig, today: date) -> str:
    """What the outcome follows from: files, settings, code, and the day, which tells what lies in the future."""
    root = path if path.is_dir() else path.parent
    return fingerprint(
        {
            "code": _code(),
            "files": [(file.relative_to(root).as_posix(), mark) for file, mark in marks.items()],
            "single": path.is_file(),
            "settings": [config.date_order, config.at, config.data],
            "no_profile": read_ids(Path(config.no_profile)).to_list() if config.no_profile else None,
            "today": today.isoformat(),
        }
    )


@cache
def _code() -> str:
    """A hash of the code that reads and cleans, ours and others'."""
    digest = hashlib.sha256(VERSION.encode())
    for package in ("polars", "pyarrow", "numpy", "fastexcel"):
        digest.update(f"{package} {version(package)};".encode())
    data = Path(aisle.data.__path__[0])
    others = [
        data.parent / name
        for name in ("types.py", "files.py", "jobs/ingest.py", "jobs/check.py", "jobs/cache.py", "jobs/growth.py")
    ]
    for file in (*sorted(data.rglob("*.py")), *others):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _grown(
    mine: Path, path: Path, config: RunConfig, lines: Pieces, progress: Progress, today: date
) -> Ingested | None:
    """What an earlier entry and further files come to; None where all must be read."""
    for entry in (one for one in mine.iterdir() if one.is_dir() and one.name != LINES and not one.name.startswith(".")):
        found = grow(entry, path, config, lines, progress, today) if _undamaged(entry, anew=True) else None
        if found is not None:
            return Ingested.grown(found)
        shutil.rmtree(mine / WRITTEN, ignore_errors=True)
    return None


def _keep(found: Ingested, entry: Path, path: Path, lines: Pieces, config: RunConfig) -> bool:
    """Write an entry in place of all others of its source; whether it is there now."""
    there = False
    with forgiving("what was read"):
        with atomic_dir(entry) as folder:
            packed = len(found.dataset.all_events) < MAPPED
            save_dataset(found.dataset, folder / "dataset", packed=packed, lines=found.written)
            write_parquet(folder / "rejects.parquet", found.rejects)
            keep_standing(found.standing, folder, path, lines, config)
            told = {"data": found.data, "report": asdict(found.report), "plain": _plain_files(folder)}
            Receipts(folder).put(REPORT, told)
        there = True
        for other in entry.parent.iterdir():
            if other.is_dir() and other not in (entry, entry.parent / LINES):
                remove(other)
    return there


def _load(entry: Path) -> Ingested | None:
    """What an entry holds; None where it is not there or not whole."""
    told = _undamaged(entry)
    if told is None:
        return None
    try:
        data, rejects = open_dataset(entry / "dataset"), read_parquet(entry / "rejects.parquet")
    except (BundleError, FileNotFoundError):
        return None
    return Ingested(data, told["data"], report_of(told["report"]), rejects)


def _undamaged(entry: Path, *, anew: bool = False) -> dict[str, Any] | None:
    """What the doctor said, where the files are those that were written then.

    ``anew``: all are read for it. Else one that no write has touched is trusted, and a disk that lost bits goes unseen.
    """
    told = Receipts(entry).get(REPORT)
    try:
        return told if told is not None and _plain_files(entry, anew=anew) == told["plain"] else None
    except FileNotFoundError:
        return None


def _plain_files(entry: Path, *, anew: bool = False) -> dict[str, str]:
    """SHA-256 of the files that have no checksums of their own: arrays that are mapped, and ``dataset.json``."""
    files = sorted([entry / DATASET, *(entry / "dataset").glob("*/*.npy")])
    marks = {file: sha256(file) for file in files} if anew else _hashes(files, entry)
    return {file.relative_to(entry).as_posix(): mark for file, mark in marks.items()}


def report_of(found: dict[str, Any]) -> DataReport:
    """A report from its JSON."""
    files = tuple(FileCount(**file) for file in found["files"])
    return DataReport(**{**found, "files": files, "findings": tuple(Finding(**one) for one in found["findings"])})


def _today() -> date:
    return datetime.now(UTC).date()
