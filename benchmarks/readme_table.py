"""Writes the results of the README from ``benchmarks/results``: no figure there is typed by hand.

python -m benchmarks.readme_table
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS

README = Path(__file__).parents[1] / "README.md"
START, STOP = "<!-- results -->", "<!-- /results -->"
NAMES = {
    "retail_case_study": "Retail case study (Kaggle)",
    "online_retail_ii": "Online Retail II (UCI)",
    "dunnhumby_sort_of_real": "Let's Get Sort-of-Real (dunnhumby)",
    "dunnhumby_sort_of_real_quick": "the same, `--budget quick`",
    "demo": "`aisle demo`",
}
HEAD = (
    "| data | lines · customers · products | ships | NDCG@10 (95 % interval) | best popularity | random floor "
    "| knowing the customer | CPU min | peak memory |\n|---|---|---|---|---|---|---|---|---|"
)


def results(folder: Path = RESULTS) -> str:
    """The text between the markers: the main job on every source that was measured, and the cost of the doctor."""
    parts = []
    jobs = {path.stem.removeprefix("main_job_"): _read(path) for path in sorted(folder.glob("main_job_*.json"))}
    done = {name: job for name, job in jobs.items() if not job.get("exit_code") and "verdict" in job}
    if done:
        order = sorted(done, key=lambda name: (list(NAMES).index(name) if name in NAMES else len(NAMES), name))
        parts.append("\n".join([HEAD, *(_row(name, done[name]) for name in order)]))
        parts.append(
            "*Best popularity* is the best of the family on that very window. "
            "One row is one `aisle run` on the last window of the data, full ranking, repeats allowed. *Ships* is what "
            "the certificate decides: a model that learns only where it provably beats the best simple one."
        )
        parts.append(_footnote(done))
    demos = [_read(path) for path in sorted(folder.glob("demo_*.json"))]
    parts.extend(_demo(job) if "summary" in job else _demo_speed(job) for job in demos)
    speed = folder / "check_speed.json"
    if speed.exists():
        parts.append(_speed(_read(speed)))
    return "\n\n".join(parts) if parts else "Not measured yet: `python -m benchmarks.main_job`."


def page(text: str, folder: Path = RESULTS) -> str:
    """The README with fresh results between its markers."""
    before, rest = text.split(START)
    return f"{before}{START}\n{results(folder)}\n{STOP}{rest.split(STOP)[1]}"


def _row(name: str, job: dict[str, Any]) -> str:
    data, verdict, models = job["data"], job["verdict"], job["models"]
    family = [name for name in models if name.endswith("popularity")]
    popular = max(family, key=lambda name: float(models[name]["ndcg@10"]["mean"]), default="")
    sizes = f"{data['rows_read']:,} · {data['customers']:,} · {data['products']:,}"
    best = f"{_score(models[popular]['ndcg@10']['mean'])} `{popular}`" if popular in models else "–"
    cells = [
        NAMES.get(name, name),
        sizes,
        f"`{verdict['ship']}`",
        _interval(models[verdict["ship"]]["ndcg@10"]),
        best,
        _score(job["floor"]),
        _signal(verdict),
        f"{job['cpu_seconds'] / 60:.1f}",
        f"{job['peak_mb'] / 1024:.1f} GB",
    ]
    return f"| {' | '.join(cells)} |"


def _signal(verdict: dict[str, Any]) -> str:
    found = verdict["personal"]["difference"]
    if found is None or found["low"] is None:
        return "not tested"
    said = "helps" if verdict["personal_signal"] else "no signal found"
    return f"{said}: {found['mean']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})".replace("-", "\N{MINUS SIGN}")


def _footnote(jobs: dict[str, dict[str, Any]]) -> str:
    machines = sorted({f"{job['machine']['cpu']}, {job['machine']['cores']} cores" for job in jobs.values()})
    commits = sorted({str(job["commit"]) for job in jobs.values()})
    return (
        f"Measured with `python -m benchmarks.main_job` on {'; '.join(machines)}, commit {', '.join(commits)}. "
        "*Knowing the customer* is the best personal model minus the best that shows all, or all of a group, the same."
    )


def _demo(job: dict[str, Any]) -> str:
    """Generated shops, whose truth is known: how often a signal is claimed that is not there, how near to the best."""
    said = []
    for budget, found in job["summary"].items():
        if "claims" in found:
            said.append(
                f"Of {found['seeds']} generated shops *without* personal signal, {found['claims']} got a certificate "
                f"that claims one (budget {budget.replace('_', ' ')})."
            )
        else:
            said.append(
                f"On {found['seeds']} generated shops with signal the shipped model went {found['mean_ratio']:.0%} of "
                f"the way from the best popularity to the best possible lists (least {found['lowest_ratio']:.0%}; "
                f"budget {budget.replace('_', ' ')})."
            )
    return f"{' '.join(said)} `{job['command']}`, commit {job['commit']}."


def _demo_speed(job: dict[str, Any]) -> str:
    """Cost of the largest generated shop."""
    shop = max(job["retailers"], key=lambda found: found["lines"])
    return (
        f"`{shop['command']}` writes {shop['lines'] / 1e6:.1f} million lines in {shop['cpu_seconds']:.0f} CPU seconds "
        f"with {shop['peak_mb']} MB at the peak. `{job['command']}`, commit {job['commit']}."
    )


def _speed(job: dict[str, Any]) -> str:
    doctor, bare = job["doctor"], job["bare"]
    return (
        f"The doctor reads, checks and cleans {job['rows']:,} rows ({job['file_mb']} MB) in {doctor['cpu_s']:.0f} "
        f"CPU seconds with {doctor['peak_mb'] / 1024:.1f} GB at the peak, {job['cpu_ratio']:.1f} times a bare Polars "
        f"read, join and group-by ({bare['cpu_s']:.0f} s), at commit {job['commit']}. `aisle bench speed` measures "
        "that and more anew: [speed](docs/speed.md)."
    )


def _interval(figures: dict[str, Any]) -> str:
    if figures["low"] is None:
        return f"**{_score(figures['mean'])}**"
    return f"**{_score(figures['mean'])}** ({_score(figures['low'])} to {_score(figures['high'])})"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if value >= 0.01 else f"{value:.4f}"


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    README.write_text(page(README.read_text(encoding="utf-8")), encoding="utf-8")
