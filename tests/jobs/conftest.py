"""What tests of reading share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aisle.jobs import cache as room
from aisle.jobs.ingest import clean_source


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The sources that were read, not taken from the cache."""
    found: list[Path] = []
    clean = clean_source

    def counted(source: Any, *rest: Any, **named: Any) -> Any:
        found.append(source)
        return clean(source, *rest, **named)

    monkeypatch.setattr(room, "clean_source", counted)
    return found
