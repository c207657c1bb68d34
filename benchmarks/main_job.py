"""``aisle run`` on the real data sets: what it finds, what it costs.

AISLE_DATA=… python -m benchmarks.main_job [--budget quick|full] [retail_case_study online_retail_ii …]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import data_folder, measure, record

STANDARD = "standard"
SOURCES = ("retail_case_study", "online_retail_ii", "dunnhumby_sort_of_real")


def run(source: str, budget: str, out: Path) -> dict[str, Any]:
    """Cost and certificate of one run."""
    aisle = str(Path(sys.executable).parent / "aisle")
    more = [] if budget == STANDARD else ["--budget", budget]
    cost = measure([aisle, "run", str(data_folder() / source), "--out", str(out), "--quiet", *more])
    if cost["exit_code"]:
        return cost
    certificate = json.loads((out / "certificate.json").read_text(encoding="utf-8"))
    data = {k: v for k, v in certificate["data"].items() if k not in ("findings", "files", "mapping")}
    models = {
        name: {metric: figures[metric] for metric in ("ndcg@10", "recall@10") if metric in figures}
        for name, figures in certificate["models"].items()
    }
    cost["command"] = " ".join(["aisle run", f"$AISLE_DATA/{source}", "--out OUT", *more])
    return {
        **cost,
        "data": data,
        "protocol": {k: certificate["protocol"].get(k) for k in ("cut", "horizon_days", "windows", "customers_scored")},
        "floor": certificate["floor"].get("ndcg@10"),
        "models": models,
        "verdict": certificate["verdict"],
    }


def main() -> None:
    """Run the sources named, all by default, one JSON file each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="*", default=SOURCES)
    parser.add_argument("--budget", default=STANDARD)
    given = parser.parse_args()
    for source in given.sources:
        name, asked = f"main_job_{source}", f"python -m benchmarks.main_job {source}"
        if given.budget != STANDARD:
            name, asked = f"{name}_{given.budget}", f"{asked} --budget {given.budget}"
        with tempfile.TemporaryDirectory() as folder:
            record(name, run(source, given.budget, Path(folder) / "out"), asked)


if __name__ == "__main__":
    main()
