"""``aisle run`` on the real data sets: what it finds, what it costs.

AISLE_DATA=… python -m benchmarks.main_job [retail_case_study online_retail_ii dunnhumby_sort_of_real]
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import data_folder, measure, record

SOURCES = ("retail_case_study", "online_retail_ii", "dunnhumby_sort_of_real")


def run(source: str, out: Path) -> dict[str, Any]:
    """Cost and certificate of one run."""
    aisle = str(Path(sys.executable).parent / "aisle")
    cost = measure([aisle, "run", str(data_folder() / source), "--out", str(out), "--quiet"])
    if cost["exit_code"]:
        return cost
    certificate = json.loads((out / "certificate.json").read_text(encoding="utf-8"))
    data = {k: v for k, v in certificate["data"].items() if k not in ("findings", "files", "mapping")}
    models = {
        name: {metric: figures[metric] for metric in ("ndcg@10", "recall@10") if metric in figures}
        for name, figures in certificate["models"].items()
    }
    cost["command"] = f"aisle run $AISLE_DATA/{source} --out OUT"
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
    for source in sys.argv[1:] or SOURCES:
        with tempfile.TemporaryDirectory() as folder:
            record(f"main_job_{source}", run(source, Path(folder) / "out"), f"python -m benchmarks.main_job {source}")


if __name__ == "__main__":
    main()
