"""A body over TLS: the event loop decrypts straight into a slab, a worker thread runs the sink.

A waiting connection holds no slab: its raw transport is paused, and `Readiness` waits for the raw socket. Then a slab
is taken and filled until it is full, or nothing comes for a few turns of the event loop.

Laws:
- While the wire has an `Intake`, its slab is not released; the intake is withdrawn first, on every path.
- A slab that became full says nothing about what TLS still holds (decrypted, or in its input): the next slab is taken
  without waiting for the socket. One that stayed empty proves that TLS holds at most a part of a record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from app.core.body import SlabSink
from app.core.errors import ClientGone, RequestTimedOut
from app.ingress.config import Lease
from app.ingress.engine import Engine
from app.ingress.inbound import Inbound
from app.ingress.socket_body import SocketBody
from app.ingress.wire import Intake, Wire

__all__ = ["BufferedBody"]

QUIET_TURNS: Final = 3
"""Turns of the event loop without input after which a slab is handed over: one to schedule uvloop's read of what TLS
holds, one to run it, one in which the socket was polled."""


class BufferedBody(SocketBody):
    """A body of declared length on a TLS connection."""

    def __init__(self, inbound: Inbound, wire: Wire, engine: Engine, on_wanted: Callable[[], None]) -> None:
        super().__init__(inbound, wire.sock, engine, on_wanted)
        self._wire = wire

    async def _move_all(self, on_slab: SlabSink, lease: Callable[[], Awaitable[Lease]]) -> None:
        perhaps_more = True
        while self._remaining:
            waited_s = 0.0 if perhaps_more else await self._readable()
            with self._read_with(await lease()) as slab:
                size = min(len(slab), self._remaining)
                filled = await self._fill(slab[:size])
                if filled:
                    await self._store(slab[:filled], on_slab)
            self._came(filled, waited_s)
            if self._rests:
                await self._engine.workers.run(self._tell_of_rest, on_cancel=lambda: None)
            if not self._remaining:
                return
            self._raise_failure()
            if not self._pace.timely(waited_s, filled):
                raise RequestTimedOut
            perhaps_more = filled == size

    async def _fill(self, view: memoryview) -> int:
        intake = Intake(view)
        intake.filled = min(len(view), len(self._early))
        view[: intake.filled] = self._early[: intake.filled]
        self._early = self._early[intake.filled :]
        if intake.full:
            return intake.filled
        self._wire.intake = intake
        self._wire.resume()
        try:
            quiet = 0
            while not intake.full and quiet < QUIET_TURNS and self._failure is None:
                before = intake.filled
                await asyncio.sleep(0)
                quiet = quiet + 1 if intake.filled == before else 0
        finally:
            self._wire.intake = None
            self._wire.pause()
            self._wire.settle()
        return intake.filled

    async def _store(self, piece: memoryview, on_slab: SlabSink) -> None:
        self._remaining -= len(piece)
        self._config.observer.bytes_received(len(piece))
        await self._engine.workers.run(lambda: on_slab(piece), on_cancel=lambda: None)
        piece.release()
        if self._remaining and isinstance(self._failure, ClientGone):
            raise self._failure
