"""The training loop: the course of the rate, decay by epoch, early stopping, and whose random numbers it takes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aisle.errors import UsageError
from aisle.models.nn import train as loop
from aisle.models.nn.train import Epoch, Schedule, train


def schedule(**changes: Any) -> Schedule:
    base: dict[str, Any] = {"epochs": 3, "batch_size": 10, "learning_rate": 0.01, "weight_decay": 0.0}
    return Schedule(**{**base, "patience": 2, "seed": 0, **changes})


class Line(nn.Module):
    """y = x W + b with more weights than count as few."""

    def __init__(self, width: int = 40) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1.0, 1.0, width))
        self.bias = nn.Parameter(torch.ones(1))
        self.idle = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


def nothing(net: Line) -> loop.Step:
    """A step whose gradients are zero."""
    return lambda rows, generator: 0.0 * (net.weight.sum() + net.bias.sum())


@pytest.mark.parametrize("rate", ["constant", "cosine", "linear"])
def test_weights_decay_by_the_epoch_in_however_many_batches(rate: loop.Rate) -> None:
    left = []
    for batches in (1, 7, 50):
        net = Line()
        plan = schedule(epochs=2, batch_size=math.ceil(350 / batches), weight_decay=0.1, rate=rate, course=8)
        train(net, 350, nothing(net), plan)
        left.append(net.weight.detach() / Line().weight.detach())
        assert torch.equal(net.bias, torch.ones(1))  # few numbers do not decay
        assert torch.equal(net.idle, torch.ones(40))  # nor does what the loss does not reach
    assert torch.allclose(left[0], left[1], rtol=1e-5)
    assert torch.allclose(left[0], left[2], rtol=1e-5)
    if rate == "constant":
        assert torch.allclose(left[0], torch.full((40,), 0.9**2), rtol=1e-5)
    else:
        assert (left[0] > 0.9**2).all()
        assert (left[0] < 0.9).all()


def test_slow_parameters_decay_as_much_slower() -> None:
    net = nn.ModuleDict({"fast": nn.Linear(40, 1, bias=False), "slow": nn.Linear(40, 1, bias=False)})
    before = {name: value.clone() for name, value in net.state_dict().items()}

    def step(rows: Tensor, generator: torch.Generator) -> Tensor:
        return 0.0 * sum((p.sum() for p in net.parameters()), torch.zeros(()))

    train(net, 30, step, schedule(epochs=1, weight_decay=0.1, speeds={"slow": 0.5}))
    after = net.state_dict()
    assert torch.allclose(after["fast.weight"], before["fast.weight"] * 0.9)
    assert torch.allclose(after["slow.weight"], before["slow.weight"] * 0.9**0.5)


@pytest.mark.parametrize(
    ("changes", "shares"),
    [
        ({}, [1, 1, 1, 1, 1]),
        ({"rate": "linear"}, [1, 0.75, 0.5, 0.25, 0]),
        ({"rate": "cosine"}, [1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0]),
        ({"warm_up": 0.5}, [0, 0.5, 1, 1, 1]),
        ({"rate": "linear", "warm_up": 0.5}, [0, 0.5, 1, 0.5, 0]),
        ({"rate": "cosine", "warm_up": 0.25}, [0, 1, 0.75, 0.25, 0]),
        ({"rate": "linear", "course": 8}, [1, 0.875, 0.75, 0.625, 0.5]),
        ({"rate": "linear", "course": 2}, [1, 0.5, 0, 0, 0]),
    ],
)
def test_the_course_of_the_rate(changes: dict[str, Any], shares: list[float]) -> None:
    plan = schedule(epochs=4, **changes)
    assert [plan.share(epoch) for epoch in range(5)] == pytest.approx(shares, abs=1e-12)


def test_steps_take_the_rate_of_their_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    net, rates = Line(), []
    moved = torch.optim.AdamW.step

    def step(self: torch.optim.AdamW, *args: Any) -> Any:
        rates.append([group["lr"] for group in self.param_groups])
        return moved(self, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    train(net, 40, nothing(net), schedule(epochs=1, learning_rate=0.1, rate="linear", speeds={"weight": 0.5}))
    assert [rate[0] for rate in rates] == pytest.approx([0.1 * f for f in (0.875, 0.625, 0.375, 0.125)])
    assert [rate[1] for rate in rates] == pytest.approx([0.2 * f for f in (0.875, 0.625, 0.375, 0.125)])  # a scalar


@pytest.mark.parametrize(
    "wrong", [{"rate": "step"}, {"warm_up": 1.0}, {"weight_decay": 1.0}, {"weight_decay": -0.1}, {"average": -1.0}]
)
def test_a_wrong_schedule_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        schedule(**wrong)


def stopped_by(values: list[float], **changes: Any) -> tuple[loop.Trained, float, list[Epoch]]:
    """What the loop does on these validations; the weights count the epochs behind them."""
    net, told, left = nn.Linear(1, 1, bias=False), list[Epoch](), iter(values)
    net.weight.data.zero_()

    def step(rows: Tensor, generator: torch.Generator) -> Tensor:
        net.weight.data += 1.0
        return net.weight.sum() * 0.0 + 5.0

    plan = schedule(epochs=len(values) - 1, batch_size=100, **changes)
    trained = train(net, 7, step, plan, lambda: next(left), watch=told.append)
    return trained, net.weight.item(), told


def test_the_best_epoch_is_kept_and_patience_ends_it() -> None:
    trained, weight, told = stopped_by([0.1, 0.2, 0.3, 0.3001, 0.25, 0.9])
    assert (trained.epochs, weight) == (2, 2.0)  # 0.3001 is higher, but only 0.3 is clear progress
    assert trained.curve == [0.1, 0.2, 0.3, 0.3001, 0.25]  # two epochs without clear progress
    assert trained.losses == [5.0] * 4
    assert [(epoch.number, epoch.loss, epoch.validation) for epoch in told] == [
        (n, 5.0, v) for n, v in enumerate(trained.curve) if n
    ]
    assert trained.to_json() == {"loss": trained.losses, "validation": trained.curve, "epochs": 2}


def test_the_start_is_kept_where_nothing_is_better() -> None:
    trained, weight, _ = stopped_by([0.3, 0.2, 0.1, 0.9])
    assert (trained.epochs, weight) == (0, 0.0)


def test_progress_below_zero_is_progress_all_the_same() -> None:
    trained, _, _ = stopped_by([-3.0, -3.001, -3.002, -1.0])
    assert (trained.epochs, len(trained.curve)) == (0, 3)
    assert stopped_by([-3.0, -2.0, -1.0, -0.5])[0].epochs == 3


@pytest.mark.parametrize("span", [0.5, 1.5, 10.0])
def test_the_mean_of_weights_is_judged_and_kept(span: float) -> None:
    net, judged, raw = nn.Linear(1, 1, bias=False), list[float](), list[float]()
    net.weight.data.zero_()

    def step(rows: Tensor, generator: torch.Generator) -> Tensor:
        raw.append(net.weight.item())
        net.weight.data += 1.0  # the weights are 1, 2, 3 … after each step: two steps an epoch
        return net.weight.sum() * 0.0

    def validate() -> float:
        assert torch.is_grad_enabled()
        judged.append(net.weight.item())
        return net.weight.item() if len(judged) <= 4 else 0.0

    def mean(steps: int) -> float:
        """The definition: all alike while they are few, then forgotten by one part in ``2 span`` a step."""
        value = 0.0
        for weight in range(1, steps + 1):
            value += (weight - value) / max(min(weight, 2 * span), 1.0)
        return value

    trained = train(net, 4, step, schedule(epochs=4, batch_size=2, average=span), validate)
    assert judged == pytest.approx([0.0, *(mean(2 * epoch) for epoch in (1, 2, 3, 4))])
    assert raw == [float(n) for n in range(8)]  # learning goes on from the weights themselves
    assert trained.epochs == 3
    assert net.weight.item() == pytest.approx(mean(6))


def test_without_validation_the_mean_is_what_is_left() -> None:
    net = nn.Linear(1, 1, bias=False)
    net.weight.data.zero_()

    def step(rows: Tensor, generator: torch.Generator) -> Tensor:
        net.weight.data += 1.0
        return net.weight.sum() * 0.0

    train(net, 4, step, schedule(epochs=2, batch_size=2, average=9.0))
    assert net.weight.item() == pytest.approx(2.5)  # of 1, 2, 3, 4


def test_without_validation_all_epochs_count() -> None:
    net, told = Line(), list[Epoch]()
    trained = train(net, 20, nothing(net), schedule(), watch=told.append)
    assert (trained.epochs, trained.curve, len(trained.losses)) == (3, [], 3)
    assert [epoch.validation for epoch in told] == [None] * 3


def test_random_numbers_are_its_own_even_in_layers() -> None:
    def learnt(disturb: int) -> tuple[bytes, Tensor]:
        torch.manual_seed(3)
        net = nn.Sequential(nn.Linear(8, 40), nn.Dropout(0.5), nn.Linear(40, 1))
        torch.manual_seed(disturb)
        before = torch.get_rng_state()
        train(net, 30, lambda rows, g: net(torch.rand(len(rows), 8, generator=g)).square().mean(), schedule())
        assert torch.equal(before, torch.get_rng_state())
        return b"".join(p.detach().numpy().tobytes() for p in net.parameters()), before

    first, second = learnt(1), learnt(2)
    assert first[0] == second[0]
    assert not torch.equal(first[1], second[1])


def test_it_learns() -> None:
    net = Line()
    x = torch.randn(200, 40, generator=torch.Generator().manual_seed(1))
    y = x @ torch.ones(40) * 0.5

    def step(rows: Tensor, generator: torch.Generator) -> Tensor:
        missed: Tensor = net(x[rows]) - y[rows]
        return missed.square().mean()

    trained = train(net, 200, step, schedule(epochs=60, learning_rate=0.05, rate="cosine", warm_up=0.1))
    assert trained.losses[-1] < 1e-3 * trained.losses[0]
