"""Workers that learn together take the steps of one process; the checks of one group are made in one go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from aisle.errors import BundleError, UsageError
from aisle.models.nn import together
from aisle.models.nn.checkpoint import NAME, Checkpoint, digest
from aisle.models.nn.train import train
from tests.nn import battery
from tests.nn.battery import Found


class Group(NamedTuple):
    tensors: list[Found]
    """By worker."""
    facts: list[dict[str, Any]]
    other: list[str]
    folder: Path


def group(folder: Path, size: int) -> Group:
    """What the workers of a group of this size found."""
    command = [sys.executable, "-W", "error", "-c", "from tests.nn.battery import main; main()"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GLOO_SOCKET_IFNAME": "lo"}
    meeting = f"file://{folder / 'meeting'}"
    workers = [
        subprocess.Popen([*command, str(rank), str(size), meeting, str(folder)], env=env, stderr=subprocess.PIPE)
        for rank in range(size)
    ]
    try:
        said = [worker.communicate(timeout=300)[1].decode() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0] * size, said

    def read(name: str) -> list[Any]:
        return [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in range(size)]

    return Group(
        [load_file(folder / f"found-{r}.safetensors") for r in range(size)], read("found"), read("other"), folder
    )


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Group:
    return group(tmp_path_factory.mktemp("two"), 2)


@pytest.fixture(scope="module")
def alone() -> Found:
    return battery.steps()


def check_steps(found: Group, alone: Found) -> None:
    names = {name.split("/")[0] for name in alone}
    assert len(names) == 2 * (len(battery.HYBRID) + 2) + 2 * 2 * len(battery.BASKET)
    for mine in found.tensors:
        assert {name for name in mine if "/" in name} == set(alone), "the same parameters are moved"
        for case in names:
            largest = max(float(value.abs().max()) for name, value in alone.items() if name.startswith(f"{case}/grad"))
            assert largest > 1e-4 or case.endswith(" 1"), f"{case}: nothing to compare"
            for name in (name for name in alone if name.startswith(f"{case}/")):
                if name.endswith("generator"):
                    assert torch.equal(mine[name], alone[name]), f"{name}: other draws"
                else:
                    torch.testing.assert_close(mine[name], alone[name], rtol=1e-4, atol=2e-6 * max(largest, 1.0))


def test_a_step_of_two_workers_is_that_of_one(two: Group, alone: Found) -> None:
    """Loss, gradients and draws, under every kind of loss; also of a batch too small to be shared."""
    check_steps(two, alone)
    for name, value in two.tensors[0].items():
        assert torch.equal(value, two.tensors[1][name]), f"{name}: workers go apart"


def test_a_whole_training_of_two_is_that_of_one(two: Group) -> None:
    weights, trained = battery.learn_toy()
    for name, value in weights.items():
        torch.testing.assert_close(two.tensors[0][f"plain.{name}"], value, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(two.tensors[0][f"whole.{name}"], value, rtol=1e-3, atol=1e-4)
    losses, curve = two.facts[0]["plain"]
    assert losses == pytest.approx(trained.losses, rel=1e-4)
    assert curve == pytest.approx(trained.curve, rel=1e-4)
    assert trained.curve[-1] > trained.curve[0]


def test_dropout_is_each_workers_own_and_still_the_same_the_next_time(two: Group) -> None:
    assert [facts["again"] for facts in two.facts] == [True, True]
    assert two.facts[0]["digest"] == two.facts[1]["digest"], "all workers hold the same weights"
    assert two.facts[0]["digest"] != digest(battery.learn_toy(0.3)[0]), "another part of other dropout"


def test_stopped_anywhere_two_workers_end_the_same(two: Group) -> None:
    for facts in two.facts:
        assert facts["stopped"] == [True, True]
        assert facts["resumed"]
        assert not facts["not repeated"], "what had ended takes no step"
    assert [path.name for path in (two.folder / "kept").iterdir()] == [NAME]
    held = load_file(two.folder / "kept" / NAME)
    assert not torch.equal(held["random.torch"], held["random.torch.1"])


def test_a_group_goes_on_with_its_own_checkpoint_only(two: Group) -> None:
    net = battery.toy(0.3)
    net.register_buffer("asked", torch.zeros(()))
    with pytest.raises(BundleError, match="workers was 2, is None"):
        train(
            net,
            battery.EXAMPLES,
            battery.lesson(net, parted=True),
            battery.PLAN,
            lambda: 0.0,
            checkpoint=Checkpoint(two.folder / "kept"),
        )
    assert two.other[1] == "BundleError"
    assert two.other[0] in ("ConnectionError", "")


def test_what_workers_tell_each_other(two: Group) -> None:
    first, second = two.facts
    assert first["part"] == [[0, 1], [0, 1], [0, 3]]
    assert second["part"] == [[0, 1], [1, 2], [3, 7]]
    for facts in two.facts:
        assert facts["alike"] == [[0.0] * 3, 0, [], [True]]
        assert facts["first"] == 0.1
        assert facts["own"] == [False]
        assert facts["in step"]
        assert facts["sent"] > 1_000
    assert first["differs"] == [False, False]
    assert second["differs"] == [False, True]
    assert "drew other numbers" in second["uneven"]


@pytest.mark.slow
def test_three_workers_take_the_steps_of_one(tmp_path: Path, alone: Found) -> None:
    three = group(tmp_path, 3)
    check_steps(three, alone)
    assert all(facts["again"] and facts["resumed"] for facts in three.facts)
    assert [facts["part"] for facts in three.facts] == [
        [[0, 1], [r, r + 1], [7 * r // 3, 7 * (r + 1) // 3]] for r in range(3)
    ]


def test_alone_everything_stays_as_it_is() -> None:
    generator, loss = torch.Generator(), torch.ones(1)
    assert together.own(generator) is generator
    assert together.share(loss) is loss
    assert together.part(5) == slice(0, 5)
    assert (together.rank(), together.size(), together.own_seed(7)) == (0, 1, 7)
    same: list[Callable[[], Any]] = [lambda: together.first(lambda: 0.3), lambda: together.differs(b"x")]
    assert [each() for each in same] == [0.3, False]
    assert together.gathered(loss) == [loss]


@pytest.mark.parametrize(("rank", "size"), [(2, 2), (-1, 2), (0, 0)])
def test_a_worker_that_is_none_is_refused(rank: int, size: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="workers count from 0"), together.joined(rank, size, f"file://{tmp_path}/x"):
        pass


def test_large_gradients_travel_in_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [3, 4, 20, 1, 1, 5]
    parameters = [torch.nn.Parameter(torch.zeros(size)) for size in sizes]
    parameters.insert(4, torch.nn.Parameter(torch.zeros(2, dtype=torch.float64)))
    monkeypatch.setattr(together, "BUCKET", 8)
    found = [[p.numel() for p in bucket] for bucket in together._buckets(parameters)]
    assert found == [[3, 4], [20], [1], [2], [1, 5]]
