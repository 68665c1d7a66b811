"""How much of an upload is announced to its destination next: one long stream, or pieces that are there already.

A stream announces everything up to the end and waits, open, for bytes that have not come. That saves a round trip per
piece, and is given up where it costs more than it saves: when nothing comes any more (the open request is ended, and
only closed pieces are sent until the client is steady again), or when it broke (small closed pieces first, each twice
the one before, so that little is lost if the next breaks as well).

Pure: no clock, no I/O.
"""

from __future__ import annotations

from typing import Final

from app.core.upload import MIB
from app.destinations.port import Abilities

__all__ = ["SendPlan"]

FIRST_BOUND_BYTES: Final = 8 * MIB
LAST_BOUND_BYTES: Final = 64 * MIB
MOST_CLOSED: Final = 16


class SendPlan:
    """Of one upload."""

    def __init__(self, abilities: Abilities, size: int, *, closed_bytes: int | None = None) -> None:
        """Begin with a stream.

        Args:
            abilities: of the destination.
            size: of the file; the most that it may have, where nobody has said it.
            closed_bytes: never stream, and announce so many bytes at most.
        """
        self._abilities = abilities
        self.size = size
        self._closed_bytes = closed_bytes
        self._stalls = 0
        self._closed_left = 0  # pieces that are sent closed before the next stream
        self._bound: int | None = None

    @property
    def streams(self) -> bool:
        """Whether bytes are announced that have not come."""
        return self._closed_bytes is None and not self._closed_left and self._bound is None

    def until(self, committed: int, received: int) -> int:
        """Where the next request ends, given how far the destination and staging have come."""
        if self.streams:
            return self._abilities.sendable(self.size, self.size)
        bounds = [bound for bound in (self._bound, self._closed_bytes) if bound is not None]
        end = min(received, committed + min(bounds)) if bounds else received
        return max(committed, self._abilities.sendable(self.size, end))

    def stalled(self) -> None:
        """The stream was ended, since nothing came; each time in a row, more closed pieces come before the next one."""
        self._closed_left = min(MOST_CLOSED, 1 << self._stalls)
        self._stalls += 1

    def broke(self) -> None:
        """A request failed on the way."""
        self._bound = FIRST_BOUND_BYTES

    def went_well(self, *, received_more: bool) -> None:
        """A request was answered; `received_more`: meanwhile more has come than it took."""
        if self.streams:
            self._stalls = 0
        self._closed_left = 0 if received_more else max(0, self._closed_left - 1)
        if self._bound is not None:
            self._bound = self._bound * 2 if self._bound < LAST_BOUND_BYTES else None
