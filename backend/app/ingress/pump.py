"""A body over plain TCP: read, hashed and stored in a worker thread, in bursts.

Between bursts the connection holds neither slab nor thread: `Readiness` waits for its socket. In a burst the thread
reads until the slab is full, hands it to the sink, and goes on while the socket has more, nobody else needs the thread,
and the burst's bound is not reached; then slab and thread go back.

Laws:
- The burst owns its duplicate of the socket; it is closed only when no burst runs. (A descriptor closed under a running
  `readv` is given to the next file or connection: foreign bytes, reproduced.)
- Only `_remaining` bytes are ever read: what follows is the next request's.
- `_remaining` and `_early` belong to the thread while a burst runs, to the event loop otherwise.
- `SO_RCVLOWAT` is at most what remains, and 1 again when the delivery is over.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from app.core.body import SlabSink
from app.core.errors import ClientGone, RequestTimedOut
from app.ingress.config import Lease
from app.ingress.engine import Engine
from app.ingress.inbound import Inbound
from app.ingress.socket_body import SocketBody

__all__ = ["PumpedBody"]

BURST_BYTES: Final = 8 * 1024 * 1024
LOW_WATER_BYTES: Final = 64 * 1024


class PumpedBody(SocketBody):
    """A body of declared length on a plain TCP connection."""

    def __init__(self, inbound: Inbound, sock: socket.socket, engine: Engine, on_wanted: Callable[[], None]) -> None:
        super().__init__(inbound, sock, engine, on_wanted)
        self._low_water = 1
        self._stop = False

    def _on_failure(self) -> None:
        self._stop = True
        super()._on_failure()

    async def _move_all(self, on_slab: SlabSink, lease: Callable[[], Awaitable[Lease]]) -> None:
        try:
            while self._remaining:
                waited_s = 0.0
                if not self._early:
                    # Bytes below the mark make no event; the read after the longest wait finds them, or nothing.
                    self._set_low_water(min(self._remaining, LOW_WATER_BYTES))
                    waited_s = await self._readable()
                with self._read_with(await lease()) as slab:
                    moved = await self._burst(slab, on_slab)
                if self._remaining and not self._pace.timely(waited_s, moved):
                    raise RequestTimedOut
        finally:
            self._set_low_water(1)

    async def _burst(self, slab: memoryview, on_slab: SlabSink) -> int:
        before = self._remaining
        try:
            ended = await self._engine.workers.run(lambda: self._move(slab, on_slab), on_cancel=self._halt)
        finally:
            moved = before - self._remaining
            self._config.observer.bytes_received(moved)
        if self._remaining:
            self._raise_failure()
            if ended:
                raise ClientGone
        return moved

    def _halt(self) -> None:
        self._stop = True

    def _move(self, slab: memoryview, on_slab: SlabSink) -> bool:
        """One burst, in a worker thread; whether the peer ended the stream before the body was whole."""
        bound = self._remaining - BURST_BYTES
        while self._remaining and not self._stop:
            filled, ended, dry = self._fill(slab)
            if filled:
                with slab[:filled] as piece:
                    on_slab(piece)
            if ended or dry:
                return ended
            if self._remaining <= bound or self._engine.workers.crowded:
                break
        return False

    def _fill(self, slab: memoryview) -> tuple[int, bool, bool]:
        """Read until slab or body is full or the socket is empty: bytes, whether the stream ended, whether it is empty."""
        size = len(slab)
        filled = min(size, len(self._early))
        if filled:
            slab[:filled] = self._early[:filled]
            self._early = self._early[filled:]
            self._remaining -= filled
        while filled < size and self._remaining:
            try:
                count = os.readv(self._descriptor, [slab[filled : min(size, filled + self._remaining)]])
            except BlockingIOError:
                return filled, False, True
            except OSError:  # reset by the peer, or shut down by `Wire.abort`
                count = 0
            if not count:
                return filled, True, True
            filled += count
            self._remaining -= count
        return filled, False, False

    def _set_low_water(self, mark: int) -> None:
        if mark != self._low_water:
            with suppress(OSError):  # the connection is broken; the next read says so
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark)
            self._low_water = mark
