"""How late the event loop is, and how much of that it was blocked: measured, so that "never more than 50 ms" is a figure and no hope.

A task asks to be woken after a short interval and looks how much later it is. What blocked the loop shows as the
difference; a block that begins between two looks is seen short by at most the interval. A loop is late as well where
its thread was ready to run and got no processor: that is the machine's load and no blocking call, so it is counted
apart, by what the scheduler says of the thread (proc_pid_schedstat: time spent waiting on a runqueue).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

__all__ = ["LoopLag"]

_SCHEDSTAT: Final = Path("/proc/thread-self/schedstat")


class _Window:
    """The longest of what was added lately."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        # (when, how long), falling: whatever came before a longer one can't be the maximum again.
        self._peaks: deque[tuple[float, float]] = deque()

    def add(self, now: float, value: float) -> None:
        while self._peaks and self._peaks[-1][1] <= value:
            self._peaks.pop()
        self._peaks.append((now, value))
        self.longest(now)

    def longest(self, now: float) -> float:
        while self._peaks and self._peaks[0][0] < now - self._window_s:
            self._peaks.popleft()
        return self._peaks[0][1] if self._peaks else 0.0


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
        waited_for_processor_s: Callable[[], float] | None = None,
    ) -> None:
        """Nothing is measured before `run`.

        Args:
            interval_s: time between two looks; also how much of a block may go unseen.
            window_s: over which `max_s` and `blocked_max_s` are taken.
            on_sample: gets each delay in seconds (for a histogram).
            clock: monotonic seconds.
            sleep: waits that many seconds.
            waited_for_processor_s: how long the loop's thread has been ready and not running; the kernel's when None.
        """
        self.interval_s = interval_s
        self._on_sample = on_sample
        self._clock = clock
        self._sleep = sleep
        self._waited = waited_for_processor_s
        self._late = _Window(window_s)
        self._blocked = _Window(window_s)

    @property
    def max_s(self) -> float:
        """Longest delay, in seconds, of the last `window_s`; 0 when nothing was measured."""
        return self._late.longest(self._clock())

    @property
    def blocked_max_s(self) -> float:
        """As `max_s`, less what the thread waited for a processor meanwhile; `max_s` where the kernel does not tell."""
        return self._blocked.longest(self._clock())

    async def run(self) -> None:
        """Measure until cancelled."""
        if self._waited is not None:
            await self._measure(self._waited)
            return
        try:
            fd = os.open(_SCHEDSTAT, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            await self._measure(lambda: 0.0)
            return
        try:
            await self._measure(lambda: int(os.pread(fd, 128, 0).split()[1]) / 1e9)
        finally:
            os.close(fd)

    async def _measure(self, waited_s: Callable[[], float]) -> None:
        while True:
            asked, before_s = self._clock(), waited_s()
            await self._sleep(self.interval_s)
            now = self._clock()
            lag_s = max(0.0, now - asked - self.interval_s)
            self._late.add(now, lag_s)
            self._blocked.add(now, max(0.0, lag_s - (waited_s() - before_s)))
            self._on_sample(lag_s)
