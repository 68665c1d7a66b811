"""Accepting connections.

uvloop's own server closes its listening socket for good when `accept` fails (UVStreamServer._fatal_error), and knows no
limit. Here a failure for want of descriptors or memory pauses accepting; the peers wait in the backlog meanwhile.

Laws: `live` counts a connection from its accept until it is lost, handshake included; nothing is accepted after `close`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from uvloop.loop import SSLProtocol  # type: ignore[attr-defined]  # not in its stubs

from app.core.errors import Unavailable
from app.ingress.engine import Engine
from app.ingress.protocol import HttpProtocol, refusal
from app.ingress.wire import Wire

__all__ = ["Listener", "bind"]

_log = logging.getLogger("uvicorn.error")
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_TURN_S: Final = 0.001
_ABORT_S: Final = 2.0
_PAUSE_S: Final = 0.25
_PROBE_S: Final = 20
_BATCH: Final = 64
_REFUSED_KEPT_S: Final = 0.5
_REFUSED_KEPT: Final = 64


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets for every address of `host`, all on one port; nobody can connect before they listen.

    Raises:
        OSError: the address can't be had; somebody else listens there.
    """
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address[0], sockets[0].getsockname()[1] if len(sockets) > 1 else port, *address[2:]))
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


class Listener:
    """Accepts from its sockets and makes a `Wire` of each connection."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        engine: Engine,
        make_http: Callable[[], HttpProtocol],
        tls: ssl.SSLContext | None,
    ) -> None:
        self.sockets = list(sockets)
        self._engine = engine
        self._make_http = make_http
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._live: dict[socket.socket, Wire | None] = {}  # None until it has one
        self._refused: set[socket.socket] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._resume_timer: asyncio.TimerHandle | None = None
        config = engine.config
        self._limit = min(config.max_connections, config.max_tls_connections) if tls else config.max_connections

    @property
    def live(self) -> int:
        """Open connections."""
        return len(self._live)

    def open(self) -> None:
        """Begin to accept."""
        for sock in self.sockets:
            sock.settimeout(0)
            self._loop.add_reader(sock, self._acceptable, sock)

    def close(self) -> None:
        """Accept nothing more, and close the listening sockets. Idempotent."""
        self._pause()
        if self._resume_timer is not None:
            self._resume_timer.cancel()
        for sock in self.sockets:
            sock.close()
        self.sockets.clear()
        for sock in list(self._refused):
            self._drop(sock)

    async def abort(self) -> None:
        """Cut what is left of the connections, and return when their descriptors are closed."""
        if self._connecting:
            await asyncio.wait(self._connecting)
        for wire in list(self._live.values()):
            if wire is not None:
                wire.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(_ABORT_S):
                while self._live:  # noqa: ASYNC110 - a few turns of the event loop
                    await asyncio.sleep(0)
        await asyncio.sleep(_TURN_S)  # uvloop closes descriptors in the turn after `connection_lost`

    def _pause(self) -> None:
        for sock in self.sockets:
            self._loop.remove_reader(sock)

    def _resume(self) -> None:
        self._resume_timer = None
        self.open()

    def _acceptable(self, listening: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                sock, _address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                if exc.errno in _EXHAUSTED:
                    self._exhausted(exc)
                    return
                continue  # accept(2): the connection broke before it was taken
            self._accepted(sock)

    def _exhausted(self, exc: OSError) -> None:
        _log.warning("No connection can be accepted for now: %s", exc)
        self._engine.config.observer.accept_paused()
        self._pause()
        self._resume_timer = self._loop.call_later(_PAUSE_S, self._resume)

    def _accepted(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        if len(self._live) >= self._limit:
            self._turn_away(sock)
            return
        with suppress(OSError):  # reset already
            self._prepare(sock)
        self._live[sock] = None
        self._engine.config.observer.connection_opened(tls=self._tls is not None)
        task = self._loop.create_task(self._connect(sock))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def _prepare(self, sock: socket.socket) -> None:
        """Leave the peer that takes nothing, or whose link is down, to the kernel (tcp(7)).

        TCP_USER_TIMEOUT counts from the last progress: an acknowledgement, or a window that opened. So it cuts off who
        reads nothing of a download, not who reads slowly (`Uptake` does); and it still holds when our side is closed.
        """
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, math.ceil(self._engine.config.body_idle_s * 1000))

    async def _connect(self, sock: socket.socket) -> None:
        try:
            if self._tls is None:
                wire = Wire(self._make_http(), sock, self._engine.scratch, on_lost=partial(self._lost, sock), tls=False)
                self._live[sock] = wire
                await self._loop.connect_accepted_socket(lambda: wire, sock)
            else:
                await self._connect_tls(sock, self._tls)
        except OSError:  # reset before it was ours, or no descriptor for the duplicate
            sock.close()
            self._lost(sock)

    async def _connect_tls(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        # The transport under TLS closes its descriptor before the wire learns of the end, so the wire has a duplicate.
        own = sock.dup()
        wire = Wire(self._make_http(), own, self._engine.scratch, on_lost=partial(self._lost, sock, own), tls=True)
        self._live[sock] = wire
        shaken = self._loop.create_future()
        shaken.add_done_callback(lambda outcome: self._handshake_over(outcome, wire, sock))
        config = self._engine.config
        # What `connect_accepted_socket(ssl=…)` does inside, but returning the transport under TLS (see `Wire`).
        layer = SSLProtocol(
            self._loop,
            wire,
            context,
            shaken,
            server_side=True,
            ssl_handshake_timeout=config.header_timeout_s,
            ssl_shutdown_timeout=config.linger_s,
        )
        try:
            wire.raw, _ = await self._loop.connect_accepted_socket(lambda: layer, sock)
        except OSError:
            own.close()
            raise

    def _handshake_over(self, outcome: asyncio.Future[None], wire: Wire, sock: socket.socket) -> None:
        failed = outcome.cancelled() or outcome.exception() is not None
        if failed or wire.transport is None:  # uvloop reports a plain close during the handshake as success
            self._engine.config.observer.request_refused("tls-handshake")
            self._lost(sock, wire.sock)

    def _lost(self, sock: socket.socket, own: socket.socket | None = None) -> None:
        if own is not None:
            own.close()
        if sock in self._live:
            del self._live[sock]
            self._engine.config.observer.connection_closed(tls=self._tls is not None)

    def _turn_away(self, sock: socket.socket) -> None:
        """Say why, if it can be said, and forget the peer soon."""
        error = Unavailable("The server has as many connections as it takes. Try again later.")
        self._engine.config.observer.request_refused(error.code, error.detail)
        if self._tls is not None or len(self._refused) >= _REFUSED_KEPT:
            sock.close()
            return
        with suppress(OSError):
            sock.send(refusal(error, "none"))
            sock.shutdown(socket.SHUT_WR)
        self._refused.add(sock)
        self._loop.call_later(_REFUSED_KEPT_S, self._drop, sock)

    def _drop(self, sock: socket.socket) -> None:
        if sock not in self._refused:
            return
        self._refused.remove(sock)
        with suppress(OSError):
            for _ in range(_BATCH):
                if not sock.recv(64 * 1024, socket.MSG_TRUNC):  # dropped in the kernel (tcp(7))
                    break
        sock.close()
