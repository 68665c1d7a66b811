"""The way to one destination: how many at once, and whether it is left alone for a while.

Laws:
- Whoever waits here holds nothing: no permit, no slab, no connection.
- While the breaker is open nobody goes but one, who finds out; when that goes well everybody does.
- What concerns one upload only (its bytes, its name) is no failure of the destination.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Literal

import structlog

from app.core.errors import (
    DestinationFull,
    DestinationLoginLost,
    DestinationMismatch,
    DestinationQuotaReached,
    DestinationRefused,
    DestinationUnavailable,
    ForebayError,
)
from app.services.limits.breaker import Breaker

__all__ = ["DestinationGate"]

log = structlog.get_logger(__name__)

_FAILURES: Final = (DestinationUnavailable, DestinationFull)
_LOOK_AGAIN_S: Final[dict[type[ForebayError], float]] = {
    # These hold for every upload. How soon somebody looks again is how late a cure by the operator is noticed.
    DestinationLoginLost: 5.0,
    DestinationFull: 60.0,
    DestinationRefused: 60.0,
    DestinationQuotaReached: 600.0,
}


class DestinationGate:
    """Of one destination. Event loop only."""

    def __init__(self, name: str, *, permits: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Open it.

        Args:
            name: the destination's, for the log.
            permits: transfers at once.
            clock: monotonic seconds.
        """
        self._name = name
        self._permits = asyncio.Semaphore(permits)
        self._clock = clock
        self._breaker = Breaker()
        self._changed = asyncio.Event()
        self.waiting = 0

    @property
    def breaker(self) -> Literal["closed", "open"]:
        """`closed` when all is well, `open` while the destination is left alone."""
        return "open" if self._breaker.is_open else "closed"

    @property
    def reason(self) -> str:
        """Why it is left alone: an error's code; empty when it is not."""
        return self._breaker.reason

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """One of the destination's transfers; those who wait get it in turn. What fails inside is noted."""
        await self._enter()
        try:
            yield
        except _FAILURES as exc:
            if isinstance(exc, DestinationMismatch):
                self._succeed()
            else:
                self._fail(exc)
            raise
        except BaseException:
            self._breaker.abandoned()
            self._wake()
            raise
        else:
            self._succeed()
        finally:
            self._permits.release()

    async def _enter(self) -> None:
        self.waiting += 1
        try:
            while True:
                await self._permits.acquire()
                delay_s = self._breaker.delay_s(self._clock())
                if not delay_s:
                    return
                self._permits.release()
                await self._wait(delay_s)
        finally:
            self.waiting -= 1

    async def _wait(self, delay_s: float) -> None:
        try:
            async with asyncio.timeout(delay_s):
                await self._changed.wait()
        except TimeoutError:
            return

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _succeed(self) -> None:
        if self._breaker.is_open:
            log.info("destination works again", destination=self._name)
        self._breaker.succeeded()
        self._wake()

    def _fail(self, exc: ForebayError) -> None:
        was_open = self._breaker.is_open
        pause_s = next((pause for kind, pause in _LOOK_AGAIN_S.items() if isinstance(exc, kind)), None)
        self._breaker.failed(self._clock(), exc.code, pause_s=pause_s)
        if self._breaker.is_open and not was_open:
            log.error("destination left alone for a while", destination=self._name, code=exc.code, detail=exc.detail)
        self._wake()
