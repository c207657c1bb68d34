"""Several workers that learn one model together: each takes its part of every batch, and gradients are added up.

Every worker holds the whole model and all data and goes the same way through both, with the same random numbers::

    alike on all    the batches of an epoch; negatives, hidden ids and purchases of a step, drawn for all its rows
    each its own    scores, loss and gradient of its rows; dropout inside layers, ids hidden where products are drawn
    added up        gradients and losses, before the optimizer's step
    worker 0 alone  asks the judges, and writes: the others are told

The loss of a batch is a weighted mean over its answers. A part weighs its own as shares of the *whole* batch, so that
the losses of all parts add up to that mean, and their gradients to its gradient: a step is the step of one process, up
to rounding and to the dropout of layers. Negatives of a step are shared by its rows, and in-batch ones are answers of
all of them: every worker draws them from the whole batch. A softmax over all products looks at one row at a time and
needs nothing of the others. A loss that is no mean over rows (``nn/regression``: a root, a separation) is worked out in
full by every worker: right, and no faster.

Without a group, which is the rule, every function here gives back what it was given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby

import torch
import torch.distributed as dist
from torch import Tensor, nn

from aisle.errors import UsageError

BUCKET = 1 << 23
"""Numbers of a gradient that travel at once."""
PATIENCE = timedelta(minutes=30)
"""So long a worker waits for the others: a dead process is noticed at once, a dead machine after this."""
SEEDS = 1_000_003
"""Seeds of two workers lie so far apart: torch keeps the lower 32 bits of a seed."""


@dataclass(eq=False)
class Group:
    """The workers, seen by one of them."""

    rank: int
    size: int
    sent: int = 0
    """Bytes that this worker put up to be added or shared, so far; what travels depends on the algorithm."""
    split: bool = False
    """Whether the step under way has taken a part of its batch."""


_group: Group | None = None


@contextmanager
def joined(rank: int, size: int, meeting_point: str, *, threads: int | None = None) -> Iterator[Group]:
    """Learn as worker ``rank`` of ``size``, on so many threads, for as long as the block lasts.

    ``meeting_point`` is where the workers find each other: ``tcp://host:port`` at worker 0, or ``file:///path`` of a
    new file that all of them see. Tensors of a CPU travel by gloo, those of a GPU by NCCL; with GPUs, worker r takes
    the GPU ``r mod (GPUs that it sees)``. Raises UsageError for a rank that is none, ConnectionError where the others
    do not come, or where one is lost.
    """
    global _group
    if not 0 <= rank < size:
        raise UsageError(f"worker {rank} of {size} was asked for; workers count from 0")
    if _group is not None:
        raise UsageError(f"this process is worker {_group.rank} of {_group.size} already; start another process")
    if threads:
        torch.set_num_threads(threads)
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(rank % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    with _heard():
        dist.init_process_group(backend, init_method=meeting_point, rank=rank, world_size=size, timeout=PATIENCE)
    _group = Group(rank, size)
    try:
        yield _group
    finally:
        _group = None
        dist.destroy_process_group()


def rank() -> int:
    """Number of this worker; 0 writes."""
    return _group.rank if _group else 0


def size() -> int:
    """Number of workers; 1 without a group."""
    return _group.size if _group else 1


def gpus() -> int:
    """GPUs that this machine has and torch can use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def own_seed(seed: int) -> int:
    """A seed for what each worker draws for itself; that of worker 0 is the one given."""
    return seed + SEEDS * rank()


def own(generator: torch.Generator) -> torch.Generator:
    """A generator for draws whose number differs between workers, seeded by one draw from that which all share."""
    if _group is None:
        return generator
    seed = int(torch.randint(1 << 31, (), generator=generator))
    return torch.Generator().manual_seed(own_seed(seed))


