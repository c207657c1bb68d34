"""The one training loop: shuffled mini-batches, AdamW, a course of the learning rate, early stopping, one seed.

Weight decay is decoupled from the gradient and from the learning rate (Loshchilov & Hutter, "Decoupled Weight Decay
Regularization", ICLR 2019, algorithm 2) and counted by epoch: with ``n`` batches every step multiplies a weight by
``(1 - weight_decay)^(f / n)``, ``f`` the share of the full rate in force. Larger batches do not decay less.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from aisle.errors import BundleError, UsageError
from aisle.models.nn import together
from aisle.models.nn.checkpoint import Checkpoint, Facts, digest

log = logging.getLogger(__name__)

SCALAR_SPEED = 2.0
"""Gates, scales and other few-number parameters learn this much faster and without decay."""
SCALAR_SIZE = 32
GAIN = 0.002
"""Less progress than this share is none: weights are kept, and further epochs bought, for more than that."""
Rate: TypeAlias = Literal["constant", "cosine", "linear"]
Step: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]
"""(rows, generator) -> the mean loss of these examples."""
Batches: TypeAlias = Callable[[int, torch.Generator], Sequence[Tensor]]
"""(batch size, generator) -> the batches of an epoch: every example once."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast to learn."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    """Share of a weight that an epoch at full rate takes away, in however many batches."""
    patience: int
    """Epochs without a clearly better validation before stopping."""
    seed: int
    speeds: dict[str, float] = field(default_factory=dict)
    """Start of a parameter's name -> its share of the learning rate, and of the decay."""
    rate: Rate = "constant"
    """Course of the learning rate after the warm-up; ``cosine`` and ``linear`` fall to 0."""
    warm_up: float = 0.0
    """Share of the course in which the rate rises from 0."""
    average: float = 0.0
    """Epochs over which parameters are averaged, with exponential forgetting, for all that is asked of them; 0 = none.
    Buffers stay those of the last step: statistics of a batch norm would be those of other weights."""
    course: int | None = None
    """Epochs the course is drawn over, None = ``epochs``. The number a stopped training had aimed at repeats its rates
    where only as many epochs as it kept are learned again."""

    def __post_init__(self) -> None:
        if self.rate not in get_args(Rate):
            raise UsageError(f"rate is {self.rate!r}; allowed: {', '.join(get_args(Rate))}")
        if not 0 <= self.warm_up < 1:
            raise UsageError(f"warm_up is {self.warm_up}; it is a share of all steps: 0 <= warm_up < 1")
        if not 0 <= self.weight_decay < 1:
            raise UsageError(f"weight_decay is {self.weight_decay}; it is a share by epoch: 0 <= weight_decay < 1")
        if self.average < 0:
            raise UsageError(f"average is {self.average}; it counts epochs: 0 or more")

    def share(self, epochs: float) -> float:
        """Share of the full rate in force after so many epochs, whole or not."""
        total = self.epochs if self.course is None else self.course
        warm = self.warm_up * total
        if epochs < warm:
            return epochs / warm
        done = min((epochs - warm) / max(total - warm, 1e-9), 1.0)
        falling = {"constant": 1.0, "linear": 1.0 - done, "cosine": (1.0 + math.cos(math.pi * done)) / 2}
        return falling[self.rate]


@dataclass(frozen=True)
class Trained:
    """What the loop did."""

    epochs: int
    """Epochs behind the kept weights: the best on validation, else all of them."""
    curve: list[float] = field(default_factory=list)
    """Validation after 0, 1, 2 … epochs; higher is better."""
    losses: list[float] = field(default_factory=list)
    """Mean loss of each epoch."""

    def to_json(self) -> dict[str, Any]:
        """The curves as a model leaves them in ``training_``."""
        return {"loss": self.losses, "validation": self.curve, "epochs": self.epochs}


@dataclass(frozen=True)
class Epoch:
    """What is known when an epoch ends."""

    number: int
    """1 for the first; a training in two parts counts on."""
    loss: float
    """Mean over the examples."""
    validation: float | None
    seconds: float


