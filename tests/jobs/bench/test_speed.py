"""``aisle bench speed``: its arithmetic by hand, what is kept, who is absent, and tables that follow from the JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aisle.cli.bench import speed as command
from aisle.errors import ResourceError, UsageError
from aisle.jobs.bench.cells import read_json
from aisle.jobs.bench.speed import process
from aisle.jobs.bench.speed.figures import curve, growth, paired, reached, summary
from aisle.jobs.bench.speed.page import START, STOP, renewed, tables, write_page
from aisle.jobs.bench.speed.run import BYTES_A_ROW, Done, Order, bench_speed
from aisle.jobs.bench.speed.task import TASKS, Goal, Pair, Place, Size, task
from aisle.progress import Progress

ROOT = Path(__file__).parents[3]
SIZE = Size(rows=2_000, products=200, threads=1)


def turn(cpu: float, wall: float = 1.0, peak: float = 100.0, **facts: Any) -> dict[str, Any]:
    return {"cpu_seconds": cpu, "wall_seconds": wall, "peak_mb": peak, "base_mb": 60.0, "load": 0.0, "facts": facts}


# --- arithmetic -------------------------------------------------------------------------------------------------------


def test_the_least_seconds_and_the_most_memory_of_all_turns_count() -> None:
    found = summary("aisle", SIZE, [turn(3.0, 5.0, 90.0), turn(2.0, 6.0, 95.0)])
    assert (found["cpu_seconds"], found["wall_seconds"], found["peak_mb"], found["spread"]) == (2.0, 5.0, 95.0, 1.5)


def side(name: str, cpu: float, wall: float, rows: int = 2_000, **facts: Any) -> dict[str, Any]:
    return {"side": name, "rows": rows, "cpu_seconds": cpu, "wall_seconds": wall, "peak_mb": 100.0, "facts": facts}


def test_a_ratio_is_ours_over_theirs_and_cpu_seconds_count() -> None:
    figures = {"ours": side("ours", 2.0, 9.0), "theirs": side("theirs", 8.0, 3.0)}
    found = paired(Pair(ours="ours", theirs="theirs", most=0.25, at=2_000), figures, {}, {})
    assert (found["cpu"], found["wall"], found["counts"]) == (0.25, 3.0, "cpu")
    assert found["met"]
    assert found["asked_here"]
    stricter = paired(Pair(ours="ours", theirs="theirs", most=0.24, at=2_001), figures, {}, {})
    assert not stricter["met"]
    assert not stricter["asked_here"]


def test_a_limit_takes_as_long_as_it_would_for_our_work() -> None:
    """60 GFLOP at 10 a CPU second and 20 a wall second take 6 and 3 seconds."""
    figures, limits = {"ours": side("ours", 9.0, 9.0, gflop=60.0)}, {"product": side("product", 3.0, 1.5, gflop=30.0)}
    found = paired(Pair(ours="ours", theirs="product", limit="gflop"), figures, limits, {})
    assert (found["cpu"], found["wall"]) == (1.5, 3.0)
    assert "most" not in found


def test_what_hangs_on_the_processor_is_asked_only_there() -> None:
    theirs = side("theirs", 1.0, 1.0)
    for able in (True, False):
        pair = Pair(ours="ours", theirs="theirs", most=0.4, bfloat16=True)
        found = paired(pair, {"ours": side("ours", 1.0, 1.0, bfloat16=able), "theirs": theirs}, {}, {})
        assert ("most" in found) == able


def test_a_pair_without_its_rival_says_why() -> None:
    pair = Pair(ours="ours", theirs="theirs", most=0.4)
    found = paired(pair, {"ours": side("ours", 1.0, 1.0)}, {}, {"theirs": "No module named 'theirs'"})
    assert found["absent"] == "No module named 'theirs'"
    assert "cpu" not in found


def test_a_goal_is_judged_by_the_figure_itself() -> None:
    figures = {"again": side("again", 1.0, 2.5)}
    found = reached(Goal(ours="again", figure="wall_seconds", most=2.0, at=2_000), figures)
    assert (found["value"], found["met"], found["asked_here"]) == (2.5, False, True)
    assert reached(Goal(ours="none", figure="peak_mb", most=2.0), figures)["absent"]


@pytest.mark.parametrize(
    ("costs", "within", "rise", "said"),
    [
        ([1.0, 1.2, 1.1, 1.4], 1.4, 1.4, "flat"),
        ([4.0, 2.0, 1.0, 1.2], 4.0, 1.2, "falls"),  # fixed costs
        ([1.0, 1.3, 1.7, 2.2], 2.2, 2.2, "grows"),
        ([9.0, 1.0, 1.2, 1.6], 9.0, 1.6, "grows"),  # cheap in the middle: the rise behind it is told
        ([1.0, 1.5], 1.5, 1.5, "flat"),
        ([1.0], 1.0, 1.0, "flat"),
    ],
)
def test_growth_in_a_word(costs: list[float], within: float, rise: float, said: str) -> None:
    assert growth(costs) == {"within": within, "rise": rise, "said": said}


def test_a_curve_is_by_the_million_rows_and_memory_above_the_imports() -> None:
    points = [
        {**side("fit", cpu, 2 * cpu, rows), "peak_mb": peak, "base_mb": 60.0}
        for rows, cpu, peak in ((4_000, 0.8, 140.0), (2_000, 0.4, 80.0))
    ]
    found = curve("fit", points)
    assert [point["rows"] for point in found["points"]] == [2_000, 4_000]
    assert [point["cpu_seconds_per_million"] for point in found["points"]] == [200.0, 200.0]
    assert [point["wall_seconds_per_million"] for point in found["points"]] == [400.0, 400.0]
    assert [point["mb_per_million"] for point in found["points"]] == [10_000.0, 20_000.0]
    assert found["cpu"]["said"] == "flat"
    assert found["memory"]["said"] == "grows"


PEAK = """
import json
import numpy as np
from aisle.jobs.bench.speed.cost import measured
size = 40_000_000
before = np.ones(2 * size, np.uint8)
del before
found, cost = measured(lambda: int(np.ones(size, np.uint8).sum()))
_, less = measured(lambda: None)
print(json.dumps([found, cost["peak_mb"] - less["peak_mb"]]))
"""


def test_the_peak_is_that_of_the_work() -> None:
    """What was held before and given back is not counted; what the work holds for a moment is."""
    answer = subprocess.run([sys.executable, "-c", PEAK], check=True, capture_output=True, text=True)
    found, peak = json.loads(answer.stdout)
    assert found == 40_000_000
    assert 30 < peak < 60


# --- a run ------------------------------------------------------------------------------------------------------------


class Machine:
    """Takes the place of the processes and counts what it is asked for; a thousand rows take a second."""

    def __init__(self, stop_at: int = -1, broken: str = "", version: str = "") -> None:
        self.stop_at, self.broken, self.version = stop_at, broken, version
        self.asked: list[tuple[str, str, int]] = []
        self.made: list[str] = []

    def measure(self, name: str, of: str, place: Place) -> dict[str, Any]:
        if len(self.asked) == self.stop_at:
            raise KeyboardInterrupt
        self.asked.append((name, of, place.size.rows))
        if of == self.broken:
            raise ResourceError("it broke down")
        facts = {"customers": place.size.customers, "gflop": 4.0, "gigabytes": 2.0, "bfloat16": True}
        return turn(place.size.rows / 1_000, 2.0, 500.0, **facts)

    def make(self, pieces: tuple[str, ...], place: Place) -> None:
        for piece in pieces:
            place.path(piece).mkdir(parents=True)
            (place.path(piece) / "done").touch()
            self.made.append(piece)

    def imported(self, module: str, package: str) -> dict[str, Any]:
        return {"version": self.version} if self.version else {"absent": f"No module named '{module}'"}

    def run(self, order: Order, progress: Progress | None = None) -> Done:
        return bench_speed(order, progress, measure=self.measure, make=self.make, imported=self.imported)


def order(folder: Path, *only: str, **given: Any) -> Order:
    settings = {"rows": 8_000, "products": 200, "turns": 2, "threads": 1, **given}
    return Order(only=only, results=folder / "speed.json", cache=folder / "cache", **settings)


def test_all_sides_are_measured_in_turn(tmp_path: Path) -> None:
    machine = Machine()
    done = machine.run(order(tmp_path, "ingest"))
    names = [one.name for one in task("ingest").sides]
    assert [of for _, of, _ in machine.asked] == names * 2
    assert (done.measured, done.kept, done.failed) == (10, 0, {})
    assert sorted(machine.made) == ["grown", "kept", "new", "shop"]
    assert not (tmp_path / "cache" / "data").exists()


def test_sizes_are_measured_in_turn_too(tmp_path: Path) -> None:
    machine = Machine()
    machine.run(order(tmp_path, "growth"))
    sizes = [rows for _, of, rows in machine.asked if of == "ingest"]
    assert sizes == [1_000, 2_000, 4_000, 8_000] * 2
    found = read_json(tmp_path / "speed.json")["tasks"]["growth"]
    assert found["curves"][0]["cpu"] == {"within": 1.0, "rise": 1.0, "said": "flat"}
    assert [point["cpu_seconds_per_million"] for point in found["curves"][0]["points"]] == [1_000.0] * 4


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    stopped, rest, whole = Machine(stop_at=7), Machine(), Machine()
    with pytest.raises(KeyboardInterrupt):
        stopped.run(order(tmp_path / "a", "ingest"))
    assert not (tmp_path / "a" / "speed.json").exists()
    done = rest.run(order(tmp_path / "a", "ingest"))
    assert (done.measured, done.kept) == (3, 7)
    assert rest.made == []
    whole.run(order(tmp_path / "b", "ingest"))
    assert stopped.asked + rest.asked == whole.asked
    mine, theirs = (read_json(tmp_path / name / "speed.json")["tasks"]["ingest"] for name in "ab")
    assert mine["figures"] == theirs["figures"]


def test_what_is_there_is_measured_again_by_force_or_at_another_size(tmp_path: Path) -> None:
    Machine().run(order(tmp_path, "limits"))
    for given, count in (({}, 0), ({"force": True}, 6), ({"rows": 9_000}, 6), ({"threads": 2}, 6)):
        machine = Machine()
        machine.run(order(tmp_path, "limits", **given))
        assert len(machine.asked) == count


def test_another_commit_measures_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Machine().run(order(tmp_path, "limits"))
    monkeypatch.setattr("aisle.jobs.bench.speed.run.commit", lambda: "another")
    machine = Machine()
    machine.run(order(tmp_path, "limits"))
    assert len(machine.asked) == 6


def test_absent_rivals_are_named(tmp_path: Path) -> None:
    machine = Machine()
    done = machine.run(order(tmp_path, "topk"))
    assert done.absent == {"implicit": "No module named 'implicit'", "faiss": "No module named 'faiss'"}
    assert {of for name, of, _ in machine.asked if name == "topk"} == {"aisle"}
    found = read_json(tmp_path / "speed.json")
    pairs = {pair["theirs"]: pair for pair in found["tasks"]["topk"]["pairs"]}
    assert pairs["implicit topk"]["absent"] == "No module named 'implicit'"
    assert pairs["bfloat16 product"]["cpu"] == 1.0
    shown = tables(found)
    assert "| topk | aisle | faiss flat | – | – | | not measured: No module named 'faiss' |" in shown
    assert "Absent: implicit (No module named 'implicit'), faiss (No module named 'faiss')." in shown
    later = Machine(version="1.2")
    later.run(order(tmp_path, "topk"))
    assert {of for _, of, _ in later.asked} == {"implicit topk", "faiss flat"}
    assert "Beside implicit 1.2, faiss 1.2." in tables(read_json(tmp_path / "speed.json"))


def test_a_rival_that_breaks_down_stops_nobody_else(tmp_path: Path) -> None:
    machine = Machine(broken="faiss flat", version="1")
    done = machine.run(order(tmp_path, "topk"))
    assert done.failed == {"topk: faiss flat": "it broke down"}
    assert [of for _, of, _ in machine.asked].count("faiss flat") == 1
    found = read_json(tmp_path / "speed.json")["tasks"]["topk"]
    assert found["failed"] == {"topk: faiss flat": "it broke down"}
    assert {pair["theirs"]: pair.get("absent") for pair in found["pairs"]}["faiss flat"] == "it broke down"
    assert (tmp_path / "cache" / "data").exists()
    mended = Machine(version="1")
    assert mended.run(order(tmp_path, "topk")).failed == {}
    assert {of for _, of, _ in mended.asked} == {"faiss flat"}


def test_tasks_that_were_measured_before_stay_in_the_file_with_their_own_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisle.jobs.bench.speed.run.commit", lambda: "first")
    Machine().run(order(tmp_path, "growth"))
    monkeypatch.setattr("aisle.jobs.bench.speed.run.commit", lambda: "second")
    Machine().run(order(tmp_path, "limits"))
    found = read_json(tmp_path / "speed.json")["tasks"]
    assert {name: one["commit"] for name, one in found.items()} == {"limits": "second", "growth": "first"}
    assert found["limits"]["command"] == (
        "aisle bench speed --only limits --rows 8000 --products 200 --turns 2 --threads 1"
    )
    assert len(found["limits"]["load_at_start"]) == 3


def test_the_command_asks_for_what_an_order_does() -> None:
    given = {name: one.default for name, one in signature(command).parameters.items()}
    order = Order()
    for name in ("rows", "products", "turns", "results", "cache", "force"):
        assert given[name] == getattr(order, name)


@pytest.mark.parametrize(
    ("given", "said"),
    [({"rows": 1_000}, "too few"), ({"turns": 0}, "--turns is 0"), ({"products": 9}, "--products is 9")],
)
def test_sizes_that_tell_nothing_are_refused(tmp_path: Path, given: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        order(tmp_path, **given)


def test_a_disk_that_is_too_small_is_told_before(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="GB are free"):
        Machine().run(order(tmp_path, rows=10**15))


def test_what_a_stopped_run_left_needs_no_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = 8_000 * BYTES_A_ROW
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=needed - 20))
    with pytest.raises(ResourceError, match="GB are free"):
        Machine().run(order(tmp_path, "limits"))
    (tmp_path / "cache" / "left").write_bytes(bytes(30))
    assert not Machine().run(order(tmp_path, "limits")).failed


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="FileNotFoundError"):
        process.measure("ingest", "bare Polars", Place(tmp_path, SIZE))
    assert "No module named 'no_such_thing'" in process.imported("no_such_thing", "no-such-thing")["absent"]
    assert process.imported("numpy", "numpy") == {"version": np.__version__}


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_tables_follow_from_the_json_alone(tmp_path: Path) -> None:
    Machine(version="1").run(order(tmp_path))
    found = read_json(tmp_path / "speed.json")
    page = tmp_path / "page.md"
    page.write_text(f"# Speed\n{START}\nold\n{STOP}\nrest\n", encoding="utf-8")
    write_page(page, tmp_path / "speed.json")
    text = page.read_text(encoding="utf-8")
    assert "old" not in text
    assert text.startswith("# Speed\n")
    assert text.endswith(f"{STOP}\nrest\n")
    assert renewed(text, found) == text
    foretaste = "met at this size; asked at 10,000,000 rows |"
    assert f"| ingest | first read | bare Polars | 1.00 × | 1.00 × | ≤ 4.00 × | {foretaste}" in text
    assert "| ingest | first read | peak memory | 500 MB | – | ≤ 2,500 MB | met at this size" in text
    assert "| topk | aisle | implicit topk | 1.00 × | 1.00 × | ≤ 0.40 × | **not met** at this size" in text
    picture = (tmp_path / "img" / "speed_growth.svg").read_bytes()
    assert b"lists item_knn" in picture
    write_page(page, tmp_path / "speed.json")
    assert (tmp_path / "img" / "speed_growth.svg").read_bytes() == picture


def test_a_page_without_markers_and_a_missing_result_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the page has no"):
        renewed("nothing", {"tasks": {}})
    with pytest.raises(UsageError, match="cannot be read"):
        write_page(tmp_path / "none.md", tmp_path / "none.json")
    (tmp_path / "page.md").write_text(f"{START}{STOP}", encoding="utf-8")
    with pytest.raises(UsageError, match="measure first"):
        write_page(tmp_path / "page.md", tmp_path / "none.json")


def test_the_page_says_what_the_committed_result_says() -> None:
    found = json.loads((ROOT / "benchmarks" / "results" / "speed.json").read_text(encoding="utf-8"))
    text = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    assert renewed(text, found) == text, "run: aisle bench speed --table"
    assert set(found["tasks"]) == set(TASKS)
    for one in found["tasks"].values():
        assert one["commit"]
        assert not one["commit"].endswith("+")
