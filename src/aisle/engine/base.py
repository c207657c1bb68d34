"""What every engine promises: the parts of a job, done in any order by anybody, come to the same receipts and files.

A *task* is a module-level function ``task(part, shared) -> receipt``. All three are JSON: whatever is large lies in
files, named by absolute paths that every worker can reach. The same part must write the same bytes whoever does it, and
each file whole or not at all (``files.atomic``): then a part may be done again at any time, and work that was killed is
finished by the same call.

A receipt names the files that the part wrote under ``files``, path → SHA-256. A part whose receipt is on disk and whose
files still have these hashes is not done again.
"""

from __future__ import annotations

import importlib
import json
import math
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self, TypeAlias, TypeVar

from aisle import errors
from aisle.errors import AisleError, UsageError
from aisle.files import Receipts, sha256
from aisle.progress import Tick

Receipt: TypeAlias = dict[str, Any]
Task: TypeAlias = Callable[[Any, Any], Receipt]
Answers: TypeAlias = Generator[tuple[int, Receipt], None, None]
"""Place and receipt of parts, as they end."""
Ends: TypeAlias = Generator[tuple[int, str] | None, None, None]
"""Number and answer of workers, as they end; None every moment in which none does."""

T = TypeVar("T")

RETRIES = 3
"""A part that took its worker down is given to another one so many times."""
GRACE = 10.0
"""Seconds in which workers that speak with each other end by themselves after one has failed."""
POLL = 0.05
"""Seconds of a moment."""


class LostError(ConnectionError):
    """A worker is gone: killed, out of memory, its machine lost."""


