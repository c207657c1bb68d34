"""What the commands show: progress on stderr, tables on stdout."""

from __future__ import annotations

from typing import Any


def progress(quiet: bool) -> Any:
    """What a job tells how far it is: nobody, or the terminal."""
    from aisle.progress import Progress, TextProgress

    return Progress() if quiet else TextProgress()


def show(renderable: Any) -> None:
    """Print something of rich."""
    from rich.console import Console

    Console(soft_wrap=False).print(renderable)


def show_frame(title: str, frame: Any) -> None:
    """Print a Polars frame as a table; on a narrow screen cells break, so that no id is cut."""
    from rich.markup import escape
    from rich.table import Column, Table

    table = Table(*(Column(name, overflow="fold") for name in frame.columns), title=escape(title))
    for row in frame.iter_rows():
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else escape(str(cell)) for cell in row))
    show(table)
