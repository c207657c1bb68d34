"""A certificate as rows of words and figures for the page; every optional part may be missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from aisle.report.story import HEADLINE, flags, floor_of, headline_metric, is_simple, is_suspect, part
from aisle.report.wording import interval, mean_of, metric_name, model_name, number, percent, seconds

SEVERITIES = {"error": 0, "warning": 1, "info": 2}
NOT_METRICS = {
    *("settings", "seconds", "peak_mb", "flags", "simple", "personal", "reference", "rolling_mean", "training")
}


@dataclass(frozen=True)
class Table:
    """A small table: the first column is the head of its row."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    strong: Sequence[bool] = field(default=())
    """Rows to stress."""
    note: str = ""


def ordered_models(certificate: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """(name, entry) of every model, best headline figure first, those without a figure last."""
    metric = headline_metric(certificate)
    found = [(name, m) for name, m in part(certificate, "models").items() if isinstance(m, Mapping)]

    def place(item: tuple[str, Mapping[str, Any]]) -> tuple[float, str]:
        mean = mean_of(item[1].get(metric))
        return (math.inf if math.isnan(mean) else -mean, item[0])

    return sorted(found, key=place)


def models_table(certificate: Mapping[str, Any]) -> Table:
    """Headline figures, difference to the best simple rule, settings and cost of every model, and the floor."""
    verdict, first = part(certificate, "verdict"), headline_metric(certificate)
    second = first.replace("ndcg", "recall") if first.startswith("ndcg") else "recall@10"
    heads = [
        "Model",
        metric_name(first),
        metric_name(second),
        "Against the best simple rule",
        "Settings",
        "Time",
        "Memory",
    ]
    rows, strong = [], []
    for name, model in ordered_models(certificate):
        label = marked(name, model, certificate)
        kind = "simple rule" if is_simple(name, model) else ""
        notes = [kind, *flags(model)]
        difference = interval(model.get("difference_to_best_simple"), 4, sign=True)
        if name == verdict.get("best_baseline"):
            difference = "is the best simple rule"
        rows.append(
            [
                "\n".join([label, ", ".join(n for n in notes if n)]).strip(),
                interval(model.get(first)),
                interval(model.get(second)),
                difference,
                settings_text(model.get("settings")),
                seconds(model.get("seconds")),
                f"{number(round(model['peak_mb']))} MB" if isinstance(model.get("peak_mb"), int | float) else "–",
            ]
        )
        strong.append(name == verdict.get("ship"))
    floor = part(certificate, "floor")
    if floor:
        rows.append(
            [
                "Random lists\nexpected by chance",
                number(floor_of(certificate), 4),
                number(mean_of(floor.get(second)), 4),
                *["–"] * 4,
            ]
        )
        strong.append(False)
    return Table("Models, best first, with 95 % intervals", heads, rows, strong)


def marked(name: str, model: Mapping[str, Any], certificate: Mapping[str, Any]) -> str:
    """The readable name, with ✓ for the model to use and ⚠ for one that flags tell against."""
    use = name == part(certificate, "verdict").get("ship")
    return model_name(name) + (" ✓" if use else "") + (" ⚠" if is_suspect(name, model) else "")


def settings_text(settings: Any) -> str:
    """``{"l2": 500.0, "k": 10}`` as ``l2 = 500, k = 10``."""
    if not isinstance(settings, Mapping) or not settings:
        return "–"
    return ", ".join(
        f"{key} = {value:g}" if isinstance(value, float) else f"{key} = {value}" for key, value in settings.items()
    )


def all_metrics(certificate: Mapping[str, Any]) -> Table | None:
    """Every metric of every model; None where there is none."""
    models = ordered_models(certificate)
    names = _metrics(model for _, model in models)
    if not names:
        return None
    rows = [[model_name(name), *(interval(model.get(m)) for m in names)] for name, model in models]
    floor = part(certificate, "floor")
    if floor:
        rows.append(["Random lists", *(number(mean_of(floor.get(m)), 4) for m in names)])
    return Table("All metrics", ["Model", *map(metric_name, names)], rows)


def _metrics(models: Any) -> list[str]:
    """Names of the metrics in order of first appearance, the headline first."""
    found = dict.fromkeys(
        key
        for model in models
        for key, value in model.items()
        if key not in NOT_METRICS and not key.startswith("difference_to") and not math.isnan(mean_of(value))
    )
    return sorted(found, key=lambda name: name != HEADLINE)


def repeat_table(certificate: Mapping[str, Any]) -> Table | None:
    """Recall of products bought before, of products new to the customer, and of new products; None without figures."""
    models = ordered_models(certificate)
    kinds = ("repeat", "explore", "fresh")
    names = [m for kind in kinds for m in _metrics(model for _, model in models) if m.startswith(kind)]
    if not names:
        return None
    rows = [[model_name(name), *(interval(model.get(m)) for m in names)] for name, model in models]
    floor = part(certificate, "floor")
    if any(name in floor for name in names):
        rows.append(["Random lists", *(number(mean_of(floor.get(m)), 4) for m in names)])
    strong = [*(name == part(certificate, "verdict").get("ship") for name, _ in models), False]
    return Table(
        "Share of later purchases found, by kind of product", ["Model", *map(metric_name, names)], rows, strong
    )


def segment_tables(certificate: Mapping[str, Any]) -> list[Table]:
    """Figures by segment, one table a model where the certificate nests them so."""
    by_segment = part(certificate, "by_segment")
    groups = {k: v for k, v in by_segment.items() if isinstance(v, Mapping)}
    if not groups:
        return []
    if all(_is_segment(v) for v in groups.values()):
        return [_segments("Figures by customer segment", groups)]
    return [
        _segments(f"{model_name(name)} by customer segment", {k: v for k, v in inner.items() if isinstance(v, Mapping)})
        for name, inner in groups.items()
    ]


def _is_segment(value: Mapping[str, Any]) -> bool:
    return "customers" in value or any("@" in key for key in value)


def _segments(caption: str, groups: Mapping[str, Mapping[str, Any]]) -> Table:
    names = _metrics({k: v for k, v in g.items() if k != "customers"} for g in groups.values())
    rows = [[key, number(g.get("customers")), *(interval(g.get(m)) for m in names)] for key, g in groups.items()]
    return Table(caption, ["Segment", "Customers", *map(metric_name, names)], rows)


def cold_table(certificate: Mapping[str, Any]) -> Table | None:
    """Whatever the certificate says of customers without history: figures by model where nested, else one row each."""
    cold = part(certificate, "cold")
    plain = [[metric_name(k), interval(v)] for k, v in cold.items() if not math.isnan(mean_of(v))]
    nested = {k: v for k, v in cold.items() if isinstance(v, Mapping) and math.isnan(mean_of(v))}
    if set(nested) == {"models"}:
        nested = {k: v for k, v in nested["models"].items() if isinstance(v, Mapping)}
    names = _metrics(nested.values())
    if names:
        rows = [[model_name(k), *(interval(v.get(m)) for m in names)] for k, v in nested.items()]
        note = "; ".join(": ".join(row) for row in plain)
        return Table("Customers without earlier purchases", ["Model", *map(metric_name, names)], rows, note=note)
    return Table("Customers without earlier purchases", ["Figure", "Value"], plain) if plain else None


def files_table(data: Mapping[str, Any]) -> Table | None:
    """Rows of every file: read, accepted, rejected."""
    files = [f for f in data.get("files") or () if isinstance(f, Mapping)]
    if not files:
        return None
    heads = ["File", "Table", "Rows read", "Accepted", "Rejected"]
    rows = [
        [str(f.get("file")), str(f.get("table")), *(number(f.get(k)) for k in ("read", "accepted", "rejected"))]
        for f in files
    ]
    return Table("Rows of every file", heads, rows)


def findings(data: Mapping[str, Any]) -> list[dict[str, str]]:
    """What the doctor found, gravest and largest first, as words."""
    found = [f for f in data.get("findings") or () if isinstance(f, Mapping)]
    found.sort(key=lambda f: (SEVERITIES.get(str(f.get("severity")), 3), -(f.get("rows") or 0), str(f.get("code"))))
    keys = ("code", "severity", "action", "what", "example", "undo", "file", "column")
    read = {str(f.get("file")): f.get("read") or 0 for f in data.get("files") or () if isinstance(f, Mapping)}
    return [
        {key: str(f.get(key) or "") for key in keys}
        | {"rows": number(f.get("rows")), "share": _share(f.get("rows"), read.get(str(f.get("file"))))}
        for f in found
    ]


def _share(rows: Any, read: Any) -> str:
    """Rows of a finding as a share of its file, where the file is known."""
    return f"{percent(rows / read)} of its file" if rows and read and rows <= read else ""


def rejects_table(rejects: pl.DataFrame) -> Table | None:
    """Rejected, repaired and flagged rows by code and action, most frequent first; None where there are none."""
    if rejects.is_empty():
        return None
    keys = ["code", "action", "file"]
    counted = rejects.group_by(keys).agg(rows=pl.len()).sort(["rows", *keys], descending=[True, False, False, False])
    rows = [
        [str(r["code"]), str(r["action"]), str(r["file"]), number(int(r["rows"]))] for r in counted.head(20).to_dicts()
    ]
    return Table("Rows in rejects.parquet, by reason", ["Code", "What was done", "File", "Rows"], rows)


def mapping_table(data: Mapping[str, Any]) -> Table | None:
    """Which source column became which canonical column."""
    rows = [
        [str(column), str(table), str(source)]
        for table, columns in part(data, "mapping").items()
        if isinstance(columns, Mapping)
        for column, source in columns.items()
    ]
    return Table("How columns were understood", ["Meaning", "Table", "Column in the file"], rows) if rows else None


def protocol_rows(certificate: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How it was measured, as pairs of words."""
    protocol = part(certificate, "protocol")
    words = {
        "cut": "Models saw everything before",
        "end": "They were tested on purchases before",
        "horizon_days": "Days ahead",
        "horizon_reason": "Why so many",
        "windows": "Windows",
        "customers_scored": "Customers scored",
        "k": "Places a list",
        "seed": "Seed",
        "settings_tried": "Settings tried",
        "cpu_seconds": "Computing time",
        "left_out_because": "Models that were left out",
    }
    rows = []
    for key, label in words.items():
        value = protocol.get(key)
        if value is None or value == {}:
            continue
        if key == "cpu_seconds":
            shown = seconds(value)
        elif isinstance(value, list | tuple):
            shown = "; ".join(_window(window) for window in value)
        elif isinstance(value, Mapping):
            shown = "; ".join(
                f"{model_name(str(k))}: {v if isinstance(v, str) else number(v)}" for k, v in value.items()
            )
        else:
            shown = number(value) if isinstance(value, int) and key != "seed" else str(value)
        rows.append((label, shown))
    return rows


def _window(window: Any) -> str:
    if isinstance(window, Mapping):
        return f"{window.get('cut')} to {window.get('end')}"
    return " to ".join(map(str, window)) if isinstance(window, list | tuple) else str(window)