Watch: TypeAlias = Callable[[Epoch], None]
"""Told of every epoch when it is over and saved."""


def later(watch: Watch | None, epochs: int) -> Watch | None:
    """A watch for the next part of a training, after so many epochs: curves go on where they were."""
    return watch and (lambda epoch: watch(replace(epoch, number=epoch.number + epochs)))


def train(
    net: nn.Module,
    size: int,
    step: Step,
    schedule: Schedule,
    validate: Callable[[], float] | None = None,
    *,
    batches: Batches | None = None,
    checkpoint: Checkpoint | None = None,
    watch: Watch | None = None,
) -> Trained:
    """Fit ``net`` in place to ``size`` examples; ``step(rows, generator)`` gives the mean loss of some of them.

    ``batches`` says which examples go together, None = any. With ``validate`` the weights of the best epoch are kept;
    where the schedule averages, it is their mean that is judged, kept and left.
    Random numbers come from one local generator (those of torch's own layers, such as dropout, from a fork of torch's
    for the CPU and for the network's device), so that equal inputs give equal bytes on the CPU of one machine, and
    nobody else's random numbers change. With ``checkpoint`` a training that was stopped anywhere goes on after its last
    whole epoch, to the same bytes, if all else is as it was; one that had ended answers at once. Raises BundleError
    where the checkpoint cannot be gone on from, UsageError where the weights are no numbers after an epoch.

    In a group (``nn/together``) every worker calls this with the same arguments and ends with the same weights. A step
    is given the whole batch and takes its part by ``together.part``; the first worker alone validates and saves.
    """
    with torch.random.fork_rng(devices=_devices(net)):
        learner = Learner.start(net, schedule)
        together.alike(list(net.state_dict().values()))
        made_of = _made_of(learner, size, schedule, validate is not None) if checkpoint else {}
        found = checkpoint.load(made_of) if checkpoint else None
        if together.differs(repr(found and found[1]).encode()):
            raise BundleError(
                "workers found other checkpoints than the first one; give all of them one folder, or none"
            )
        if found:
            learner.restore(*found)
        elif validate:
            _ask(learner, validate)
        while not learner.stopped(schedule):
            begun = time.perf_counter()
            learner.losses.append(_epoch(learner, size, step, schedule, batches))
            _check(learner)
            if validate:
                with learner.averaged():
                    _ask(learner, validate)
            if checkpoint:
                _save(learner, checkpoint, made_of)
            _tell(learner, time.perf_counter() - begun, watch)
    if learner.kept:
        net.load_state_dict(learner.kept)
    elif learner.steps:
        _set(list(net.parameters()), learner.mean)
    _check(learner)
    net.eval()
    return Trained(learner.best if validate else len(learner.losses), learner.curve, learner.losses)


