"""Engines to test, each kept open for all tests of a module: a cluster takes seconds to start."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aisle.config import RunConfig
from aisle.engine import Engine, open_engine
from tests.engine import tasks
from tests.engine.machines import three_machines

ENGINES = {
    "this process": RunConfig(),
    "two processes": RunConfig(workers=2),
    "ray": RunConfig(engine="ray", workers=2),
}
NO_RAY = "Ray is not installed: NOT CHECKED with Ray"
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason=NO_RAY)
RAY = pytest.param("ray", marks=[needs_ray, pytest.mark.slow])


@pytest.fixture(scope="module", params=["this process", "two processes", RAY])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with open_engine(ENGINES[request.param]) as opened:
        yield opened


@pytest.fixture(scope="module", params=["two processes", RAY])
def workers(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Engines whose workers can be lost."""
    with open_engine(ENGINES[request.param]) as opened:
        yield opened


class Job:
    """Five numbers to be multiplied, each into a file of its own."""

    def __init__(self, folder: Path, size: int = 5) -> None:
        self.folder, self.traces = folder, folder / "traces"
        self.traces.mkdir(parents=True, exist_ok=True)
        self.parts: list[dict[str, Any]] = [
            {"number": n + 10, "path": str(folder / "out" / f"{n}.txt")} for n in range(size)
        ]
        self.shared: dict[str, Any] = {"by": 3, "traces": str(self.traces)}

    def asked(self) -> int:
        """How often a part was begun."""
        return tasks.traces(self.traces)

    def results(self) -> list[str]:
        return [Path(part["path"]).read_text() for part in self.parts]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


@pytest.fixture(scope="module")
def token() -> None:
    """Settle what all processes of a cluster go by: Ray reads its environment once."""
    if not needs_ray.args[0]:
        from aisle.engine.ray import Ray

        Ray()


@pytest.fixture(scope="module")
def cluster(token: None) -> Iterator[Any]:
    """Three nodes of a core each; the caller is at the first."""
    made = three_machines()
    yield made
    made.shutdown()
