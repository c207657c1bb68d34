"""Starts the fresh processes of measurements, one at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from typing import IO

from aisle.errors import ResourceError
from aisle.jobs.bench.speed.task import Json, Place

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS")
MODULE = "aisle.jobs.bench.speed.child"
SHOWN = 500
"""Characters of stderr that are told of a process that broke down."""


def measure(task: str, side: str, place: Place) -> Json:
    """Cost of one side of a task; raises ResourceError with the reason where it fails."""
    return _asked({"do": "measure", "task": task, "side": side, **_where(place)}, place.size.threads)


def make(pieces: tuple[str, ...], place: Place) -> None:
    """Make pieces one after the other; raises ResourceError with the reason where one fails."""
    _asked({"do": "make", "pieces": pieces, **_where(place)}, place.size.threads)


def imported(module: str, package: str) -> Json:
    """``version`` of a library, or why it is ``absent``."""
    try:
        return _asked({"do": "import", "module": module, "package": package}, threads=1)
    except ResourceError as error:
        return {"absent": str(error)}


def _where(place: Place) -> Json:
    return {"root": str(place.root), "size": asdict(place.size)}


def _asked(asked: Json, threads: int) -> Json:
    env = os.environ | dict.fromkeys(THREADS, str(threads))
    # Idle OpenMP threads would burn a core while they wait, as in the command line.
    env.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    command = [sys.executable, "-m", MODULE, json.dumps(asked)]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as notes:
        out, code = _run(command, env, notes)
        last = out.strip().splitlines()[-1] if out.strip() else ""
        told: Json = json.loads(last) if code == 0 and last.startswith("{") else {}
        if "found" in told:
            found: Json = told["found"]
            return found
        notes.seek(0)
        why = told.get("failed") or f"the process ended with {code}: {notes.read()[-SHOWN:].strip()}"
        raise ResourceError(why)


def _run(command: list[str], env: dict[str, str], notes: IO[str]) -> tuple[str, int]:
    """Stdout and exit code; a process that is stopped leaves no other behind, and one that is killed leaves none long:
    the child ends when its stdin is closed.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=notes, text=True, env=env) as child:
        try:
            assert child.stdout is not None
            out = child.stdout.read()
            return out, child.wait()
        except BaseException:
            child.kill()
            raise