def part(count: int) -> slice:
    """Which of so many rows of a batch, in the order given, are this worker's: all of them where they are too few."""
    if _group is None or count < _group.size:
        return slice(0, count)
    _group.split = True
    return slice(count * _group.rank // _group.size, count * (_group.rank + 1) // _group.size)


def share(loss: Tensor) -> Tensor:
    """The loss of a step, so that those of all workers add up; one whose step took no part is the same for all."""
    if _group is None:
        return loss
    taken, _group.split = _group.split, False
    return loss if taken else loss / _group.size


@torch.no_grad()
def add(parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
    """Add up the gradients of all workers, in place; the sum of their losses, without a gradient.

    A parameter that no worker's part reached keeps no gradient: it is neither moved nor decayed.
    """
    loss = loss.detach()
    if _group is None:
        return loss
    reached = torch.tensor([float(parameter.grad is not None) for parameter in parameters] + [0.0])
    reached[-1] = float(loss) if loss.device.type == "cpu" else 0.0
    _added(reached)
    moving = [parameter for parameter, many in zip(parameters, reached[:-1].tolist(), strict=True) if many]
    for bucket in _buckets(moving):
        pieces = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
        flat = torch.cat([piece.flatten() for piece in pieces])
        _added(flat)
        for parameter, grad in zip(bucket, torch.split(flat, [p.numel() for p in bucket]), strict=True):
            parameter.grad = grad.view_as(parameter)
    if loss.device.type == "cpu":
        return reached[-1].to(loss.dtype)
    _added(loss := loss.clone())
    return loss


@torch.no_grad()
def alike(tensors: Sequence[Tensor]) -> None:
    """Give all workers the tensors that worker 0 has, in place."""
    if _group is None:
        return
    some = [tensor for tensor in tensors if tensor.numel()]
    for _, held in groupby(sorted(some, key=lambda t: str(t.device)), key=lambda t: str(t.device)):
        mine = list(held)
        data = torch.cat([_bytes(tensor) for tensor in mine])
        _shared(data)
        for tensor, new in zip(mine, torch.split(data, [t.numel() * t.element_size() for t in mine]), strict=True):
            if _group.rank:
                tensor.copy_(new.clone().view(tensor.dtype).view(tensor.shape))


def first(value: Callable[[], float]) -> float:
    """What worker 0 works out; the others do not."""
    if _group is None:
        return value()
    found = torch.tensor([value() if _group.rank == 0 else 0.0], dtype=torch.float64)
    _shared(found)
    return float(found)


def differs(data: bytes) -> bool:
    """Whether these bytes are other ones than those of worker 0."""
    if _group is None:
        return False
    mine = torch.frombuffer(bytearray(hashlib.sha256(data).digest()), dtype=torch.uint8)
    theirs = mine.clone()
    _shared(theirs)
    return not torch.equal(mine, theirs)


def gathered(tensor: Tensor) -> list[Tensor]:
    """A tensor of one shape on all workers, as each has it, by their numbers."""
    if _group is None:
        return [tensor]
    found = [torch.empty_like(tensor) for _ in range(_group.size)]
    _group.sent += tensor.numel() * tensor.element_size()
    with _heard():
        dist.all_gather(found, tensor)
    return found


def _buckets(parameters: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Neighbours of one kind, up to so many numbers."""
    bucket: list[nn.Parameter] = []
    for parameter in parameters:
        kind = (parameter.dtype, parameter.device)
        full = sum(p.numel() for p in bucket) + parameter.numel() > BUCKET
        if bucket and (full or kind != (bucket[0].dtype, bucket[0].device)):
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().flatten().contiguous().view(torch.uint8)


def _added(tensor: Tensor) -> None:
    assert _group is not None
    _group.sent += tensor.numel() * tensor.element_size()
    with _heard():
        dist.all_reduce(tensor)


def _shared(tensor: Tensor) -> None:
    assert _group is not None
    _group.sent += tensor.numel() * tensor.element_size() if _group.rank == 0 else 0
    with _heard():
        dist.broadcast(tensor, 0)


@contextmanager
def _heard() -> Iterator[None]:
    """Errors of the network in one word: whoever started the workers can start them again."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(f"another worker was lost, or did not come ({error}); start all workers again") from error
