"""How long the event loop was blocked: measured, so that "never more than 50 ms" is a figure and no hope.

A task asks to be woken after a short interval and looks how much later it is. What blocked the loop shows as the
difference; a block that begins between two looks is seen short by at most the interval.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

__all__ = ["LoopLag"]


class LoopLag:
    """Samples the delay of the loop it runs in; all calls on that loop."""

    def __init__(
        self,
        *,
        interval_s: float = 0.02,
        window_s: float = 60.0,
        on_sample: Callable[[float], None] = lambda _lag_s: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Nothing is measured before `run`.

        Args:
            interval_s: time between two looks; also how much of a block may go unseen.
            window_s: over which `max_s` is taken.
            on_sample: gets each delay in seconds (for a histogram).
            clock: monotonic seconds.
            sleep: waits that many seconds.
        """
        self.interval_s = interval_s
        self.window_s = window_s
        self._on_sample = on_sample
        self._clock = clock
        self._sleep = sleep
        # (when, delay), delays falling: whatever came before a longer delay can't be the maximum again.
        self._peaks: deque[tuple[float, float]] = deque()

    @property
    def max_s(self) -> float:
        """Longest delay, in seconds, of the last `window_s`; 0 when nothing was measured."""
        self._forget(self._clock())
        return self._peaks[0][1] if self._peaks else 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            asked = self._clock()
            await self._sleep(self.interval_s)
            now = self._clock()
            lag_s = max(0.0, now - asked - self.interval_s)
            while self._peaks and self._peaks[-1][1] <= lag_s:
                self._peaks.pop()
            self._peaks.append((now, lag_s))
            self._forget(now)
            self._on_sample(lag_s)

    def _forget(self, now: float) -> None:
        while self._peaks and self._peaks[0][0] < now - self.window_s:
            self._peaks.popleft()
