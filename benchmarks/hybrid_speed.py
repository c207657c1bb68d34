"""How soon HybridFactorization is as good as TensorRec ends up, and what more data cost it.

``accuracy``: Online Retail II (``benchmarks.online_retail_protocol``), one process for each number of epochs, 0 being
the untrained score: NDCG against CPU seconds, on one thread. ``growth``: generated shops of more and more purchases
over one catalogue, one process each, with as many questions as customers, so that an epoch grows with the shop.
Seconds of an epoch are the slope between fits of one and of more epochs, without the fixed costs of a fit; memory is
the peak of the fits above what the process held after its imports, less the arrays of the data. Both parts end in one
picture.

    AISLE_DATA=… python -m benchmarks.hybrid_speed [accuracy] [growth] [--set setting=value …]
        [--epochs 0 1 2 …] [--sizes 0.3 1 3 10]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from aisle.models.hybrid_factorization import HybridFactorization
from benchmarks import online_retail_protocol
from benchmarks.anchors import answers, means, settings
from benchmarks.common import RESULTS, commit, fresh_peak, measure, own_cpu_seconds, peak_mb, record
from benchmarks.planted_shop import shop

NAME = "hybrid_speed"
PICTURE = Path(__file__).parents[1] / "docs" / "img" / f"{NAME}.svg"
EPOCHS = (0, 1, 2, 3, 5, 10, 30)
MILLIONS = (0.3, 1.0, 3.0, 10.0)
FEW, MORE = 1, 2
"""Epochs of the two fits whose difference is the cost of an epoch."""
REPEATS = 3
"""Fits of each kind at most; smaller shops are fitted more often, and the cheapest fit of a kind counts: what else a
machine does only adds seconds."""
WARM_UP = 20_000
"""Purchases of a fit before all others, which nobody counts."""
PATIENT = 1_000
TENSORREC = {
    "ndcg@10 after epochs": {"10": 0.1772, "20": 0.2390, "30": 0.2459, "40": 0.2507},
    "new ndcg@10 after epochs": {"10": 0.0524, "20": 0.0696, "30": 0.0711, "40": 0.0731},
    "fit_cpu_seconds_per_epoch": 0.95,
    "peak_mb": 2_000,
}
"""Measured elsewhere on the same split; without the import of TensorFlow."""
GOALS = {"ndcg@10": 0.251, "new ndcg@10": 0.0731}


def learn(epochs: int, given: dict[str, Any]) -> dict[str, Any]:
    """Figures and cost of one fit on Online Retail, in this process; its CPU so far is that of the imports."""
    imported = own_cpu_seconds()
    asked = online_retail_protocol.split()
    loaded, before = own_cpu_seconds(), peak_mb()
    model = HybridFactorization(**{**given, "epochs": epochs}).fit(asked.data)
    fitted = own_cpu_seconds()
    return {
        "epochs": epochs,
        "epochs_kept": getattr(model, "epochs_", None),
        **means(answers(model, asked)),
        "import_cpu_seconds": round(imported, 2),
        "data_cpu_seconds": round(loaded - imported, 2),
        "fit_cpu_seconds": round(fitted - loaded, 2),
        "list_cpu_seconds": round(own_cpu_seconds() - fitted, 2),
        "peak_mb_before_the_fit": round(before),
        "peak_mb": round(peak_mb()),
    }


def grow(millions: float, given: dict[str, Any]) -> dict[str, Any]:
    """Cost of a fit to a generated shop, in this process."""
    bare = fresh_peak()
    HybridFactorization(epochs=1).fit(shop(WARM_UP))
    data = shop(round(millions * 1_000_000))
    everyone = {"max_questions": data.shape[0], "patience": PATIENT, **given}
    held = sum(column.nbytes for column in vars(data.all_events).values()) / 1024**2
    fresh_peak()
    costs, learned = [], []
    for epochs in (FEW, MORE):
        seconds = []
        for _ in range(int(np.clip(1 / millions, 1, REPEATS))):
            start = own_cpu_seconds()
            model = HybridFactorization(**{**everyone, "epochs": epochs}).fit(data)
            seconds.append(own_cpu_seconds() - start)
            passes = learned_epochs(model, epochs)
            del model
        costs.append(min(seconds))
        learned.append(passes)
    above = peak_mb() - bare - held
    epoch = (costs[1] - costs[0]) / (learned[1] - learned[0])
    size = len(data.all_events)
    return {
        "interactions": size,
        "customers": data.shape[0],
        "products": data.shape[1],
        "cpu_seconds_per_epoch": round(epoch, 2),
        "cpu_seconds_per_epoch_and_million": round(epoch / size * 1e6, 2),
        "fixed_cpu_seconds": round(costs[0] - epoch * learned[0], 2),
        "fits": [{"epochs": e, "cpu_seconds": round(c, 2)} for e, c in zip(learned, costs, strict=True)],
        "event_mb": round(held),
        "mb_above_the_data": round(above),
        "bytes_above_per_interaction": round(above * 1024 * 1024 / size),
    }


def learned_epochs(model: HybridFactorization, allowed: int) -> int:
    """Epochs a fit went through: those that said when to stop, and those of the final learning."""
    curve, kept = (getattr(model, "training_", None) or {}).get("validation"), getattr(model, "epochs_", None)
    return len(curve) - 1 + int(kept or 0) if curve else int(kept or allowed)


def in_process(part: str, step: float, pairs: list[str]) -> dict[str, Any]:
    """One point from a process of its own, on one thread."""
    with tempfile.TemporaryDirectory(prefix="aisle-speed-") as folder:
        out = Path(folder) / "point.json"
        child = ["-m", f"benchmarks.{NAME}", "--child", part, f"{step:g}", str(out), "--set", *pairs]
        cost = measure([sys.executable, *child], {"OMP_NUM_THREADS": "1"})
        if cost["exit_code"]:
            sys.exit(f"{part} {step:g} ended with {cost['exit_code']}")
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    sys.stderr.write(f"{part} {step:g}: {found}\n")
    return {**found, "process_cpu_seconds": cost["cpu_seconds"], "process_wall_seconds": cost["wall_seconds"]}


def reached(curve: list[dict[str, Any]]) -> dict[str, Any]:
    """The cheapest point that reaches each goal, with its CPU seconds."""
    found: dict[str, Any] = {}
    for metric, goal in GOALS.items():
        points = [point for point in curve if point[metric] >= goal]
        best = min(points, key=lambda point: point["process_cpu_seconds"]) if points else {}
        names = ("epochs", metric, "fit_cpu_seconds", "import_cpu_seconds", "process_cpu_seconds", "peak_mb")
        found[metric] = {"goal": goal, **{name: best.get(name) for name in names}}
    return found


def slope(points: list[dict[str, Any]], name: str) -> float | None:
    """Exponent of growth: the slope of the logarithms; 1 = in proportion to the purchases."""
    if len(points) < 2:
        return None
    size, cost = (np.log([max(point[key], 1e-9) for point in points]) for key in ("interactions", name))
    return round(float(np.polyfit(size, cost, 1)[0]), 3)


def accuracy(epochs: list[int], pairs: list[str]) -> dict[str, Any]:
    """The curve of NDCG against CPU seconds."""
    curve = [in_process("accuracy", step, pairs) for step in epochs]
    return {"goals": reached(curve), "curve": curve, "TensorRec, measured elsewhere": TENSORREC}


def growth(millions: list[float], pairs: list[str]) -> dict[str, Any]:
    """Cost against the number of purchases."""
    points = [in_process("growth", step, pairs) for step in millions]
    slopes = {name: slope(points, name) for name in ("cpu_seconds_per_epoch", "mb_above_the_data")}
    sizes, above = ([point[key] for point in points] for key in ("interactions", "mb_above_the_data"))
    each = round(float(np.polyfit(sizes, above, 1)[0]) * 1024 * 1024, 1) if len(points) > 1 else None
    return {"log_log_slope": slopes, "bytes_each_further_interaction": each, "points": points}


def picture(result: dict[str, Any], path: Path = PICTURE) -> None:
    """Both curves as one SVG, equal bytes for equal figures."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(
        {
            "svg.hashsalt": NAME,
            "svg.fonttype": "none",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    ):
        figure = Figure(figsize=(10, 3.6), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        if "accuracy" in result:
            curve = result["accuracy"]["curve"]
            cpu = [point["process_cpu_seconds"] for point in curve]
            left.plot(cpu, [point["ndcg@10"] for point in curve], "o-", label="HybridFactorization, import included")
            after = TENSORREC["ndcg@10 after epochs"]
            assert isinstance(after, dict)
            seconds = [int(epoch) * 0.95 for epoch in after]
            left.plot(seconds, list(after.values()), "s--", color="#8a6d1f", label="TensorRec, without import")
            left.axhline(GOALS["ndcg@10"], color="#b3372f", lw=0.8)
            left.set(xlabel="CPU seconds", ylabel="NDCG@10, Online Retail II", ylim=(0, None), xlim=(0, None))
            left.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.08))
        if "growth" in result:
            points, slopes = result["growth"]["points"], result["growth"]["log_log_slope"]
            millions = [point["interactions"] / 1e6 for point in points]
            panels = (
                (middle, "cpu_seconds_per_epoch", "CPU seconds per epoch"),
                (right, "mb_above_the_data", "MB above the data"),
            )
            for axes, name, label in panels:
                costs = [point[name] for point in points]
                axes.plot(millions, costs, "o-", color="#0b6e5f")
                axes.set(xlabel="million purchases", xlim=(0, None), ylim=(0, max(costs) * 1.15), ylabel=label)
                axes.set_title(f"log-log slope {slopes[name]:.2f}")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> None:
    """Measure the parts asked for, merge them into ``results/hybrid_speed.json`` and draw them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=["accuracy", "growth"])
    parser.add_argument("--set", nargs="*", default=[], metavar="setting=value")
    parser.add_argument("--epochs", nargs="+", type=int, default=list(EPOCHS))
    parser.add_argument("--sizes", nargs="+", type=float, default=list(MILLIONS), help="million purchases")
    parser.add_argument("--child", nargs=3, metavar=("PART", "STEP", "OUT"))
    args = parser.parse_args()
    if args.child:
        part, step, out = args.child
        given = settings(args.set)
        point = learn(int(step), given) if part == "accuracy" else grow(float(step), given)
        Path(out).write_text(json.dumps(point), encoding="utf-8")
        return
    path = RESULTS / f"{NAME}.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    result = {part: kept[part] for part in ("accuracy", "growth") if part in kept}
    command = " ".join([f"python -m benchmarks.{NAME}", *sys.argv[1:]])
    for part in args.parts:
        found = accuracy(args.epochs, args.set) if part == "accuracy" else growth(args.sizes, args.set)
        result[part] = {"command": command, "commit": commit(), "settings": settings(args.set), **found}
        record(NAME, result, command)
    picture(result)


if __name__ == "__main__":
    main()
