"""The body of a PUT, streamed from memory that is used again as soon as it has been sent.

Laws:
- **A piece is with us until the transport has let go of it.** uvloop keeps a reference to a memoryview that the kernel
  did not take at once, and writes from it later, long after aiohttp asks for the next one; so do asyncio's transports of
  newer Pythons, and both TLS layers may. So the next piece is asked for, and `stop` returns, only when the transport's
  write buffer is empty, or the connection is closed (its descriptor, too: nothing can be written any more).
- How we know is flow control, not polling. A plain transport pauses its protocol when the buffer is above the high mark,
  and resumes it at the low one: with marks of 0 that is "not empty" and "empty". The TLS transports pause at the mark
  itself: theirs are 1 and 0 (with 0 and 0 they would pause when empty, and nothing would resume them).
- A body that is not sent to its end ends its connection, by `abort`: a `close` would go on writing. Nor does the kernel
  go on with what it has (`SO_LINGER` of 0 seconds, so closing is a reset, also when aiohttp closes because no answer has
  come): at Drive, bytes of a request that was given up must not come on top of those of the next one.
- The pieces are iterated by one task at a time, and by none when `stop` has returned.
- What the pieces raise is kept for the caller (`error`); what the connection raises is aiohttp's business.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
import termios
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, cast

from aiohttp import ClientConnectionResetError
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter
from aiohttp.payload import Payload

from app.core.upload import KIB, MIB

__all__ = ["PieceBody"]

_RESET: Final = struct.pack("ii", 1, 0)  # struct linger: on, 0 seconds
_SLICE_BYTES: Final = MIB  # written at once; much more at once is slower
_LOOK_S: Final = 0.02
_TLS_SLICE_BYTES: Final = 256 * KIB  # the TLS layer encrypts all of it, into memory that nobody counts


class PieceBody(Payload):
    """Exactly `length` bytes from `pieces`, or a broken connection. For one request."""

    _autoclose = True

    def __init__(
        self,
        pieces: AsyncIterator[memoryview],
        length: int,
        *,
        media_type: str,
        stall_s: float,
        may_send: Callable[[int], bool] = lambda _: True,
        on_sent: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Describe it.

        Args:
            pieces: where the bytes come from; each piece is used until the next one is asked for.
            length: bytes announced.
            media_type: of the content.
            stall_s: how long the peer may take nothing at all.
            may_send: asked before so many bytes are sent; False ends the body.
            on_sent: told that so many bytes were taken by the network.
        """
        super().__init__(None, content_type=media_type)
        self._size = length
        self._pieces = pieces
        self._stall_s = stall_s
        self._may_send = may_send
        self._on_sent = on_sent
        self.sent = 0
        self.error: Exception | None = None
        """What the pieces raised."""
        self.ended_early = False
        """Whether there were fewer bytes than announced."""
        self.forbidden = False
        """Whether `may_send` ended it."""
        self.stalled = False
        """Whether the peer took nothing any more."""
        self._stopped = False
        self._task: asyncio.Task[Any] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._written = asyncio.Event()

    @property
    def complete(self) -> bool:
        """Whether all was sent."""
        return self.sent == self._size

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """There is no text in it."""
        raise TypeError(f"a stream has no text, neither in {encoding} nor with errors={errors}")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """As `write_with_length`."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Send it. Called by aiohttp, in a task of its own, at most once."""
        del content_length  # it is what we announced
        stream = cast("StreamWriter", writer)
        transport = stream.transport
        if transport is None:
            raise ClientConnectionResetError("the connection is lost")
        self._consumed = True  # from here on aiohttp must not try it again on another connection
        if self._stopped:
            raise ClientConnectionResetError("the body was given up")
        self._task = asyncio.current_task()
        connection = _Connection(stream, transport, self._stall_s)
        try:
            connection.close_by_reset()
            connection.count_every_byte()
            stream.send_headers()
            await connection.emptied()
            await self._send(connection)
            connection.count_as_before()
        except BaseException as exc:
            self.stalled = isinstance(exc, TimeoutError) and self.error is None
            try:
                if self.ended_early or self.forbidden:
                    await connection.delivered()
            finally:
                await connection.cut()
            raise
        finally:
            self._task = None
            self._written.set()

    async def _send(self, connection: _Connection) -> None:
        left = self._size or 0
        while left:
            piece = await self._next()
            try:
                for start in range(0, min(len(piece), left), connection.slice_bytes):
                    with piece[start : min(start + connection.slice_bytes, left)] as part:
                        await self._send_part(connection, part)
                left -= min(len(piece), left)
            finally:
                del piece  # a traceback would keep it
        # The last piece goes back now, not when the answer has come; that must not be cut short by the answer.
        self._ending = asyncio.create_task(self._end())

    async def _send_part(self, connection: _Connection, part: memoryview) -> None:
        size = len(part)
        if not self._may_send(size):
            self.forbidden = True
            raise ClientConnectionResetError("the body ends here")
        await connection.send(part)
        self.sent += size
        self._on_sent(size)

    async def _next(self) -> memoryview:
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            self.ended_early = True
        except Exception as exc:
            self.error = exc
            raise
        raise ClientConnectionResetError("the body ended early")

    async def _end(self) -> None:
        try:
            async for _ in self._pieces:
                break
        except Exception as exc:  # noqa: BLE001 - the caller's
            self.error = exc

    async def stop(self, *, hurry: bool = False) -> None:
        """Return when the pieces are no longer used, in any way; also when cancelled. What is not sent by now never is.

        Args:
            hurry: do not wait for the pieces to come to their end.
        """
        self._stopped = True
        cancelled: asyncio.CancelledError | None = None
        while (busy := self._task or self._ending) is not None and not busy.done():
            if busy is self._task or hurry or cancelled is not None:
                busy.cancel()
            try:
                # Not for aiohttp's task itself, which may go on for a while after it has left `write_with_length`.
                await (self._written.wait() if busy is self._task else asyncio.wait({busy}))
            except asyncio.CancelledError as exc:
                cancelled = exc
        if cancelled is not None:
            raise cancelled


