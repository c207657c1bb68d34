"""What surrounds a worker process: its share of the cores, and the caller's import path."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import MutableMapping

THREADS = ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""What the libraries of a worker take their number of threads from."""
NETWORKS = "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"
"""Variables that tell gloo and NCCL which network to use."""
SIOCGIFADDR = 0x8915
"""Of Linux: give the address of a network."""


def cores() -> int:
    """CPU cores that this process may use; macOS tells those of the machine alone."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(workers: int) -> dict[str, str]:
    """The caller's, for one of so many workers: with its import path, in its order, and an even share of the cores.

    Start the worker with ``python -P``: what Python puts before that path, such as the current folder, is not the
    caller's. Threads are fewer than the share where the caller has fewer; idle ones sleep.
    """
    share = max(1, cores() // workers)
    path = os.pathsep.join(part or os.getcwd() for part in sys.path)
    own = {**os.environ, "PYTHONPATH": path, "OMP_WAIT_POLICY": "PASSIVE"}
    for name in THREADS:
        given = own.get(name, "")
        own[name] = str(min(share, int(given)) if given.isdigit() else share)
    return own


def on_network(own: MutableMapping[str, str], address: str | None = None) -> None:
    """Let gloo and NCCL use the network of this machine's ``address`` alone; None = that of the machine itself.

    What stands in the environment ``own`` stays. Without this gloo takes the network that the machine's name leads to,
    which may be one that the others do not see. Where the network cannot be told, nothing is set.
    """
    names = [name for _, name in socket.if_nameindex()]
    found = [name for name in names if name in ("lo", "lo0") if address is None or address.startswith("127.")]
    found = found or [name for name in names if address is not None and _address(name) == address]
    for variable in NETWORKS if found else ():
        own.setdefault(variable, found[0])


def _address(name: str) -> str | None:
    """The IPv4 address of a network, told by Linux alone."""
    if not sys.platform.startswith("linux"):
        return None
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            found = fcntl.ioctl(asked.fileno(), SIOCGIFADDR, struct.pack("256s", name.encode()))
        except OSError:  # it has none
            return None
    return socket.inet_ntoa(found[20:24])
