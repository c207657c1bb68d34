"""A worker that kills itself in the middle of a training, as a machine without memory or a person would."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from aisle.engine import learn
from aisle.models.nn import together

CRASH = "AISLE_TEST_CRASH"
"""Environment: ``worker:step:first attempts that crash``."""
COMMAND = "import sys; from tests.engine.crash import main; main(sys.argv[1:])"


def main(arguments: list[str]) -> None:
    rank, step, attempts = (int(part) for part in os.environ[CRASH].split(":"))
    attempt = int(arguments[2].rsplit("-", 1)[1])
    if int(arguments[0]) == rank and attempt < attempts:
        together.add = _counted(together.add, step)
    learn.main(arguments)


def _counted(add: Callable[..., Any], last: int) -> Callable[..., Any]:
    done = [0]

    def counted(*given: Any) -> Any:
        done[0] += 1
        if done[0] == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return add(*given)

    return counted
