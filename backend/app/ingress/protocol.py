"""One HTTP/1.1 connection: heads in, exchanges one after the other, an orderly end.

    HEAD ──▶ EXCHANGE ──▶ HEAD        body read to its end, connection kept
      │          ├──────▶ DRAIN ──▶ HEAD   a little of the body is unread: dropped, then kept
      └──────────┴──────▶ LINGER          refused, or to be closed: what comes is dropped, within bounds
    any ──▶ CLOSED

Laws:
- One request at a time. While its exchange runs the wire is paused, unless the application reads; what came too much
  waits in `_inbox` and is looked at when the exchange has ended (pipelining without a queue).
- A new llhttp parser for each head, and it sees nothing else: neither bodies nor trailers reach it, so nothing of them
  can become a header or a request.
- Every state has a deadline: HEAD header or keep-alive time, EXCHANGE the body's pace, DRAIN and LINGER their own. In
  each of them the answer has to be taken: at some pace (`Uptake`), and not by nobody (TCP_USER_TIMEOUT).
- After a refusal nothing is parsed any more.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import re
import secrets
import select
import socket
import termios
import urllib.parse
from enum import Enum, auto
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from app.core.body import BODY_EXTENSION, INFORMATIONAL_EXTENSION
from app.core.errors import ClientGone, ForebayError, MalformedRequest, RequestTimedOut
from app.ingress.body import BodyBase
from app.ingress.buffered import BufferedBody
from app.ingress.chunked import ChunkedDecoder
from app.ingress.engine import Engine
from app.ingress.exchange import Exchange
from app.ingress.fallback import ReceivedBody
from app.ingress.head import RequestHead, find_head, parse_head
from app.ingress.inbound import Inbound
from app.ingress.pace import Pace
from app.ingress.pump import PumpedBody
from app.ingress.readiness import HANGUP
from app.ingress.uptake import Uptake
from app.ingress.wire import HEAD_READ_BYTES, SCRATCH_BYTES, Wire
from app.posix.light_event import LightEvent
from app.protocols.problem import problem_document

__all__ = ["HttpProtocol", "refusal"]

REQUEST_ID_EXTENSION: Final = "forebay.request_id"
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._~+/=@-]{8,128}")
_INBOX_HIGH_WATER_BYTES: Final = 64 * 1024
_HANGUP_AGAIN_S: Final = 0.1
_CHUNKED_END: Final = b"\r\n\r\n"
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


class Phase(Enum):
    """Where a connection stands."""

    HEAD = auto()
    EXCHANGE = auto()
    DRAIN = auto()
    LINGER = auto()
    CLOSED = auto()


def refusal(error: ForebayError, request_id: str) -> bytes:
    """A whole answer that ends the connection."""
    status, headers, body = problem_document(error, request_id)
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, error.title.encode("ascii", "replace"))]
    lines += [b"%b: %b\r\n" % field for field in headers]
    lines += [b"x-request-id: %b\r\n" % request_id.encode("ascii"), b"connection: close\r\n\r\n", body]
    return b"".join(lines)


def _new_request_id() -> str:
    return secrets.token_hex(12)


def _request_id(fields: list[tuple[bytes, bytes]]) -> str:
    """The client's X-Request-Id when it is sane, else a new one."""
    for name, value in fields:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode("ascii")
    return _new_request_id()


def _readable_bytes(sock: socket.socket) -> int:
    """What the kernel holds for us."""
    count = array.array("i", [0])
    fcntl.ioctl(sock.fileno(), termios.FIONREAD, count)
    return count[0]


def _second_reading(head: bytes) -> None:
    """Have llhttp read a head as well: what it does not understand is refused. It is told of nothing, and kept by nobody."""
    try:
        httptools.HttpRequestParser(None).feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # RFC 9110 section 7.8: an upgrade may be ignored, and it is
    except httptools.HttpParserError as exc:
        raise MalformedRequest from exc


