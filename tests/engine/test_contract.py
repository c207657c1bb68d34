"""What every engine promises, asked of each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aisle import errors
from aisle.engine import Engine, base
from aisle.engine.base import RETRIES, Answers, Ends, LostError, found, gone, named
from aisle.errors import BundleError, DataError, ResourceError, UsageError
from aisle.files import Receipts
from tests.engine import tasks
from tests.engine.conftest import Job
from tests.engine.processes import alive, at_work, until

WANT = [f"{n * 3}\n" for n in range(10, 15)]


def test_receipts_come_in_the_order_of_the_parts(engine: Engine, job: Job) -> None:
    told: list[tuple[int, int]] = []
    found = engine.map(tasks.times, job.parts, job.shared, tick=lambda done, total: told.append((done, total)))
    assert [receipt["value"] for receipt in found] == [30, 33, 36, 39, 42]
    assert job.results() == WANT
    assert told == [(n, 5) for n in range(6)]
    assert engine.map("tests.engine.tasks:times", job.parts[:1], job.shared) == found[:1]
    assert engine.map(tasks.times, [], job.shared) == []


def test_whole_parts_are_kept_and_torn_or_changed_ones_done_again(engine: Engine, job: Job) -> None:
    kept = Receipts(job.folder / "receipts")
    first = engine.map(tasks.times, job.parts, job.shared, receipts=kept)
    assert engine.map(tasks.times, job.parts, job.shared, receipts=kept) == first
    assert job.asked() == 5, "nothing is done twice"
    Path(job.parts[1]["path"]).write_text("torn")
    Path(job.parts[3]["path"]).unlink()
    (job.folder / "receipts" / "junk.json").write_text("{")
    assert engine.map(tasks.times, job.parts, job.shared, receipts=kept) == first
    assert job.asked() == 7
    assert job.results() == WANT
    other = engine.map(tasks.times, job.parts, job.shared | {"by": 4}, receipts=kept)
    assert [receipt["value"] for receipt in other] == [40, 44, 48, 52, 56]
    engine.map(tasks.times, job.parts, job.shared, receipts=kept)
    assert job.results() == WANT, "the receipt is there, but the file is another's by now"


def test_a_failure_keeps_what_is_done_and_the_same_call_does_the_rest(engine: Engine, job: Job) -> None:
    kept = Receipts(job.folder / "receipts")
    job.shared["unlucky"] = 13
    with pytest.raises(DataError, match="number 13 brings bad luck"):
        engine.map(tasks.times_unless_unlucky, job.parts, job.shared, receipts=kept)
    assert engine.map(tasks.times, job.parts, job.shared), "the engine still works"
    before = job.asked()
    good = [part for part in job.parts if part["number"] < 13]
    engine.map(tasks.times_unless_unlucky, good, job.shared, receipts=kept)
    assert job.asked() <= before + 2, "what ended before the failure is kept"


def test_errors_of_ours_keep_their_class(engine: Engine) -> None:
    for kind in ("UsageError", "DataError", "NotFittedError", "BundleError", "ResourceError"):
        with pytest.raises(errors.AisleError) as caught:
            engine.map(tasks.raises, [{"kind": kind}] * 2)
        assert type(caught.value) is getattr(errors, kind)
        assert str(caught.value) == "found 3, allowed is 2; take one away"


def test_other_errors_can_be_told_apart_too(engine: Engine) -> None:
    with pytest.raises(BundleError, match="take one away"):
        engine.map(tasks.raises, [{"kind": "own"}] * 2)
    with pytest.raises(OSError, match="No space left") as full:
        engine.map(tasks.raises, [{"kind": "full"}] * 2)
    assert (full.value.errno, full.value.filename) == (28, "/some/file")
    with pytest.raises(OSError, match=r"^found 3, allowed is 2"):  # of a library that gives no number
        engine.map(tasks.raises, [{"kind": "unnumbered"}] * 2)
    with pytest.raises(MemoryError, match="found 3"):
        engine.map(tasks.raises, [{"kind": "arrow"}] * 2)
    with pytest.raises(MemoryError) as memory:
        engine.map(tasks.raises, [{"kind": "memory"}] * 2)
    assert not isinstance(memory.value, ResourceError)
    with pytest.raises((ValueError, RuntimeError), match="found 3") as odd:
        engine.map(tasks.raises, [{"kind": "odd"}] * 2)
    assert not isinstance(odd.value, errors.AisleError)
    assert type(odd.value) is ValueError or "in raises" in "".join(odd.value.__notes__), "says where"


@pytest.mark.parametrize("part", ["nan", "object"])
def test_receipts_are_json(part: str, engine: Engine) -> None:
    with pytest.raises((ValueError, TypeError, RuntimeError), match="JSON"):
        engine.map(tasks.no_json, [part] * 2)


def test_what_a_task_prints_is_no_answer(engine: Engine) -> None:
    assert engine.map(tasks.chatty, ["ä", "\n", "\u2028"]) == [{"value": "ä"}, {"value": "\n"}, {"value": "\u2028"}]


def test_tasks_must_be_importable(engine: Engine) -> None:
    def inner(part: Any, shared: Any) -> dict[str, Any]:
        return {}

    for task in (inner, lambda part, shared: {}):
        with pytest.raises(UsageError, match=r"give a function of a module|no task"):
            engine.map(task, [1])
    for name in ("tests.engine.tasks:none", "no.such.module:f", "nothing", ":", "tests.engine.tasks"):
        with pytest.raises(UsageError, match="module:function"):
            engine.map(name, [1])
    assert found(named(tasks.times)) is tasks.times


# --- lost workers -----------------------------------------------------------------------------------------------------


def test_a_lost_worker_costs_nothing_but_time(workers: Engine, job: Job) -> None:
    shared = job.shared | {"dies": 12, "always": False}
    kept = Receipts(job.folder / "receipts")
    receipts = workers.map(tasks.mortal, job.parts, shared, receipts=kept)
    assert [receipt["value"] for receipt in receipts] == [30, 33, 36, 39, 42]
    assert (job.traces / "dead").exists(), "nobody died"
    assert job.results() == WANT


def test_a_part_that_takes_its_workers_down_ends_in_a_clear_error(workers: Engine, job: Job) -> None:
    shared = job.shared | {"dies": 12, "always": True}
    with pytest.raises(ResourceError, match=rf"{RETRIES + 1} .*\"number\": 12"):
        workers.map(tasks.mortal, [job.parts[2], job.parts[2]], shared)
    assert RETRIES < job.asked() - 1 <= 2 * (RETRIES + 1), "as often as promised"
    assert workers.map(tasks.times, job.parts, job.shared), "the engine still works"


# --- several at once --------------------------------------------------------------------------------------------------


def test_workers_are_at_work_at_once_and_answer_by_their_numbers(workers: Engine, job: Job) -> None:
    moments: list[None] = []
    found = workers.together(tasks.peer, 2, job.shared, tick=lambda: moments.append(None))
    assert [(one["rank"], one["size"]) for one in found] == [(0, 2), (1, 2)]
    assert len({one["pid"] for one in found}) == 2
    assert len({one["meeting"] for one in found}) == 1
    assert {one["GLOO_SOCKET_IFNAME"] for one in found} <= {"lo", "lo0"}, "nobody outside this machine is let in"
    assert all(int(one["OMP_NUM_THREADS"]) == one["threads"] == int(one["POLARS_MAX_THREADS"]) for one in found)
    assert moments
    until(lambda: not any(alive(one["pid"]) for one in found))


@pytest.mark.parametrize(
    ("does", "kind", "told"),
    [
        ({"0": "stay", "1": "die"}, LostError, "worker 1 was (ended by signal 9|lost)"),
        ({"0": "lose", "1": "die"}, LostError, "worker 1 was (ended by signal 9|lost)"),
        ({"0": "lose", "1": "lose"}, ConnectionError, "^another worker was lost"),
        ({"0": "lose", "1": "ResourceError"}, ResourceError, "^found 3, allowed is 2"),
        ({"0": "stay", "1": "odd"}, RuntimeError, "ValueError: found 3"),
    ],
)
def test_one_that_fails_ends_the_others_and_says_why(
    does: dict[str, str], kind: type[Exception], told: str, workers: Engine, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "GRACE", 0.5)
    with pytest.raises(kind, match=told):
        workers.together(tasks.peer, 2, job.shared | {"does": does})
    until(lambda: not any(alive(pid) for pid in at_work(job.traces)))
    for trace in job.traces.iterdir():
        trace.unlink()
    assert len(workers.together(tasks.peer, 2, job.shared)) == 2, "the engine still works"


class Told(Engine):
    """An engine whose workers have answered."""

    def __init__(self, *ends: str) -> None:
        self.told = ends

    def answers(self, task: str, parts: Mapping[int, str], shared: str) -> Answers:
        raise AssertionError

    def check_together(self, size: int, gpu: bool) -> None:
        pass

    def ends(self, task: str, size: int, shared: str, gpu: bool) -> Ends:
        yield from enumerate(self.told)


def test_the_error_that_explains_the_others_is_raised() -> None:
    ours = '{"error": "UsageError", "message": "use less", "trace": ""}'
    odd = '{"error": "KeyError", "message": "a bug", "trace": ""}'
    sight = '{"error": "ConnectionError", "message": "lost sight", "trace": ""}'
    good = '{"receipt": {}}'
    for told, kind, text in (
        ((gone("one"), odd, sight, ours), UsageError, "use less"),
        ((gone("one"), odd, sight), RuntimeError, "KeyError: a bug"),
        ((sight, gone("one"), good, gone("two")), LostError, "^one, two$"),
        ((good, sight), ConnectionError, "^lost sight"),
        ((sight, gone("no start", lost=False)), RuntimeError, "no start"),
    ):
        with pytest.raises(kind, match=text):
            Told(*told).together(tasks.peer, len(told), {})
    assert Told(good, good).together(tasks.peer, 2, {}) == [{}, {}]


def test_one_thing_is_at_hand_the_latest() -> None:
    base.let_go()
    made: list[str] = []

    def make(name: str) -> str:
        made.append(name)
        return name

    for key in ("a", "a", "b", "a"):
        assert base.at_hand(key, partial(make, key)) == key
    assert made == ["a", "b", "a"]
    assert base.at_hand("outer", lambda: "of " + base.at_hand("inner", lambda: "inner")) == "of inner"
    assert base.at_hand("outer", lambda: "made again") == "of inner"
    base.let_go()
