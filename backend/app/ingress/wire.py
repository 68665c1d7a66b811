"""The connection as bytes: what uvloop reads into, and when it may.

uvloop reads up to 250 KiB at a time into a buffer of its own and hands out a copy. A `BufferedProtocol` decides
instead where bytes go and how many: a scratch buffer shared by all connections (a read and its use are one call), or,
for a body over TLS, a slab.

Laws:
- A paused wire reads nothing, also not in advance. With TLS, uvloop pauses only the decryption and fills its own BIO
  from the socket; so the raw transport is paused too. uvloop may resume it from within its own read callback:
  therefore `pause` inside a callback is completed by `settle`, outside of any.
- The read limits of uvloop's TLS may not be lower than one record (16 KiB and its overhead, RFC 8446 section 5.2):
  uvloop would stop reading in the middle of a record, and wait for ever.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from app.ingress.protocol import HttpProtocol

__all__ = ["SCRATCH_BYTES", "Intake", "Wire"]

HEAD_READ_BYTES: Final = 2 * 1024
"""Few: a body that is on its way comes into a slab instead, and what is read here is in the heap among what stays: at
16 KiB each, connections that were held had left 11 KiB of holes each. uvloop goes on reading while a read is full."""
SCRATCH_BYTES: Final = 256 * 1024
_TLS_HIGH_WATER_BYTES: Final = 34 * 1024
_TLS_LOW_WATER_BYTES: Final = 17 * 1024
_NO_LINGER: Final = struct.pack("ii", 1, 0)  # struct linger: on, 0 seconds (socket(7))


class Intake:
    """Where a TLS body goes: a view being filled. `changed` wakes whoever waits for it."""

    __slots__ = ("changed", "filled", "view")

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.filled = 0
        self.changed = asyncio.Event()

    @property
    def full(self) -> bool:
        """Whether no byte more goes in."""
        return self.filled == len(self.view)


class Wire(asyncio.BufferedProtocol):
    """One connection's transport and its reading."""

    transport: Any = None  # uvloop's TCPTransport or its TLS transport (after the handshake); neither has a public type
    raw: Any = None  # the transport under TLS

    def __init__(
        self,
        http: HttpProtocol,
        sock: socket.socket,
        scratch: memoryview,
        *,
        on_lost: Callable[[], None],
        tls: bool,
    ) -> None:
        self.http = http
        self._on_lost = on_lost
        self.sock = sock
        self.tls = tls
        self.intake: Intake | None = None
        self.read_bytes = HEAD_READ_BYTES
        self._scratch = scratch
        self._paused = False
        self._loop = http.loop

    # -- uvloop's side -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection (with TLS: the handshake) is complete."""
        self.transport = transport
        if self.tls:
            self.transport.set_read_buffer_limits(high=_TLS_HIGH_WATER_BYTES, low=_TLS_LOW_WATER_BYTES)
        self.http.wire_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more comes or goes."""
        if self.intake is not None:
            self.intake.changed.set()
        self.http.connection_lost(exc)
        self._on_lost()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Where the next bytes go; never empty."""
        intake = self.intake
        if intake is not None:
            return intake.view[intake.filled :]
        return self._scratch[: self.read_bytes]

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have come."""
        intake = self.intake
        if intake is None:
            self.http.data_received(bytes(self._scratch[:nbytes]))
            return
        intake.filled += nbytes
        if intake.full:
            self.intake = None
            self.pause()
        intake.changed.set()

    def eof_received(self) -> bool:
        """The peer sends nothing more; whether the transport stays open for what we still send."""
        if self.intake is not None:
            self.intake.changed.set()
        return self.http.wire_ended()

    def pause_writing(self) -> None:
        """The transport's write buffer is full."""
        self.http.pause_writing()

    def resume_writing(self) -> None:
        """There is room again."""
        self.http.resume_writing()

    # -- our side ------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Read nothing from now on."""
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()
            if self.tls:
                self._loop.call_soon(self.settle)

    def settle(self) -> None:
        """Complete a `pause`, outside of any callback of the transport."""
        if self._paused and self.raw is not None and not self.transport.is_closing():
            self.raw.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._paused:
            self._paused = False
            if not self.transport.is_closing():
                if self.raw is not None:
                    self.raw.resume_reading()
                self.transport.resume_reading()

    def held_bytes(self) -> int:
        """Bytes that TLS has read from the socket and not handed out, still encrypted or not."""
        if not self.tls or self.transport.is_closing():
            return 0
        pending: int = self.transport.get_read_buffer_size()
        tls_object = self.transport.get_extra_info("ssl_object")
        return pending + (tls_object.pending() if tls_object is not None else 0)

    def unsent_bytes(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        unsent: int = self.transport.get_write_buffer_size()
        if self.raw is not None:
            unsent += self.raw.get_write_buffer_size()
        return unsent

    def untaken_bytes(self) -> int:
        """Bytes written that the peer has not acknowledged yet, those that the kernel holds included."""
        queued = array.array("i", [0])
        with suppress(OSError):  # broken: then nothing is queued
            fcntl.ioctl(self.sock.fileno(), termios.TIOCOUTQ, queued)  # SIOCOUTQ, tcp(7)
        return self.unsent_bytes() + queued[0]

    def close(self) -> None:
        """Close in order: what is written goes out first."""
        if self.raw is not None:
            self.raw.resume_reading()  # the closing handshake needs the peer's part
        self.transport.close()

    def reset(self) -> None:
        """Close now, with RST: otherwise the kernel would go on sending what it holds, at the peer's pace."""
        with suppress(OSError):  # broken already
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.abort()

    def abort(self) -> None:
        """Close now. A duplicate of the socket may be open in a thread, so the close is made known to the peer first."""
        with suppress(OSError):  # not connected any more: then the peer knows
            self.sock.shutdown(socket.SHUT_RDWR)
        transport = self.transport or self.raw
        if transport is not None:
            transport.abort()
