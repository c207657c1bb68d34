"""``aisle bench``: accuracy on published splits, and speed beside rivals and limits, for whoever changes the code."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aisle.cli.screen import progress, show
from aisle.errors import ResourceError, UsageError

if TYPE_CHECKING:
    from aisle.evaluate.tune import Budget
    from aisle.jobs.bench.run import Order

bench = typer.Typer(no_args_is_help=True, help="Measure accuracy and speed.")


@bench.callback()
def _bench() -> None:
    """Measure accuracy and speed."""


@bench.command()
def accuracy(
    only: Annotated[str | None, typer.Option(help="Protocols, comma-separated; tafeng, s3rec … [all]")] = None,
    models: Annotated[str | None, typer.Option(help="Models, S or C, comma-separated. [those of the protocol]")] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, comma-separated.")] = "0",
    results: Annotated[Path, typer.Option(help="Folder of the cells.")] = Path("benchmarks/results/accuracy"),
    cache: Annotated[Path, typer.Option(help="Local folder of trials and of values by customer.")] = Path(".bench"),
    budget_seconds: Annotated[
        float | None, typer.Option(help="CPU seconds a model may search. [1200]", min=0.001)
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Settings a model may try. [24]", min=1)] = None,
    customers: Annotated[int | None, typer.Option(help="Customers asked in a search at most. [50000]", min=1)] = None,
    without: Annotated[str | None, typer.Option(help="Models that S and C leave out, comma-separated.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Run cells again that are there.")] = False,
    show_list: Annotated[bool, typer.Option("--list", help="Say which cells there are and which are missing.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Only write the tables of the page anew.")] = False,
    page: Annotated[Path, typer.Option(help="The page that holds the tables.")] = Path("docs/accuracy.md"),
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Run every cell (protocol, model, seed) that is missing, compare, and write the tables of docs/accuracy.md.

    The data sets lie in the folder AISLE_DATA. S is the best single model of the line-up, C what a full run ships.
    MODEL:published and :plain take fixed settings, MODEL:new is tuned on products new to the customer. A stopped run
    goes on where it was.

    Examples:

      aisle bench accuracy --list

      aisle bench accuracy --only tafeng,gowalla --models item_knn,C --seeds 0,1,2

      aisle bench accuracy --only online_retail_30 --trials 6 --budget-seconds 60

      aisle bench accuracy --table
    """
    from aisle.jobs.bench.run import Order
    from aisle.jobs.bench.table import write_page

    order = Order(
        only=_names(only),
        models=_names(models),
        seeds=_seeds(seeds),
        results=results,
        cache=cache,
        budget=_budget(trials, budget_seconds, customers),
        force=force,
        without=_names(without),
    )
    if show_list:
        _show_cells(order)
        return
    failed = 0 if table else _measured(order, quiet)
    if table or page.exists():
        write_page(page, results)
        typer.echo(f"tables written to {page}")
    if failed:
        raise ResourceError(f"{failed} cells could not be measured or compared; the others are written")


@bench.command()
def speed(
    only: Annotated[
        str | None, typer.Option(help="Comma-separated: limits, ingest, topk, fit, lists, growth. [all]")
    ] = None,
    rows: Annotated[int, typer.Option(help="Lines of the largest generated retailer, 50 a customer.")] = 400_000,
    products: Annotated[int, typer.Option(help="Products of its catalogue.")] = 10_000,
    turns: Annotated[int, typer.Option(help="Times that everything is measured; the least counts.")] = 3,
    threads: Annotated[int | None, typer.Option(help="Threads of everybody. [all cores]", min=1)] = None,
    results: Annotated[Path, typer.Option(help="File of the result.")] = Path("benchmarks/results/speed.json"),
    cache: Annotated[
        Path, typer.Option(help="Local folder of finished measurements, and of the data while it runs.")
    ] = Path(".bench/speed"),
    force: Annotated[bool, typer.Option("--force", help="Measure again what is there.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Only write the tables and the picture anew.")] = False,
    page: Annotated[Path, typer.Option(help="The page that holds the tables.")] = Path("docs/speed.md"),
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Measure speed, memory and growth on generated data, every figure beside a rival or a limit in the same run.

    Each measurement is a process of its own, all sides in turn. implicit, faiss and RecTools are measured where they
    are installed, and named as absent where not. A stopped run goes on where it was, on the same machine and commit.

    Examples:

      aisle bench speed

      aisle bench speed --only ingest,topk --rows 10000000

      aisle bench speed --only growth --rows 100000000 --products 100000 --turns 1

      aisle bench speed --table
    """
    from aisle.jobs.bench.speed.page import write_page
    from aisle.jobs.bench.speed.run import Order, bench_speed

    failed: dict[str, str] = {}
    if not table:
        order = Order(
            only=_names(only),
            rows=rows,
            products=products,
            turns=turns,
            threads=threads or os.cpu_count() or 1,
            results=results,
            cache=cache,
            force=force,
        )
        done = bench_speed(order, progress(quiet))
        failed = done.failed
        typer.echo(f"{', '.join(done.tasks)} written to {results}: {done.measured} measured now, {done.kept} before")
        for name, why in done.absent.items():
            typer.echo(f"{name} is absent: {why}")
        for name, why in failed.items():
            typer.echo(f"{name} failed: {why}", err=True)
    if table or page.exists():
        write_page(page, results)
        typer.echo(f"tables written to {page}")
    if failed:
        raise ResourceError(f"{len(failed)} measurements failed; the others are written")


def _budget(trials: int | None, cpu_seconds: float | None, customers: int | None) -> Budget:
    """What was given, else what a full run spends."""
    from aisle.evaluate.tune import BUDGETS

    given = {"settings": trials, "cpu_seconds": cpu_seconds, "customers": customers}
    return replace(BUDGETS["full"], **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]


def _measured(order: Order, quiet: bool) -> int:
    """Run an order and say what became of it; gives the number of failures."""
    from aisle.jobs.bench.run import bench_accuracy

    for what, count in Counter(order.kept().values()).items():
        typer.echo(f"kept: {count} {'cell' if count == 1 else 'cells'} measured with {what}; --force to measure again")
    done = bench_accuracy(order, progress(quiet))
    typer.echo(f"{len(done.written)} cells written to {order.results}, {len(order.cells())} asked for")
    for cell, why in done.failed.items():
        typer.echo(f"{cell.protocol} {cell.recipe} seed {cell.seed} failed: {why}", err=True)
    return len(done.failed)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(int(one) for one in text.split(",")))
    except ValueError as error:
        raise UsageError(f"--seeds {text!r} are no whole numbers; write for example 0,1,2") from error


def _show_cells(order: Order) -> None:
    from rich.table import Table

    frame = Table("protocol", "model", "seed", "state", title="Cells")
    missing, kept = order.missing(), order.kept()
    for cell in order.cells():
        state = f"measured with {kept[cell]}" if cell in kept else "measured"
        frame.add_row(cell.protocol, cell.recipe, str(cell.seed), "missing" if cell in missing else state)
    show(frame)
