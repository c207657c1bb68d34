"""The tables of ``docs/speed.md``, written from the result: no figure and no verdict there is typed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aisle.errors import UsageError
from aisle.files import write_text
from aisle.jobs.bench.cells import read_json
from aisle.jobs.bench.markers import between, page_text
from aisle.jobs.bench.speed.growth import FLAT
from aisle.jobs.bench.speed.picture import picture
from aisle.jobs.bench.speed.task import TASKS, Json, task

START, STOP = "<!-- speed -->", "<!-- /speed -->"
PAGE = Path("docs/speed.md")
PICTURE = Path("img/speed_growth.svg")
"""Beside the page."""
MEASURES = (
    ("cpu", "CPU", "cpu_seconds_per_million", "{:.2f} s"),
    ("memory", "memory", "mb_per_million", "{:,.0f} MB"),
)
"""Verdict of a curve, how it is called, the column of its points, and how that is written."""
GOALS = {"wall_seconds": ("wall seconds", "{:,.2f} s"), "peak_mb": ("peak memory", "{:,.0f} MB")}


def write_page(page: Path, results: Path) -> None:
    """Renew the tables between the markers of a page and the picture beside it."""
    text = page_text(page)
    if not results.exists():
        raise UsageError(f"there is no {results}; measure first: aisle bench speed, or give --results")
    found = read_json(results)
    write_text(page, renewed(text, found))
    curves = found["tasks"].get("growth", {}).get("curves")
    if curves:
        write_text(page.parent / PICTURE, picture(curves))


def renewed(text: str, found: Json) -> str:
    """The page with fresh tables between its markers; raises UsageError without them."""
    return between(text, START, STOP, tables(found))


def tables(found: Json) -> str:
    """A summary of ratios and goals, the figures by task, growth, and what they were measured with."""
    tasks: dict[str, Json] = {name: found["tasks"][name] for name in TASKS if name in found["tasks"]}
    parts = ["### In short", _summary(tasks)]
    parts += [_section(name, one) for name, one in tasks.items()]
    return "\n\n".join(parts)


def _summary(tasks: dict[str, Json]) -> str:
    rows = ["| | ours | beside | by CPU seconds | by wall | asked | |", "|---|---|---|---|---|---|---|"]
    for name, one in tasks.items():
        rows += [_pair(name, pair) for pair in one["pairs"]]
        rows += [_goal(name, goal) for goal in one["goals"]]
    return "\n".join(rows)


def _pair(name: str, pair: Json) -> str:
    theirs = f"{pair['theirs']} (limit)" if pair["limit"] else pair["theirs"]
    if "absent" in pair:
        return f"| {name} | {pair['ours']} | {theirs} | – | – | | not measured: {_line(pair['absent'])} |"
    asked = f"≤ {pair['most']:.2f} ×" if "most" in pair else ""
    cells = [name, pair["ours"], theirs, _times(pair["cpu"]), _times(pair["wall"]), asked, _said(pair)]
    return f"| {' | '.join(cells)} |"


def _goal(name: str, goal: Json) -> str:
    what, shape = GOALS[goal["figure"]]
    if "absent" in goal:
        return f"| {name} | {goal['ours']} | {what} | – | – | | not measured |"
    value, most = (shape.format(goal[key]) for key in ("value", "most"))
    shown = ("–", value) if goal["figure"] == "wall_seconds" else (value, "–")
    return f"| {name} | {goal['ours']} | {what} | {' | '.join(shown)} | ≤ {most} | {_said(goal)} |"


def _said(judged: Json) -> str:
    """What became of what is asked; of a smaller size than it is asked for, it is a foretaste."""
    if "most" not in judged:
        return ""
    verdict = "met" if judged["met"] else "**not met**"
    return verdict if judged["asked_here"] else f"{verdict} at this size; asked at {judged['at']:,} rows"


def _section(name: str, one: Json) -> str:
    now = task(name)
    parts = [f"### {now.title}", now.about]
    parts.append(_growth(one["curves"]) if "curves" in one else _figures(one["figures"]))
    return "\n\n".join([*parts, _footnote(one)])


def _figures(figures: Sequence[Json]) -> str:
    head = ["", "CPU s", "wall s", "peak MB", "CPU s, most ÷ least", "how much", "a CPU second", "a wall second"]
    rows = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for one in figures:
        amount, unit = _amount(one["facts"])
        rates = [_rate(amount, one[cost], unit) for cost in ("cpu_seconds", "wall_seconds")]
        costs = [_seconds(one["cpu_seconds"]), _seconds(one["wall_seconds"]), f"{one['peak_mb']:,.0f}"]
        cells = [one["side"], *costs, f"{one['spread']:.2f}", f"{amount:,.0f} {unit}{_extra(one['facts'])}", *rates]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _amount(facts: Json) -> tuple[float, str]:
    """The amount of work that rates are told of."""
    for key, unit in (("pairs", "pairs"), ("rows", "rows"), ("customers", "customers"), ("gflop", "GFLOP")):
        if key in facts:
            return facts[key], unit
    return facts.get("gigabytes", 0.0), "GB"


def _extra(facts: Json) -> str:
    return f", {facts['places_as_ours']:.4%} of places as ours" if "places_as_ours" in facts else ""


def _growth(curves: Sequence[Json]) -> str:
    sizes = [point["rows"] for point in curves[0]["points"]]
    head = ["by the million rows", *(f"{rows:,} rows" for rows in sizes), "largest ÷ least", "most rise", "said"]
    rows = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, label, column, shape in MEASURES:
        for one in curves:
            known = {point["rows"]: shape.format(point[column]) for point in one["points"]}
            verdict = [f"{one[name]['within']:.2f}", f"{one[name]['rise']:.2f}", one[name]["said"]]
            cells = [f"{one['side']}, {label}", *(known.get(rows, "–") for rows in sizes), *verdict]
            rows.append(f"| {' | '.join(cells)} |")
    words = (
        f"*flat*: within {FLAT} × of each other; *falls*: cheaper by the million as it grows, and nowhere {FLAT} × "
        "dearer than at a smaller size; *grows*: dearer than that."
    )
    return "\n".join(rows) + f"\n\n{words}\n\n![Cost by the million rows against rows]({PICTURE.as_posix()})"


def _footnote(one: Json) -> str:
    """Sizes, rivals, and where it ran."""
    sizes = "; ".join(f"{size['rows']:,} rows of {size['customers']:,} customers" for size in one["sizes"])
    machine = one["machine"]
    threads = "1 thread" if machine["threads"] == "1" else f"{machine['threads']} threads"
    lines = [f"Generated retailer: {sizes}, {one['products']:,} products. Least of {_some(one['turns'], 'turn')}."]
    there = [f"{name} {found['version']}" for name, found in one["rivals"].items() if "version" in found]
    gone = [f"{name} ({_line(found['absent'])})" for name, found in one["rivals"].items() if "absent" in found]
    if there or gone:
        said = ([f"Beside {', '.join(there)}."] if there else []) + ([f"Absent: {', '.join(gone)}."] if gone else [])
        lines.append(" ".join(said))
    lines += [f"Failed: {name}: {_line(why)}." for name, why in one["failed"].items()]
    lines.append(
        f"Ran on {machine['cpu']}, {machine['cores']} cores, {threads}; load average at the start "
        f"{one['load_at_start'][0]:.1f}; commit {one['commit'] or 'unknown'}. `{one['command']}`."
    )
    return "\n".join(f"- {line}" for line in lines)


def _line(text: str) -> str:
    """A message as a cell of a table: on one line, no longer than it need be."""
    words = " ".join(text.replace("|", "/").split())
    return words if len(words) <= 120 else f"{words[:119]}…"


def _rate(amount: float, seconds: float, unit: str) -> str:
    return f"{amount / seconds:,.0f} {unit}" if seconds > 0 and amount else "–"


def _times(value: float) -> str:
    return f"{value:.3f} ×" if value < 0.1 else f"{value:.2f} ×"


def _seconds(value: float) -> str:
    return f"{value:,.1f}" if value >= 100 else f"{value:.2f}"


def _some(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
