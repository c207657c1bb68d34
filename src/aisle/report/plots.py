"""Pictures: hand-made SVG for the page (themed by its CSS, equal bytes for equal input) and a PNG for slides."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from datetime import date

from markupsafe import Markup, escape

from aisle.report.story import Bar
from aisle.report.wording import number, visible

WIDE, NARROW = 760, 360
"""Widths in user units: one drawing for screens and paper, one for phones."""
STYLE = """
svg{--ink:#1d2733;--muted:#5c6b7a;--line:#d5dce3;--ship:#0b6e5f;--learned:#3d6fb4;--simple:#8a6d1f;--floor:#b3372f;
font:13px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;background:#fff}
@media(prefers-color-scheme:dark){svg{--ink:#e6ebf0;--muted:#9fb0c0;--line:#35424e;--ship:#4fd0b5;--learned:#8db8f0;
--simple:#e0c05c;--floor:#ff8f84;background:#141a20}}
"""
SHAPES = """
.ink{fill:var(--ink)}.muted{fill:var(--muted)}.strong{font-weight:650}.grid{stroke:var(--line)}
.ship{stroke:var(--ship);fill:var(--ship)}.learned{stroke:var(--learned);fill:var(--learned)}
.simple{stroke:var(--simple);fill:var(--simple)}.floor{stroke:var(--floor);stroke-dasharray:4 3}
.floor-text{fill:var(--floor)}.bar{fill:var(--learned)}.cut{stroke:var(--muted);stroke-dasharray:3 3}
.trend{fill:none;stroke-width:2}.band{fill:var(--simple);opacity:.12}
"""
"""Rules shared by the page and by the stand-alone picture."""
COLOURS = {"ship": "#0b6e5f", "learned": "#3d6fb4", "simple": "#8a6d1f"}


def forest(bars: Sequence[Bar], floor: float, metric: str, *, width: int = WIDE, alone: bool = False) -> Markup:
    """Mean and 95 % interval of every model, best first, with the random floor; labels stand above when narrow.

    ``alone`` adds the style and the namespace, so that the SVG is a file of its own.
    """
    narrow = width < 500
    left, right = (12.0, width - 12.0) if narrow else (270.0, width - 150.0)
    step, top = (46, 34) if narrow else (30, 34)
    bottom = top + step * len(bars)
    finite = [v for b in bars for v in (b.mean, b.high)] + ([floor] if floor >= 0 else [])
    top_value = max([*finite, 1e-9]) * 1.04
    ticks = [tick for tick in nice_ticks(top_value, 3 if narrow else 6) if tick <= top_value]
    scale = (right - left) / top_value
    parts = [_axis(ticks, left, scale, top - 6, bottom, metric)]
    for bar in bars:
        if bar.rival:
            x, wide = left + bar.low * scale, (bar.high - bar.low) * scale
            parts.append(tag("rect", "band", x=x, y=top - 6, width=wide, height=bottom - top + 6))
    if floor >= 0:
        x = left + floor * scale
        parts.append(tag("line", "floor", x1=x, x2=x, y1=top - 6, y2=bottom))
        late = x > width - 120
        parts.append(
            text(x - 4 if late else x + 4, top - 12, f"random {number(floor, 4)}", "floor-text", ("start", "end")[late])
        )
    for place, bar in enumerate(bars):
        parts.append(_bar(bar, left, scale, top + place * step, width, narrow))
    label = f"{metric} with 95 % intervals: " + "; ".join(f"{b.label} {number(b.mean)}" for b in bars)
    return svg(width, bottom + 40, label, Markup("").join(parts), alone)


def _bar(bar: Bar, left: float, scale: float, y: float, width: int, narrow: bool) -> Markup:
    """One model: label, interval, dot, figures."""
    middle = y + (32 if narrow else 13)
    weight = "strong" if bar.kind == "ship" else ""
    value = f"{number(bar.mean)} ({number(bar.low)}–{number(bar.high)})"
    longest = 30 if narrow else 36
    name = bar.label if len(bar.label) <= longest else bar.label[: longest - 1] + "…"
    name = f"{name} ✓" if bar.kind == "ship" else name
    x1, x2, x = (left + v * scale for v in (bar.low, bar.high, bar.mean))
    texts = (
        text(left, y + 14, name, f"ink {weight}") + text(width - 12, y + 14, value, "muted", "end")
        if narrow
        else text(left - 12, middle + 4, name, f"ink {weight}", "end")
        + text(width - 4, middle + 4, value, "muted", "end")
    )
    return (
        texts
        + tag("line", bar.kind, x1=x1, x2=x2, y1=middle, y2=middle, stroke_width=3)
        + tag("line", bar.kind, x1=x1, x2=x1, y1=middle - 5, y2=middle + 5, stroke_width=1.5)
        + tag("line", bar.kind, x1=x2, x2=x2, y1=middle - 5, y2=middle + 5, stroke_width=1.5)
        + tag("circle", bar.kind, cx=x, cy=middle, r=5)
    )


def _axis(ticks: Sequence[float], left: float, scale: float, top: float, bottom: float, title: str) -> Markup:
    digits = max(0, min(4, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))) if len(ticks) > 1 else 2
    parts = []
    for tick in ticks:
        x = left + tick * scale
        parts.append(tag("line", "grid", x1=x, x2=x, y1=top, y2=bottom))
        parts.append(text(x, bottom + 14, number(float(tick), digits), "muted", "start" if tick == 0 else "middle"))
    parts.append(
        text(left + (ticks[0] + ticks[-1]) / 2 * scale, bottom + 32, f"{title} (higher is better)", "muted", "middle")
    )
    return Markup("").join(parts)


def periods(
    days: Sequence[date], values: Sequence[float], title: str, *, cut: date | None, width: int = WIDE
) -> Markup:
    """Bars of one figure a period, with a dashed line where the test began."""
    left, right, top, bottom = 52.0, width - 8.0, 26.0, 150.0
    ticks = nice_ticks(max([*values, 1e-9]), 3)
    scale = (bottom - top) / ticks[-1]
    parts = [text(left, 14, title, "ink strong")]
    for tick in ticks:
        y = bottom - tick * scale
        parts.append(tag("line", "grid", x1=left, x2=right, y1=y, y2=y))
        parts.append(text(left - 6, y + 4, compact(tick), "muted", "end"))
    slot = (right - left) / max(len(days), 1)
    for place, value in enumerate(values):
        height = max(value, 0.0) * scale
        x, wide = left + slot * (place + 0.1), slot * 0.8
        parts.append(tag("rect", "bar", x=x, y=bottom - height, width=wide, height=height))
    shown = range(0, len(days), max(1, math.ceil(len(days) / (4 if width < 500 else 9))))
    for place in shown:
        parts.append(text(left + slot * (place + 0.5), bottom + 17, f"{days[place]:%b %Y}", "muted", "middle"))
    after = sum(day < cut for day in days) if cut is not None else 0
    if 0 < after < len(days):
        x = left + slot * after
        parts.append(tag("line", "cut", x1=x, x2=x, y1=6, y2=bottom))
        parts.append(
            text(x + 5 if right - x > 50 else x - 5, 14, "test", "muted", "start" if right - x > 50 else "end")
        )
    label = f"{title}: {len(days)} periods from {days[0]} to {days[-1]}, highest {compact(max(values))}"
    return svg(width, int(bottom) + 26, label, Markup("").join(parts))


def forest_png(bars: Sequence[Bar], floor: float, metric: str) -> bytes:
    """The same picture as a PNG for slides and mail; equal input gives equal bytes on one machine."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + 0.42 * max(len(bars), 1)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, bar in enumerate(bars):
        colour = COLOURS[bar.kind]
        axes.plot([bar.low, bar.high], [place, place], color=colour, linewidth=2.5, marker="|", markersize=9)
        axes.plot([bar.mean], [place], color=colour, marker="o", markersize=7)
    if floor >= 0:
        axes.axvline(floor, color="#b3372f", linestyle="--", linewidth=1)
        axes.annotate(f"random {number(floor, 4)}", (floor, -0.75), color="#b3372f", fontsize=8)
    # A dollar sign would start a formula.
    labels = [f"{visible(b.label)}{' (use this)' if b.kind == 'ship' else ''}".replace("$", r"\$") for b in bars]
    axes.set_yticks(range(len(bars)), labels)
    axes.set_ylim(len(bars) - 0.4, -1)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{metric}, mean and 95 % interval (higher is better)")
    axes.grid(axis="x", color="#d5dce3")
    axes.spines[["top", "right", "left"]].set_visible(False)
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def nice_ticks(top: float, count: int) -> list[float]:
    """Round numbers from 0 to at least ``top``, about ``count`` steps."""
    raw = top / count
    unit = 10.0 ** math.floor(math.log10(raw))
    step = unit * next(m for m in (1, 2, 2.5, 5, 10) if m * unit >= raw * 0.9)
    return [step * i for i in range(math.ceil(top / step - 1e-9) + 1)]


def compact(value: float) -> str:
    """``1234567`` as ``1.2M``."""
    for size, letter in ((1e9, "bn"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def svg(width: int, height: float, label: str, body: Markup, alone: bool = False) -> Markup:
    """A drawing with its description; ``alone`` makes it a file of its own."""
    extra = Markup(' xmlns="http://www.w3.org/2000/svg" width="{}" height="{}"').format(width, height) if alone else ""
    style = Markup(f"<style>{STYLE}{SHAPES}</style>") if alone else Markup("")  # our own constants
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}"{}>{}{}</svg>\n').format(
        width, height, visible(label), extra, style, body
    )


def tag(name: str, css: str, **numbers: float) -> Markup:
    """An empty SVG element; numbers are rounded so that the bytes do not depend on the last bit."""
    shown = " ".join(f'{key.replace("_", "-")}="{round(value, 2):g}"' for key, value in numbers.items())
    return Markup(f'<{name} class="{escape(css)}" {shown}/>')


def text(x: float, y: float, words: str, css: str, anchor: str = "start") -> Markup:
    """A text element, harmless whatever the words."""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        css.strip(), f"{round(x, 2):g}", f"{round(y, 2):g}", anchor, visible(words)
    )
