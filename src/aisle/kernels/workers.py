"""Parts of a job on several threads, each part on one: how many there are changes no bit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import threadpool_info, threadpool_limits


def by_parts(work: Callable[[int], None], parts: Iterable[int], threads: int | None = None) -> None:
    """Call ``work`` for each part, on so many ``threads``, None = ``usual_threads``; its errors are raised."""
    parts = list(parts)
    workers = min(usual_threads() if threads is None else threads, len(parts))
    pool = ThreadPoolExecutor(max(workers, 1), initializer=_alone)
    with threadpool_limits(1, user_api="blas"), pool:  # NumPy's threads are everybody's: they rest meanwhile
        for _ in pool.map(work, parts):
            pass


def usual_threads() -> int:
    """As many as torch takes, or where nobody imported it, as many as products of NumPy's matrices take."""
    if (torch := sys.modules.get("torch")) is not None:
        return int(torch.get_num_threads())
    return max((pool["num_threads"] for pool in threadpool_info()), default=1)


def _alone() -> None:
    """Let a worker's own products take one thread; other threads, torch's own setting among them, keep theirs."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.get_num_threads()  # a thread that has not asked yet would be told by torch later
    threadpool_limits(1, user_api="openmp")
