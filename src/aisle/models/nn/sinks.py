"""Watches that send every epoch to where people follow trainings; each needs its package only when asked for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

from aisle.errors import UsageError
from aisle.models.nn.train import Epoch, Watch


def tensorboard(folder: Path | str) -> Watch:
    """Scalars ``loss``, ``validation`` and ``seconds`` by epoch for ``tensorboard --logdir FOLDER``.

    Raises UsageError where the package is not installed.
    """
    writer = _module("torch.utils.tensorboard", "tensorboard").SummaryWriter(str(folder))

    def watch(epoch: Epoch) -> None:
        for name, value in figures(epoch).items():
            writer.add_scalar(name, value, epoch.number)
        writer.flush()  # a training that is killed has shown what it did

    return watch


def mlflow(run: str) -> Watch:
    """Metrics ``loss``, ``validation`` and ``seconds`` by epoch in the MLflow run of this id: ``run.info.run_id``.

    Raises UsageError where the package is not installed.
    """
    client = _module("mlflow", "mlflow").MlflowClient()

    def watch(epoch: Epoch) -> None:
        for name, value in figures(epoch).items():
            client.log_metric(run, name, value, step=epoch.number)

    return watch


def figures(epoch: Epoch) -> dict[str, float]:
    """What is known of an epoch, by name."""
    known = {"loss": epoch.loss, "validation": epoch.validation, "seconds": epoch.seconds}
    return {name: value for name, value in known.items() if value is not None}


def _module(name: str, package: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise UsageError(
            f"following a training needs the package {package}: "
            f"pip install {package}, or pip install 'aisle[tracking]' ({error})"
        ) from error
