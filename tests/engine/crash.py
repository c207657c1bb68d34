"""A worker that kills itself in the middle of a training, as a machine without memory or a person would.

Each leaves a trace beside the checkpoint's folder of where it was.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aisle.engine.base import Receipt
from aisle.engine.learn import learn_part
from aisle.models.nn import together

TASK = "tests.engine.crash:learn"
PLAN = "crashes.json"
"""Beside the checkpoint's folder: ``[worker, step]`` of each attempt that crashes."""


def plan(checkpoint: Path, crashes: list[tuple[int, int]]) -> None:
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    (checkpoint.parent / PLAN).write_text(json.dumps(crashes))


def crashed(checkpoint: Path) -> int:
    """How many workers have killed themselves."""
    return len(list(checkpoint.parent.glob("crashed-*")))


def parents(checkpoint: Path) -> set[str]:
    """Process ids of those who started the workers: with Ray one a machine."""
    return {path.name.split("-")[2] for path in checkpoint.parent.glob("at-*")}


def learn(part: dict[str, Any], shared: dict[str, Any]) -> Receipt:
    """``learn_part``, unless it is this worker's turn to crash."""
    checkpoint = Path(shared["checkpoint"])
    (checkpoint.parent / f"at-{part['rank']}-{os.getppid()}-{os.getpid()}").touch()
    crashes, done = json.loads((checkpoint.parent / PLAN).read_text()), crashed(checkpoint)
    if done == len(crashes) or crashes[done][0] != part["rank"]:
        return learn_part(part, shared)
    add = together.add
    together.add = _counted(add, crashes[done][1], checkpoint.parent / f"crashed-{done}")
    try:
        return learn_part(part, shared)
    finally:
        together.add = add


def _counted(add: Callable[..., Any], last: int, mark: Path) -> Callable[..., Any]:
    done = [0]

    def counted(*given: Any) -> Any:
        done[0] += 1
        if done[0] == last:
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return add(*given)

    return counted
