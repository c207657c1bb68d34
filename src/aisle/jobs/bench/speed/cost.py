"""What work in this process costs: CPU seconds of all threads, wall seconds, and the most memory held."""

from __future__ import annotations

import gc
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measured(work: Callable[[], T]) -> tuple[T, dict[str, Any]]:
    """What the work gives, and ``cpu_seconds``, ``wall_seconds``, ``peak_mb`` of the process while it ran."""
    fresh_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    seconds, waited = time.process_time() - cpu, time.perf_counter() - wall
    return found, {
        "cpu_seconds": round(seconds, 4),
        "wall_seconds": round(waited, 4),
        "peak_mb": round(peak_mb(), 1),
    }


def own_cpu_seconds() -> float:
    """CPU seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_mb() -> float:
    """Most memory this process has held so far, or since ``fresh_peak``, in MB."""
    if STATUS.exists():  # getrusage would also count what the parent held when it forked
        lines = STATUS.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)


def fresh_peak() -> float:
    """Forget the peak so far (under Linux); the MB held now, from which a new peak grows."""
    gc.collect()
    if FORGET.exists():
        FORGET.write_text("5", encoding="utf-8")
    return peak_mb()
