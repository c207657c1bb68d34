"""What this machine can do at most, in the same run as what is measured against it."""

from __future__ import annotations

from typing import Literal

from aisle.jobs.bench.speed.task import Place, Side, Task, Work

EDGE, TRY_EDGE = 4_096, 512
"""Edge of the matrices, and where the retailer is so small that the command is only tried out."""
BYTES, TRY_BYTES = 1 << 30, 1 << 24
"""More than caches hold."""
TRY_ROWS = 100_000
TIMES = 3


def _product(kind: Literal["float32", "bfloat16"], place: Place) -> Work:
    from aisle.kernels.limits import square_product

    work, gflop = square_product(kind, EDGE if place.size.rows >= TRY_ROWS else TRY_EDGE)
    work()  # nobody pays for the first call
    return Work(lambda: [work() for _ in range(TIMES)], lambda found: {"gflop": TIMES * gflop})


def _reading(place: Place) -> Work:
    from aisle.kernels.limits import reading

    work, gigabytes = reading(BYTES if place.size.rows >= TRY_ROWS else TRY_BYTES)
    work()
    return Work(lambda: [work() for _ in range(TIMES)], lambda found: {"gigabytes": TIMES * gigabytes})


TORCH = ("aisle.kernels.limits",)
TASK = Task(
    name="limits",
    title="Limits of the machine",
    about="Square matrix products (2 · edge³ operations), and a sum over memory larger than the caches.",
    sides=(
        Side(name="float32 product", ready=lambda place: _product("float32", place), imports=TORCH),
        Side(name="bfloat16 product", ready=lambda place: _product("bfloat16", place), imports=TORCH),
        Side(name="memory read", ready=_reading, imports=TORCH),
    ),
)
