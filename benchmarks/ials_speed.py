"""How soon iALS is as good as implicit's, and how good in the end: Gowalla check-ins, vectors of one width.

Both are tuned alike: as many settings, as much time about, each after every sweep, by NDCG@20 of some customers on the
inner split of the protocol. With the settings found each learns from the whole training part, in fresh processes and
in turns, and is asked about the test part after every sweep. The clock stands while it is asked; CPU seconds count, as
other work on the machine does not add to them much. Ours starts from the data set and ends with vectors solved anew for
everybody; implicit starts from a ready matrix. The lists of both are made and judged by the same code. implicit is
given its best sweep on the test, and the better of its own customer vectors and of those that ``recalculate_user``
solves anew, at no cost.

    pip install --no-deps --target FOLDER implicit tqdm
    export PYTHONPATH=FOLDER OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 AISLE_DATA=…
    python -m benchmarks.ials_speed [--dim 64] [--turns 2] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from aisle.evaluate.metrics import hit_matrix, ndcg
from aisle.features.pairs import decayed_presence, everyone
from aisle.files import fingerprint
from aisle.jobs.bench.protocols.gowalla import GOWALLA
from aisle.jobs.bench.split import Split
from aisle.kernels.inner import Targets, top_inner
from aisle.models.ials import IALS
from aisle.types import Floats
from benchmarks.common import data_folder, record

K = 20
ASKED = 2_000
"""Customers asked while tuning."""
PLAIN = {"half_life_days": None, "own_weight": 0.0}
"""There are no dates, and what was bought is never listed."""
GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "aisle": {name: IALS.space[name] for name in ("alpha0", "regularization")},
    "implicit": {"alpha": (10.0, 20.0, 40.0, 80.0), "regularization": (1.0, 10.0, 100.0)},
}
"""Settings tried: as many for both."""
SWEEPS = {"aisle": 2, "implicit": 4}
"""Sweeps while tuning, about as many CPU seconds for both: three steps of conjugate gradients cost half an answer …"""
LONG = {"aisle": 3, "implicit": 8}
"""… and on the test."""
EXACT = "implicit, use_cg=False"
"""The rival with exact answers in place of three steps of conjugate gradients, with the same settings."""

Row = dict[str, float]
"""What is known after a sweep."""


@dataclass
class Clock:
    """CPU and wall seconds since it was made, without those in which it stood."""

    cpu: float = 0.0
    wall: float = 0.0

    def __post_init__(self) -> None:
        self.go()

    def go(self) -> None:
        """Run from now on."""
        self._from = time.process_time(), time.perf_counter()

    def stop(self) -> Row:
        """Stand still; the seconds so far."""
        self.cpu += time.process_time() - self._from[0]
        self.wall += time.perf_counter() - self._from[1]
        return {"cpu_seconds": self.cpu, "wall_seconds": self.wall}


@dataclass(frozen=True)
class Judge:
    """Asks for the lists of some customers of a split."""

    split: Split
    silent: bool = False
    """Ask nothing: only the time is wanted."""

    def __call__(self, customers: Floats, products: Floats) -> float:
        """NDCG@20 of vectors of the split's customers (B, D) and all products (I, D)."""
        if self.silent:
            return 0.0
        who = self.split.customers
        seen = decayed_presence(self.split.histories.batch(who))
        targets = Targets.of(products, np.arange(len(products), dtype=np.int32))
        wanted = self.split.wanted[who]
        lists, _ = top_inner(customers, targets, K, barred=seen, threads=1)
        return float(ndcg(hit_matrix(lists, wanted), np.diff(wanted.indptr).astype(np.int64)).mean())


def ours(split: Split, judge: Judge, dim: int, sweeps: int, settings: Row) -> Iterator[Row]:
    """What is known of aisle's after each sweep."""
    clock = Clock()
    for model in IALS(dim=dim, sweeps=sweeps, **PLAIN, **settings).learn(split.data):  # type: ignore[arg-type]
        learned = clock.stop()
        again = Clock()
        customers = model.customer_vectors(split.data.batch(judge.split.customers))[:, 0]
        answered = again.stop()
        value = judge(customers, model.product_vectors())
        yield {key: learned[key] + answered[key] for key in learned} | {"ndcg": value}
        clock.go()


def implicit(split: Split, judge: Judge, dim: int, sweeps: int, settings: Row, *, cg: bool, again: bool) -> list[Row]:
    """What is known of implicit's after each sweep; ``again`` also tries customers solved anew."""
    from implicit.cpu.als import AlternatingLeastSquares

    x, who = sp.csr_matrix(decayed_presence(everyone(split.data))), judge.split.customers
    model = AlternatingLeastSquares(dim, iterations=sweeps, use_cg=cg, num_threads=1, random_state=0, **settings)
    rows: list[Row] = []
    clock = Clock()

    def after(sweep: int, *_: Any) -> None:
        row = clock.stop()
        values = [judge(model.user_factors[who], model.item_factors)]
        if again and not judge.silent:
            values.append(judge(model.recalculate_user(who, x[who]), model.item_factors))
            model._YtY = None  # the next sweep changes what it was made from
        rows.append(row | {"ndcg": max(values)})
        clock.go()

    model.fit(x, show_progress=False, callback=after)
    return rows


