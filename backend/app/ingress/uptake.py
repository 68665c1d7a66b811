"""Whether the peer takes what we send: the pace of a body (`Pace`), in the other direction.

TCP_USER_TIMEOUT cuts off who takes nothing at all. Who opens its window by a few bytes now and then would keep a
connection and its buffers for ever; so, while the transport's buffer is full, what the peer acknowledges is measured.

Laws:
- Only time in which the buffer is full counts: then the peer is what we wait for. Nothing is written meanwhile.
- What the kernel still holds is not taken yet: it takes from us in lumps that last a slow peer longer than the idle time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.ingress.pace import Pace

__all__ = ["Uptake"]


class Uptake:
    """Watches one connection's sending, in whatever phase it is; event loop thread only."""

    def __init__(
        self,
        pace: Pace,
        *,
        loop: asyncio.AbstractEventLoop,
        untaken_bytes: Callable[[], int],
        cut_off: Callable[[], None],
    ) -> None:
        """Watch nothing yet.

        Args:
            pace: what is asked of the peer.
            loop: the connection's.
            untaken_bytes: written and not acknowledged by the peer.
            cut_off: called once the peer is too slow.
        """
        self._pace = pace
        self._loop = loop
        self._untaken_bytes = untaken_bytes
        self._cut_off = cut_off
        self._timer: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._untaken = 0

    def begin(self) -> None:
        """The buffer is full: the peer has to take something."""
        if self._timer is None:
            self._began = self._loop.time()
            self._untaken = self._untaken_bytes()
            self._timer = self._loop.call_later(self._pace.patience_s(), self._look)

    def end(self) -> None:
        """There is room again, or the connection is lost."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._timely()

    def _look(self) -> None:
        self._timer = None
        if self._timely():
            self.begin()
        else:
            self._cut_off()

    def _timely(self) -> bool:
        taken = max(0, self._untaken - self._untaken_bytes())
        return self._pace.timely(self._loop.time() - self._began, taken)
