"""Tags: a text attribute such as ``Action|Comedy`` holds several values at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

TAG = "|"
"""Parts of a value stand between such marks."""
TAGGED = 0.1
"""Share of the distinct values with a mark from which an attribute is read as tags."""


def tagged(values: Sequence[str]) -> bool:
    """Whether an attribute with these distinct values holds tags."""
    return sum(TAG in value for value in values) > TAGGED * len(values)


def split(value: str, tags: bool) -> list[str]:
    """The tags of a value, itself where it is no list of ``tags``; at least one."""
    return [piece for piece in (part.strip() for part in value.split(TAG)) if piece] or [value] if tags else [value]


def pieces(values: Sequence[str]) -> Iterable[str]:
    """The tags of all values, one after another, or the values themselves where they are no tags."""
    tags = tagged(values)
    return (piece for value in values for piece in split(value, tags))
