"""Parts of a job on several threads."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from aisle.kernels.workers import by_parts, usual_threads

ALONE = """
import sys
import numpy
from threadpoolctl import threadpool_limits
from aisle.kernels.workers import by_parts, usual_threads
with threadpool_limits(3):
    assert usual_threads() == 3, usual_threads()
seen = []
by_parts(seen.append, range(9), 2)
assert sorted(seen) == list(range(9))
assert "torch" not in sys.modules
"""


def test_as_many_threads_as_the_libraries_take() -> None:
    with threadpool_limits(2):
        assert usual_threads() == torch.get_num_threads() == 2


def test_without_torch_nobody_imports_it() -> None:
    subprocess.run([sys.executable, "-c", ALONE], check=True)


def test_each_part_has_one_thread_and_libraries_get_theirs_back() -> None:
    before = {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}
    inside: list[int] = []

    def part(_: int) -> None:
        inside.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        assert threading.current_thread() is not threading.main_thread()

    by_parts(part, range(3), 2)
    assert set(inside) <= {1}
    assert {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()} == before


def test_an_error_of_a_part_is_that_of_the_job() -> None:
    def part(number: int) -> None:
        if number == 2:
            raise ValueError("the third")

    with pytest.raises(ValueError, match="the third"):
        by_parts(part, range(4), 2)
