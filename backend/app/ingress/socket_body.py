"""What the two ways that know their socket have in common: waiting for it.

Laws: a duplicate of the socket is watched and used, never the transport's own descriptor (uvloop owns that one, and
closes it when it likes); the duplicate is closed when the delivery is over, and no thread uses it then. It keeps the
connection half alive until that moment, so whoever aborts a connection uses `Wire.abort`, which shuts it down first.
"""

from __future__ import annotations

import asyncio
import os
import socket
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from app.core.body import SlabSink
from app.core.errors import Unavailable
from app.core.waiting import Cause
from app.ingress.body import REST_S, BodyBase
from app.ingress.config import Lease
from app.ingress.engine import Engine
from app.ingress.inbound import Inbound
from app.ingress.readiness import HANGUP, READABLE

__all__ = ["SocketBody"]


class SocketBody(BodyBase):
    """A body of declared length on a connection of ours."""

    def __init__(self, inbound: Inbound, sock: socket.socket, engine: Engine, on_wanted: Callable[[], None]) -> None:
        super().__init__(inbound.remaining, engine.config, on_wanted=on_wanted)
        self._engine = engine
        self._inbound = inbound
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] | None = None
        self._descriptor = -1
        self._whole_length = 0
        self._early = b""  # came with the header, or in between; may reach beyond the part that is moved
        self._remaining = 0  # of that part
        self._later = 0  # of what follows it
        self._reading = False

    @property
    def reading_itself(self) -> bool:
        """Whether the delivery reads the socket right now, or waits for it."""
        return self._reading or self._ready is not None

    async def _deliver(
        self, on_slab: SlabSink, limit: int, most: int, lease: Callable[[], Awaitable[Lease]]
    ) -> tuple[int, bool]:
        del limit  # the length is declared and was checked
        try:
            self._descriptor = os.dup(self._sock.fileno())
        except OSError as exc:
            raise Unavailable("The server has no descriptor free for this body.") from exc
        if not self._delivered:
            self._whole_length = self._inbound.remaining or 0
        self._early += self._inbound.claim()
        self._later = max(0, self._whole_length - self._delivered - most)
        part = self._remaining = self._whole_length - self._delivered - self._later
        self._account()
        try:
            await self._move_all(on_slab, lease)
        finally:
            self._account()
            self._engine.readiness.forget(self._descriptor)
            os.close(self._descriptor)
        return part, not self._later

    def _account(self) -> None:
        """Tell the connection what is still to come from the socket."""
        self._inbound.remaining = self._remaining + self._later - len(self._early)

    @abstractmethod
    async def _move_all(self, on_slab: SlabSink, lease: Callable[[], Awaitable[Lease]]) -> None:
        """Move `_early` and what follows until `_remaining` is 0."""

    @contextmanager
    def _read_with(self, slab: Lease) -> Iterator[memoryview]:
        """The slab for one burst; it goes back afterwards."""
        self._reading = True
        try:
            yield slab.view
        finally:
            self._reading = False
            slab.release()
            self._account()

    async def _readable(self) -> float:
        """Return when a read makes sense, or patience is over, or the client rests; with the seconds waited."""
        self._raise_failure()
        began = self._loop.time()
        self._ready = self._loop.create_future()
        self._engine.readiness.watch(self._descriptor, READABLE | HANGUP, self._wake)
        patience_s = self._pace.patience_s()
        if self._watches_for_rest:
            patience_s = min(patience_s, REST_S)
        timer = self._loop.call_later(patience_s, self._wake)
        self._waits.begin(Cause.CLIENT)
        try:
            await self._ready
        finally:
            self._waits.end(Cause.CLIENT)
            timer.cancel()
            self._ready = None
        self._raise_failure()
        return self._loop.time() - began

    def _wake(self, _events: int = 0) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def _on_failure(self) -> None:
        self._wake()
