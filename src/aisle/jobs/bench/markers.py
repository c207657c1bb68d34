"""Pages whose tables stand between two markers and are written by a command."""

from __future__ import annotations

from pathlib import Path

from aisle.errors import UsageError


def page_text(page: Path) -> str:
    """The text of a page; raises UsageError where it cannot be read."""
    try:
        return page.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{page} cannot be read: {error.strerror}; run this in the checkout, or give --page"
        ) from error


def between(text: str, start: str, stop: str, tables: str) -> str:
    """The text with fresh tables between its markers; raises UsageError without them."""
    if start not in text or stop not in text:
        raise UsageError(f"the page has no {start} … {stop}; the tables go between the two")
    before, rest = text.split(start)
    return f"{before}{start}\n{tables}\n{stop}{rest.split(stop)[1]}"
