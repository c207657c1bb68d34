"""A cluster of Ray on this machine: machines that join, and that are lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.engine.processes import alive, descendants, until

SMALL = {"object_store_memory": 80 << 20, "include_dashboard": False}


def three_machines() -> Any:
    """A cluster of three nodes of a core each; the caller is at the first."""
    from ray.cluster_utils import Cluster

    made = patiently(lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **SMALL}))
    for _ in range(2):
        add_machine(made)
    return made


def add_machine(cluster: Any) -> None:
    patiently(lambda: cluster.add_node(num_cpus=1, **SMALL))


def patiently(start: Callable[[], Any]) -> Any:
    """Start a machine of a cluster; Ray gives each half a minute, which a busy one may miss."""
    for _ in range(5):
        try:
            return start()
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
    return pytest.fail("no machine joined")


def lose(cluster: Any) -> set[int]:
    """Kill a machine, not the caller's, with all that runs on it; these processes."""
    machine = sorted(cluster.worker_nodes, key=id)[0]
    workers = descendants(machine.all_processes["raylet"][0].process.pid)
    cluster.remove_node(machine, allow_graceful=False)
    for pid in workers:  # they would answer before they notice
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not any(map(alive, workers)))
    return workers
