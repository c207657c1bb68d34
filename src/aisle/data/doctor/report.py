"""Small words for sentences."""

from __future__ import annotations


def count(number: int) -> str:
    """``12345`` as ``12,345``."""
    return f"{number:,}"
