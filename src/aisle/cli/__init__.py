"""The command line: parse, run a job, show. Jobs are imported when a command runs, so that ``--help`` is quick."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from aisle.cli.answers import due, explain, recommend, similar, together
from aisle.cli.bench import bench
from aisle.cli.options import (
    AddressOption,
    CacheOption,
    CheckpointOption,
    ConfigOption,
    CrewOption,
    DateOrderOption,
    EngineOption,
    LearnersOption,
    MemoryOption,
    MlflowOption,
    OutOption,
    QuietOption,
    SetOption,
    TensorboardOption,
    WorkersOption,
    settings_of,
)
from aisle.cli.screen import progress, show
from aisle.errors import AisleError
from aisle.version import VERSION

if TYPE_CHECKING:
    from aisle.config import EngineName

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="From a retailer's raw files to honest recommendations in one command.",
)

STOPPED = 130
"""Exit code of a command that Ctrl-C has stopped."""


@app.command()
def run(
    source: Annotated[str, typer.Argument(help="Folder, file, or database URL with the retailer's tables.")] = ".",
    out: OutOption = Path("aisle-out"),
    k: Annotated[int | None, typer.Option("-k", help="Products a customer. [10]")] = None,
    at: Annotated[str | None, typer.Option("--at", help="Make the lists as of this date. [end of the data]")] = None,
    horizon: Annotated[int | None, typer.Option(help="Days of the evaluation window. [from the data]")] = None,
    budget: Annotated[str | None, typer.Option(help="quick, standard or full. [standard]")] = None,
    memory: MemoryOption = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random. [0]")] = None,
    repeats: Annotated[str | None, typer.Option(help="mixed, new or only: may bought products be listed?")] = None,
    variants: Annotated[str | None, typer.Option(help="one or all variants of a product in a list. [one]")] = None,
    search: Annotated[str | None, typer.Option(help="exact, or auto: an index above 300,000 products. [exact]")] = None,
    least_recall: Annotated[float | None, typer.Option(help="What an index must find of exact lists. [0.99]")] = None,
    only_products: Annotated[str | None, typer.Option(help="File of product ids: nothing else is listed.")] = None,
    only_customers: Annotated[str | None, typer.Option(help="File of customer ids: nobody else gets a list.")] = None,
    no_profile: Annotated[str | None, typer.Option(help="File of customers who opted out of profiling.")] = None,
    models: Annotated[str | None, typer.Option(help="Comma-separated registry names; default is the line-up.")] = None,
    date_order: DateOrderOption = None,
    list_gone: Annotated[bool | None, typer.Option("--list-gone", help="List products gone from sale too.")] = None,
    cache: CacheOption = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
    config: ConfigOption = None,
    quiet: QuietOption = False,
) -> None:
    """Clean the data, prove what works, and write k products for every customer.

    What was read is kept in OUT/.cache (or in --cache DIR): files that have not changed are not read again.

    Examples:

      aisle run exports/ --out results/

      aisle run exports/ -k 5 --repeats new --horizon 30

      aisle run sales.csv --date-order dmy --at 2011-11-09

      aisle run exports/ --workers 4

      aisle run /shared/exports --out /shared/results --engine ray --address 10.0.0.1:6379
    """
    settings = settings_of(config, locals())  # before anything else is local
    from aisle.jobs.cache import place_of
    from aisle.jobs.run import run as run_job
    from aisle.report.console import run_summary

    result = run_job(source, out, settings, progress(quiet), cache=place_of(cache, out / ".cache"))
    show(run_summary(result.certificate, str(out / "report.html")))


@app.command()
def check(
    source: Annotated[str, typer.Argument(help="Folder, file, or database URL with the retailer's tables.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write the clean tables and the rejects here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    date_order: DateOrderOption = None,
    memory: MemoryOption = None,
    config: ConfigOption = None,
    quiet: QuietOption = False,
) -> None:
    """Run the data doctor alone: what is in the files, what is wrong, what was done.

    Example:

      aisle check exports/ --out clean/ --json
    """
    settings = settings_of(config, locals())
    from aisle.jobs.check import check as check_job
    from aisle.jobs.check import data_summary
    from aisle.report.console import data_table

    tables = check_job(source, out=out, config=settings, progress=progress(quiet))
    summary = data_summary(tables)
    if as_json:
        typer.echo(json.dumps(summary, indent=2, ensure_ascii=False))
    else:
        show(data_table(summary))


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to write the synthetic retailer to.")],
    customers: Annotated[int, typer.Option(help="Customers.")] = 2_000,
    products: Annotated[int, typer.Option(help="Products.")] = 500,
    seed: Annotated[int, typer.Option(help="Seed; same seed, same bytes.")] = 0,
    dirt: Annotated[bool, typer.Option("--dirt", help="Plant realistic dirt.")] = False,
    no_signal: Annotated[bool, typer.Option("--no-signal", help="Everybody shops alike: nothing personal.")] = False,
    if_missing: Annotated[bool, typer.Option("--if-missing", help="Do nothing where the folder has data.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Write a synthetic retailer with its planted truth.

    Example:

      aisle demo shop/ --customers 5000 --dirt && aisle run shop/
    """
    from aisle.jobs.demo import demo as demo_job

    if if_missing and any(folder.glob("transactions*")):
        typer.echo(f"{folder} has data already; kept")
        return
    summary = demo_job(
        folder,
        customers=customers,
        products=products,
        seed=seed,
        dirt=dirt,
        signal=not no_signal,
        progress=progress(quiet),
    )
    typer.echo(
        f"{summary.lines:,} lines of {summary.orders:,} orders, {summary.customers:,} customers, {summary.products:,} "
        f"products written to {summary.folder}; the planted truth lies in {summary.folder / 'truth'}"
    )


