"""The growth curves as an SVG file, equal bytes for equal figures."""

from __future__ import annotations

import io
from collections.abc import Sequence

from aisle.jobs.bench.speed.task import Json
from aisle.report.plots import COLOURS, compact

LINES = tuple(
    (COLOURS[name], dashes)
    for name, dashes in (("ship", "-"), ("learned", "-"), ("simple", "-"), ("learned", "--"), ("simple", "--"))
)
"""Colour and dashes of ingest, of the two fits, and of the lists of the same two models."""
PANELS = (("cpu_seconds_per_million", "CPU seconds a million rows"), ("mb_per_million", "MB a million rows"))


def picture(curves: Sequence[Json]) -> str:
    """CPU seconds and memory by the million rows against rows, a line a side; flat is good."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "speed", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        FigureCanvasSVG(figure)
        for axes, (column, label) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
            for place, one in enumerate(curves):
                colour, dashes = LINES[place % len(LINES)]
                rows, costs = ([point[name] for point in one["points"]] for name in ("rows", column))
                axes.plot(rows, costs, marker="o", markersize=4, color=colour, linestyle=dashes, label=one["side"])
            sizes = sorted({point["rows"] for one in curves for point in one["points"]})
            axes.set_xscale("log", base=2)
            axes.set_xticks(sizes, [compact(rows) for rows in sizes])
            axes.minorticks_off()
            axes.set(xlabel="rows of the generated retailer", ylabel=label)
            axes.set_ylim(bottom=0)
            axes.grid(axis="y", color="#d5dce3")
            axes.spines[["top", "right"]].set_visible(False)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5, frameon=False)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()