class Engine(ABC):
    """Does the parts of a job. Each engine says how in ``answers``; what is kept and in which order stands here."""

    def map(
        self,
        task: Task | str,
        parts: Sequence[Any],
        shared: Any = None,
        *,
        receipts: Receipts | None = None,
        tick: Tick = lambda done, total: None,
    ) -> list[Receipt]:
        """Receipts of ``task`` for all ``parts``, in their order.

        ``receipts`` keeps them on disk, by task, part and ``shared``: let these say all that the outcome hangs on, the
        hashes of input files among it. ``tick`` is called as parts end. An error of ours that a task raises is raised
        here, by its own class; other parts may be done by then, and are kept. Raises ResourceError for a part whose
        worker is lost time and again.
        """
        name = named(task)
        keys = [[name, part, shared] for part in parts]
        done = {place: kept for place, key in enumerate(keys) if (kept := _kept(receipts, key)) is not None}
        tick(len(done), len(parts))
        missing = {place: json.dumps(part) for place, part in enumerate(parts) if place not in done}
        with closing(self.answers(name, missing, json.dumps(shared))) as answers:
            for place, receipt in answers:
                if receipts is not None:
                    receipts.put(keys[place], receipt)
                done[place] = receipt
                tick(len(done), len(parts))
        return [done[place] for place in range(len(parts))]

    @abstractmethod
    def answers(self, task: str, parts: Mapping[int, str], shared: str) -> Answers:
        """Place and receipt of each part, as they end; parts by place, and ``shared``, are JSON texts.

        A generator: closing it early stops all work and leaves no process behind.
        """

    def together(
        self,
        task: Task | str,
        size: int,
        shared: Any,
        *,
        gpu: bool = False,
        tick: Callable[[], None] = lambda: None,
    ) -> list[Receipt]:
        """Receipts of ``task`` by so many workers at once, who may speak with each other; by their numbers.

        The part of a worker says ``rank``, its number, ``size``, ``threads``, and ``meeting``, where all find each
        other (``models/nn/together``). With ``gpu`` each has a GPU of its own where there are any. ``tick`` is called
        every moment. One that fails ends the others. Raises the error of a worker as ``map`` does; LostError where one
        is lost, or they lost sight of each other: the same call may go better.
        """
        name, found, until = named(task), dict[int, str](), math.inf
        self.check_together(size, gpu)
        with closing(self.ends(name, size, json.dumps(shared), gpu)) as ends:
            for end in ends:
                tick()
                if end is not None:
                    found[end[0]] = end[1]
                    if "error" in json.loads(end[1]):
                        until = min(until, time.monotonic() + GRACE)
                if time.monotonic() > until:
                    break
        tick()
        return _receipts(found)

    @abstractmethod
    def check_together(self, size: int, gpu: bool) -> None:
        """Raise UsageError where there can never be so many workers at once, as ``together`` has them."""

    @abstractmethod
    def ends(self, task: str, size: int, shared: str, gpu: bool) -> Ends:
        """How the workers of ``together`` end; ``shared`` is JSON text, an answer as of ``perform``, or of ``gone``.

        A generator: closing it early stops all of them and leaves no process behind.
        """

    def close(self) -> None:  # noqa: B027  (most engines hold nothing)
        """Give back whatever the engine holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


_at_hand: list[tuple[str, Any]] = []


def at_hand(key: str, make: Callable[[], T]) -> T:
    """What a worker opened for its latest part, under a key of what it hangs on; else made now.

    One thing at most is at hand, of whatever job: nothing of an earlier one stays beside it.
    """
    for kept, found in tuple(_at_hand):
        if kept == key:
            known: T = found
            return known
    _at_hand.clear()  # its memory is free before the next takes as much
    made = make()
    _at_hand[:] = [(key, made)]
    return made


def let_go() -> None:
    """Have nothing at hand: what parts in this process opened is free when its job is over."""
    _at_hand.clear()


def named(task: Task | str) -> str:
    """``module:function`` of a task; raises UsageError for one that another process could not import by it."""
    if not isinstance(task, str):
        name = f"{task.__module__}:{task.__qualname__}"
        if task.__module__ == "__main__" or found(name) is not task:
            raise UsageError(f"{name} cannot be imported by another process; give a function of a module")
        return name
    found(task)
    return task


def found(name: str) -> Task:
    """The function that ``module:function`` names; raises UsageError where there is none."""
    module, _, function = name.partition(":")
    try:
        task: Task = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"no task {name!r} ({error}); write module:function") from error
    return task


def _kept(receipts: Receipts | None, key: Any) -> Receipt | None:
    """The receipt of an earlier call, unless a file it speaks of is not what it was."""
    kept = receipts.get(key) if receipts is not None else None
    if kept is None:
        return None
    whole = all(Path(path).is_file() and sha256(Path(path)) == digest for path, digest in kept.get("files", {}).items())
    return kept if whole else None


def perform(task: str, part: str, shared: str) -> str:
    """One part, done in a worker: the receipt or the error as JSON, for ``receipt_of``."""
    try:
        return json.dumps({"receipt": found(task)(json.loads(part), json.loads(shared))}, allow_nan=False)
    except Exception as error:
        ours = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__]
        told: dict[str, Any] = {
            "error": (ours or [type(error).__name__])[0],
            "message": str(error),
            "trace": traceback.format_exc(),
        }
        if isinstance(error, MemoryError) and not ours:
            told["error"] = "MemoryError"  # that of pyarrow is a class of its own
        elif isinstance(error, ConnectionError):
            told["error"] = "ConnectionError"
        elif isinstance(error, OSError) and not ours:
            told["error"] = "OSError"
            if error.errno is not None:  # libraries raise some with a text alone
                told |= {"errno": error.errno, "message": error.strerror, "filename": error.filename}
        return json.dumps(told, default=str)


def receipt_of(answer: str) -> Receipt:
    """The receipt in what ``perform`` answered; raises the error there instead, if there is one.

    Errors of ours, of memory, files and connections keep their class, all others are a RuntimeError; what the worker
    was doing stands in the notes of each.
    """
    told = json.loads(answer)
    if "error" not in told:
        receipt: Receipt = told["receipt"]
        return receipt
    name, error = told["error"], Exception()
    ours = getattr(errors, name, None)
    if isinstance(ours, type) and issubclass(ours, AisleError):
        error = ours(told["message"])
    elif name == "OSError":
        numbered = "errno" in told
        error = OSError(told["errno"], told["message"], told["filename"]) if numbered else OSError(told["message"])
    elif kind := {one.__name__: one for one in (MemoryError, ConnectionError, LostError)}.get(name):
        error = kind(told["message"])
    else:
        error = RuntimeError(f"{name}: {told['message']}")
    error.add_note(f"In a worker:\n{told['trace']}")
    raise error


def gone(how: str, *, lost: bool = True) -> str:
    """The answer that stands for a worker that gave none; not ``lost``, it failed, and would again."""
    return json.dumps({"error": LostError.__name__ if lost else "RuntimeError", "message": how, "trace": how})


def _receipts(answers: Mapping[int, str]) -> list[Receipt]:
    """Receipts by number; raises the error that explains the others instead, if there is one."""
    found, failed = list[Receipt](), list[Exception]()
    for _, answer in sorted(answers.items()):
        try:
            found.append(receipt_of(answer))
        except Exception as error:
            failed.append(error)
    if not failed:
        return found
    lost = [str(error) for error in failed if isinstance(error, LostError)]
    first = min(failed, key=lambda error: (not isinstance(error, AisleError), isinstance(error, ConnectionError)))
    raise LostError(", ".join(lost) or str(first)) if isinstance(first, ConnectionError) else first
