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
from enum import Enum, auto
from typing import Final

from app.core.body import SlabSink
from app.core.errors import ClientGone, RequestTimedOut
from app.ingress.config import Lease
from app.ingress.engine import Engine
from app.ingress.inbound import Inbound
from app.ingress.low_water import LEAST_BYTES, next_low_water
from app.ingress.socket_body import SocketBody

__all__ = ["PumpedBody"]

SHARED_BURST_BYTES: Final = 16 * 1024 * 1024
BURST_BYTES: Final = 64 * 1024 * 1024


class _Ending(Enum):
    """Why a burst was over."""

    DRY = auto()  # the socket has nothing more
    BOUND = auto()  # it may have more, but others want the thread; or the body is whole
    STREAM = auto()  # the peer ended the stream before the body was whole


class PumpedBody(SocketBody):
    """A body of declared length on a plain TCP connection."""

    def __init__(self, inbound: Inbound, sock: socket.socket, engine: Engine, on_wanted: Callable[[], None]) -> None:
        super().__init__(inbound, sock, engine, on_wanted)
        self._low_water = 1  # the socket's
        self._next_mark = LEAST_BYTES
        self._read_until: float | None = None  # when the last burst ended, on the loop's clock
        self._stop = False

    def _on_failure(self) -> None:
        self._stop = True
        super()._on_failure()

    async def _move_all(self, on_slab: SlabSink, lease: Callable[[], Awaitable[Lease]]) -> None:
        if self._read_until is None and self._on_rest is not None:
            self._next_mark = 1  # a client that rests is known by its first byte
        try:
            ending = _Ending.BOUND if self._early else _Ending.DRY
            while self._remaining:
                waited_s = 0.0
                if ending is _Ending.DRY:
                    # Bytes below the mark make no event; the read after the wait finds them, or nothing.
                    self._set_low_water(min(self._remaining, self._next_mark))
                    waited_s = await self._readable()
                with self._read_with(await lease()) as slab:
                    moved, ending = await self._burst(slab, on_slab)
                self._came(moved, waited_s)
                if self._rests:
                    await self._engine.workers.run(self._tell_of_rest, on_cancel=lambda: None)
                if self._remaining and not self._pace.timely(waited_s, moved):
                    raise RequestTimedOut
                self._adapt_mark(moved)
        finally:
            self._set_low_water(1)

    def _adapt_mark(self, moved: int) -> None:
        since, self._read_until = self._read_until, self._loop.time()
        if not moved:
            self._next_mark = 1  # of a client that rests, the next byte is news
        elif since is None:  # what had gathered before the body was asked for says nothing of its client's pace
            self._next_mark = LEAST_BYTES
        else:
            self._next_mark = next_low_water(moved, self._read_until - since)

    async def _burst(self, slab: memoryview, on_slab: SlabSink) -> tuple[int, _Ending]:
        before = self._remaining
        try:
            ending = await self._engine.workers.run(lambda: self._move(slab, on_slab), on_cancel=self._halt)
        finally:
            moved = before - self._remaining
            self._config.observer.bytes_received(moved)
        if self._remaining:
            self._raise_failure()
            if ending is _Ending.STREAM:
                raise ClientGone
        return moved, ending

    def _halt(self) -> None:
        self._stop = True

    def _move(self, slab: memoryview, on_slab: SlabSink) -> _Ending:
        """One burst, in a worker thread."""
        start = self._remaining
        while self._remaining and not self._stop:
            filled, ending = self._fill(slab)
            if filled:
                with slab[:filled] as piece:
                    on_slab(piece)
            if ending is not _Ending.BOUND:
                return ending
            if start - self._remaining >= (SHARED_BURST_BYTES if self._engine.workers.crowded else BURST_BYTES):
                break
        return _Ending.BOUND

    def _fill(self, slab: memoryview) -> tuple[int, _Ending]:
        """Read until slab or body is full or the socket is empty."""
        size = len(slab)
        filled = min(size, self._remaining, len(self._early))
        if filled:
            slab[:filled] = self._early[:filled]
            self._early = self._early[filled:]
            self._remaining -= filled
        while filled < size and self._remaining:
            try:
                count = os.readv(self._descriptor, [slab[filled : min(size, filled + self._remaining)]])
            except BlockingIOError:
                return filled, _Ending.DRY
            except OSError:  # reset by the peer, or shut down by `Wire.abort`
                count = 0
            if not count:
                return filled, _Ending.STREAM
            filled += count
            self._remaining -= count
        return filled, _Ending.BOUND

    def _set_low_water(self, mark: int) -> None:
        if mark != self._low_water:
            with suppress(OSError):  # the connection is broken; the next read says so
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark)
            self._low_water = mark
