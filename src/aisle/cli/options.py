"""Options of the commands, and the settings that they come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from aisle.config import RunConfig

EngineOption = Annotated[str | None, typer.Option("--engine", help="Who does the work in parts: local or ray. [local]")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", help="Processes that do; each holds what it needs. [1, with ray every core]")
]
LearnersOption = Annotated[str, typer.Option("--engine", help="Whose workers learn, or do the parts: local or ray.")]
CrewOption = Annotated[int, typer.Option("--workers", help="Processes that do.")]
AddressOption = Annotated[
    str | None, typer.Option("--address", help="HOST:PORT of a Ray cluster. [one of its own, on this machine]")
]
MemoryOption = Annotated[str | None, typer.Option("--memory", help="Memory budget, for example 16GB. [4GB]")]
OutOption = Annotated[Path, typer.Option("--out", help="Folder the results are written to.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="An aisle.toml with [run] and [data].")]
DateOrderOption = Annotated[
    str | None, typer.Option("--date-order", help="dmy, mdy or ymd, where the files cannot prove it.")
]
CacheOption = Annotated[
    str | None,
    typer.Option("--cache", envvar="AISLE_CACHE", help="Folder that keeps what was read for the next command, or off."),
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting of the model, as in its card; may be repeated."),
]
CheckpointOption = Annotated[
    Path | None,
    typer.Option("--checkpoint", help="Keep the training, or its parts, here; stopped, the same command goes on."),
]
TensorboardOption = Annotated[Path | None, typer.Option("--tensorboard", help="Write the curves of the training here.")]
MlflowOption = Annotated[
    str | None, typer.Option("--mlflow", metavar="RUN_ID", help="Send the curves to this run of MLflow.")
]


def settings_of(config: Path | None, given: Mapping[str, Any]) -> RunConfig:
    """The settings of a command: its file, and over that whatever a setting is named after in what it was ``given``.

    Raises UsageError as ``load_config`` does.
    """
    from aisle.config import RunConfig, load_config

    known = {field.name for field in fields(RunConfig)}
    options = {name: value for name, value in given.items() if name in known}
    if models := options.pop("models", None):
        options["models"] = tuple(name.strip() for name in models.split(","))
    return load_config(config, **options)
