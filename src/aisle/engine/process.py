"""What surrounds a worker process: its share of the cores, and the caller's import path."""

from __future__ import annotations

import os
import sys

THREADS = ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""What the libraries of a worker take their number of threads from."""


def cores() -> int:
    """CPU cores that this process may use; macOS tells those of the machine alone."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(workers: int) -> dict[str, str]:
    """The caller's, for one of so many workers: with its import path, in its order, and an even share of the cores.

    Start the worker with ``python -P``: what Python puts before that path, such as the current folder, is not the
    caller's. Threads are fewer than the share where the caller has fewer; idle ones sleep.
    """
    share = max(1, cores() // workers)
    path = os.pathsep.join(part or os.getcwd() for part in sys.path)
    own = {**os.environ, "PYTHONPATH": path, "OMP_WAIT_POLICY": "PASSIVE"}
    for name in THREADS:
        given = own.get(name, "")
        own[name] = str(min(share, int(given)) if given.isdigit() else share)
    return own
