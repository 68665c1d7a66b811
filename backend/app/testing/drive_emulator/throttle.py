"""A token bucket: what may pass a connection in a second."""

from __future__ import annotations

import time

__all__ = ["Bucket"]

_BURST_S = 0.05


class Bucket:
    """Not more than `rate` bytes a second, in the long run."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._paid_until = 0.0

    def spend(self, size: int) -> float:
        """So many bytes have passed: the seconds to wait before the next ones."""
        now = time.monotonic()
        self._paid_until = max(self._paid_until, now - _BURST_S) + size / self._rate
        return max(0.0, self._paid_until - now)
