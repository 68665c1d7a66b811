"""The way to one destination: how many at once, whose turn it is, and whether it is left alone for a while.

Laws:
- Whoever waits here holds nothing: no permit, no slab, no connection.
- Permits go round by owner, so that one user's many files do not keep another's from their destination.
- While the breaker is open nobody goes but one, who finds out; when the destination answers that one, everybody does.
- What concerns one upload only (its bytes, its name, its folder) is no failure of the destination.
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
    DestinationRefusedUpload,
    DestinationUnavailable,
    ForebayError,
)
from app.core.waiting import UNOBSERVED, Cause, WaitObserver
from app.services.limits.breaker import Breaker, Entry
from app.services.limits.round_robin import RoundRobin

__all__ = ["DestinationGate", "Passage"]

log = structlog.get_logger(__name__)

_ONE_UPLOADS: Final = (DestinationMismatch, DestinationRefusedUpload, DestinationFull, DestinationQuotaReached)
"""Room and quota are a matter of size: where one file has no room, a smaller one may have."""
_LOOK_AGAIN_S: Final[dict[type[ForebayError], float]] = {
    # These hold for every upload. How soon somebody looks again is how late a cure by the operator is noticed.
    DestinationLoginLost: 5.0,
    DestinationRefused: 60.0,
}


class Passage:
    """Somebody who is in."""

    def __init__(self, gate: DestinationGate, entry: Entry) -> None:
        self._gate = gate
        self._entry = entry

    def works(self) -> None:
        """The destination has answered: those who wait need not wait for the end of this."""
        self._gate.note_works(self._entry)


class DestinationGate:
    """Of one destination. Event loop only."""

    def __init__(
        self,
        name: str,
        *,
        permits: int,
        clock: Callable[[], float] = time.monotonic,
        in_words: Callable[[ForebayError], str] = lambda exc: exc.detail,
        on_change: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Open it.

        Args:
            name: the destination's, for the log.
            permits: transfers at once.
            clock: monotonic seconds.
            in_words: what an operator is told of a failure.
            on_change: told, in a sentence, when the destination is left alone, and when it works again.
        """
        self._name = name
        self._free = permits
        self._queue: RoundRobin[asyncio.Future[None]] = RoundRobin()
        self._clock = clock
        self._breaker = Breaker()
        self._changed = asyncio.Event()
        self._in_words = in_words
        self._on_change = on_change
        self.sentence: str | None = None
        """Why it is left alone, and what can be done about it; None when it is not."""
        self._tried_again_at: float | None = None
        self.waiting = 0

    @property
    def breaker(self) -> Literal["closed", "open"]:
        """`closed` when all is well, `open` while the destination is left alone."""
        return "open" if self._breaker.is_open else "closed"

    @property
    def reason(self) -> str:
        """Why it is left alone: an error's code; empty when it is not."""
        return self._breaker.reason

    @property
    def tried_again_at(self) -> float | None:
        """When somebody finds out whether it works again (seconds since the epoch); None when all is well, or it is now."""
        return self._tried_again_at if self._breaker.pause_left_s(self._clock()) else None

    @staticmethod
    def concerns_all(exc: Exception) -> bool:
        """Whether what failed says something of the destination, and not of one upload."""
        return isinstance(exc, DestinationUnavailable) and not isinstance(exc, _ONE_UPLOADS)

    @asynccontextmanager
    async def passed(self, owner: str, waits: WaitObserver = UNOBSERVED) -> AsyncIterator[Passage]:
        """One of the destination's transfers. What fails inside is noted; `waits` is told of waiting outside."""
        entry = await self._enter(owner, waits)
        try:
            yield Passage(self, entry)
        except _ONE_UPLOADS:
            self.note_works(entry)
            raise
        except DestinationUnavailable as exc:
            self._fail(entry, exc)
            raise
        except BaseException:
            self._breaker.left(entry)
            self._wake()
            raise
        else:
            self.note_works(entry)
        finally:
            self._release()

    def note_works(self, entry: Entry) -> None:
        """See `Passage.works`."""
        if self._breaker.works(entry):
            log.info("destination works again", destination=self._name)
            self.sentence = None
            self._on_change("It works again.")
            self._wake()

    async def _enter(self, owner: str, waits: WaitObserver) -> Entry:
        self.waiting += 1
        try:
            while True:
                await self._permit(owner, waits)
                entry = self._breaker.enter(self._clock())
                if isinstance(entry, Entry):
                    return entry
                self._release()
                await self._wait(entry, waits)
        finally:
            self.waiting -= 1

    async def _permit(self, owner: str, waits: WaitObserver) -> None:
        if self._free and not self._queue:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.push(owner, turn)
        waits.begin(Cause.QUEUE)
        try:
            await turn
        except asyncio.CancelledError:
            if not self._queue.discard(owner, turn):  # it was given the permit at this very moment
                self._release()
            raise
        finally:
            waits.end(Cause.QUEUE)

    def _release(self) -> None:
        while self._queue:
            turn = self._queue.pop()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    async def _wait(self, delay_s: float, waits: WaitObserver) -> None:
        waits.begin(Cause.BACKOFF)
        try:
            async with asyncio.timeout(delay_s):
                await self._changed.wait()
        except TimeoutError:
            return
        finally:
            waits.end(Cause.BACKOFF)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _fail(self, entry: Entry, exc: ForebayError) -> None:
        was_open = self._breaker.is_open
        pause_s = next((pause for kind, pause in _LOOK_AGAIN_S.items() if isinstance(exc, kind)), None)
        asked_s = exc.asked_for_s if pause_s is None else None  # by the destination; else it is our own guess
        self._breaker.failed(entry, self._clock(), exc.code, pause_s=pause_s, at_least_s=asked_s or 0.0)
        if (left_s := self._breaker.pause_left_s(self._clock())) is not None:
            self._tried_again_at = time.time() + left_s
            said, self.sentence = self.sentence, self._in_words(exc)
            if not was_open:
                log.error(
                    "destination left alone for a while", destination=self._name, code=exc.code, detail=exc.detail
                )
            if self.sentence != said:
                self._on_change(self.sentence)
        self._wake()
