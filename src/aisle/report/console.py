"""The same summary for the terminal: renderables for rich, on one screen. Nothing is printed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from aisle.report import story, tables
from aisle.report.wording import date_order, interval, metric_name, number, percent, seconds, visible

MAX_FINDINGS = 12
STYLES = {"error": "red", "warning": "yellow", "info": "dim"}


def run_summary(certificate: Mapping[str, Any], page: str = "") -> RenderableType:
    """Rows accounted for, the proof of the date order, the verdict, the models with the floor, the file with more."""
    data = story.part(certificate, "data")
    told = story.tell(certificate)
    parts: list[RenderableType] = [Text("")]
    if data:
        parts += [*_rows(data), Text("")]
    parts.append(Text(visible(told.headline), style="bold green" if told.tone == "better" else "bold yellow"))
    parts += [Text(visible(sentence)) for sentence in told.details]
    parts += [Text(visible(f"⚠ {sentence}"), style="bold red") for sentence in story.cautions(certificate)]
    if searched := story.searched(certificate):
        parts.append(Text(visible(searched)))
    if story.bars(certificate):
        parts += [Text(""), models_table(certificate)]
    if page:
        parts += [Text(""), Text.assemble("Open ", (visible(page), "bold"), " for the whole story.")]
    return Padding(Group(*parts), (0, 1))


def data_table(data: Mapping[str, Any]) -> RenderableType:
    """What the data doctor found: rows of every file, dates, returns, and the findings, gravest first."""
    parts: list[RenderableType] = [*_rows(data)]
    files = tables.files_table(data)
    if files is not None:
        shown = _table(*files.heads)
        for row in files.rows:
            shown.add_row(*(Text(visible(cell)) for cell in row))
        parts += [Text(""), shown]
    found = tables.findings(data)
    if found:
        shown = _table("Rows", "Finding", "Done", "To undo", numbers=1)
        for finding in found[:MAX_FINDINGS]:
            what = f"{finding['code']}: {finding['what']}"
            if finding["example"]:
                what += f"\ne.g. {finding['example']}"
            style = STYLES.get(finding["severity"], "")
            cells = finding["rows"], what, finding["action"], finding["undo"]
            shown.add_row(*(Text("\n".join(map(visible, c.split("\n"))), style=style) for c in cells))
        parts += [Text(""), shown]
        if len(found) > MAX_FINDINGS:
            parts.append(Text(f"and {len(found) - MAX_FINDINGS} more; see --json or report.html", style="dim"))
    else:
        parts += [Text(""), Text("Nothing wrong was found.", style="green")]
    return Padding(Group(*parts), (0, 1))


def models_table(certificate: Mapping[str, Any]) -> Table:
    """Every model, best first, with its interval, its difference to the best simple rule, its time, and the floor."""
    metric, verdict = story.headline_metric(certificate), story.part(certificate, "verdict")
    heads = f"{metric_name(metric)}, 95 % interval", "Against best simple", "Time"
    shown = _table("Model", *heads, fixed=heads)
    for name, model in tables.ordered_models(certificate):
        use = name == verdict.get("ship")
        difference = interval(model.get("difference_to_best_simple"), sign=True)
        cells = (
            tables.marked(name, model, certificate),
            interval(model.get(metric)),
            "best simple rule" if name == verdict.get("best_baseline") else difference,
            seconds(model.get("seconds")),
        )
        shown.add_row(*(Text(visible(cell)) for cell in cells), style="bold green" if use else "")
    shown.add_row("Random lists", number(story.floor_of(certificate), 4), "", "", style="dim")
    return shown


def _rows(data: Mapping[str, Any]) -> list[RenderableType]:
    """Lines that account for every row, name the date order and its proof, and count returns and copies."""
    read, accepted, rejected = (data.get(key) for key in ("rows_read", "rows_accepted", "rows_rejected"))
    share = f" ({percent(accepted / read)})" if read and accepted is not None else ""
    lines = [
        f"{number(read)} sales rows read = {number(accepted)} accepted{share} + {number(rejected)} rejected · "
        f"{number(data.get('customers'))} customers · {number(data.get('products'))} products"
    ]
    if data.get("date_order"):
        proof = f": {data['date_proof']}" if data.get("date_proof") else ""
        lines.append(f"Dates read as {date_order(data['date_order'])}{proof}")
    if data.get("returns") or data.get("duplicates"):
        lines.append(
            f"{number(data.get('returns'))} returns, {number(data.get('returns_matched'))} matched with their sale · "
            f"{number(data.get('duplicates'))} exact duplicates set aside"
        )
    return [Text(visible(line)) for line in lines]


def _table(*heads: str, numbers: int = 0, fixed: tuple[str, ...] = ()) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for place, head in enumerate(heads):
        justify: Literal["left", "right"] = "right" if place < numbers else "left"
        shown.add_column(head, justify=justify, overflow="fold", no_wrap=head in fixed)
    return shown