@dataclass(eq=False)
class Learner:
    """All that changes while a network learns."""

    net: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    losses: list[float] = field(default_factory=list)
    curve: list[float] = field(default_factory=list)
    best: int = 0
    """The last epoch with clear progress."""
    kept: dict[str, Tensor] = field(default_factory=dict)
    """Weights of the best epoch; none without validation."""
    mean: list[Tensor] = field(default_factory=list)
    """Averaged weights, in the order of the parameters; none where nothing is averaged."""
    steps: int = 0
    """Weights that went into the mean."""

    @classmethod
    def start(cls, net: nn.Module, schedule: Schedule) -> Learner:
        """Before the first epoch; seeds the generator, and torch's own, which differ between workers."""
        torch.default_generator.manual_seed(together.own_seed(schedule.seed))
        for device in _devices(net):
            torch.cuda.default_generators[device].manual_seed(together.own_seed(schedule.seed))
        groups, fused = _groups(net, schedule), bool(_devices(net))  # on a GPU launching many kernels takes the time
        optimizer = torch.optim.AdamW(groups, lr=schedule.learning_rate, weight_decay=0.0, fused=fused)
        mean = [parameter.detach().clone() for parameter in net.parameters()] if schedule.average else []
        return cls(net, optimizer, torch.Generator().manual_seed(schedule.seed), mean=mean)

    def remember(self, span: float) -> None:
        """Let the mean, over so many steps, follow the weights; at first it is that of all weights so far.

        After Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992: under a constant rate
        the weights circle around what their mean is near to.
        """
        if self.mean:
            self.steps += 1
            share = 1.0 / max(min(self.steps, span), 1.0)
            torch._foreach_lerp_(self.mean, [parameter.detach() for parameter in self.net.parameters()], share)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The network with the averaged weights, where there are any, for as long as the block lasts."""
        if not self.steps:
            yield
            return
        parameters: list[Tensor] = list(self.net.parameters())
        now = [parameter.detach().clone() for parameter in parameters]
        _set(parameters, self.mean)
        try:
            yield
        finally:
            _set(parameters, now)

    def judge(self, value: float) -> None:
        """Note the validation after the epochs done so far; the weights are kept if none was higher."""
        self.curve.append(value)
        epoch = len(self.losses)
        bar = self.curve[self.best]
        if epoch == 0 or value > bar + GAIN * abs(bar):
            self.best, self.kept = epoch, _copy(self.net)

    def stopped(self, schedule: Schedule) -> bool:
        """Whether no epoch is to come."""
        done = len(self.losses)
        return done >= schedule.epochs or (len(self.curve) > 1 and done - self.best >= schedule.patience)

    def tensors(self) -> dict[str, Tensor]:
        """All that goes on from here, but ``numbers``; torch's own random states of all workers."""
        found = {"random.own": self.generator.get_state()}
        states = {"random.torch": torch.get_rng_state()}
        for device in _devices(self.net):
            states["random.device"] = torch.cuda.get_rng_state(device)
        for name, state in states.items():
            found |= {f"{name}{_worker(place)}": each for place, each in enumerate(together.gathered(state))}
        found |= {f"net.{name}": tensor for name, tensor in self.net.state_dict().items()}
        found |= {f"kept.{name}": tensor for name, tensor in self.kept.items()}
        found |= {f"mean.{place}": tensor for place, tensor in enumerate(self.mean)}
        for place, moments in self.optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{place}.{name}": tensor for name, tensor in moments.items()}
        return found

    def numbers(self) -> dict[str, Any]:
        """Curves and their marks, as plain JSON."""
        return {"losses": self.losses, "curve": self.curve, "best": self.best, "steps": self.steps}

    def restore(self, tensors: Mapping[str, Tensor], numbers: Facts) -> None:
        """Undo ``tensors`` and ``numbers``: the next epoch is the one that would have followed."""
        for name, value in numbers.items():
            setattr(self, name, value)
        self.kept = _under("kept.", tensors)
        for number, mean in enumerate(self.mean):
            mean.copy_(tensors[f"mean.{number}"])
        self.net.load_state_dict(_under("net.", tensors))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under("optimizer.", tensors).items():
            place, _, moment = name.partition(".")
            moments.setdefault(int(place), {})[moment] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        self.generator.set_state(tensors["random.own"])
        mine = _worker(together.rank())
        torch.set_rng_state(tensors[f"random.torch{mine}"])
        for device in _devices(self.net):
            torch.cuda.set_rng_state(tensors[f"random.device{mine}"], device)


def _epoch(learner: Learner, size: int, step: Step, schedule: Schedule, make: Batches | None) -> float:
    """Learn from every example once; the mean loss."""
    learner.net.train()
    parameters = list(learner.net.parameters())
    done, total = len(learner.losses), torch.zeros((), dtype=torch.float64)
    if make is None:
        batches: Sequence[Tensor] = torch.split(torch.randperm(size, generator=learner.generator), schedule.batch_size)
    else:
        batches = make(schedule.batch_size, learner.generator)
    # The decay follows the rate epoch by epoch: a sum over batches would depend on their number again.
    keep = (1.0 - schedule.weight_decay) ** (schedule.share(done + 0.5) / len(batches))
    for place, rows in enumerate(batches):
        learner.optimizer.zero_grad(set_to_none=True)
        loss = together.share(step(rows, learner.generator))
        loss.backward()  # type: ignore[no-untyped-call]
        loss = together.add(parameters, loss)
        _pace(learner.optimizer, schedule.share(done + (place + 0.5) / len(batches)), keep)
        learner.optimizer.step()
        learner.remember(schedule.average * len(batches))
        total = total.to(loss.device) + loss.double() * len(rows)  # read at the end: a GPU need not wait
    learner.net.eval()
    if together.differs(learner.generator.get_state().numpy().tobytes()):
        raise RuntimeError(
            "workers drew other numbers in a step than the first one: their batches would no longer agree"
        )
    return float(total) / max(size, 1)