class HttpProtocol(asyncio.Protocol):
    """Our own reading, bodies and endings, for uvicorn's server."""

    wire: Wire
    transport: Any  # the wire's

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        engine: Engine,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.engine = engine
        self.loop = loop
        self.server_state = server_state
        self.exchange: Exchange | None = None
        self.phase = Phase.HEAD
        self.stopping = False
        self._app = config.loaded_app
        self._app_state = app_state
        self._connections: set[Any] = server_state.connections
        self._inbox = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._discarded = 0
        self._to_drain = 0
        self._watched = -1
        self._between = False  # waiting for the first byte after an exchange
        self._writable = LightEvent()
        self._writable.set()
        self._uptake: Uptake | None = None  # made when the peer first has to be waited for

    # -- the wire's calls ----------------------------------------------------------------------------------------

    def wire_made(self, wire: Wire) -> None:
        """The connection stands."""
        self.wire = wire
        self.transport = wire.transport
        self._server = get_local_addr(wire.transport)
        self._client = get_remote_addr(wire.transport)
        self._connections.add(self)
        self._set_timer(self.engine.config.header_timeout_s, self._head_expired)
        if self.stopping:
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing goes or comes any more."""
        del exc
        self.phase = Phase.CLOSED
        self._cancel_timer()
        if self._uptake is not None:
            self._uptake.end()
        self._forget_hangup()
        self._connections.discard(self)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.disconnected = True
            self._client_left(exchange)
        self._writable.set()

    def pause_writing(self) -> None:
        """The transport's write buffer is full."""
        if self._uptake is None:
            config = self.engine.config
            self._uptake = Uptake(
                Pace(idle_s=config.body_idle_s, min_rate_bytes=config.min_rate_bytes),
                loop=self.loop,
                untaken_bytes=self.wire.untaken_bytes,
                cut_off=self.wire.reset,
            )
        self._uptake.begin()
        self._writable.clear()

    def resume_writing(self) -> None:
        """There is room again."""
        if self._uptake is not None:
            self._uptake.end()
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Bytes have come; what they are depends on the phase."""
        if self.phase is Phase.LINGER:
            self._discard(len(data))
            return
        self._inbox += data
        if self.phase is Phase.HEAD:
            self._advance()
        elif self.phase is Phase.DRAIN:
            self._drain()
        elif self.exchange is not None:
            if len(self._inbox) >= _INBOX_HIGH_WATER_BYTES:
                self.wire.pause()
            self.exchange.arrived.set()

    def wire_ended(self) -> bool:
        """The peer sends nothing more; True keeps the connection for the answer under way."""
        if self.exchange is None:
            return False
        self._client_left(self.exchange)
        return True

    # -- heads ---------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Begin the next request if its head is there."""
        config = self.engine.config
        fresh = not self._inbox
        try:
            raw = find_head(self._inbox, max_bytes=config.max_header_bytes)
            if raw is None:
                if self._between and not fresh:
                    self._between = False
                    self._set_timer(config.header_timeout_s, self._head_expired)
                self.wire.resume()
                return
            head = parse_head(raw, max_fields=config.max_header_fields)
            _second_reading(raw)
        except ForebayError as error:
            self._refuse(error)
            return
        self._begin(head, self._scope(head))

    def _scope(self, head: RequestHead) -> dict[str, Any]:
        """The ASGI scope."""
        path, _, query = head.target.partition(b"?")
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": head.version,
            "server": self._server,
            "client": self._client,
            "scheme": "https" if self.wire.tls else "http",
            "method": head.method.decode("ascii"),
            "root_path": "",
            "path": urllib.parse.unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "headers": head.fields,
            "state": self._app_state.copy(),
        }

    def _begin(self, head: RequestHead, scope: dict[str, Any]) -> None:
        self._cancel_timer()
        self.wire.pause()
        self.wire.read_bytes = SCRATCH_BYTES
        self.phase = Phase.EXCHANGE
        config = self.engine.config
        decoder = None
        if head.chunked:
            decoder = ChunkedDecoder(
                max_trailer_bytes=config.max_header_bytes,
                max_trailer_fields=config.max_header_fields,
                wanted=head.trailer,
            )
        request_id = _request_id(head.fields)
        exchange = Exchange(self, head, scope, Inbound(self._inbox, head.content_length, decoder), request_id)
        exchange.body = self._body(exchange, chunked=head.chunked)
        extensions: dict[str, Any] = {BODY_EXTENSION: exchange.body, REQUEST_ID_EXTENSION: request_id}
        if head.version == "1.1":
            extensions[INFORMATIONAL_EXTENSION] = exchange.send_informational
        scope["extensions"] = extensions
        self.exchange = exchange
        if self.stopping:
            exchange.keep_alive = False
        self._watch_hangup()
        task = self.loop.create_task(exchange.run_asgi(self._app))
        self.server_state.tasks.add(task)
        task.add_done_callback(self.server_state.tasks.discard)

    def _body(self, exchange: Exchange, *, chunked: bool) -> BodyBase:
        if chunked:
            return ReceivedBody(None, exchange.read_body, self.engine.config, self.engine.workers, exchange.inbound)
        if self.wire.tls:
            return BufferedBody(exchange.inbound, self.wire, self.engine, exchange.want_body)
        return PumpedBody(exchange.inbound, self.wire.sock, self.engine, exchange.want_body)

    def _refuse(self, error: ForebayError) -> None:
        """Answer for the application, and end."""
        self.engine.config.observer.request_refused(error.code, error.detail)
        self.write(refusal(error, _new_request_id()))
        self._linger()

    def _head_expired(self) -> None:
        if self._inbox:
            self._refuse(RequestTimedOut("The request's header did not come in time."))
        else:
            self.end()

    # -- the exchange's calls ------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send, unless the connection is closing."""
        if not self.transport.is_closing():
            self.transport.write(data)

    @property
    def takes_more(self) -> bool:
        """Whether what is written now goes out without waiting for the client to read."""
        return self._writable.is_set() and not self.transport.is_closing()

    async def writable(self) -> None:
        """Return when the transport takes more, or the connection is lost."""
        await self._writable.wait()

    def can_be_kept(self, exchange: Exchange) -> bool:
        """Whether a next request can follow what is unread of this one's body."""
        unread = exchange.unread_bytes
        return not (
            self.stopping
            or exchange.body.delivering
            or exchange.body.failure is not None
            or unread is None
            or unread > self.engine.config.drain_bytes
        )

    def exchange_ended(self, exchange: Exchange) -> None:
        """The answer is written."""
        self.server_state.total_requests += 1
        if exchange is not self.exchange:
            return
        self.exchange = None
        self._forget_hangup()
        kept = exchange.keep_alive and self.can_be_kept(exchange)
        if exchange.body.delivering:
            exchange.body.fail(ClientGone())
        if self.transport.is_closing():
            return
        if not kept:
            self._linger()
        elif exchange.unread_bytes:
            self._to_drain = exchange.unread_bytes
            self.phase = Phase.DRAIN
            self._set_timer(self.engine.config.linger_s, self.end)
            self._drain()
        else:
            self._next()

    def give_up(self, exchange: Exchange) -> None:
        """The exchange can't be ended in order."""
        if exchange is self.exchange:
            self._client_left(exchange)
            self.wire.abort()

    def interrupt(self, error: ForebayError) -> None:
        """End the reading of the request under way, if there is one; the application may still answer."""
        if self.exchange is not None:
            self.exchange.body.fail(error)
            self.exchange.arrived.set()

    # -- endings -------------------------------------------------------------------------------------------------

    def _next(self) -> None:
        self.phase = Phase.HEAD
        self.wire.read_bytes = HEAD_READ_BYTES
        self._between = not self._inbox
        if self._between:
            self._set_timer(self.engine.config.keep_alive_s, self.end)
        else:
            self._set_timer(self.engine.config.header_timeout_s, self._head_expired)
        self._advance()

    def _drain(self) -> None:
        dropped = min(self._to_drain, len(self._inbox))
        del self._inbox[:dropped]
        self._to_drain -= dropped
        if self._to_drain:
            self.wire.resume()
        else:
            self._next()

    def _linger(self) -> None:
        """Everything is said. Keep listening for a while: a close with unread input is a reset, and the peer loses our answer."""
        self.phase = Phase.LINGER
        if self.transport.is_closing():
            return
        self._inbox.clear()
        self._discarded = 0
        self.wire.read_bytes = SCRATCH_BYTES
        self._set_timer(self.engine.config.linger_s, self._lingered)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.wire.resume()

    def _discard(self, count: int) -> None:
        self._discarded += count
        if self._discarded >= self.engine.config.linger_bytes:
            self.wire.pause()  # the peer's window closes; it has until the deadline to read the answer

    def _lingered(self) -> None:
        if self.wire.unsent_bytes():  # a slow reader of the answer; whether too slow, `Uptake` says
            self._set_timer(self.engine.config.linger_s, self._lingered)
        elif self.wire.tls:
            self.wire.abort()  # an orderly end of TLS would read on
        else:
            self.end()

    def end(self) -> None:
        """Close the connection; what is written still goes out."""
        self._cancel_timer()
        self.phase = Phase.CLOSED
        if not self.transport.is_closing():
            self.wire.close()

    def shutdown(self) -> None:
        """The server stops: no further request; the one under way may end."""
        self.stopping = True
        if self.exchange is not None:
            self.exchange.keep_alive = False
        elif self.phase is not Phase.LINGER:
            self.end()

    # -- the client leaves ---------------------------------------------------------------------------------------

    def _watch_hangup(self) -> None:
        if self.exchange is not None and not self.transport.is_closing():
            self._watched = self.wire.sock.fileno()
            self.engine.readiness.watch(self._watched, HANGUP, self._hung_up)

    def _forget_hangup(self) -> None:
        if self._watched >= 0:
            self.engine.readiness.forget(self._watched)
            self._watched = -1

    def _hung_up(self, events: int) -> None:
        """The peer has closed its half, or all of it.

        What it sent before may still be unread; so its leaving counts as such when the body can't become whole any
        more, or is whole. A half-closed peer can still read an answer.
        """
        exchange = self.exchange
        if exchange is None:
            return
        if events & (select.EPOLLHUP | select.EPOLLERR):
            exchange.disconnected = True
            self._client_left(exchange)
            self._writable.set()
        elif exchange.body.reading_itself or self._rest_is_here(exchange):
            self.loop.call_later(_HANGUP_AGAIN_S, self._watch_hangup)
        else:
            self._client_left(exchange)

    def _rest_is_here(self, exchange: Exchange) -> bool:
        try:
            return self._unread_completes(exchange)
        except OSError:  # broken meanwhile
            return False

    def _unread_completes(self, exchange: Exchange) -> bool:
        """Whether what has come and is unread may complete the body."""
        if exchange.inbound.complete:
            return exchange.body.delivering  # whole, and not yet stored
        in_kernel = _readable_bytes(self.wire.sock)
        owed = exchange.inbound.remaining
        if owed is not None:
            return in_kernel + self.wire.held_bytes() + exchange.inbound.held_bytes >= owed
        if self.wire.tls or in_kernel > SCRATCH_BYTES:
            return in_kernel > SCRATCH_BYTES
        unread = bytes(self._inbox[-len(_CHUNKED_END) :])
        if in_kernel:
            unread += self.wire.sock.recv(in_kernel, socket.MSG_PEEK)
        return unread.endswith(_CHUNKED_END)

    @staticmethod
    def _client_left(exchange: Exchange) -> None:
        exchange.body.fail(ClientGone())
        exchange.arrived.set()

    # -- deadlines -----------------------------------------------------------------------------------------------

    def _set_timer(self, seconds: float, action: Any) -> None:  # noqa: ANN401 - call_later's callback
        self._cancel_timer()
        self._timer = self.loop.call_later(seconds, action)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