class _Connection:
    """What the body is written to."""

    def __init__(self, stream: StreamWriter, transport: asyncio.WriteTransport, stall_s: float) -> None:
        self._stream = stream
        self._transport = transport
        self._stall_s = stall_s
        self._encrypted = transport.get_extra_info("sslcontext") is not None
        self._lost: asyncio.Future[None] | None = stream.protocol.closed  # type: ignore[attr-defined]
        if self._lost is not None:
            self._lost.remove_done_callback(_seen)  # an earlier body's: the connection is kept for many
            self._lost.add_done_callback(_seen)
        self.slice_bytes = _TLS_SLICE_BYTES if self._encrypted else _SLICE_BYTES

    def close_by_reset(self) -> None:
        connection = self._transport.get_extra_info("socket")
        if connection is not None and not self._transport.is_closing():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def count_every_byte(self) -> None:
        if not self._transport.is_closing():
            self._transport.set_write_buffer_limits(high=1 if self._encrypted else 0, low=0)

    def count_as_before(self) -> None:
        if not self._transport.is_closing():
            self._transport.set_write_buffer_limits()

    async def send(self, part: memoryview) -> None:
        await self._stream.write(part, drain=False)
        await self.emptied()
        # Always a turn for others: answers and losses are told by the event loop, and it is not only ours.
        await asyncio.sleep(0)
        self._check()

    async def emptied(self) -> None:
        """Wait until the transport holds nothing; raises TimeoutError when the peer takes nothing any more."""
        while held := self._transport.get_write_buffer_size():
            # In a task: cancelled at the waiting itself, aiohttp would keep a waiter that is of no more use.
            drained = asyncio.create_task(self._stream.drain())
            drained.add_done_callback(_seen)
            while not drained.done():
                await asyncio.wait({drained}, timeout=self._stall_s)
                before, held = held, self._transport.get_write_buffer_size()
                if not drained.done() and held >= before:
                    raise TimeoutError("the peer takes nothing")
            self._check()
            if held and not self._stream.protocol.writing_paused:
                raise ClientConnectionResetError("the transport tells nothing of its buffer")
        self._check()

    async def delivered(self) -> None:
        """Wait until the peer's machine has what was sent, as long as that gets on: a reset would undo it."""
        connection = self._transport.get_extra_info("socket")
        held, since = -1, time.monotonic()
        while connection is not None and not self._transport.is_closing():
            before, held = held, _on_its_way(connection.fileno())
            if not held:
                return
            if held != before:
                since = time.monotonic()
            elif time.monotonic() - since > self._stall_s:
                return
            await asyncio.sleep(_LOOK_S)  # the kernel tells of nothing that could be waited for

    def _check(self) -> None:
        if self._stream.transport is None or self._transport.is_closing():
            raise ClientConnectionResetError("the connection is lost")

    async def cut(self) -> None:
        """End the connection, and wait until its descriptor is closed and nothing of ours is referenced; to the end."""
        self._transport.abort()
        cancelled: asyncio.CancelledError | None = None
        turns = 2  # uvloop lets go of buffers at the end of the turn in which it has told of the loss
        while turns:
            try:
                if self._lost is not None and not self._lost.done():
                    await asyncio.wait({self._lost})
                else:
                    turns -= 1
                    await asyncio.sleep(0)
            except asyncio.CancelledError as exc:
                cancelled = exc
        if cancelled is not None:
            raise cancelled


def _on_its_way(fd: int) -> int:
    """Bytes that the kernel has and that the peer's kernel has not acknowledged (tcp(7), SIOCOUTQ)."""
    try:
        return int.from_bytes(fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def _seen(future: asyncio.Future[None]) -> None:
    """Its outcome is of no interest, but somebody has looked at it."""
    if not future.cancelled():
        future.exception()
