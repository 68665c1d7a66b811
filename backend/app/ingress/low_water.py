"""How much a wait for the socket should bring (`SO_RCVLOWAT`). Pure arithmetic on the caller's measurements.

Every burst costs a wake-up of the event loop and a hand-over to a thread and back, about as much as the copying of half
a megabyte. So bytes are left to gather as long as nobody notices: for `GATHER_S` at the pace of the last burst.
"""

from __future__ import annotations

from typing import Final

__all__ = ["GATHER_S", "LEAST_BYTES", "MOST_BYTES", "next_low_water"]

LEAST_BYTES: Final = 64 * 1024
MOST_BYTES: Final = 1024 * 1024
"""The kernel makes room for twice the mark (tcp_set_rcvlowat), so that a client is not held up by a window that grows by
and by; it says that the socket is readable before the mark where the window is closed."""
GATHER_S: Final = 0.02


def next_low_water(mark: int, came_bytes: int, taken_s: float) -> int:
    """The mark after one that brought `came_bytes`, `taken_s` seconds after the burst before it had ended.

    It falls at once, and grows to its double or a quarter of what came: what had gathered in the kernel before the body
    was asked for says nothing of its client's pace. Of one that rests, the next byte is wanted at once.
    """
    if not came_bytes:
        return 1
    gathered = came_bytes * GATHER_S / taken_s if taken_s > 0 else MOST_BYTES
    return max(LEAST_BYTES, int(min(gathered, max(2 * mark, came_bytes // 4), MOST_BYTES)))