def _check(learner: Learner) -> None:
    """Raise UsageError where learning has left the numbers; weights of an earlier epoch would hide it."""
    found = all(bool(parameter.isfinite().all()) for parameter in learner.net.parameters())
    if not found or not all(map(math.isfinite, learner.losses[-1:])):
        raise UsageError(f"weights are no numbers after {len(learner.losses)} epochs; use a smaller learning_rate")


def _ask(learner: Learner, validate: Callable[[], float]) -> None:
    """Judge as the first worker does; what a validation leaves in buffers, all get."""
    value = together.first(validate)
    together.alike(list(learner.net.buffers()))
    learner.judge(value)


def _save(learner: Learner, checkpoint: Checkpoint, made_of: dict[str, Any]) -> None:
    """Write the state of all workers, once."""
    tensors = learner.tensors()
    if together.rank() == 0:
        checkpoint.save(tensors, learner.numbers(), made_of)


def _worker(place: int) -> str:
    """End of the names of what is a worker's own."""
    return f".{place}" if place else ""


def _pace(optimizer: torch.optim.Optimizer, share: float, keep: float) -> None:
    """Set the learning rate of the next step, and decay what it will move."""
    for group in optimizer.param_groups:
        group["lr"] = group["full_rate"] * share
        if group["decay"] and keep != 1.0:
            moving = [parameter for parameter in group["params"] if parameter.grad is not None]
            with torch.no_grad():
                if moving:
                    torch._foreach_mul_(moving, keep ** group["decay"])


def _groups(net: nn.Module, schedule: Schedule) -> list[dict[str, Any]]:
    """Parameters by speed: few-number ones fast and without decay, others by the first name that fits."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        small = parameter.numel() <= SCALAR_SIZE
        speed = next((value for prefix, value in schedule.speeds.items() if name.startswith(prefix + ".")), 1.0)
        rate = schedule.learning_rate * (SCALAR_SPEED if small else speed)
        groups.setdefault((rate, 0.0 if small else speed), []).append(parameter)
    return [{"params": held, "lr": rate, "full_rate": rate, "decay": decay} for (rate, decay), held in groups.items()]


def _made_of(learner: Learner, size: int, schedule: Schedule, validated: bool) -> dict[str, Any]:
    """What must be equal for a stopped training to go on; the starting weights stand for data and seed behind them."""
    start = learner.net.state_dict()
    shapes = {name: list(tensor.shape) for name, tensor in start.items()}
    facts = {"schedule": asdict(schedule), "examples": size, "validated": validated, "shapes": shapes}
    kind = "cuda" if _devices(learner.net) else "cpu"  # which draw other numbers
    facts |= {"workers": together.size()} if together.size() > 1 else {}
    return facts | {"device": kind, "starting_weights": digest(start)}


def _tell(learner: Learner, seconds: float, watch: Watch | None) -> None:
    """Log the epoch that ended and show it to the watch."""
    validation = learner.curve[-1] if learner.curve else None
    epoch = Epoch(len(learner.losses), learner.losses[-1], validation, seconds)
    log.debug("epoch=%d loss=%.4f validation=%s seconds=%.1f", epoch.number, epoch.loss, validation, seconds)
    if watch:
        watch(epoch)


def _devices(net: nn.Module) -> list[int]:
    """Places of the GPUs that hold the network: none, or one."""
    places = {parameter.device.index or 0 for parameter in net.parameters() if parameter.device.type == "cuda"}
    return sorted(places)


def _copy(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


@torch.no_grad()
def _set(parameters: list[Tensor], values: list[Tensor]) -> None:
    torch._foreach_copy_(parameters, values)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
