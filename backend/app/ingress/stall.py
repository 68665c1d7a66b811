"""A peer that does not take what we send.

Progress is what its kernel has acknowledged (TCP_INFO): the fill of our own buffers says little, since a slow but honest
reader of a download keeps them full all the time.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Final

from app.ingress.wire import Wire

__all__ = ["StallWatch"]

# struct tcp_info, linux/tcp.h: tcpi_bytes_acked, since Linux 4.1.
_BYTES_ACKED: Final = struct.Struct("=120xQ")


class StallWatch:
    """Aborts a connection on which written bytes do not move for `stall_s`."""

    __slots__ = ("_acked", "_loop", "_stall_s", "_timer", "_wire")

    def __init__(self, wire: Wire, stall_s: float) -> None:
        self._wire = wire
        self._stall_s = stall_s
        self._timer: asyncio.TimerHandle | None = None
        self._acked = 0
        self._loop = asyncio.get_running_loop()

    def wrote(self) -> None:
        """Something was given to the transport."""
        if self._timer is None and self._wire.unsent_bytes():
            self._arm()

    def cancel(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._acked = self._acknowledged()
        self._timer = self._loop.call_later(self._stall_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._wire.unsent_bytes():
            return
        if self._acknowledged() == self._acked:
            self._wire.abort()
        else:
            self._arm()

    def _acknowledged(self) -> int:
        info = self._wire.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
        count: int = _BYTES_ACKED.unpack(info)[0]
        return count
