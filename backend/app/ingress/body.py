"""What the three ways of delivering a body have in common.

Laws:
- A body is bound to one request and delivered at most once: in one go, or part by part.
- Nothing is read for it before `deliver`, and never more than belongs to it.
- The connection tells the body about its end (`fail`): whoever waits gets the reason at once. A sink that is running
  is never interrupted; `deliver` ends after it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from app.core.body import SlabSink
from app.core.errors import BodyTooLarge, ClientGone, ForebayError
from app.core.waiting import UNOBSERVED, WaitObserver
from app.ingress.config import IngressConfig, Lease
from app.ingress.pace import Pace
from app.posix.light_event import LightEvent

__all__ = ["REST_S", "BodyBase"]

REST_S: Final = 1.0
"""Of silence after which a client is taken to rest."""
_EARLY_S: Final = 0.01  # a timer of uvloop's may fire so much too soon


class BodyBase(ABC):
    """Implements `app.core.body.RequestBody`, but for the moving of bytes."""

    def __init__(
        self, length: int | None, config: IngressConfig, *, on_wanted: Callable[[], None] | None = None
    ) -> None:
        """Bind to a request.

        Args:
            length: its Content-Length, None when chunked.
            config: limits and the pool.
            on_wanted: called when the application first asks for the body.
        """
        self._length = length
        self._config = config
        self._on_wanted = on_wanted
        self._pace = Pace(idle_s=config.body_idle_s, min_rate_bytes=config.min_rate_bytes)
        self._failure: ForebayError | None = None
        self._gone = LightEvent()
        self._patience: asyncio.Timeout | None = None  # of a wait that `fail` has to end
        self._delivered = 0  # by calls that have returned
        self._whole = False
        self._in_one_go = False
        self._waits = UNOBSERVED
        self._on_rest: Callable[[], None] | None = None
        self._stirred = False  # something came since the last rest
        self._silent_s = 0.0  # waited since something came
        self.claimed = False
        self.delivering = False

    @property
    def length(self) -> int | None:
        """Content-Length in bytes; None with `Transfer-Encoding: chunked`."""
        return self._length

    @property
    def reading_itself(self) -> bool:
        """Whether the delivery reads the socket right now, and so sees its end itself."""
        return False

    @property
    def failure(self) -> ForebayError | None:
        """Why nothing more can be read, if so."""
        return self._failure

    async def wait_gone(self) -> None:
        """Return when the client has left."""
        await self._gone.wait()

    def fail(self, error: ForebayError) -> None:
        """The connection ended, or the server wants the delivery to end; the first reason stays."""
        if isinstance(error, ClientGone):
            self._gone.set()
        if self._failure is not None:
            return
        self._failure = error
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time())
        self._on_failure()

    @property
    def ended(self) -> bool:
        """Whether all of it has been delivered."""
        return self._whole

    @property
    def trailer(self) -> Sequence[tuple[str, str]]:
        """A body of declared length has none."""
        return ()

    async def deliver(
        self,
        on_slab: SlabSink,
        *,
        limit: int,
        owner: str,
        urgent: bool = False,
        most: int | None = None,
        waits: WaitObserver = UNOBSERVED,
        on_rest: Callable[[], None] | None = None,
    ) -> int:
        """Read the body to its end, or `most` of it, and hand it over piece by piece; see `RequestBody.deliver`."""
        if self._whole or self._in_one_go:
            raise RuntimeError("a body is delivered once")
        self._in_one_go = most is None
        if self._length is not None and self._length > limit:
            msg = f"The body has {self._length} bytes; {limit} are taken here."
            raise BodyTooLarge(msg, limit=limit)
        first, self.claimed = not self.claimed, True
        self._waits = waits
        self._on_rest = on_rest
        if self._length == 0:
            self._whole = True
            return 0
        self._raise_failure()
        if first and self._on_wanted is not None:
            self._on_wanted()
        self.delivering = True
        try:
            count, self._whole = await self._deliver(
                on_slab, limit, most or limit, lambda: self._lease(owner, urgent=urgent)
            )
        finally:
            self.delivering = False
        self._delivered += count
        return count

    async def _lease(self, owner: str, *, urgent: bool) -> Lease:
        """A slab, unless the body fails while we wait for it."""
        self._raise_failure()
        try:
            async with asyncio.timeout(None) as self._patience:
                return await self._config.pool.acquire(owner, urgent=urgent, waits=self._waits)
        except TimeoutError:
            self._raise_failure()
            raise
        finally:
            self._patience = None

    @property
    def _watches_for_rest(self) -> bool:
        return self._stirred and self._on_rest is not None

    def _came(self, count: int, waited_s: float) -> None:
        """A wait is over, and brought so many bytes."""
        self._stirred = self._stirred or count > 0
        self._silent_s = 0.0 if count else self._silent_s + waited_s

    @property
    def _rests(self) -> bool:
        """Whether it is time to tell."""
        return self._watches_for_rest and self._silent_s > REST_S - _EARLY_S

    def _tell_of_rest(self) -> None:
        """In a worker thread."""
        self._stirred = False
        if self._on_rest is not None:
            self._on_rest()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _on_failure(self) -> None:  # noqa: B027 - most have no waits of their own
        """End waits of the subclass; called once, in the event loop."""

    @abstractmethod
    async def _deliver(
        self, on_slab: SlabSink, limit: int, most: int, lease: Callable[[], Awaitable[Lease]]
    ) -> tuple[int, bool]:
        """Move so much of the body, of `limit` bytes at most; how much it was, and whether that was the rest of it.

        Called one after the other, until all has been moved, for a body that is not empty.
        """
