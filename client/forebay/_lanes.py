"""How many chunks may be in flight: additive increase, multiplicative decrease (RFC 5681 section 3.1's shape).

Why: on a line that breaks every thirty seconds, eight chunks side by side may each need a minute, and none would ever
arrive. A broken connection halves the number (once per wave, however many break together), each chunk that arrives adds
a share, so that a whole round of successes adds one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["LaneGate"]


class LaneGate:
    """Admits up to `limit` holders; all methods on the event loop's thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._held = 0
        self._wave = 0
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def limit(self) -> int:
        """How many may be in flight now; at least 1."""
        return int(self._limit)

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[int]:
        """Wait for a place and hold it; gives the wave in which it was taken, for `shrink`."""
        while self._held >= self.limit:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
        self._held += 1
        try:
            yield self._wave
        finally:
            self._held -= 1
            self._wake()

    def grow(self) -> None:
        """A chunk arrived."""
        self._limit = min(float(self._most), self._limit + 1 / self._limit)
        self._wake()

    def shrink(self, wave: int) -> None:
        """A connection that was opened in `wave` broke; others that break of the same wave change nothing more."""
        if wave == self._wave:
            self._wave += 1
            self._limit = max(1.0, self._limit / 2)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
