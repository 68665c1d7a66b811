"""A real server in a thread, with real sockets, for tests that speak HTTP byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, MutableMapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Self, TypeVar

import uvloop

from app.ingress import IngressConfig, IngressServer, make_server
from app.services.chunk_buffer_pool import ChunkBufferPool

__all__ = ["Answer", "CountingObserver", "LiveServer", "RawClient", "read_answer", "reply"]

T = TypeVar("T")
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Asgi = Callable[[Event, Receive, Send], Awaitable[None]]


async def reply(send: Send, status: int = 200, body: bytes = b"", *, close: bool = False) -> None:
    """A whole answer."""
    headers = [(b"content-length", b"%d" % len(body))]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class CountingObserver:
    """Remembers what ingress told."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self.opened = 0
        self.closed = 0
        self.bytes = 0
        self.refused: list[str] = []
        self.pauses = 0

    def connection_opened(self, *, tls: bool) -> None:
        """One more."""
        del tls
        self.opened += 1

    def connection_closed(self, *, tls: bool) -> None:
        """One less."""
        del tls
        self.closed += 1

    def bytes_received(self, count: int) -> None:
        """Some more."""
        self.bytes += count

    def request_refused(self, code: str, detail: str = "") -> None:
        """Kept in order."""
        del detail
        self.refused.append(code)

    def accept_paused(self) -> None:
        """One more."""
        self.pauses += 1


class LiveServer:
    """Runs an ASGI function until the `with` block ends."""

    def __init__(
        self,
        app: Asgi,
        *,
        slab_bytes: int = 64 * 1024,
        slabs: int = 5,
        pool_timeout_s: float = 10.0,
        certificate: tuple[str, str] | None = None,
        client_context: ssl.SSLContext | None = None,
        before_drain: Callable[[], Awaitable[None]] | None = None,
        trusted_proxies: tuple[str, ...] = (),
        **limits: float,
    ) -> None:
        """Decide what runs; `limits` are fields of IngressConfig."""
        self._app = app
        self.pool = ChunkBufferPool(slab_bytes, slabs, timeout_s=pool_timeout_s)
        self.observer = CountingObserver()
        limits.setdefault("linger_s", 1.0)
        self.config = replace(IngressConfig(pool=self.pool, observer=self.observer), **limits)  # type: ignore[arg-type]
        self._certificate = certificate or (None, None)
        self._client_context = client_context
        self._before_drain = (before_drain,) if before_drain else ()
        self._trusted_proxies = trusted_proxies
        self.loop: asyncio.AbstractEventLoop
        self.server: IngressServer
        self.address: tuple[str, int]
        self.ended_lifespan = False
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="live-server")

    async def _asgi(self, scope: Event, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await receive()
        self.pool.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.ended_lifespan = True
        self.pool.close()
        await send({"type": "lifespan.shutdown.complete"})

    def _run(self) -> None:
        async def main() -> None:
            self.loop = asyncio.get_running_loop()
            certfile, keyfile = self._certificate
            self.server = make_server(
                self._asgi,
                ingress=self.config,
                port=0,
                certfile=certfile,
                keyfile=keyfile,
                before_drain=self._before_drain,
                trusted_proxies=self._trusted_proxies,
                on_listening=lambda _: self._started.set_result(None),
            )
            await self.server.serve()

        try:
            uvloop.run(main())
        except BaseException as exc:
            if self._started.done():
                raise
            self._started.set_exception(exc)

    def __enter__(self) -> Self:
        """Start and listen."""
        self._thread.start()
        self._started.result(10)
        self.address = self.server.addresses[0]
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; everything has ended afterwards."""
        self.stop()
        self.join()

    def stop(self) -> None:
        """Begin to stop, as a signal would."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has stopped already
            self.loop.call_soon_threadsafe(self.server.stop)

    def join(self, timeout_s: float = 30.0) -> None:
        """Wait for the end."""
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise TimeoutError("the server did not stop")

    def call(self, coroutine: Coroutine[Any, Any, T], timeout_s: float = 20.0) -> T:
        """Run something in the server's event loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout_s)

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Return when `condition`, asked in the server's event loop, holds."""

        async def until() -> None:
            async with asyncio.timeout(timeout_s):
                while not condition():  # noqa: ASYNC110 - a condition of the server's insides has no event
                    await asyncio.sleep(0.005)

        self.call(until(), timeout_s + 5)

    def quiescent(self) -> bool:
        """Whether nothing is leased and no request runs."""
        return self.pool.stats.slabs_leased == 0 and not self.server.server_state.tasks

    @contextlib.contextmanager
    def connect(self, *, timeout_s: float = 10.0) -> Iterator[RawClient]:
        """A client connection, over TLS when the server speaks it."""
        sock: socket.socket = socket.create_connection(self.address, timeout=timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._client_context is not None:
            sock = self._client_context.wrap_socket(sock, server_hostname="localhost")
        with sock:
            yield RawClient(sock)


class Answer:
    """A response as it came."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Keep the parts; names lower-case."""
        self.status = status
        self.headers = headers
        self.body = body


class RawClient:
    """Sends bytes, reads responses."""

    def __init__(self, sock: socket.socket) -> None:
        """Use a connected socket."""
        self.sock = sock
        self._held = b""

    def send(self, data: bytes) -> RawClient:
        """All of it."""
        self.sock.sendall(data)
        return self

    def put(self, body: bytes, *, path: str = "/", headers: str = "", length: int | None = None) -> RawClient:
        """A PUT with Content-Length."""
        size = len(body) if length is None else length
        head = f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n{headers}\r\n"
        return self.send(head.encode() + body)

    def _more(self) -> bool:
        data = self.sock.recv(65536)
        self._held += data
        return bool(data)

    def answer(self, method: str = "GET") -> Answer:
        """The next response to such a request, interim ones included; EOFError when the connection ends before it."""
        while b"\r\n\r\n" not in self._held:
            if not self._more():
                raise EOFError(self._held)
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        status = int(first.split()[1])
        return Answer(status, headers, b"" if method == "HEAD" else self._body(status, headers))

    def _body(self, status: int, headers: dict[str, str]) -> bytes:
        if status < 200 or status in {204, 304}:  # noqa: PLR2004 - RFC 9112 section 6.3
            return b""
        if headers.get("transfer-encoding") == "chunked":
            return self._chunks()
        if "content-length" not in headers:
            while self._more():
                pass
            body, self._held = self._held, b""
            return body
        return self._take(int(headers["content-length"]))

    def _take(self, size: int) -> bytes:
        while len(self._held) < size:
            if not self._more():
                raise EOFError(self._held)
        body, self._held = self._held[:size], self._held[size:]
        return body

    def _chunks(self) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in self._held:
                if not self._more():
                    raise EOFError(self._held)
            line, _, self._held = self._held.partition(b"\r\n")
            size = int(line, 16)
            body += self._take(size)
            self._take(2)
            if not size:
                return body

    def ended(self) -> bool:
        """Wait for the connection's end; True when nothing came before it."""
        try:
            return not self._held and not self.sock.recv(1)
        except ConnectionResetError:
            return True


def read_answer(client: RawClient) -> Answer:
    """The final response, after interim ones."""
    answer = client.answer()
    while answer.status < 200:  # noqa: PLR2004
        answer = client.answer()
    return answer
