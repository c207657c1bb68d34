"""Parts of a job on several threads, each part on one: how many there are changes no bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import torch
from threadpoolctl import threadpool_limits


def by_parts(work: Callable[[int], None], parts: Iterable[int], threads: int | None = None) -> None:
    """Call ``work`` for each part, on so many ``threads``, None = as many as torch takes; its errors are raised."""
    parts = list(parts)
    workers = min(torch.get_num_threads() if threads is None else threads, len(parts))
    with ThreadPoolExecutor(max(workers, 1), initializer=_alone) as pool:
        for _ in pool.map(work, parts):
            pass


def _alone() -> None:
    """Let a worker's own products take one thread; other threads, torch's own setting among them, keep theirs."""
    torch.get_num_threads()  # a thread that has not asked yet would be told by torch later
    threadpool_limits(1, user_api="openmp")
