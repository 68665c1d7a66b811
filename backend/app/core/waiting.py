"""What an upload can wait for, and whom to tell."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

__all__ = ["UNOBSERVED", "Cause", "WaitObserver"]


class Cause(StrEnum):
    """For what, or for whom."""

    CLIENT = "client"
    QUEUE = "queue"
    SLAB = "slab"
    DISK = "disk"
    DESTINATION = "destination"
    BACKOFF = "backoff"


class WaitObserver(Protocol):
    """Told, in the event loop, when waiting begins and ends; each `begin` has its `end`, on every path."""

    def begin(self, cause: Cause) -> None:
        """Somebody waits for that from now on."""

    def end(self, cause: Cause) -> None:
        """Somebody waits for it no longer."""


class _Unobserved:
    def begin(self, cause: Cause) -> None:
        """Ignored."""

    def end(self, cause: Cause) -> None:
        """Ignored."""


UNOBSERVED: WaitObserver = _Unobserved()
"""Nobody wants to know."""
