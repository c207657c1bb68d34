"""What each worker of a small group does, once for all tests: steps of both models, and whole trainings of a toy.

python -c "from tests.nn.battery import main; main()" RANK SIZE MEETING_POINT FOLDER
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from aisle.errors import BundleError
from aisle.models.nn import basket_tasks, tasks, together
from aisle.models.nn.checkpoint import Checkpoint, digest
from aisle.models.nn.sampling import Sampler
from aisle.models.nn.train import Schedule, Step, Trained, train
from tests.contract.worlds import PRODUCTS
from tests.oracle import test_basket_transformer as basket
from tests.oracle import test_hybrid_tasks as hybrid

Found = dict[str, Tensor]
HYBRID = ("softmax", "sampled_softmax", "wmrb", "balanced_wmrb", "bpr", "warp", "gbce", "rmse", "separation_dense")
BASKET = ("softmax", "sampled_softmax", "gbce")
SAMPLE = Sampler("mixed", 16, torch.arange(PRODUCTS) + 1.0)
PLAN = Schedule(epochs=4, batch_size=15, learning_rate=0.01, weight_decay=0.1, patience=9, seed=4, average=1.0)
EXAMPLES, STEPS = 100, 7


class Stop(Exception):
    """What a killed worker looks like from inside."""


def one_step(net: nn.Module, cost: Callable[[torch.Generator], Tensor], rest: list[nn.Parameter]) -> Found:
    """Loss and gradients as the optimizer finds them, and where the shared generator stands after it."""
    net.zero_grad(set_to_none=True)
    generator = torch.Generator().manual_seed(11)
    loss = together.share(cost(generator))
    loss.backward()  # type: ignore[no-untyped-call]
    loss = together.add([*net.parameters(), *rest], loss)
    found = {"loss": loss.reshape(1), "generator": generator.get_state()}
    for name, parameter in net.named_parameters():
        if parameter.grad is not None:
            found[f"grad.{name}"] = parameter.grad.clone()
    assert all(parameter.grad is None for parameter in rest), "what no part reached keeps no gradient"
    return found


def steps() -> Found:
    """A step of each model under each loss: with batches of a size that does not split evenly, and of one row."""
    found: Found = {}
    idle = [nn.Parameter(torch.ones(3))]
    for loss, hidden, size in product(HYBRID, (False, True), (9, 1)):
        if size == 1 and loss not in ("softmax", "wmrb"):
            continue
        model, asked = hybrid.made(hidden)
        rows = np.arange(size) * (len(asked) // 9)
        how = replace(hybrid.rules(loss), sampler=SAMPLE, dislike=0.5, id_dropout=0.2)

        def ask(g: torch.Generator, rows: Any = rows, how: Any = how, asked: Any = asked, model: Any = model) -> Tensor:
            return tasks.loss_of(model.network, asked, rows, how, g)

        made = one_step(model.network, ask, idle)
        found |= {f"hybrid {loss} {hidden} {size}/{name}": value for name, value in made.items()}
    for loss, repeat, size in product(BASKET, (False, True), (9, 1)):
        lessons, net = basket.lessons(repeat), basket.network().train()
        hide = 0.2 if loss == "softmax" else 0.0  # of drawn products each worker hides its own
        rules = basket_tasks.Rules(loss=loss, sampler=SAMPLE, id_dropout=hide)  # type: ignore[arg-type]

        def learn(g: torch.Generator, size: int = size, rules: Any = rules, held: Any = (lessons, net)) -> Tensor:
            return basket_tasks.loss_of(held[1], held[0].step(np.arange(0, 4 * size, 4)), basket.sold(), rules, g)

        made = one_step(net, learn, idle)
        found |= {f"basket {loss} {repeat} {size}/{name}": value for name, value in made.items()}
    return found


def toy(dropout: float) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        return nn.Sequential(nn.Linear(8, 40), nn.GELU(), nn.Dropout(dropout), nn.Linear(40, 1))


def lesson(net: nn.Module, *, parted: bool, stop: int = -1) -> Step:
    """Mean squared error; ``parted`` takes a part of each batch, else every worker works it out in full."""
    done = [0]

    def step(rows: Tensor, generator: torch.Generator) -> Tensor:
        if done[0] == stop:
            raise Stop
        done[0] += 1
        x = torch.sin(rows[:, None] * torch.arange(1, 9)) + 0.1 * torch.rand(len(rows), 8, generator=generator)
        part = together.part(len(rows)) if parted else slice(None)
        missed: Tensor = net(x[part])[:, 0] - x[part].prod(dim=1)
        return missed.square().sum() / len(rows)

    return step


def learn_toy(
    dropout: float = 0.0, *, parted: bool = True, stop: int = -1, folder: Path | None = None
) -> tuple[Found, Trained]:
    """Weights and curves of a whole training; only the first worker may be asked, or write."""
    net = toy(dropout)
    net.register_buffer("asked", torch.zeros(()))

    def validate() -> float:
        assert together.rank() == 0
        asked = net.get_buffer("asked")
        asked += 1
        with torch.no_grad():
            return 1.0 - float(net(torch.ones(3, 8)).square().mean())

    class Kept(Checkpoint):
        def save(self, *given: Any) -> None:
            assert together.rank() == 0
            super().save(*given)

    checkpoint = Kept(folder) if folder else None
    trained = train(net, EXAMPLES, lesson(net, parted=parted, stop=stop), PLAN, validate, checkpoint=checkpoint)
    return {name: value.clone() for name, value in net.state_dict().items()}, trained


def stopped(folder: Path, stop: int) -> bool:
    try:
        learn_toy(0.3, folder=folder, stop=stop)
    except Stop:
        return True
    return False


def trainings(folder: Path) -> tuple[Found, dict[str, Any]]:
    """Whole trainings: without and with dropout, twice, stopped twice, and in full by every worker."""
    plain, curves = learn_toy()
    whole, _ = learn_toy(parted=False)
    once, again = (learn_toy(0.3) for _ in range(2))
    facts: dict[str, Any] = {"plain": [curves.losses, curves.curve], "digest": digest(once[0])}
    facts["again"] = once[1] == again[1] and digest(once[0]) == digest(again[0])
    facts["stopped"] = [stopped(folder, stop) for stop in (STEPS + 3, 2 * STEPS + 1)]
    kept, trained = learn_toy(0.3, folder=folder)
    facts["resumed"] = trained == once[1] and digest(kept) == digest(once[0])
    facts["not repeated"] = stopped(folder, 0)
    return {f"{kind}.{name}": v for kind, net in (("plain", plain), ("whole", whole)) for name, v in net.items()}, facts


def parts(folder: Path) -> dict[str, Any]:
    """What workers tell each other, one thing at a time."""
    rank, size = together.rank(), together.size()
    mixed = [torch.full((3,), float(rank)), torch.tensor(rank), torch.zeros(0, 4), torch.tensor([rank == 0])]
    together.alike(mixed)
    draws = torch.rand(100, generator=together.own(torch.Generator().manual_seed(1)))
    others = together.gathered(draws)
    uneven = torch.Generator().manual_seed(3)
    together.own(uneven)
    found = {
        "part": [[together.part(n).start, together.part(n).stop] for n in (1, size, 7)],
        "alike": [tensor.tolist() for tensor in mixed],
        "first": together.first(lambda: 0.1 + rank),
        "differs": [together.differs(b"same"), together.differs(bytes([rank]))],
        "own": [bool((draws == other).any()) for place, other in enumerate(others) if place != rank],
        "in step": not together.differs(uneven.get_state().numpy().tobytes()),
        "sent": together._group.sent if together._group else 0,
    }
    together.share(torch.zeros(()))
    return found


def uneven_draws() -> str:
    """A step that takes more numbers on one worker than on another is found out."""
    net = toy(0.0)

    def step(rows: Tensor, generator: torch.Generator) -> Tensor:
        torch.rand(1 + together.rank(), generator=generator)
        return net(torch.ones(1, 8)).sum() * 0.0  # type: ignore[no-any-return]

    try:
        train(net, 4, step, replace(PLAN, epochs=1))
    except RuntimeError as error:
        return str(error)
    return ""


def other_folder(folder: Path) -> str:
    """Workers that do not see one checkpoint are refused, and do not learn different things."""
    try:
        learn_toy(0.3, folder=folder if together.rank() == 0 else folder.with_name("elsewhere"))
    except (BundleError, ConnectionError) as error:
        return type(error).__name__
    return ""


def main() -> None:
    rank, size, meeting_point, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    with together.joined(rank, size, meeting_point, threads=1):
        tensors = steps()
        facts = parts(folder)
        trained, told = trainings(folder / "kept")
        facts |= told | {"uneven": uneven_draws()}
        save_file(tensors | trained, folder / f"found-{rank}.safetensors")
        (folder / f"found-{rank}.json").write_text(json.dumps(facts), encoding="utf-8")
        other = other_folder(folder / "kept")
    (folder / f"other-{rank}.json").write_text(json.dumps(other), encoding="utf-8")
