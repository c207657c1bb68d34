"""The tables of ``docs/accuracy.md``, written from the cells: no figure and no verdict there is typed by hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aisle.files import write_text
from aisle.jobs.bench.cells import ATTEMPTS, VERSUS, Cell, Json, cells_of, read_json
from aisle.jobs.bench.markers import between, page_text
from aisle.jobs.bench.protocols import PROTOCOLS, protocol
from aisle.jobs.bench.recipes import PUBLISHED, parse
from aisle.jobs.bench.spent import left_out, searched
from aisle.jobs.bench.split import Beat, Match, Protocol
from aisle.jobs.bench.versus import question, rivals_missing

START, STOP = "<!-- accuracy -->", "<!-- /accuracy -->"
PAGE = Path("docs/accuracy.md")
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Verdict:
    """A bar and what became of it."""

    bar: str
    asked: str
    got: str
    said: str


def write_page(page: Path, results: Path) -> None:
    """Renew the tables between the markers of a page."""
    text = page_text(page)
    write_text(page, renewed(text, results))


def renewed(text: str, results: Path) -> str:
    """The page with fresh tables between its markers; raises UsageError without them."""
    return between(text, START, STOP, tables(results))


def tables(results: Path) -> str:
    """All protocols: a summary of the bars, then figures by protocol."""
    known = [protocol(name) for name in PROTOCOLS]
    return "\n\n".join([_summary(known, results), *(_section(one, results) for one in known)])


def verdicts(now: Protocol, results: Path) -> list[Verdict]:
    """What became of each bar of a protocol."""
    cells = cells_of(results, now.name)
    path = results / now.name / VERSUS
    against: list[Json] = read_json(path) if path.exists() else []
    found = [_match(match, cells) for match in now.matches]
    return found + [_beat(beat, now, cells, against) for beat in now.beats]


def _match(match: Match, cells: dict[Cell, Json]) -> Verdict:
    asked = f"{_list(match.figures)} ± {match.within:.1%}"
    figures = _figures(cells, match.recipe)
    if figures is None or not match.figures.keys() <= figures.keys():
        return Verdict(f"match: {match.label}", asked, "", f"not run (`{match.recipe}`)")
    got = {name: figures[name]["mean"] for name in match.figures}
    off = max((abs(got[name] / said - 1), got[name] / said - 1) for name, said in match.figures.items())[1]
    said = "matches" if abs(off) <= match.within else "above" if off > 0 else "**below**"
    said += f" (largest difference {_percent(off)})"
    return Verdict(f"match: {match.label}", asked, f"{_list(got)} `{match.recipe}`", said)


def _beat(beat: Beat, now: Protocol, cells: dict[Cell, Json], against: list[Json]) -> Verdict:
    bar = f"{'level' if beat.level else 'beat'}: {beat.label}"
    asked = f"{beat.metric} {_asked(beat)}"
    figures = _figures(cells, beat.recipe)
    if figures is None or beat.metric not in figures:
        return Verdict(bar, asked, "", f"not run (`{beat.recipe}`)")
    figure = figures[beat.metric]
    got = f"{_interval(figure)} `{beat.recipe}`"
    if beat.rival:
        shown, said = _rivalry(beat, now, cells, against)
        return Verdict(bar, asked, f"{got}; {shown}" if shown else got, said)
    bound, least = (figure["low"], beat.beyond) if beat.beyond is not None else (figure["mean"], beat.least)
    if bound is None or least is None:
        return Verdict(bar, asked, got, "too few customers to say")
    if beat.beyond is not None and figure["mean"] >= least > bound:
        return Verdict(bar, asked, got, "**not met**: above, but not beyond chance")
    off = f" ({_percent(figure['mean'] / least - 1)})"
    return Verdict(bar, asked, got, "met" if bound >= least else f"**not met**{off}")


def _rivalry(beat: Beat, now: Protocol, cells: dict[Cell, Json], against: list[Json]) -> tuple[str, str]:
    """The difference to the rival, and what follows; of a comparison that was made for other cells, nothing does."""
    asked = question(beat, cells)
    if asked is None:
        return "", f"not compared (`{beat.rival}` not run)"
    one = next((one for one in against if asked.items() <= one.items()), None)
    if one is None:
        return "", f"not compared with `{asked['rival']}` yet"
    gap = one["difference"]
    shown = f"{_signed(gap['mean'])} ({_signed(gap['low'])} to {_signed(gap['high'])}) against `{one['rival']}`"
    if gap["low"] is None:
        return shown, "too few customers to say"
    missing = rivals_missing(beat, now, cells)
    if one["met"] and missing:
        return shown, f"met so far; not run: {', '.join(f'`{name}`' for name in missing)}"
    return shown, _met(beat, one) if one["met"] else "**not met**"


def _met(beat: Beat, one: Json) -> str:
    """How a bar over a rival was met; of no more than level the interval is told, for few customers make it wide."""
    low, high, size = one["difference"]["low"], one["difference"]["high"], beat.factor * one["theirs"]
    if not beat.level:
        return "met"
    if low > 0:
        return "met: above"
    return f"met: level ({_percent(low / size)} to {_percent(high / size)} of the rival)" if size else "met: level"


def _asked(beat: Beat) -> str:
    if beat.beyond is not None:
        return f"above {_score(beat.beyond)}, beyond chance"
    if beat.least is not None:
        return f"≥ {_score(beat.least)}"
    times = f"{beat.factor:g} × " if beat.factor != 1 else ""
    how = ("not below", "up to chance") if beat.level else ("above", "beyond chance")
    return f"{how[0]} {times}{beat.rival}, {how[1]}"


def _summary(known: list[Protocol], results: Path) -> str:
    rows = ["| protocol | bar | asked | reached | verdict |", "|---|---|---|---|---|"]
    for now in known:
        rows += [f"| {now.title} | {v.bar} | {v.asked} | {v.got or '–'} | {v.said} |" for v in verdicts(now, results)]
    return "\n".join(rows)


def _section(now: Protocol, results: Path) -> str:
    cells = cells_of(results, now.name)
    head = ["", *now.metrics, "settings found by", "fit + ask, search (CPU s)", "peak"]
    rows = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in now.published:
        shown = [_score(row.figures.get(name)) for name in now.metrics]
        rows.append(f"| {row.label} (published: {row.mark}) | {' | '.join(shown)} | | | |")
    order = sorted(cells, key=lambda cell: (_place(now, cell.recipe), cell.recipe, cell.seed))
    rows += [_row(now, cell, cells[cell]) for cell in order]
    parts = [f"### {now.title}", "\n".join(rows)]
    if cells:
        parts.append(_footnote(now, cells))
    else:
        parts.append(f"Not measured yet: `aisle bench accuracy --only {now.name}`.")
    attempts = results / now.name / ATTEMPTS
    if attempts.exists():
        lines = [f"- {one['what']}: {one['figure']}. {one['why']}" for one in read_json(attempts)]
        parts.append("\n".join(["Attempts at what is out of reach:", "", *lines]))
    return "\n\n".join(parts)


def _row(now: Protocol, cell: Cell, found: Json) -> str:
    figures = [_interval(found["figures"][name]) if name in found["figures"] else "–" for name in now.metrics]
    models = " or ".join(found["models"])  # a part has one
    label = f"`{cell.recipe}`" + (f" = {models}" if cell.recipe in ("S", "C") else "")
    label += f", seed {cell.seed}" if cell.seed else ""
    label += f", {_some(missed, 'model')} left out" if (missed := len(left_out(found))) else ""
    tried = sum(len(record["trials"]) for record in found["parts"].values())
    how = f"{_some(tried, 'trial')} on {found['tuned_on']}" if tried else "fixed settings"
    seconds = f"{found['cpu_seconds']:.0f}, {found['search_cpu_seconds']:.0f}"
    return f"| {label} | {' | '.join(figures)} | {how} | {seconds} | {found['peak_mb'] / 1000:.1f} GB |"


def _refit(cell: Json) -> bool:
    """Whether the model learned from all lines in the end."""
    return all(record.get("settings", {}).get("refit", True) for record in cell["parts"].values())


def _footnote(now: Protocol, cells: dict[Cell, Json]) -> str:
    """Who was asked, what each search was given, who was left out, and where it ran, a line each."""
    usual = next((cell for cell in cells if not _published(cell)), next(iter(cells)))
    one, sizes = cells[usual], _sizes(cells[usual])
    several = len(now.parts) > 1
    listed = f"all {sizes['products']:,} products"
    if sizes["candidates"] < sizes["products"]:
        listed = f"{sizes['candidates']:,} of {sizes['products']:,} products"
    lines = [
        f"Asked: {one['customers']:,} customers{f' in {len(now.parts)} parts' if several else ''}. "
        f"{'In the first part: l' if several else 'L'}earned from {sizes['lines']:,} lines; may be listed: {listed}."
    ]
    other = {cell: _sizes(c)["lines"] for cell, c in cells.items() if _published(cell)}
    for what, names in _grouped({cell: f"{n:,} lines" for cell, n in other.items() if n != sizes["lines"]}).items():
        lines.append(f"{names} learned from {what}{' in the first part' if several else ''}.")
    stopped = {cell: "" for cell, c in cells.items() if _published(cell) and not _refit(c)}
    for names in _grouped(stopped).values():
        lines.append(f"{names} took the latest window to stop by, and learned from the lines before it.")
    for what, names in _grouped({cell: _budget(c) for cell, c in cells.items() if searched(c)}).items():
        lines.append(f"Search for {names}{', in each part' if several else ''}: {what}.")
    missed = {cell: left_out(c) for cell, c in cells.items()}
    for what, names in _grouped({cell: _left_out(found) for cell, found in missed.items() if found}).items():
        lines.append(f"Not tried by {names}: {what}.")
    ran = [one for c in cells.values() for one in (*c["parts"].values(), c) if "machine" in one]
    machines = sorted({_machine(one["machine"]) for one in ran})
    commits = sorted({name for one in ran for name in one["commit"].split(", ")})
    lines.append(f"Ran on {'; '.join(machines)}; {'commits' if len(commits) > 1 else 'commit'} {', '.join(commits)}.")
    return "\n".join(f"- {line}" for line in lines)


def _published(cell: Cell) -> bool:
    return parse(cell.recipe)[1] == PUBLISHED


def _sizes(found: Json) -> Json:
    """What the split of the first part holds."""
    sizes: Json = next(iter(found["parts"].values()))["sizes"]
    return sizes


def _grouped(said: dict[Cell, str]) -> dict[str, str]:
    """What is said of cells -> the recipes of which it is said."""
    names: dict[str, dict[str, None]] = {}
    for cell, what in said.items():
        names.setdefault(what, {})[f"`{cell.recipe}`"] = None
    return {what: ", ".join(found) for what, found in sorted(names.items())}


def _budget(found: Json) -> str:
    given = found["budget"]
    return (
        f"at most {_some(given['settings'], 'setting')} and {given['cpu_seconds']:g} CPU s a model, "
        f"judged by at most {given['customers']:,} customers"
    )


def _left_out(why: dict[str, str]) -> str:
    """Names by reason."""
    names = {reason: [name for name, said in why.items() if said == reason] for reason in dict.fromkeys(why.values())}
    return "; ".join(f"{', '.join(some)} ({reason})" for reason, some in names.items())


def _machine(machine: Json) -> str:
    threads = "1 thread" if machine["threads"] == "1" else f"{machine['threads']} threads"
    return ", ".join([machine["cpu"], threads, *([machine["gpu"]] if "gpu" in machine else [])])


def _place(now: Protocol, recipe: str) -> int:
    return now.recipes.index(recipe) if recipe in now.recipes else len(now.recipes)


def _figures(cells: dict[Cell, Json], recipe: str) -> dict[str, Json] | None:
    """The figures of a recipe: of its only seed, or the means of all of them, with the widest interval."""
    found = [cell["figures"] for key, cell in cells.items() if key.recipe == recipe]
    if len(found) < 2:
        return found[0] if found else None
    return {name: _pooled([one[name] for one in found]) for name in found[0]}


def _pooled(figures: list[Json]) -> Json:
    if any(one["low"] is None for one in figures):
        return figures[0]
    mean = sum(one["mean"] for one in figures) / len(figures)
    wide = max(one["high"] - one["low"] for one in figures) / 2
    return {"mean": mean, "low": mean - wide, "high": mean + wide}


def _interval(figure: Json) -> str:
    if figure["mean"] is None:
        return "–"
    if figure["low"] is None:
        return _score(figure["mean"])
    return f"{_score(figure['mean'])} ({_score(figure['low'])} to {_score(figure['high'])})"


def _list(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {_score(value)}" for name, value in figures.items())


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else _with_sign(f"{value:+.4f}")


def _percent(value: float) -> str:
    return _with_sign(f"{value:+.1%}")


def _with_sign(text: str) -> str:
    """A true minus; what is rounded to nothing has no sign."""
    return text.replace("-", MINUS) if any(digit in text for digit in "123456789") else text[1:]


def _some(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
