"""The engine of a cluster, by Ray: each part a task of its core, given to another worker where one is lost.

Workers that speak with each other are tasks too, all placed before the first begins, each in a process of its own; they
are lost together. The one file that imports Ray, when it is asked for. Files are reached by path: inputs and results
must lie on storage that all machines share.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aisle.engine.base import GRACE, POLL, RETRIES, Answers, Ends, Engine, LostError, gone, perform, receipt_of
from aisle.engine.process import THREADS, on_network
from aisle.errors import ResourceError, UsageError

OBJECT_STORE_BYTES = 100 << 20
"""Receipts are all that goes through Ray; its own default is a third of the memory."""
CONNECT_SECONDS = 10.0
ROOM_SECONDS = 600.0
"""So long workers that must all be there wait for room: other work may end, a lost machine come back."""
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_task_oom_retries": str(RETRIES),  # it would try for ever
}
"""Of Ray, unless the environment says otherwise."""
WAIT = "RAY_gcs_server_port_wait_time_s"
"""Tries of Ray to reach the head of a cluster, each a second, or half a minute where it is refused."""
OWN = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", WAIT: "120"}
"""Of Ray for a cluster of one machine: it listens at the loopback address alone, on Linux too, and a busy machine is no
reason to give up."""
THEIRS = {WAIT: "2"}
"""Of Ray for a cluster that is there: it answers or refuses at once."""
QUIET = {"logging_level": "CRITICAL", "log_to_driver": False}
TOKEN_FILE = ".ray/auth_token"
"""Where Ray itself looks for the token, below the home folder."""


class Ray(Engine):
    """Tasks on the cluster at ``address``, or on one of this machine with ``workers`` of its cores, all by default.

    On a real cluster ``workers`` is how many parts are done at once, as many as there are cores by default. A
    connection that the caller already has is used, and left open. Raises UsageError where Ray is not installed or no
    cluster answers.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self.address, self.workers = address, workers
        self.ray = _imported(own=address is None)
        self.ours = False
        self.folder: str | None = None
        if address is not None:  # a wrong address is told now, and not after hours of other work
            self._connect()
            self.close()

    def answers(self, task: str, parts: Mapping[int, str], shared: str) -> Answers:
        """See ``Engine.answers``."""
        if not parts:
            return
        self._connect()
        ray = self.ray
        remote = ray.remote(num_cpus=1, max_retries=RETRIES)(perform)
        waiting, busy = iter(parts.items()), dict[Any, int]()
        limit = self.workers if self.address and self.workers else len(parts)
        try:
            while True:
                while len(busy) < limit and (following := next(waiting, None)) is not None:
                    busy[remote.remote(task, following[1], shared)] = following[0]
                if not busy:
                    return
                for done in ray.wait(list(busy))[0]:
                    place = busy.pop(done)
                    yield place, receipt_of(self._answer(done, parts[place]))
        finally:
            for left in busy:
                ray.cancel(left, force=True)

    def _answer(self, done: Any, part: str) -> str:
        try:
            return str(self.ray.get(done))
        except self.ray.exceptions.RayError as error:
            raise ResourceError(
                f"Ray lost the worker of one part {RETRIES + 1} times ({_first_line(error)}): {part}; look "
                "into the cluster's memory and logs; the same command goes on from here"
            ) from error

    def check_together(self, size: int, gpu: bool) -> None:
        """See ``Engine.check_together``; a cluster that is there may grow."""
        self._connect()
        there = self.ray.cluster_resources()
        cores, gpus = int(there.get("CPU", 0)), int(there.get("GPU", 0))
        if self.address is None and size > cores:
            raise UsageError(f"{size} workers need a core each, Ray has {cores}; give fewer workers")
        if gpu and 0 < gpus < size:
            raise UsageError(f"{size} workers need a GPU each, Ray has {gpus}; give fewer workers, or device=cpu")

    def ends(self, task: str, size: int, shared: str, gpu: bool) -> Ends:
        """See ``Engine.ends``: over many machines where there are some, a core each, and a GPU where there are any."""
        self._connect()
        ray, running = self.ray, dict[Any, int]()
        needs = {"num_cpus": 1, "num_gpus": int(gpu and ray.cluster_resources().get("GPU", 0) > 0)}
        room = ray.util.placement_group([{"CPU": 1, "GPU": needs["num_gpus"]}] * size, strategy="SPREAD")
        try:
            yield from self._placed(room, size)
            alone = {"max_retries": 0, "max_calls": 1, "runtime_env": {"env_vars": dict.fromkeys(THREADS, "1")}}
            placed = [
                needs
                | {"scheduling_strategy": ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(room, r)}
                for r in range(size)
            ]
            meeting = self._meeting(placed[0])
            for rank in range(size):
                part = json.dumps({"rank": rank, "size": size, "meeting": meeting, "threads": 1})
                running[ray.remote(**placed[rank], **alone)(_peer).remote(task, part, shared)] = rank
            while running:
                ended = ray.wait(list(running), timeout=POLL)[0]
                for one in ended:
                    rank = running.pop(one)
                    yield rank, self._end(one, rank)
                if not ended:
                    yield None
        finally:
            for left in running:
                ray.cancel(left, force=True)
            if running:
                ray.wait(list(running), num_returns=len(running), timeout=GRACE)
            ray.util.remove_placement_group(room)

    def _placed(self, room: Any, size: int) -> Generator[None, None, None]:
        """Wait until there is room for all workers."""
        until = time.monotonic() + ROOM_SECONDS
        while not room.wait(POLL):
            if time.monotonic() > until:
                there = int(self.ray.cluster_resources().get("CPU", 0))
                raise ResourceError(
                    f"the cluster had no room for {size} workers at once in {ROOM_SECONDS:.0f} seconds, it has {there} "
                    "cores; start more machines, or give fewer workers; with --checkpoint the same command goes on"
                )
            yield None

    def _meeting(self, first: dict[str, Any]) -> str:
        """Where workers find each other: by a port of the first one's machine, or a file of a cluster of our own."""
        if self.folder is not None:
            return f"file://{self.folder}/meeting-{secrets.token_hex(8)}"
        try:
            return str(self.ray.get(self.ray.remote(**first)(_free_port).remote(), timeout=ROOM_SECONDS))
        except self.ray.exceptions.RayError as error:
            raise LostError(f"the first worker's machine was lost: {_first_line(error)}") from error

    def _end(self, ended: Any, rank: int) -> str:
        try:
            return str(self.ray.get(ended))
        except self.ray.exceptions.RayError as error:
            raised = self.ray.exceptions.RayTaskError, self.ray.exceptions.RuntimeEnvSetupError
            return gone(f"worker {rank} was lost ({_first_line(error)})", lost=not isinstance(error, raised))

    def _connect(self) -> None:
        if self.ours or self.ray.is_initialized():
            return
        if self.address is None:
            self._start()
        else:
            _check_reachable(self.address)
            try:
                self.ray.init(address=self.address, **QUIET)
            except (OSError, ValueError, RuntimeError, self.ray.exceptions.RayError, SystemExit) as error:
                raise UsageError(
                    f"Ray did not connect to --address {self.address}: {_first_line(error)}; run on a machine of the "
                    "cluster, with the cluster's version of Ray and its RAY_AUTH_TOKEN"
                ) from error
        self.ours = True

    def _start(self) -> None:
        """Start a cluster on this machine, for as long as this engine is open."""
        self.folder = tempfile.mkdtemp(prefix="aisle-ray-", dir="/tmp")  # paths of sockets must be short
        own = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES, "num_cpus": self.workers}
        try:
            with _one_thread():
                self.ray.init(address="local", _temp_dir=self.folder, **own, **QUIET)
        except Exception as error:  # Ray has no class of its own for a machine that is too busy to start it
            self.close()
            raise ResourceError(
                f"Ray did not start on this machine: {_first_line(error)}; try again, or use --engine local"
            ) from error

    def close(self) -> None:
        """End the connection, and the cluster where it is this engine's own."""
        if self.ours:
            self.ray.shutdown()
            self.ours = False
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None


