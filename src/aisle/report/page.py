"""``report.html``: what was found and what to do about it, for a reader who sells things rather than writes code.

One file without scripts, fonts or pictures from elsewhere. Every text from the outside is made visible (controls and
marks that reorder text) and escaped, by default and without exception.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from aisle.files import atomic
from aisle.report import curves, plots, story, tables
from aisle.report.wording import (
    date_order,
    day,
    metric_name,
    number,
    pasteable,
    percent,
    readable,
    source_name,
    visible,
)


@dataclass(frozen=True, kw_only=True)
class SampleCustomer:
    """A customer shown as an example, under an invented label and never an id."""

    label: str
    """``Customer A``."""
    history: Sequence[tuple[str, str, int]]
    """(when, product name, times bought), newest first."""
    list: Sequence[tuple[int, str, str, str]]
    """(rank, product name, reason, source)."""


class _Known(dict[str, Any]):
    """A part of the certificate for the template, which has None for whatever was not given."""

    def __missing__(self, key: str) -> None:
        return None


def write_report(
    path: Path,
    certificate: Mapping[str, Any],
    *,
    sales: pl.DataFrame,
    samples: Sequence[SampleCustomer],
    rejects: pl.DataFrame,
    summary: Mapping[str, Any] | None = None,
) -> None:
    """Write ``report.html``, ``certificate.svg`` and ``certificate.png`` into the folder ``path``.

    ``certificate`` holds the keys of the contract; sections whose part is missing are left out. ``sales`` has the
    columns period (Date), lines, amount, customers. ``rejects`` is the frame of ``rejects.parquet``. ``summary`` says
    what was written (default: ``certificate["lists"]``). Equal input gives equal bytes.
    """
    bars, floor = story.bars(certificate), story.floor_of(certificate)
    metric = metric_name(story.headline_metric(certificate))
    html = render(certificate, sales=sales, samples=samples, rejects=rejects, summary=summary)
    with atomic(path / "report.html") as file:
        file.write_text(html, encoding="utf-8", newline="\n")
    if bars:
        with atomic(path / "certificate.svg") as file:
            picture = plots.forest(bars, floor, metric, alone=True)
            file.write_text(picture, encoding="utf-8", newline="\n")
        with atomic(path / "certificate.png") as file:
            file.write_bytes(plots.forest_png(bars, floor, metric))


def render(
    certificate: Mapping[str, Any],
    *,
    sales: pl.DataFrame,
    samples: Sequence[SampleCustomer],
    rejects: pl.DataFrame,
    summary: Mapping[str, Any] | None = None,
) -> str:
    """The page as text."""
    data = story.part(certificate, "data")
    bars, floor = story.bars(certificate), story.floor_of(certificate)
    metric = metric_name(story.headline_metric(certificate))
    pictures = [plots.forest(bars, floor, metric, width=w) for w in (plots.WIDE, plots.NARROW)] if bars else []
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            css=Markup(_resource("report.css") + plots.SHAPES),  # our own files
            story=story.tell(certificate),
            cautions=story.cautions(certificate),
            measured=story.how_measured(certificate),
            verdict=_Known(story.part(certificate, "verdict")),
            bars=bars,
            pictures=pictures,
            metric=metric,
            data=_Known(data),
            tiles=_tiles(certificate),
            findings=tables.findings(data),
            files=tables.files_table(data),
            rejects=tables.rejects_table(rejects),
            mapping=tables.mapping_table(data),
            sales=_sales(sales, certificate),
            models=tables.models_table(certificate),
            all_metrics=tables.all_metrics(certificate),
            learned=curves.learnings(certificate),
            repeats=tables.repeat_table(certificate),
            segments=tables.segment_tables(certificate),
            cold=tables.cold_table(certificate),
            protocol=tables.protocol_rows(certificate),
            samples=samples,
            searched=story.searched(certificate),
            lists=_Known(summary if summary is not None else story.part(certificate, "lists")),
        )
    )


def _tiles(certificate: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(figure, what it counts, remark) for the head of the page."""
    data, protocol = story.part(certificate, "data"), story.part(certificate, "protocol")
    read, accepted = data.get("rows_read"), data.get("rows_accepted")
    share = f"{percent(accepted / read)} accepted" if read and accepted is not None else ""
    tiles = [
        (data.get("rows_read"), "sales rows read", share),
        (data.get("customers"), "customers", ""),
        (data.get("products"), "products", ""),
        (protocol.get("customers_scored"), "customers in the test", ""),
    ]
    return [(number(value), label, remark) for value, label, remark in tiles if value is not None]


def _sales(sales: pl.DataFrame, certificate: Mapping[str, Any]) -> dict[str, Any] | None:
    """Charts and rows of sales over time; None where there is no time."""
    if sales.is_empty():
        return None
    sales = sales.sort("period")
    days = sales["period"].cast(pl.Date).to_list()
    try:
        cut = date.fromisoformat(str(story.part(certificate, "protocol").get("cut"))[:10])
    except ValueError:
        cut = None
    amount = sales["amount"].cast(pl.Float64).fill_null(0.0).fill_nan(0.0)
    columns = [("amount", "Sales amount")] if amount.abs().sum() else []
    columns += [("lines", "Sales lines"), ("customers", "Customers who bought")]
    values = {name: sales[name].cast(pl.Float64).fill_null(0.0).fill_nan(0.0).to_list() for name, _ in columns}
    charts = [
        [plots.periods(days, values[name], title, cut=cut, width=width) for width in (plots.WIDE, plots.NARROW)]
        for name, title in columns
        if name != "lines" or len(columns) < 3
    ]
    rows = [[d.isoformat(), *(number(round(values[name][i])) for name, _ in columns)] for i, d in enumerate(days)]
    table = tables.Table("Sales by period", ["Period from", *(title for _, title in columns)], rows)
    return {"charts": charts, "table": table}


@cache
def _environment() -> Environment:
    """Templates with escaping on, and every text from outside made visible before it is escaped."""
    names = ("report.html.j2", "macros.html.j2")
    environment = Environment(
        loader=DictLoader({name: _resource(name) for name in names}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else visible(value),
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "day": day,
        "source": source_name,
        "name": pasteable,
        "order": date_order,
        "readable": readable,
    }
    return environment


def _resource(name: str) -> str:
    return files("aisle.report").joinpath("templates", name).read_text(encoding="utf-8")
