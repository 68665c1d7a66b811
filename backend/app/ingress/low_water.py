"""How much a wait for the socket should bring (`SO_RCVLOWAT`). Pure arithmetic on the caller's measurements.

Every burst costs a wake-up of the event loop and a hand-over to a thread and back, about as much as the copying of half
a megabyte. So bytes are left to gather for `GATHER_S` at the pace of the last burst, which nobody notices.
"""

from __future__ import annotations

from typing import Final

__all__ = ["GATHER_S", "LEAST_BYTES", "MOST_BYTES", "next_low_water"]

LEAST_BYTES: Final = 64 * 1024
MOST_BYTES: Final = 1024 * 1024
"""The kernel makes room for twice the mark (tcp_set_rcvlowat), so that no window that grows by and by holds a client up."""
GATHER_S: Final = 0.02


def next_low_water(came_bytes: int, taken_s: float) -> int:
    """The mark after a burst of `came_bytes`, which ended `taken_s` seconds after the one before it."""
    gathered = came_bytes * GATHER_S / taken_s if taken_s > 0 else MOST_BYTES
    return max(LEAST_BYTES, int(min(gathered, MOST_BYTES)))
