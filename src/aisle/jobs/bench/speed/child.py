"""The fresh process of a measurement, of pieces, or of a look whether a library can be imported.

    python -m aisle.jobs.bench.speed.child '{"do": "measure", "task": "topk", "side": "aisle", …}'

The last line of stdout is the answer, as JSON. It ends with the process that started it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from aisle.jobs.bench.speed.cost import fresh_peak, measured
from aisle.jobs.bench.speed.task import Json, Place, Side, Size, task


def measure(side: Side, place: Place) -> Json:
    """Cost of one side, once."""
    for module in (*side.imports, *([side.rival] if side.rival else [])):
        import_module(module)
    base = fresh_peak()
    work = side.ready(place)
    found, cost = measured(work.run)
    return {**cost, "base_mb": round(base, 1), "load": os.getloadavg()[0], "facts": work.tell(found)}


def known(module: str, package: str) -> Json:
    """The version of a library; raises ImportError where it cannot be used."""
    import_module(module)
    try:
        return {"version": version(package)}
    except PackageNotFoundError:  # installed under another name
        return {"version": str(getattr(sys.modules[module], "__version__", "unknown"))}


def answer(asked: Json) -> Json:
    """What a process is asked for."""
    if asked["do"] == "import":
        return known(asked["module"], asked["package"])
    place = Place(Path(asked["root"]), Size(**asked["size"]))
    if asked["do"] == "measure":
        return measure(task(asked["task"]).side(asked["side"]), place)
    from aisle.jobs.bench.speed.pieces import PIECES

    for piece in asked["pieces"]:
        PIECES[piece][1](place)
    return {}


def _end_with_parent() -> None:
    """The parent holds the other end of stdin for as long as it lives."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # not by sys.stdin, whose lock would be held when this process ends
        os._exit(130)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    _end_with_parent()
    told: Json
    try:
        told = {"found": answer(json.loads(sys.argv[1]))}
    except Exception as error:  # of others' code too: the command names it and goes on with the rest
        told = {"failed": f"{type(error).__name__}: {error}"}
    print(f"\n{json.dumps(told)}", flush=True)
