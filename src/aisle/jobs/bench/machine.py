"""What every measurement records beside its figures: the machine and the commit."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[3]


def origin() -> dict[str, Any]:
    """What a measurement made now comes from: ``commit``, and ``machine`` with its threads."""
    return {"commit": commit(), "machine": machine() | {"threads": os.environ.get("OMP_NUM_THREADS", "all")}}


def machine() -> dict[str, Any]:
    """Processor, cores, Python and, where there are any, graphics cards of this machine."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    found = {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version()}
    return found | ({"gpu": ", ".join(gpus)} if (gpus := _gpus()) else {})


def _gpus() -> list[str]:
    """Names of the NVIDIA cards that the driver of this machine knows."""
    found = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        lines = path.read_text(encoding="utf-8").splitlines()
        found += [line.split(":", 1)[1].strip() for line in lines if line.startswith("Model")]
    return found


def commit() -> str:
    """The commit of this checkout, with a plus where the source was changed since; empty outside of one."""
    try:
        head, dirty = (
            subprocess.run(["git", "-C", str(SOURCE), *words], capture_output=True, text=True, check=False)
            for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--", str(SOURCE)))
        )
    except OSError:  # no git here
        return ""
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")
