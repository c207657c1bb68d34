"""A training that is stopped anywhere ends with the bytes of one that is not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aisle.errors import BundleError
from aisle.models.nn.checkpoint import NAME, Checkpoint
from aisle.models.nn.train import Schedule, Step, Trained, train

PLAN = Schedule(
    epochs=6, batch_size=16, learning_rate=0.01, weight_decay=0.1, patience=3, seed=4, rate="cosine", warm_up=0.2
)
SIZE, BATCHES = 100, 7


class Stop(Exception):
    """What a killed job looks like from inside."""


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        return nn.Sequential(nn.Linear(8, 40), nn.BatchNorm1d(40), nn.GELU(), nn.Dropout(0.3), nn.Linear(40, 1))


def lesson(net: nn.Module) -> Step:
    def step(rows: Tensor, generator: torch.Generator) -> Tensor:
        x = torch.sin(rows[:, None] * torch.arange(1, 9)) + 0.1 * torch.rand(len(rows), 8, generator=generator)
        missed: Tensor = net(x)[:, 0] - x.prod(dim=1)
        return missed.square().mean()

    return step


def judge(net: nn.Module) -> Callable[[], float]:
    def validate() -> float:
        with torch.no_grad():
            return 1.0 - float(net(torch.ones(3, 8)).square().mean())

    return validate


def run(
    folder: Path | None,
    *,
    plan: Schedule = PLAN,
    stop: int = -1,
    validated: bool = True,
    size: int = SIZE,
    **facts: Any,
) -> tuple[bytes, Trained]:
    """A whole training in a fresh network, stopped by an error at the step of this number."""
    net = network()
    step, done = lesson(net), [0]

    def stopping(rows: Tensor, generator: torch.Generator) -> Tensor:
        if done[0] == stop:
            raise Stop
        done[0] += 1
        return step(rows, generator)

    checkpoint = Checkpoint(folder, facts) if folder else None
    trained = train(net, size, stopping, plan, judge(net) if validated else None, checkpoint=checkpoint)
    return b"".join(value.numpy().tobytes() for value in net.state_dict().values()), trained


@pytest.mark.parametrize(("validated", "average"), [(True, 0.0), (False, 0.0), (True, 1.0), (False, 2.5)])
def test_stopped_anywhere_it_ends_the_same(tmp_path: Path, validated: bool, average: float) -> None:
    plan = replace(PLAN, patience=6, average=average)
    undisturbed = run(None, plan=plan, validated=validated)
    assert len(undisturbed[1].losses) == 6
    # before anything, in the first epoch, at an epoch's first step, late; then twice in one training
    for number, stops in enumerate(((0,), (3,), (BATCHES,), (5 * BATCHES + 6,), (10, 9, 0, 12))):
        folder = tmp_path / str(number)
        for stop in stops:
            with pytest.raises(Stop):
                run(folder, plan=plan, stop=stop, validated=validated)
        assert run(folder, plan=plan, validated=validated) == undisturbed
        assert [path.name for path in folder.iterdir()] == [NAME]


def test_a_checkpoint_changes_nothing_and_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    undisturbed = run(None)
    assert run(tmp_path) == undisturbed
    stamp = (tmp_path / NAME).stat().st_mtime_ns
    assert run(tmp_path, stop=0) == undisturbed  # not a single step
    assert (tmp_path / NAME).stat().st_mtime_ns == stamp


def test_an_early_stop_is_remembered(tmp_path: Path) -> None:
    plan = replace(PLAN, epochs=30, patience=1, learning_rate=0.5)
    undisturbed = run(None, plan=plan)
    ran = len(undisturbed[1].losses)
    assert ran < 30
    with pytest.raises(Stop):
        run(tmp_path, plan=plan, stop=ran * BATCHES - 2)
    assert run(tmp_path, plan=plan) == undisturbed
    assert run(tmp_path, plan=plan, stop=0) == undisturbed


def test_progress_made_before_the_stop_counts(tmp_path: Path) -> None:
    plan = replace(PLAN, patience=2)

    def growing(stop: int) -> Trained:
        net, step = network(), lesson(network())
        seen = list[int]()

        def counted(rows: Tensor, generator: torch.Generator) -> Tensor:
            seen.append(len(rows))
            if len(seen) > stop:
                raise Stop
            next(net.parameters()).data += 1.0
            return step(rows, generator)

        def weight() -> float:
            return float(next(net.parameters()).detach().mean())

        return train(net, SIZE, counted, plan, weight, checkpoint=Checkpoint(tmp_path))

    with pytest.raises(Stop):
        growing(stop=4 * BATCHES)
    assert growing(stop=99).epochs == 6  # better and better: patience is not spent by the stop


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"plan": replace(PLAN, epochs=7)}, "schedule.epochs was 6, is 7"),
        ({"plan": replace(PLAN, seed=5)}, "schedule.seed was 4, is 5"),
        ({"size": 99}, "examples was 100, is 99"),
        ({"validated": False}, "validated was True, is False"),
        ({"as_of": "2024-05-02"}, "as_of was 2024-05-01, is 2024-05-02"),
    ],
)
def test_another_training_is_refused(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    run(tmp_path, as_of="2024-05-01")
    before = (tmp_path / NAME).read_bytes()
    with pytest.raises(BundleError, match=f"another training.*{named}.*another folder"):
        run(tmp_path, **{"as_of": "2024-05-01", **changes})
    assert (tmp_path / NAME).read_bytes() == before


@pytest.mark.parametrize(
    ("other", "named"),
    [(nn.Linear(8, 2), r"shapes.0.weight was \[40, 8\]"), (network(), "starting_weights differs")],
)
def test_other_networks_are_refused(tmp_path: Path, other: nn.Module, named: str) -> None:
    run(tmp_path)
    with torch.no_grad():
        next(other.parameters()).add_(1.0)
    with pytest.raises(BundleError, match=named):
        train(other, SIZE, lesson(other), PLAN, judge(other), checkpoint=Checkpoint(tmp_path))


def altered(path: Path, **head: Any) -> None:
    with safe_open(path, framework="pt") as file:
        known = json.loads(file.metadata()["aisle"])
    save_file(load_file(path), path, metadata={"aisle": json.dumps(known | head)})


def test_damage_is_named_with_the_fix(tmp_path: Path) -> None:
    run(tmp_path)
    path = tmp_path / NAME
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-9] ^= 1
    for broken in (b"", whole[:-1], whole[: len(whole) // 2], whole[:8] + b"x" + whole[9:], bytes(flipped)):
        path.write_bytes(broken)
        with pytest.raises(BundleError, match=f"{NAME} (cannot be read|was altered).*delete"):
            run(tmp_path)
    for head, said in (({"numbers": {"losses": []}}, "was altered"), ({"format": 2}, "has format 2.*upgrade")):
        path.write_bytes(whole)
        altered(path, **head)
        with pytest.raises(BundleError, match=said):
            run(tmp_path)
    save_file({"x": torch.ones(1)}, path)
    with pytest.raises(BundleError, match="cannot be read"):
        run(tmp_path)


def test_no_pickle_is_written(tmp_path: Path) -> None:
    run(tmp_path)
    stored = load_file(tmp_path / NAME)
    assert {name.split(".")[0] for name in stored} == {"net", "kept", "optimizer", "random"}
    assert stored["random.own"].dtype == torch.uint8


SCRIPT = """
import sys, time
from pathlib import Path
from tests.nn.test_checkpoint import PLAN, SIZE, Checkpoint, judge, lesson, network, train

net = network()
step = lesson(net)

def slow(rows, generator):
    time.sleep(float(sys.argv[2]))
    return step(rows, generator)

train(net, SIZE, slow, PLAN, judge(net), checkpoint=Checkpoint(Path(sys.argv[1])))
sys.stdout.buffer.write(b"".join(value.numpy().tobytes() for value in net.state_dict().values()))
"""


@pytest.mark.slow
def test_killed_without_warning_it_ends_the_same(tmp_path: Path) -> None:
    def start(wait: float) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "state"), str(wait)], stdout=subprocess.PIPE, env=os.environ
        )

    seen = 0
    for _ in range(3):
        process = start(0.02)
        before, path = seen, tmp_path / "state" / NAME
        while seen == before:  # until another epoch is on disk; the kill then falls anywhere into the next
            assert process.poll() is None
            seen = path.stat().st_mtime_ns if path.exists() else 0
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    out, _ = start(0.0).communicate()
    assert out == run(None)[0]
