"""What an upload can wait for."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Cause"]


class Cause(StrEnum):
    """For what, or for whom."""

    CLIENT = "client"
    QUEUE = "queue"
    SLAB = "slab"
    DISK = "disk"
    DESTINATION = "destination"
    BACKOFF = "backoff"
