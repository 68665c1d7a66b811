"""One request and its answer: the ASGI side of a connection.

Laws:
- `send` after the answer's end, or out of order, is the application's bug and raises; after the client has left it
  does nothing.
- An exchange whose answer starts while the body is unread decides there and then whether the connection can be kept
  (`Connection: close` must be in the header); `HttpProtocol.exchange_ended` acts on it.
- `receive` and `deliver` never read the same body: once it is delivered, `receive` only waits for the client to leave.
- 100 (Continue) is written when the application first asks for the body, and not once the answer has started.
- Interim answers never wait: whoever does not read them is sent no more of them, and nothing is kept in their place.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE

from app.core.errors import ClientGone, ForebayError, InternalError, RequestTimedOut
from app.ingress.inbound import Inbound
from app.ingress.pace import Pace
from app.posix.light_event import LightEvent
from app.protocols.problem import problem_document

if TYPE_CHECKING:
    from app.ingress.body import BodyBase
    from app.ingress.head import RequestHead
    from app.ingress.protocol import HttpProtocol

__all__ = ["Exchange"]

_log = logging.getLogger("uvicorn.error")
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_INTERIM: Final = range(102, 200)  # 100 is ours to send, 101 would leave HTTP
_UPLOAD_RESUMPTION_SUPPORTED: Final = 104  # draft-ietf-httpbis-resumable-upload; not yet in http.HTTPStatus
_UPLOAD_RESUMPTION: Final = b"HTTP/1.1 104 Upload Resumption Supported\r\n"
_JOINED_BYTES: Final = 16 * 1024
_WITHOUT_CONTENT: Final = frozenset({204, 304})
Fields = list[tuple[bytes, bytes]]


class Exchange:
    """Runs the application for one request."""

    def __init__(
        self, connection: HttpProtocol, head: RequestHead, scope: dict[str, Any], inbound: Inbound, request_id: str
    ) -> None:
        self.scope = scope
        self.inbound = inbound
        self.request_id = request_id
        self.keep_alive = head.keep_alive
        self.response_started = False
        self.response_complete = False
        self.disconnected = False  # nothing can be written any more
        self.body: BodyBase  # set by the connection, which knows the way
        self.arrived = LightEvent()  # input, the end of it, or of the exchange
        self._connection = connection
        self._expects_continue = head.expects_continue
        self._method = head.method
        self._version = head.version
        self._body_given = False
        self._silent = False  # an answer without content
        self._chunked_answer = False
        self._head = b""  # of the answer, while it waits for the content that usually follows at once
        self._content_left: int | None = None  # of the declared length
        config = connection.engine.config
        self._pace = Pace(idle_s=config.body_idle_s, min_rate_bytes=config.min_rate_bytes)

    # -- the application's calls ---------------------------------------------------------------------------------

    async def run_asgi(self, app: Any) -> None:  # noqa: ANN401 - any ASGI callable
        """Run the application to its end; whatever it did, the client gets an answer or a closed connection."""
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self._connection.give_up(self)
            raise
        except ClientGone:
            self._connection.give_up(self)
        except Exception as exc:  # noqa: BLE001 - logged, and the client gets its answer
            if not self.disconnected and not isinstance(exc, ForebayError):
                _log.exception("Exception in ASGI application, request %s", self.request_id)
            await self._answer_failure(exc)
        else:
            if not self.response_complete and not self.disconnected and self.body.failure is None:
                _log.error("The application ended without a whole answer, request %s", self.request_id)
            await self._answer_failure(None)

    async def _answer_failure(self, exc: Exception | None) -> None:
        if self.response_complete:
            return
        if self.response_started or self.disconnected or isinstance(self.body.failure, ClientGone):
            self._connection.give_up(self)
            return
        error = exc if isinstance(exc, ForebayError) else InternalError()
        status, headers, body = problem_document(error, self.request_id)
        headers.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def receive(self) -> dict[str, Any]:
        """ASGI's receive.

        Raises:
            RequestTimedOut: the body comes too slowly.
            MalformedRequest: its chunked framing is broken.
            ShuttingDown: the server stops.
        """
        if not self.body.claimed and not self._body_given:
            return await self.read_body()
        while not self._over():
            self.arrived.clear()
            await self.arrived.wait()
        return {"type": "http.disconnect"}

    async def read_body(self) -> dict[str, Any]:
        """The next piece of the body as ASGI's event; raises as `receive`. For `receive` or the body object, not both."""
        self.want_body()
        while True:
            content = self.inbound.take()
            if content or self.inbound.complete:
                self._connection.engine.config.observer.bytes_received(len(content))
                self._body_given = self.inbound.complete
                return {"type": "http.request", "body": content, "more_body": not self._body_given}
            if self._over():
                return {"type": "http.disconnect"}
            if self.body.failure is not None:
                raise self.body.failure
            await self._more()

    def _over(self) -> bool:
        return self.disconnected or self.response_complete or isinstance(self.body.failure, ClientGone)

    async def _more(self) -> None:
        """Wait for input."""
        loop = self._connection.loop
        began = loop.time()
        before = self.inbound.held_bytes  # of an element that is not whole yet
        self.arrived.clear()
        self._connection.wire.resume()
        try:
            with suppress(TimeoutError):  # the pace decides
                async with asyncio.timeout(self._pace.patience_s()):
                    await self.arrived.wait()
        finally:
            self._connection.wire.pause()
        if not self._pace.timely(loop.time() - began, self.inbound.held_bytes - before) and self.body.failure is None:
            raise RequestTimedOut

    def want_body(self) -> None:
        """The application asks for the body: tell a client that waits for that."""
        if self._expects_continue and not self.response_started:
            self._expects_continue = False
            self._connection.write(_CONTINUE)

    @property
    def unread_bytes(self) -> int | None:
        """What the client will still send of the body, if that is known."""
        if self.inbound.complete:
            return 0
        return None if self._expects_continue else self.inbound.remaining

    def send_informational(self, status: int, headers: Fields) -> bool:
        """Write an interim response (RFC 9110 section 15.2) before the final one; False: the client does not read, it was dropped.

        Raises:
            ValueError: not an interim status that an application may send.
            RuntimeError: the final response has started, or the fields can't be sent.
        """
        if status not in _INTERIM:
            msg = f"{status} is not an interim status"
            raise ValueError(msg)
        if self.response_started:
            raise RuntimeError("the final response has started")
        message = b"".join([_status_line(status), *_lines(headers), b"\r\n"])
        if self.disconnected or not self._connection.takes_more:
            return False
        self._connection.write(message)
        return True

    async def send(self, message: Any) -> None:  # noqa: ANN401 - ASGI's events
        """ASGI's send."""
        await self._connection.writable()
        if self.disconnected:
            return
        if not self.response_started:
            self._expect(message, "http.response.start")
            self._start(message["status"], list(message.get("headers", ())))
        elif not self.response_complete:
            self._expect(message, "http.response.body")
            self._continue(message.get("body", b""), more=message.get("more_body", False))
        else:
            msg = f"{message['type']} after the answer's end"
            raise RuntimeError(msg)

    @staticmethod
    def _expect(message: Any, kind: str) -> None:  # noqa: ANN401
        if message["type"] != kind:
            msg = f"{message['type']} where {kind} belongs"
            raise RuntimeError(msg)

    def _start(self, status: int, headers: Fields) -> None:
        given = {name.lower(): value for name, value in headers}
        if b"close" in given.get(b"connection", b"").lower():
            self.keep_alive = False
        self._silent = self._method == b"HEAD" or status in _WITHOUT_CONTENT
        lines = [_status_line(status), *_lines(self._connection.server_state.default_headers), *_lines(headers)]
        if not self._silent:
            lines += self._frame(given)
        if b"x-request-id" not in given:
            lines.append(b"x-request-id: %b\r\n" % self.request_id.encode("ascii"))
        if not self._connection.can_be_kept(self):
            self.keep_alive = False
        if not self.keep_alive and b"connection" not in given:
            lines.append(b"connection: close\r\n")
        self.response_started = True
        lines.append(b"\r\n")
        self._head = b"".join(lines)
        self._connection.loop.call_soon(self._write, b"")

    def _frame(self, given: dict[bytes, bytes]) -> list[bytes]:
        """Decide how the content's end is told (RFC 9112 section 6.3)."""
        if b"content-length" in given:
            self._content_left = int(given[b"content-length"])
        elif self._version == "1.0":
            self.keep_alive = False
        else:
            self._chunked_answer = True
            if b"transfer-encoding" not in given:
                return [b"transfer-encoding: chunked\r\n"]
        return []

    def _write(self, data: bytes) -> None:
        """Send; the answer's head goes with the first content when both are there in one turn of the event loop."""
        head, self._head = self._head, b""
        if head and len(data) > _JOINED_BYTES:
            self._connection.write(head)
        else:
            data = head + data
        if data:
            self._connection.write(data)

    def _continue(self, body: bytes, *, more: bool) -> None:
        if self._chunked_answer:
            end = b"" if more else b"0\r\n\r\n"
            self._write(b"%x\r\n%b\r\n%b" % (len(body), body, end) if body else end)
        elif self._silent:
            self._write(b"")
        else:
            self._account(len(body), more=more)
            self._write(body)
        if not more:
            self.response_complete = True
            self.arrived.set()
            self._connection.exchange_ended(self)

    def _account(self, count: int, *, more: bool) -> None:
        if self._content_left is None:
            return
        self._content_left -= count
        if self._content_left < 0:
            raise RuntimeError("the answer is longer than its Content-Length")
        if self._content_left and not more:
            raise RuntimeError("the answer is shorter than its Content-Length")


def _status_line(status: int) -> bytes:
    return _UPLOAD_RESUMPTION if status == _UPLOAD_RESUMPTION_SUPPORTED else STATUS_LINE[status]


def _lines(headers: Fields) -> list[bytes]:
    lines = []
    for name, value in headers:
        if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
            msg = f"header field {name!r} has octets that HTTP does not allow"
            raise RuntimeError(msg)
        lines.append(b"%b: %b\r\n" % (name.lower(), value))
    return lines
