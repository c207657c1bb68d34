"""Writes the figures of the hybrid's card from ``benchmarks/results``: none there is typed by hand.

python -m benchmarks.hybrid_table
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS

CARD = Path(__file__).parents[1] / "docs" / "models" / "hybrid_factorization.md"
START, STOP = "<!-- measured -->", "<!-- /measured -->"
SPLITS = {
    "100k-random": "MovieLens-100K, ratings of 4 and more, five random splits 80/20",
    "100k-chronological": "MovieLens-100K, ratings of 4 and more, each customer's last fifth",
    "1m-random": "MovieLens-1M, a random split 80/20",
}
EASE = "textbook ease, tuned"
HYBRID = "hybrid_factorization"
Json = dict[str, Any]


def results(folder: Path = RESULTS) -> str:
    """The text between the markers."""
    parts = [
        _retail(_read(folder / "hybrid_online_retail.json")),
        _movies([_read(folder / f"hybrid_movielens_{name.replace('-', '_')}.json") for name in SPLITS]),
        _defaults(_read(folder / "hybrid_defaults.json")),
        _speed(_read(folder / "hybrid_speed.json")),
        _compat(_read(folder / "compat_online_retail.json")),
    ]
    return "\n\n".join(part for part in parts if part)


def page(text: str, folder: Path = RESULTS) -> str:
    """The card with fresh figures between its markers."""
    before, rest = text.split(START)
    return f"{before}{START}\n{results(folder)}\n{STOP}{rest.split(STOP)[1]}"


def _retail(job: Json) -> str:
    if not job:
        return ""
    ours, against = job[HYBRID], job[f"{HYBRID} against"]
    names = {
        "popularity": "popularity",
        "own lines, then buyers": "own purchase lines, then what most people buy",
        EASE: "EASE on bought or not, penalty tuned on the window before",
        f"{EASE} for new": "the same, tuned for new products",
        "ease": "EASE, our defaults",
    }
    published = job["published, measured elsewhere"]["TensorRec, 40 epochs"]
    rows = [
        f"| {said} | {_score(job['rivals'][name]['ndcg@10'])} | {_score(job['rivals'][name]['new ndcg@10'])} "
        f"| {_gap(against[name]['ndcg@10'])} | {_gap(against[name]['new ndcg@10'])} |"
        for name, said in names.items()
    ]
    return "\n".join(
        [
            f"**Online Retail II**, the three months after {job['data'].split()[-1]}, full ranking, repeats allowed, "
            f"{job['customers']:,} customers × {job['products']:,} products; the defaults, mean of {len(job['seeds'])} "
            f"seeds; intervals are paired, 95 %. `{job['command']}`, commit {job['commit']}.",
            "",
            "| model | NDCG@10 | of products new to the customer | hybrid − model | of new products |",
            "|---|---|---|---|---|",
            *rows,
            f"| TensorRec, 40 epochs (published) | {_score(published['ndcg@10'])} "
            f"| {_score(published['new ndcg@10'])} | | |",
            f"| **hybrid** | **{_score(ours['ndcg@10'])}** | **{_score(ours['new ndcg@10'])}** | | |",
            "",
            f"That is {against[EASE]['ndcg@10']['ratio']:.2f} times the tuned EASE, and "
            f"{against[f'{EASE} for new']['new ndcg@10']['ratio']:.2f} times on new products. Own purchase lines are "
            "passed by a repeat head that starts as decayed counts, and by taste, which fills the places behind them.",
        ]
    )


def _movies(jobs: list[Json]) -> str:
    rows = []
    for job, said in zip(jobs, SPLITS.values(), strict=True):
        if job:
            mean, gap = job["mean"], job[f"{HYBRID} against {EASE}"]["ndcg@10"]
            scores = " | ".join(_score(mean[name]["ndcg@10"]) for name in ("popularity", EASE, HYBRID))
            rows.append(f"| {said} | {scores} | {_gap(gap)} | {job['commit']} |")
    head = "| MovieLens, bought products excluded, NDCG@10 | popularity | EASE, tuned inside train | hybrid, 64 wide "
    note = (
        "Random splits come as data without order, the other as order alone. `python -m benchmarks.hybrid_movielens`."
    )
    return (
        "\n".join([head + "| hybrid − EASE | commit |", "|---|---|---|---|---|---|", *rows, "", note]) if rows else ""
    )


def _defaults(job: Json) -> str:
    if not job:
        return ""
    rows = []
    for name, found in job["sets"].items():
        against = found["against"]["ndcg@10"]
        rows.append(
            f"| {name} | {_score(found[HYBRID]['ndcg@10'])} | {_score(against['rival'])} `{against['best']}` "
            f"| {_gap(against)} | {found['epochs']} | {found['fit_cpu_seconds']:.0f} | {found['peak_mb']:,} |"
        )
    head = (
        "| `HybridFactorization()` | NDCG@10 | best popularity, chosen on the test | difference (95 %) | epochs kept "
    )
    return "\n".join(
        [
            head + "| fit, CPU s | peak MB |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"`{job['command']}`, commit {job['commit']}.",
        ]
    )


def _speed(job: Json) -> str:
    if not job:
        return ""
    said = []
    if "accuracy" in job:
        first = job["accuracy"]["curve"][0]
        whole = first["import_cpu_seconds"] + first["data_cpu_seconds"] + first["fit_cpu_seconds"]
        said.append(
            f"TensorRec's last NDCG@10 on Online Retail II (.251 after 40 epochs, 38 CPU seconds, 2.0 GB) is passed "
            f"before the first epoch: {_score(first['ndcg@10'])} after {first['fit_cpu_seconds']:.1f} CPU seconds of "
            f"fit ({whole:.1f} with imports and data) and {first['peak_mb']:,} MB. Commit {job['accuracy']['commit']}."
        )
    if "growth" in job:
        points = job["growth"]["points"]
        each = ", ".join(
            f"{point['interactions'] / 1e6:.1f} M: {point['cpu_seconds_per_epoch']:.1f} s, "
            f"{point['mb_above_the_data']:,} MB"
            for point in points
        )
        slope = job["growth"]["log_log_slope"]["cpu_seconds_per_epoch"]
        said.append(
            f"CPU seconds of an epoch with as many questions as customers, and memory above the data, on generated "
            f"shops of 5,000 products: {each} (log-log slope of the seconds {slope:.2f}). "
            f"Commit {job['growth']['commit']}."
        )
    return "\n\n".join([*said, "![Accuracy and cost](../img/hybrid_speed.svg)"])


def _compat(job: Json) -> str:
    if not job:
        return ""
    goal = [next(p for p in curve if p["ndcg@10"] >= 0.251) for curve in job["curves"].values()]
    last = [curve[-1] for curve in job["curves"].values()]
    return (
        f"TensorRec's own recipe through `aisle.compat.tensorrec` on the same split, {len(goal)} seeds: .251 after "
        f"{_range([p['epoch'] for p in goal], 0)} epochs and {_range([p['fit_cpu_seconds'] for p in goal], 1)} CPU "
        f"seconds of fit with {max(p['peak_mb'] for p in last)} MB; NDCG@10 {_range([p['ndcg@10'] for p in last], 3)} "
        f"after {last[0]['epoch']}. `{job['command']}`, commit {job['commit']}."
    )


def _range(values: list[float], digits: int) -> str:
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"


def _gap(found: Json) -> str:
    gap = found["difference"]
    return f"{gap['mean']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f})".replace("-", "\N{MINUS SIGN}")


def _score(value: float) -> str:
    return f"{value:.4f}"


def _read(path: Path) -> Json:
    found: Json = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


if __name__ == "__main__":
    CARD.write_text(page(CARD.read_text(encoding="utf-8")), encoding="utf-8")
