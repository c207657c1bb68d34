"""A worker process of the local engine: a line of JSON in for each part, a line of JSON out.

It ends with the pipe that feeds it: when the caller is done, and when the caller was killed.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback

from aisle.engine.base import perform


def main() -> None:
    """Answer ``[task, part, shared]`` after ``[task, part, shared]`` until standard input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what tasks and libraries print is no answer
    orders: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    try:
        while True:
            answers.write(perform(*orders.get()) + "\n")
            answers.flush()
    except BaseException:  # a panic of Polars, say: the exit code is settled before the pipe closes
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def _listen(orders: queue.SimpleQueue[list[str]]) -> None:
    """Pass orders on; nobody is left to answer to when they end, so the process ends at once, whatever it is doing."""
    for line in sys.stdin:
        orders.put(json.loads(line))
    os._exit(0)


if __name__ == "__main__":
    main()