def _peer(task: str, part: str, shared: str) -> str:
    """``perform``, speaking with the others on the network that Ray is on."""
    on_network(os.environ, _host())
    return perform(task, part, shared)


def _free_port() -> str:
    """A port of this machine that nobody listens at, as a meeting point."""
    host = _host()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as asked:
        asked.bind((host, 0))
        port = asked.getsockname()[1]
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _host() -> str:
    """The address of this machine, asked in a worker of Ray."""
    return str(sys.modules["ray"].util.get_node_ip_address())


def _imported(own: bool) -> Any:
    """The module ``ray``, told to report to nobody and to ask for a token where one is known or the cluster is ours.

    A caller who has imported it has settled that: Ray reads its environment once.
    """
    if "ray" not in sys.modules:
        known = os.environ.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} or (Path.home() / TOKEN_FILE).exists()
        if own and not known:
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        if own or known:
            os.environ.setdefault("RAY_AUTH_MODE", "token")
        for name, value in (SETTINGS | (OWN if own else THEIRS)).items():
            os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            f"--engine ray needs Ray ({error}): pip install 'aisle[ray]', or use --engine local"
        ) from error
    return ray


def _first_line(error: BaseException) -> str:
    """What an error of Ray is about, without the pages that follow."""
    cause = error.__cause__ or error
    return f"{type(cause).__name__}: {cause}".strip().split("\n")[0]


def _check_reachable(address: str) -> None:
    """Raise UsageError where nothing listens at ``HOST:PORT``: Ray itself would try for minutes, then exit."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdigit():
        raise UsageError(f"--address is {address!r}; write HOST:PORT of the head, such as 10.0.0.1:6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise UsageError(
            f"nothing answers at --address {address} ({error}); start it with: ray start --head"
        ) from error


@contextmanager
def _one_thread() -> Iterator[None]:
    """Workers started meanwhile, each on a core, have one thread each."""
    given = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in given.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