def learn(name: str, split: Split, judge: Judge, dim: int, sweeps: int, settings: Row, again: bool) -> list[Row]:
    """What is known after each sweep of one of them."""
    if name == "aisle":
        return list(ours(split, judge, dim, sweeps, settings))
    return implicit(split, judge, dim, sweeps, settings, cg=name != EXACT, again=again)


def tune(name: str, dim: int) -> dict[str, Any]:
    """The best settings and number of sweeps on the inner split, and all that were tried."""
    inner = GOWALLA.split(GOWALLA.load(data_folder()), "all").inner
    assert inner is not None
    split = inner()
    judge = Judge(split.some(ASKED))
    tried: list[dict[str, Any]] = []
    for values in product(*GRIDS[name].values()):
        settings = dict(zip(GRIDS[name], values, strict=True))
        found = [row["ndcg"] for row in learn(name, split, judge, dim, SWEEPS[name], settings, again=False)]
        tried.append({"settings": settings, "ndcg@20": [round(value, 5) for value in found]})
        sys.stderr.write(f"{name} {settings} {tried[-1]['ndcg@20']}\n")
    best = max(tried, key=lambda one: max(one["ndcg@20"]))
    number = int(np.argmax(best["ndcg@20"])) + 1
    return {"settings": best["settings"], "sweeps": number, "ndcg@20 inside": max(best["ndcg@20"]), "tried": tried}


def curve(name: str, dim: int, settings: Row, turn: int) -> list[Row]:
    """The test part after each sweep; turns after the first only take the time."""
    split = GOWALLA.split(GOWALLA.load(data_folder()), "all")
    sweeps = LONG.get(name, LONG["aisle"])
    return learn(name, split, Judge(split, silent=turn > 0), dim, sweeps, settings, again=name != EXACT)


JOBS: dict[str, Callable[..., Any]] = {"tune": tune, "curve": curve}


@dataclass(frozen=True)
class Apart:
    """Runs jobs in fresh processes."""

    keep: Path | None
    """Where answers are kept, so that a run that was stopped goes on; None = nowhere."""

    def __call__(self, job: str, *given: Any) -> Any:
        """What a job says."""
        words = [job, json.dumps(given)]
        kept = None if self.keep is None else self.keep / f"{fingerprint(words)}.json"
        if kept is None or not kept.exists():
            command = [sys.executable, "-m", "benchmarks.ials_speed", "--job", *words]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
            if kept is None:
                return json.loads(said)
            kept.write_text(said, encoding="utf-8")
        return json.loads(kept.read_text(encoding="utf-8"))


def curves(apart: Apart, found: dict[str, Any], dim: int, turns: int) -> dict[str, list[Row]]:
    """The curve of each with the least seconds of some turns; the test part is asked in the first turn alone."""
    settings = {name: one["settings"] for name, one in found.items()}
    runs: dict[str, list[list[Row]]] = {name: [] for name in settings}
    for turn in range(turns):
        for name, run in runs.items():
            run.append(apart("curve", name, dim, settings[name], turn))
    exact = [apart("curve", EXACT, dim, settings["implicit"], 0)]
    out = {}
    for name, run in (runs | {EXACT: exact}).items():
        out[name] = [
            {
                "sweep": place + 1,
                "cpu_seconds": round(min(row["cpu_seconds"] for row in same), 2),
                "wall_seconds": round(min(row["wall_seconds"] for row in same), 2),
                "ndcg@20": round(same[0]["ndcg"], 5),
            }
            for place, same in enumerate(zip(*run, strict=True))
        ]
    return out


def verdict(found: dict[str, Any], lines: dict[str, list[Row]]) -> dict[str, Any]:
    """The rival's best and the time to it, ours to the same, and what each says with the sweeps found inside."""
    best = max(lines["implicit"], key=lambda row: row["ndcg@20"])
    there = next((row for row in lines["aisle"] if row["ndcg@20"] >= best["ndcg@20"]), None)
    out: dict[str, Any] = {"implicit's best": best, "ours as good": there}
    if there is not None:
        out |= {
            f"ours_over_implicit_{kind}": round(there[kind] / best[kind], 3) for kind in ("cpu_seconds", "wall_seconds")
        }
    return out | {f"{name}, tuned": lines[name][one["sweeps"] - 1] for name, one in found.items()}


def main() -> None:
    """Tune, learn, compare, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("dim", 64), ("turns", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--keep", type=Path, help="folder of the answers of jobs: a stopped run goes on from there")
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.job:
        print(json.dumps(JOBS[asked.job[0]](*json.loads(asked.job[1]))))
        return
    apart = Apart(asked.keep)
    found = {name: apart("tune", name, asked.dim) for name in GRIDS}
    lines = curves(apart, found, asked.dim, asked.turns)
    sizes = {name: getattr(asked, name) for name in ("dim", "turns")}
    figures = {**sizes, "threads": 1, **verdict(found, lines), "curves": lines, "tuned inside": found}
    name = "ials_speed" if asked.dim == parser.get_default("dim") else f"ials_speed_{asked.dim}"
    command = "python -m benchmarks.ials_speed " + " ".join(f"--{key} {value}" for key, value in sizes.items())
    record(name, figures, command)


if __name__ == "__main__":
    main()
