"""Epochs reach TensorBoard and MLflow, which need not be installed until they are asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from aisle.errors import UsageError
from aisle.models.nn import sinks
from aisle.models.nn.train import Epoch

EPOCHS = (Epoch(1, 0.5, 0.25, 2.0), Epoch(2, 0.4, None, 3.0))


class Calls:
    """Writes down what is called with what."""

    def __init__(self, *args: Any) -> None:
        self.made: list[Any] = [("new", *args)]

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **more: self.made.append((name, *args, *more.items()))


def fake(monkeypatch: pytest.MonkeyPatch, module: str, cls: str) -> list[Calls]:
    """A module of this name whose class writes down its calls."""
    found, there = list[Calls](), ModuleType(module)

    def make(*args: Any) -> Calls:
        found.append(Calls(*args))
        return found[-1]

    setattr(there, cls, make)
    monkeypatch.setitem(sys.modules, module, there)
    return found


def test_tensorboard_gets_every_figure_and_is_flushed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = fake(monkeypatch, "torch.utils.tensorboard", "SummaryWriter")
    watch = sinks.tensorboard(tmp_path)
    for epoch in EPOCHS:
        watch(epoch)
    assert found[0].made == [
        ("new", str(tmp_path)),
        ("add_scalar", "loss", 0.5, 1),
        ("add_scalar", "validation", 0.25, 1),
        ("add_scalar", "seconds", 2.0, 1),
        ("flush",),
        ("add_scalar", "loss", 0.4, 2),
        ("add_scalar", "seconds", 3.0, 2),
        ("flush",),
    ]


def test_mlflow_gets_every_figure_in_the_run_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = fake(monkeypatch, "mlflow", "MlflowClient")
    watch = sinks.mlflow("a1b2")
    for epoch in EPOCHS:
        watch(epoch)
    assert found[0].made == [
        ("new",),
        ("log_metric", "a1b2", "loss", 0.5, ("step", 1)),
        ("log_metric", "a1b2", "validation", 0.25, ("step", 1)),
        ("log_metric", "a1b2", "seconds", 2.0, ("step", 1)),
        ("log_metric", "a1b2", "loss", 0.4, ("step", 2)),
        ("log_metric", "a1b2", "seconds", 3.0, ("step", 2)),
    ]


@pytest.mark.parametrize(
    ("module", "ask", "package"),
    [
        ("torch.utils.tensorboard", lambda: sinks.tensorboard("x"), "tensorboard"),
        ("mlflow", lambda: sinks.mlflow("x"), "mlflow"),
    ],
)
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, module: str, ask: Any, package: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=f"pip install {package}"):
        ask()


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, aisle.models.nn.sinks; print([m for m in sys.modules if 'tensorboard' in m or 'mlflow' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
