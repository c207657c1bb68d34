"""A source that has grown by files of transactions: what is kept of it takes them in, and all else is left unread."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from aisle.config import RunConfig
from aisle.data.doctor.further import Further, Grown, WholeNeeded
from aisle.data.doctor.pieces import Pieces
from aisle.data.doctor.standing import Standing, open_standing, save_standing, standing_of
from aisle.data.doctor.visit import end_of
from aisle.data.schema import Mapping, TableName
from aisle.data.stored import MAPPED, open_dataset
from aisle.errors import BundleError
from aisle.files import fingerprint
from aisle.jobs.ingest import resolved
from aisle.progress import Progress

STANDING = "standing"
"""Folder in an entry of the cache."""
WRITTEN = ".lines"
"""Folder of lines that are to become part of an entry."""
MOVABLE = os.name == "posix"
"""Whether a folder can be moved while its files are mapped."""
log = logging.getLogger(__name__)


def keep_standing(standing: Standing | None, entry: Path, path: Path, kept: Pieces, config: RunConfig) -> None:
    """Write what further files of a source can be judged by, where they can, into the entry of its Dataset."""
    facts = None if standing is None else _facts(path, kept, config, *resolved(path, config))
    if standing is not None and facts is not None:
        (entry / STANDING).mkdir()
        save_standing(standing, entry / STANDING, facts)


def grow(entry: Path, path: Path, config: RunConfig, kept: Pieces, progress: Progress, today: date) -> Grown | None:
    """What the source has become by further files, from an entry made before them; None where all must be read.

    Many lines are written beside the entry on the way, into a new folder ``WRITTEN``.
    """
    try:
        mapping, files = resolved(path, config)
        told, facts = standing_of(entry / STANDING), _facts(path, kept, config, mapping, files)
        if told is None or facts is None or _rest(told) != _rest(facts):
            return None
        before = told["files"]
        if [file for file in facts["files"] if file in before] != before or len(facts["files"]) == len(before):
            return None
        data = open_dataset(entry / "dataset")
        with progress.step("Reading and checking what is new") as tick:
            further = Further(
                source=path,
                mapping=mapping,
                files=files,
                given=config.date_order,
                at=None,
                progress=tick,
                now=end_of(today),
                kept=kept,
                before=open_standing(entry / STANDING),
                data=data,
                folder=entry.with_name(WRITTEN) if len(data.all_events) >= MAPPED and MOVABLE else None,
                known=frozenset(path / name for name, _ in before),
            )
            return further.grow()
    except WholeNeeded as reason:
        log.info("all files are read: %s", reason)
    except (BundleError, FileNotFoundError) as damage:
        log.info("all files are read: what was kept is not whole: %s", damage)
    return None


def _facts(
    path: Path, kept: Pieces, config: RunConfig, mapping: Mapping, files: dict[TableName, list[Path]]
) -> dict[str, Any] | None:
    """What a standing holds for; None where it would not hold for long."""
    if not path.is_dir() or config.at is not None or config.no_profile is not None:
        return None
    sales, marks = files.get("transactions", []), kept.marks
    place = {file: file.relative_to(path).as_posix() for file in marks}
    return {
        "code": kept.code,
        "mapping": fingerprint(asdict(mapping)),
        "settings": fingerprint([config.date_order, config.data]),
        "files": [[place[file], marks[file]] for file in sales],
        "others": sorted([place[file], mark] for file, mark in marks.items() if file not in sales),
    }


def _rest(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name != "files"}
