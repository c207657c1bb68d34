"""What every benchmark records beside its figures: command, commit, machine; and how a command is measured."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from aisle.jobs.bench.machine import commit, machine
from aisle.jobs.bench.speed.cost import fresh_peak, own_cpu_seconds, peak_mb

__all__ = [
    "RESULTS",
    "commit",
    "data_folder",
    "fresh_peak",
    "machine",
    "measure",
    "own_cpu_seconds",
    "peak_mb",
    "record",
]

RESULTS = Path(__file__).parent / "results"


def data_folder() -> Path:
    """Where the real data sets lie; ends the script with a clear message without them."""
    folder = os.environ.get("AISLE_DATA")
    if not folder or not Path(folder).is_dir():
        sys.exit("set AISLE_DATA to the folder of the real data sets")
    return Path(folder)


def measure(command: list[str], env: dict[str, str] | None = None, told: Path | None = None) -> dict[str, Any]:
    """Run a command; its exit code, CPU and wall seconds, and the peak memory of its largest process in MB.

    What it says on stderr goes to the file ``told``, if there is one.
    """
    pid = os.fork()
    start = time.monotonic()
    if pid == 0:
        if told is not None:
            os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), sys.stderr.fileno())
        os.execvpe(command[0], command, {**os.environ, **(env or {})})
    _, status, usage = os.wait4(pid, 0)
    scale = 1024 if sys.platform != "darwin" else 1024 * 1024
    return {
        "command": " ".join(Path(c).name if i == 0 else c for i, c in enumerate(command)),
        "exit_code": os.waitstatus_to_exitcode(status),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "wall_seconds": round(time.monotonic() - start, 1),
        "peak_mb": round(usage.ru_maxrss / scale),
    }


def record(name: str, figures: dict[str, Any], command: str) -> None:
    """Print the figures and write them to ``results/NAME.json``."""
    result = {"benchmark": name, "command": command, "commit": commit(), "machine": machine(), **figures}
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
