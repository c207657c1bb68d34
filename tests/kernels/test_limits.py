"""What is said to have been done by a limit is what was done."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from aisle.kernels import limits


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_a_product_of_matrices_is_two_operations_a_term(kind: Literal["float32", "bfloat16"]) -> None:
    work, gflop = limits.square_product(kind, 64)
    found = work()
    assert isinstance(found, torch.Tensor)
    assert found.shape == (64, 64)
    assert found.dtype == getattr(torch, kind)
    assert gflop == 2 * 64**3 / 1e9


def test_bfloat16_without_instructions_for_it_is_kept_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "multiplies_bfloat16", lambda: False)
    monkeypatch.setattr(limits, "SLOW_EDGE", 32)
    assert limits.square_product("bfloat16", 64)[1] == 2 * 32**3 / 1e9
    assert limits.square_product("float32", 64)[1] == 2 * 64**3 / 1e9


def test_every_byte_is_read() -> None:
    work, gigabytes = limits.reading(4_000)
    assert float(work()) == 1_000.0  # type: ignore[arg-type]
    assert gigabytes == 4e-6
