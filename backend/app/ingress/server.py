"""The server: uvicorn's life cycle with our own accepting and our own end.

The end, in this order: nothing more is accepted; the application is told (`before_drain`: event streams end, admission
stops); requests under way may end, within the grace time; then their reading is ended (`deliver` raises ShuttingDown)
and they may answer; what is left is cancelled and awaited, with the bursts in threads; the application's lifespan
ends (the database closes); the process exits with 0. A second signal skips the grace time.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from app.core.errors import ShuttingDown
from app.ingress.config import IngressConfig
from app.ingress.engine import Engine
from app.ingress.listener import Listener, bind
from app.ingress.protocol import HttpProtocol

__all__ = ["IngressServer", "make_server"]

_log = logging.getLogger("uvicorn.error")
_BACKLOG: Final = 4096
_TICK_S: Final = 0.05
_ANSWER_S: Final = 1.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

Hook = Callable[[], Awaitable[None]]
Address = tuple[str, int]


class IngressServer(uvicorn.Server):
    """Runs an ASGI application behind the receiver."""

    def __init__(
        self,
        config: uvicorn.Config,
        ingress: IngressConfig,
        *,
        tls: ssl.SSLContext | None,
        sockets: Sequence[socket.socket] | None,
        before_drain: Sequence[Hook],
        on_listening: Callable[[list[Address]], None] | None,
    ) -> None:
        super().__init__(config)
        self._engine = Engine(ingress)
        self._tls = tls
        self._given_sockets = sockets
        self._before_drain = tuple(before_drain)
        self._on_listening = on_listening
        self._listener: Listener | None = None

    @property
    def addresses(self) -> list[Address]:
        """Where it listens; empty before the start and after the end."""
        if self._listener is None:
            return []
        return [sock.getsockname()[:2] for sock in self._listener.sockets]

    @property
    def connections(self) -> int:
        """Open connections."""
        return self._listener.live if self._listener is not None else 0

    @contextlib.contextmanager
    def bound(self) -> Iterator[None]:
        """Have the address from here on, so that one that can't be had is known before anything is started.

        Raises:
            OSError: it can't.
        """
        self._given_sockets = sockets = bind(self.config.host, self.config.port)
        try:
            yield
        finally:
            for sock in sockets:
                sock.close()

    def stop(self) -> None:
        """Begin the end, as a signal would; a second call skips the grace time. In the event loop's thread."""
        self.force_exit = self.should_exit
        self.should_exit = True

    # -- uvicorn's life cycle ------------------------------------------------------------------------------------

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen; exits with uvicorn's status when either can't be."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        try:
            listening = sockets or self._given_sockets or bind(self.config.host, self.config.port)
            for sock in listening:
                sock.listen(_BACKLOG)
        except OSError as exc:
            _log.error("Can't listen on %s port %d: %s", self.config.host, self.config.port, exc)
            await self.lifespan.shutdown()
            sys.exit(STARTUP_FAILURE)
        self._engine.open()
        loop = asyncio.get_running_loop()

        def make_http() -> HttpProtocol:
            return HttpProtocol(self.config, self.server_state, self.lifespan.state, self._engine, loop)

        self._listener = Listener(listening, self._engine, make_http, self._tls)
        self._listener.open()
        self.servers = []
        self.started = True
        if self._on_listening is not None:
            self._on_listening(self.addresses)

    async def main_loop(self) -> None:
        """Until a signal or `stop`; the date header is kept on the way."""
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + 1) % 864_000
            await asyncio.sleep(_TICK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See the module's beginning."""
        del sockets  # closed by the listener
        listener = self._listener
        if listener is None:
            return
        _log.info("Shutting down")
        listener.close()
        grace_ends = asyncio.get_running_loop().time() + self._engine.config.shutdown_grace_s
        for connection in self._connections():
            connection.stopping = True
        await self._tell_application(grace_ends)
        for connection in self._connections():
            connection.shutdown()
        await self._until_idle(grace_ends)
        await self._end_requests()
        await listener.abort()
        await self.lifespan.shutdown()
        self._engine.close()

    def _connections(self) -> list[HttpProtocol]:
        return [connection for connection in self.server_state.connections if isinstance(connection, HttpProtocol)]

    async def _tell_application(self, grace_ends: float) -> None:
        try:
            async with asyncio.timeout_at(grace_ends):
                for hook in self._before_drain:
                    await hook()
        except TimeoutError:
            _log.warning("The application did not prepare for the end within the grace time")
        except Exception:  # noqa: BLE001 - logged; the end goes on
            _log.exception("The application failed to prepare for the end")

    async def _until_idle(self, deadline: float) -> None:
        """Wait for requests under way, and for connections whose answer is still going out."""
        loop = asyncio.get_running_loop()
        while (self.server_state.tasks or self.server_state.connections) and not self.force_exit:
            if loop.time() >= deadline:
                return
            for connection in self._connections():
                connection.shutdown()
            await asyncio.sleep(_TICK_S)

    async def _end_requests(self) -> None:
        if not self.server_state.tasks:
            return
        _log.warning("Ending %d requests: the grace time is over", len(self.server_state.tasks))
        for connection in self._connections():
            connection.interrupt(ShuttingDown())
        _, pending = await asyncio.wait(set(self.server_state.tasks), timeout=_ANSWER_S)
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)

    # -- signals -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM. Unlike uvicorn, don't raise them again afterwards: a stop as asked for is exit 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal has come."""
        del sig, frame
        self.stop()


def make_server(
    app: Callable[..., Awaitable[None]],
    *,
    ingress: IngressConfig,
    host: str = "127.0.0.1",
    port: int = 8000,
    certfile: Path | str | None = None,
    keyfile: Path | str | None = None,
    sockets: Sequence[socket.socket] | None = None,
    trusted_proxies: Sequence[str] = (),
    before_drain: Sequence[Hook] = (),
    on_listening: Callable[[list[Address]], None] | None = None,
) -> IngressServer:
    """A server for `app`; `run()` blocks until a signal, `serve()` is the coroutine for an event loop (uvloop) of yours.

    Args:
        app: an ASGI 3 application with lifespan.
        ingress: limits and the pool, which is open when the application's lifespan has started.
        host: address or name to listen on.
        port: port to listen on; 0 takes a free one, see `addresses`.
        certfile: PEM file with the certificate chain; turns TLS on.
        keyfile: PEM file with its key.
        sockets: listening sockets to use instead of `host` and `port`.
        trusted_proxies: addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are believed.
        before_drain: awaited one after the other when the server begins to stop, within the grace time.
        on_listening: called with the addresses when connections are accepted.

    Raises:
        ValueError: a trusted proxy is neither an address nor a network.
        OSError: certificate or key can't be read.
        ssl.SSLError: they can't be used.
    """
    for proxy in trusted_proxies:
        ipaddress.ip_network(proxy)
    tls = None
    if certfile is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certfile, keyfile)
        tls.set_alpn_protocols(["http/1.1"])
    application: Any = app
    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        loop="uvloop",
        http=HttpProtocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
    )
    return IngressServer(
        config, ingress, tls=tls, sockets=sockets, before_drain=before_drain, on_listening=on_listening
    )
