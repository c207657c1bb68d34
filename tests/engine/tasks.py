"""Tasks that the engines are tested with; workers import them by name."""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pyarrow

from aisle import errors
from aisle.files import sha256, write_text
from aisle.jobs import lists


def times(part: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """Write the product of a number of the part and one that all share; leave a trace of having been asked."""
    trace(shared)
    path, value = Path(part["path"]), part["number"] * shared["by"]
    write_text(path, f"{value}\n")
    return {"files": {str(path): sha256(path)}, "value": value}


def trace(shared: dict[str, Any]) -> None:
    (Path(shared["traces"]) / f"{os.getpid()}-{uuid.uuid4().hex}").touch()


def traces(folder: Path) -> int:
    return len(list(folder.iterdir()))


def times_unless_unlucky(part: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    if part["number"] == shared["unlucky"]:
        raise errors.DataError("number 13 brings bad luck; take 12")
    return times(part, shared)


def raises(part: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    if part["kind"] == "full":
        raise OSError(28, "No space left on device", "/some/file")
    kinds: dict[str, type[Exception]] = {
        "odd": ValueError,
        "memory": MemoryError,
        "own": Own,
        "unnumbered": OSError,
        "arrow": pyarrow.ArrowMemoryError,
    }
    kind = kinds.get(part["kind"]) or getattr(errors, part["kind"])
    raise kind("found 3, allowed is 2; take one away")


class Own(errors.BundleError):
    """A class of error that the caller does not know."""


def no_json(part: Any, shared: Any) -> dict[str, Any]:
    return {"value": float("nan") if part == "nan" else object()}


def chatty(part: Any, shared: Any) -> dict[str, Any]:
    print("a line that is no answer")
    os.write(1, b"nor is this\n")
    sys.stdout.flush()
    return {"value": part}


def mortal(part: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """Die by SIGKILL at a part of number ``dies``: each time, or the first time alone."""
    dead = Path(shared["traces"]) / "dead"
    if part["number"] == shared["dies"] and (shared["always"] or not dead.exists()):
        trace(shared)
        dead.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return times(part, shared)


def patient(part: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """Say who is at work, and stay at work until told to go."""
    write_text(Path(shared["traces"]) / f"at-{part['number']}-{os.getpid()}", "")
    deadline = time.monotonic() + 120
    while not Path(shared["go"]).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return times(part, shared)


def slow_lists(part: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """Lists of a part, as soon as the caller lets it; says whose child is at work."""
    folder = Path(part["lists"]).parents[1]
    (folder / "traces" / f"at-{os.getppid()}-{uuid.uuid4().hex}").touch()
    deadline = time.monotonic() + 120
    while not (folder / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return lists.make_lists(part, shared)


def peer(part: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """One of several: when all are at work it answers, or does what ``shared`` says of its number."""
    folder = Path(shared["traces"])
    (folder / f"at-{part['rank']}-{os.getpid()}").touch()
    deadline = time.monotonic() + 120
    while len(list(folder.glob("at-*"))) < part["size"]:
        assert time.monotonic() < deadline, "not all at once"
        time.sleep(0.02)
    does = shared.get("does", {}).get(str(part["rank"]))
    if does == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if does == "stay":
        time.sleep(600)
    if does == "lose":
        raise ConnectionError("another worker was lost")
    if does == "exit":
        os._exit(3)
    if does:
        raise getattr(errors, does, ValueError)("found 3, allowed is 2; take one away")
    return part | surroundings(part, shared)


def surroundings(part: Any, shared: Any) -> dict[str, Any]:
    names = ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
    return {"pid": os.getpid(), "group": os.getpgrp(), "path": sys.path} | {n: os.environ.get(n) for n in names}
