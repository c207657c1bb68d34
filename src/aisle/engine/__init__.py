"""Who does the parts of a job: this machine, or a cluster; ``open_engine`` gives the one that the settings name."""

from __future__ import annotations

from aisle.config import RunConfig
from aisle.engine.base import Engine, Receipt
from aisle.engine.local import Local

__all__ = ["Engine", "Local", "Receipt", "open_engine"]


def open_engine(config: RunConfig) -> Engine:
    """The engine of ``config``; close it, or use it in a ``with`` block.

    Raises UsageError, before any work is done, where what it needs is not installed or no cluster answers.
    """
    if config.engine == "ray":
        from aisle.engine.ray import Ray

        return Ray(config.address, config.workers)
    return Local(config.workers or 1)
