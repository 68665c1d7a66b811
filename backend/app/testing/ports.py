"""Ports for servers that tests start, which no other program gets meanwhile."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

__all__ = ["free_port", "kept_port"]

_NEVER_GIVEN: Final = range(20_000, 32_000)


def free_port() -> int:
    """A port that nobody has, and that the system gives to nobody who asks for any (ip(7): those begin at 32768)."""
    while True:
        port = random.choice(_NEVER_GIVEN)  # noqa: S311 - no secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def kept_port() -> Iterator[int]:
    """A port that the system gives to nobody else while the block runs, whether somebody listens there or not.

    A socket that is bound and does not listen keeps it, and lets a server listen there (both with SO_REUSEADDR, socket(7)).
    """
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]
