"""When a peer is too slow. Pure arithmetic on the caller's clock.

Only time in which we wait for the client counts, never time in which the pool, the disk or the application makes it
wait. Two rules: something comes within `idle_s`; and over each `idle_s` of waiting at least `min_rate_bytes` per
second come.
"""

from __future__ import annotations

__all__ = ["Pace"]


class Pace:
    """Watches one body, in either direction."""

    __slots__ = ("_bytes", "_floor_bytes", "_idle_s", "_silent_s", "_waited_s")

    def __init__(self, *, idle_s: float, min_rate_bytes: int) -> None:
        self._idle_s = idle_s
        self._floor_bytes = min_rate_bytes * idle_s
        self._waited_s = 0.0
        self._silent_s = 0.0
        self._bytes = 0

    def patience_s(self) -> float:
        """How long the next wait may take before `timely` has to be asked."""
        return max(0.0, self._idle_s - max(self._waited_s, self._silent_s))

    def timely(self, waited_s: float, came_bytes: int) -> bool:
        """A wait of `waited_s` is over and brought so many bytes; False when the client is too slow."""
        self._waited_s += waited_s
        self._bytes += came_bytes
        self._silent_s = 0.0 if came_bytes else self._silent_s + waited_s
        if self._silent_s >= self._idle_s:
            return False
        if self._waited_s < self._idle_s:
            return True
        enough = self._bytes >= self._floor_bytes
        self._waited_s = 0.0
        self._bytes = 0
        return enough
