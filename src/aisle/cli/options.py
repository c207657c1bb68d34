"""Options that several commands have: who does the work, and in how much memory."""

from __future__ import annotations

from typing import Annotated

import typer

EngineOption = Annotated[str | None, typer.Option("--engine", help="Who does the work in parts: local or ray. [local]")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", help="Processes that do; each holds what it needs. [1, with ray every core]")
]
AddressOption = Annotated[
    str | None, typer.Option("--address", help="HOST:PORT of a Ray cluster. [one of its own, on this machine]")
]
MemoryOption = Annotated[str | None, typer.Option("--memory", help="Memory budget, for example 16GB. [4GB]")]
