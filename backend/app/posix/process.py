"""What a server process tells the system, or asks of it, about itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import socket
import sys
import threading
from pathlib import Path

__all__ = ["provide_descriptors", "step_back", "tell_service_manager"]

_BACKGROUND_NICENESS = 10


def step_back() -> None:
    """Let other threads go before this one (Linux: niceness is per thread, setpriority(2))."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a server that runs at a higher niceness may not lower it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _BACKGROUND_NICENESS)


def tell_service_manager(state: str) -> None:
    """Tell systemd, where it started us with `Type=notify` (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address is None:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


def provide_descriptors(wanted: int) -> None:
    """Raise the limit (the usual 1,024 is for programs that use select(2)), and have the kernel make the table now.

    It doubles the table when a descriptor does not fit, and in a process with threads each doubling waits for all
    processors (expand_fdtable, synchronize_rcu): 100 ms and more in the event loop, under load.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # `doctor` tells when it is too low
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError), Path(os.devnull).open("rb") as any_file:
        os.close(fcntl.fcntl(any_file, fcntl.F_DUPFD_CLOEXEC, min(wanted, soft - 1)))
