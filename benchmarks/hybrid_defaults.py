"""``HybridFactorization()`` as it comes against the popularity family, on every data set of ``real_splits``.

The rival is the best of all members of the family under all settings below, chosen on the very test: more than anybody
could pick beforehand. NDCG@10 over the full catalogue. Each data set runs in a process of its own; its peak memory is
that of reading the data, fitting the hybrid and listing, before any rival is fitted.

    AISLE_DATA=… python -m benchmarks.hybrid_defaults [--only NAME …]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aisle.features.groups import ALL, groupings
from aisle.models.base import Model
from aisle.models.hybrid_factorization import HybridFactorization
from aisle.models.popularity import GroupPopularity, Popularity, RecentPopularity, SeasonalPopularity
from benchmarks.anchors import Split, against, answers, means
from benchmarks.common import RESULTS, commit, measure, own_cpu_seconds, peak_mb, record
from benchmarks.real_splits import SPLITS, described

NAME = "hybrid_defaults"
RECENT = (1.0, 7.0, 14.0, 28.0, 91.0)
SEASONS = (28.0, 91.0)
SHARES = (0.25, 0.5, 0.75)
GROUPS: tuple[tuple[float, float | None], ...] = ((1000.0, None), (100.0, None), (1000.0, 91.0), (1000.0, 28.0))
"""Shrinkage and days that are counted."""
METRIC, NEW = "ndcg@10", "new ndcg@10"


def family(asked: Split) -> Iterator[tuple[str, Model]]:
    """Every member of the popularity family that these data allow."""
    yield "popularity", Popularity()
    for days in RECENT:
        yield f"recent_popularity {days:g}", RecentPopularity(window_days=days)
    if asked.data.clock == "time":
        for days in SEASONS:
            for share in SHARES:
                season = SeasonalPopularity(season_days=days, share=share, window_days=days)
                yield f"seasonal_popularity {days:g} {share}", season
    for by in groupings(asked.data):
        if by != ALL:
            for shrinkage, window in GROUPS:
                if window and asked.data.clock == "sequence":
                    continue
                group = GroupPopularity(by=by, shrinkage=shrinkage, window_days=window)
                yield f"group_popularity {by} {shrinkage:g}{f' {window:g}' if window else ''}", group


def judge(name: str) -> dict[str, Any]:
    """Figures of one data set, in this process."""
    asked = SPLITS[name]()
    before, cpu = peak_mb(), own_cpu_seconds()
    model = HybridFactorization().fit(asked.data)
    fitted, cpu = own_cpu_seconds() - cpu, own_cpu_seconds()
    ours = answers(model, asked)
    cost = {
        "fit_cpu_seconds": round(fitted, 1),
        "list_cpu_seconds": round(own_cpu_seconds() - cpu, 1),
        "peak_mb_before_the_fit": round(before),
        "peak_mb": round(peak_mb()),
        "epochs": getattr(model, "epochs_", None),
    }
    found = {rival: answers(simple.fit(asked.data), asked) for rival, simple in family(asked)}
    table = {rival: means(values) for rival, values in found.items()}
    compared: dict[str, Any] = {}
    for metric in (METRIC, NEW) if asked.repeats else (METRIC,):
        ranked = {rival: row[metric] for rival, row in table.items()}
        best = max(ranked, key=ranked.__getitem__)
        said = {"best": best, "rival": table[best][metric]}
        compared[metric] = said | against(ours[metric], found[best][metric])
    about = {**described(name, asked), "hybrid_factorization": means(ours), **cost}
    return {**about, "against": compared, "family": table}


def measured(name: str) -> dict[str, Any]:
    """Figures of one data set from a process of its own, with what it cost."""
    with tempfile.TemporaryDirectory(prefix="aisle-defaults-") as folder:
        out = Path(folder) / "figures.json"
        cost = measure([sys.executable, "-m", f"benchmarks.{NAME}", "--child", name, str(out)])
        found = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    whole = {"process_cpu_seconds": cost["cpu_seconds"], "process_wall_seconds": cost["wall_seconds"]}
    command = f"python -m benchmarks.{NAME} --only {name}"
    return {"command": command, "commit": commit(), "exit_code": cost["exit_code"], **whole, **found}


def main() -> None:
    """Measure the data sets asked for and merge them into ``results/hybrid_defaults.json``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", choices=tuple(SPLITS), default=list(SPLITS))
    parser.add_argument("--child", nargs=2, metavar=("NAME", "OUT"))
    args = parser.parse_args()
    if args.child:
        name, out = args.child
        Path(out).write_text(json.dumps(judge(name)), encoding="utf-8")
        return
    path = RESULTS / f"{NAME}.json"
    kept = json.loads(path.read_text(encoding="utf-8"))["sets"] if path.exists() else {}
    for name in args.only:
        kept[name] = measured(name)
        sets = {known: kept[known] for known in SPLITS if known in kept}
        behind = [known for known, found in sets.items() if not _ahead(found)]
        record(NAME, {"behind_or_level": behind, "sets": sets}, f"python -m benchmarks.{NAME}")


def _ahead(found: dict[str, Any]) -> bool:
    """The hybrid is above the best of the family beyond chance."""
    low = found.get("against", {}).get(METRIC, {}).get("difference", {}).get("low")
    return low is not None and low > 0


if __name__ == "__main__":
    main()
