"""How models that learn in epochs came to be: training loss and validation by epoch, with the epoch that was kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from aisle.report.plots import NARROW, WIDE, compact, svg, tag, text
from aisle.report.story import part
from aisle.report.tables import ordered_models
from aisle.report.wording import mean_of, model_name, number

HEIGHT = 118.0
"""Of a panel between its lines for the highest and the lowest figure."""
ABOVE, BELOW = 30.0, 42.0
DOTS = 40
"""More epochs than this are a line without dots."""


@dataclass(frozen=True)
class Curve:
    """One figure by epoch."""

    title: str
    css: str
    first: int
    """Epochs behind the first figure."""
    values: Sequence[float]
    """NaN where a figure could not be computed."""


@dataclass(frozen=True)
class Learning:
    """How one model learned."""

    label: str
    sentence: str
    pictures: tuple[Markup, Markup]
    """For screens and for phones."""


def learnings(certificate: Mapping[str, Any]) -> list[Learning]:
    """Every model that left curves, best model first."""
    found = []
    for name, model in ordered_models(certificate):
        training = part(model, "training")
        loss, validation = (_figures(training.get(key)) for key in ("loss", "validation"))
        curves = [
            Curve("Training loss (lower is better)", "learned", 1, loss),
            Curve("Check on a later period (higher is better)", "ship", 0, validation),
        ]
        curves = [curve for curve in curves if any(map(math.isfinite, curve.values))]
        if not curves:
            continue
        kept = training.get("epochs")
        kept = kept if isinstance(kept, int) and not isinstance(kept, bool) and 0 <= kept <= len(loss) else None
        label = model_name(name)
        sentence = say(len(loss), kept, validation)
        pictures = draw(curves, kept, label, WIDE), draw(curves, kept, label, NARROW)
        found.append(Learning(label, sentence, pictures))
    return found


def say(epochs: int, kept: int | None, validation: Sequence[float]) -> str:
    """What the curves show, in words."""
    passes = f"It went through the training data {_times(epochs)}."
    if not validation or kept is None:
        return f"{passes} Nothing was held back that could tell when to stop."
    span = ""
    if kept < len(validation) and math.isfinite(validation[0] + validation[kept]):
        span = f" (from {number(validation[0])} at the start to {number(validation[kept])})"
    check = f"{passes} Foretelling a later period, which it had not learned from, it was"
    if kept == 0:
        return f"{check} never better than at its start: the start is used as it is."
    if kept == epochs:
        return f"{check} best after the last epoch{span}: all are used, and more might help."
    return f"{check} best after epoch {kept}{span}: so many are used, since more did not help."


def draw(curves: Sequence[Curve], kept: int | None, label: str, width: int) -> Markup:
    """The curves in panels, beside each other or, when narrow, below each other."""
    last = max(curve.first + len(curve.values) - 1 for curve in curves)
    across = 1 if width < 500 else len(curves)
    each = width / across
    parts = []
    for place, curve in enumerate(curves):
        x, y = place % across * each, place // across * (ABOVE + HEIGHT + BELOW)
        parts.append(_panel(curve, kept, last, (x + 52, x + each - 14, y + ABOVE)))
    told = "; ".join(f"{c.title} {number(c.values[0])} to {number(c.values[-1])}" for c in curves)
    mark = f"; used: {kept} epochs" if kept is not None else ""
    height = math.ceil(len(curves) / across) * (ABOVE + HEIGHT + BELOW)
    return svg(width, height, f"{label} by epoch: {told}{mark}", Markup("").join(parts))


def _panel(curve: Curve, kept: int | None, last: int, place: tuple[float, float, float]) -> Markup:
    """One figure by epoch in the place (left, right, top)."""
    left, right, top = place
    bottom = top + HEIGHT
    ticks = ticks_between(*_range(curve.values))
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))

    def at(epoch: float, value: float) -> tuple[float, float]:
        share = (value - ticks[0]) / (ticks[-1] - ticks[0])
        return left + (right - left) * epoch / max(last, 1), bottom - HEIGHT * share

    parts = [text(left, top - 14, curve.title, "ink strong")]
    for tick in ticks:
        _, y = at(0, tick)
        parts.append(tag("line", "grid", x1=left, x2=right, y1=y, y2=y))
        words = compact(tick) if abs(tick) >= 10_000 else number(tick, digits)
        parts.append(text(left - 6, y + 4, words, "muted", "end"))
    for epoch in epoch_ticks(last):
        parts.append(text(at(epoch, ticks[0])[0], bottom + 16, f"{epoch}", "muted", "middle"))
    parts.append(text((left + right) / 2, bottom + 33, "epochs", "muted", "middle"))
    if kept is not None:
        x, late = at(kept, ticks[0])[0], kept > last / 2
        parts.append(tag("line", "cut", x1=x, x2=x, y1=top, y2=bottom))
        value = curve.values[kept - curve.first] if kept >= curve.first else math.nan
        free = top + 14 if at(kept, value)[1] > (top + bottom) / 2 else bottom - 6  # where the line is not
        parts.append(text(x - 5 if late else x + 5, free, "used", "muted", "end" if late else "start"))
    parts += _line(curve, kept, at)
    return Markup("").join(parts)


def _line(curve: Curve, kept: int | None, at: Callable[[float, float], tuple[float, float]]) -> list[Markup]:
    """The line, broken where a figure is missing, with dots where they are few and a large one at the kept epoch."""
    parts, run = [], list[str]()
    points = [(curve.first + n, value) for n, value in enumerate(curve.values)]
    for epoch, value in [*points, (0, math.nan)]:
        if math.isfinite(value):
            run.append(" ".join(f"{round(v, 2):g}" for v in at(epoch, value)))
            continue
        if len(run) > 1:
            parts.append(Markup('<polyline class="{} trend" points="{}"/>').format(curve.css, ", ".join(run)))
        run = []
    for epoch, value in points:
        if math.isfinite(value) and (len(points) <= DOTS or epoch == kept):
            x, y = at(epoch, value)
            parts.append(tag("circle", curve.css, cx=x, cy=y, r=5 if epoch == kept else 2))
    return parts


def ticks_between(low: float, high: float, count: int = 3) -> list[float]:
    """Round numbers from at most ``low`` to at least ``high``, about ``count`` steps."""
    raw = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(raw))
    step = unit * next(m for m in (1, 2, 2.5, 5, 10) if m * unit >= raw * 0.9)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * n for n in range(first, last + 1)]


def epoch_ticks(last: int) -> list[int]:
    """Whole epochs from 0, about six of them."""
    step = next(m * 10**e for e in range(9) for m in (1, 2, 5) if m * 10**e * 6 >= last)
    return list(range(0, last + 1, step))


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest figure, apart even if they are equal."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite), max(finite)
    room = max((high - low) * 0.02, abs(high) * 1e-3, 1e-6)
    return low - room, high + room


def _figures(values: Any) -> list[float]:
    return [mean_of(value) for value in values] if isinstance(values, list | tuple) else []


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{number(count)} times")
