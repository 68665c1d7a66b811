"""The delay of the event loop, in time that the test makes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from app.observability.loop_lag import LoopLag


class Loop:
    """A clock, and a sleep that comes back as late as the script says; then it ends the run."""

    def __init__(self, *delays: float) -> None:
        self.now = 100.0
        self.delays = list(delays)

    def clock(self) -> float:
        """Seconds."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Sleep and be late."""
        if not self.delays:
            raise asyncio.CancelledError
        self.now += seconds + self.delays.pop(0)


async def measured(loop: Loop, **options: Any) -> tuple[LoopLag, list[float]]:
    """The meter after the script's end, and what it told."""
    told: list[float] = []
    lag = LoopLag(on_sample=told.append, clock=loop.clock, sleep=loop.sleep, **options)
    with pytest.raises(asyncio.CancelledError):
        await lag.run()
    return lag, told


async def test_the_longest_delay_of_the_window_is_known() -> None:
    """Whatever came before and after it."""
    lag, told = await measured(Loop(0.0, 0.03, 0.01, 0.02))
    assert lag.max_s == pytest.approx(0.03)
    assert told == pytest.approx([0.0, 0.03, 0.01, 0.02])


async def test_what_is_older_than_the_window_is_forgotten_in_favour_of_the_next() -> None:
    """Step by step, down to nothing."""
    loop = Loop(0.3, 0.2, 0.1)
    lag, _ = await measured(loop, interval_s=1.0, window_s=10.0)
    assert lag.max_s == pytest.approx(0.3)
    loop.now = 111.4
    assert lag.max_s == pytest.approx(0.2)
    loop.now = 112.6
    assert lag.max_s == pytest.approx(0.1)
    loop.now = 114.0
    assert lag.max_s == 0.0


async def test_waiting_for_a_processor_is_no_block() -> None:
    """What the scheduler says the thread waited is taken off what is called blocked, not off the delay."""
    waited = iter([0.0, 0.25, 0.25, 0.25])
    lag, _ = await measured(Loop(0.3, 0.1), waited_for_processor_s=lambda: next(waited, 0.25))
    assert lag.max_s == pytest.approx(0.3)
    assert lag.blocked_max_s == pytest.approx(0.1)


async def test_nothing_measured_is_no_delay() -> None:
    """Before the first look."""
    assert LoopLag().max_s == 0.0


async def test_a_blocked_loop_shows() -> None:
    """On the real loop: somebody sleeps in it, and at least that long, less one interval, is seen."""
    seen: asyncio.Queue[float] = asyncio.Queue()
    lag = LoopLag(interval_s=0.001, on_sample=seen.put_nowait)
    task = asyncio.create_task(lag.run())
    await seen.get()
    time.sleep(0.05)
    while await seen.get() < 0.04:
        pass
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lag.max_s >= 0.04
    assert lag.blocked_max_s > 0