@app.command()
def train(
    source: Annotated[str, typer.Argument(help="Folder, file, or database URL with the retailer's tables.")],
    model: Annotated[str, typer.Option("--model", help="Registry name, for example ease.")],
    out: OutOption = Path("model"),
    settings: SetOption = None,
    checkpoint: CheckpointOption = None,
    tensorboard: TensorboardOption = None,
    mlflow: MlflowOption = None,
    engine: LearnersOption = "local",
    workers: CrewOption = 1,
    address: AddressOption = None,
    memory: MemoryOption = None,
    cache: CacheOption = None,
    config: ConfigOption = None,
    date_order: DateOrderOption = None,
    quiet: QuietOption = False,
) -> None:
    """Fit one model on everything and write it as a bundle.

    Values of --set are JSON (true, 0.1, null) or plain words. --checkpoint, --tensorboard, --mlflow, --engine and
    --workers are for models that learn in epochs: hybrid_factorization, basket_transformer. The ranker, and models of
    what products say of each other (item_knn, slim, rp3beta, sequence_knn, bought_together), are fitted by parts:
    --checkpoint keeps them, --engine and --workers say who does them.

    Examples:

      aisle train exports/ --model ease --out model/

      aisle train exports/ --model hybrid_factorization --set loss=wmrb --set tastes=3

      aisle train exports/ --model hybrid_factorization --checkpoint training/ --tensorboard curves/

      aisle train exports/ --model ranker --checkpoint parts/ --workers 4

      aisle train exports/ --model basket_transformer --checkpoint /shared/training --engine ray --workers 4
    """
    from aisle.config import load_config
    from aisle.jobs.cache import place_of
    from aisle.jobs.train import Follow, parse_settings
    from aisle.jobs.train import train as train_job

    train_job(
        source,
        out,
        model,
        settings=parse_settings(settings or []),
        follow=Follow(
            checkpoint=checkpoint,
            tensorboard=tensorboard,
            mlflow=mlflow,
            workers=workers,
            engine=cast("EngineName", engine),
            address=address,
        ),
        config=load_config(config, date_order=date_order, memory=memory),
        progress=progress(quiet),
        cache=place_of(cache),
    )
    typer.echo(f"{model} written to {out}")


@app.command()
def evaluate(
    source: Annotated[str, typer.Argument(help="Folder, file, or database URL with the retailer's tables.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write the certificate (JSON) here.")] = None,
    models: Annotated[str | None, typer.Option(help="Comma-separated registry names; default is the line-up.")] = None,
    horizon: Annotated[int | None, typer.Option(help="Days of the evaluation window. [from the data]")] = None,
    budget: Annotated[str | None, typer.Option(help="quick, standard or full. [standard]")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random. [0]")] = None,
    memory: MemoryOption = None,
    cache: CacheOption = None,
    config: ConfigOption = None,
    date_order: DateOrderOption = None,
    quiet: QuietOption = False,
) -> None:
    """Measure models on rolling windows and a last one, and say which would ship; writes no lists.

    Example:

      aisle evaluate exports/ --models popularity,personal_frequency,ease
    """
    settings = settings_of(config, locals())
    from aisle.jobs.assess import assess_source
    from aisle.jobs.cache import place_of
    from aisle.report.console import run_summary

    certificate = assess_source(source, settings, out=out, progress=progress(quiet), cache=place_of(cache))
    show(run_summary(certificate, str(out or "")))


for answer in (explain, recommend, similar, together, due):
    app.command()(answer)
app.add_typer(bench, name="bench")


def main() -> None:
    """Entry point: turns errors of ours into one screen on stderr and the documented exit code."""
    # Idle OpenMP threads would otherwise burn a whole core each while they wait: ten times the CPU on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        if app(standalone_mode=False) == STOPPED:  # newer Typer gives the code of Ctrl-C back and raises nothing
            raise KeyboardInterrupt
    except AisleError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except KeyboardInterrupt:
        typer.echo("stopped; run the same command again to go on from here", err=True)
        sys.exit(STOPPED)
    except Exception as error:
        _fail(error)


def _fail(error: Exception) -> None:
    """Usage errors of the parser exit with 2, memory with 4, and bugs with 1 and a way to see the traceback."""
    show = getattr(error, "show", None)
    if show is not None:  # a click usage error or abort
        show()
        sys.exit(getattr(error, "exit_code", 2))
    if type(error).__name__ == "Abort":
        typer.echo("stopped; run the same command again to go on from here", err=True)
        sys.exit(STOPPED)
    if os.environ.get("AISLE_TRACEBACK"):
        raise error
    if isinstance(error, MemoryError):
        typer.echo("error: out of memory; give a smaller --memory or fewer models", err=True)
        sys.exit(4)
    if isinstance(error, OSError):
        typer.echo(f"error: {error}; check the path, the permissions and the free space", err=True)
        sys.exit(4 if error.errno == 28 else 2)
    typer.echo(
        f"error: {type(error).__name__}: {error}\nThis is a fault of aisle. Set AISLE_TRACEBACK=1 to see where, "
        "and please report it.",
        err=True,
    )
    sys.exit(1)


def _version(value: bool) -> None:
    if value:
        typer.echo(VERSION)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


__all__ = ["app", "main"]
