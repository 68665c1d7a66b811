"""A body by ASGI's `receive`: chunked ones, and on any other ASGI server. Copies, but in the same bounds.

A piece is copied into a slab and the sink runs in a worker thread; no slab is held while the next piece is awaited.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import partial
from typing import Any

from app.core.body import BODY_EXTENSION, RequestBody, SlabSink
from app.core.errors import BodyTooLarge, ClientGone, MalformedRequest, RequestTimedOut
from app.core.waiting import Cause
from app.ingress.body import REST_S, BodyBase
from app.ingress.config import IngressConfig, Lease
from app.ingress.inbound import Inbound
from app.ingress.workers import Workers

__all__ = ["Bodies", "Receive", "ReceivedBody", "WithBody"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


def _go_on() -> None:
    """A sink that runs is let to its end."""


class ReceivedBody(BodyBase):
    """A body that comes in ASGI events."""

    def __init__(
        self,
        length: int | None,
        receive: Receive,
        config: IngressConfig,
        workers: Workers,
        inbound: Inbound | None = None,
    ) -> None:
        """Bind to a request; `inbound` has its trailer, where the server is ours."""
        super().__init__(length, config)
        self._inbound = inbound
        self._receive = receive
        self._workers = workers
        self._received = 0
        self._content = b""  # received, and not handed over
        self._more = True
        self._told_s = 0.0  # of the last wait, in which we had something to do

    @property
    def trailer(self) -> Sequence[tuple[str, str]]:
        """Of a chunked body."""
        fields = [] if self._inbound is None else self._inbound.trailer
        return [(name.decode("ascii"), value.decode("latin-1")) for name, value in fields]

    async def _deliver(
        self, on_slab: SlabSink, limit: int, most: int, lease: Callable[[], Awaitable[Lease]]
    ) -> tuple[int, bool]:
        handed_over = 0
        while handed_over < most:
            if not self._content:
                if not self._more:
                    break
                await self._next(limit)
            count = min(len(self._content), most - handed_over)
            with memoryview(self._content) as content:
                await self._store(content[:count], on_slab, lease)
            self._content = self._content[count:]
            handed_over += count
            if self._more:
                self._raise_failure()
        ended = not self._more and not self._content
        if ended and self._length is not None and self._received != self._length:
            raise MalformedRequest("The body does not have the length that was declared.")
        return handed_over, ended

    async def _next(self, limit: int) -> None:
        self._raise_failure()
        began, self._told_s = time.monotonic(), 0.0
        self._waits.begin(Cause.CLIENT)
        try:
            async with asyncio.timeout(self._config.body_idle_s) as self._patience:
                event = await self._event()
        except TimeoutError:
            self._raise_failure()
            raise RequestTimedOut from None
        finally:
            self._waits.end(Cause.CLIENT)
            self._patience = None
        if event["type"] != "http.request":
            self.fail(ClientGone())
            self._raise_failure()
        content = event.get("body", b"")
        more = event.get("more_body", False)
        self._received += len(content)
        if self._received > limit:
            msg = f"The body is longer than the {limit} bytes taken here."
            raise BodyTooLarge(msg, limit=limit)
        if more and not self._pace.timely(time.monotonic() - began - self._told_s, len(content)):
            raise RequestTimedOut
        self._content, self._more = content, more
        self._stirred = True

    async def _event(self) -> MutableMapping[str, Any]:
        """The next one; meanwhile it is told when the client rests, which takes none of its time."""
        if not self._watches_for_rest:
            return await self._receive()
        receiving = asyncio.ensure_future(self._receive())
        try:
            await asyncio.wait({receiving}, timeout=REST_S)
            if not receiving.done():
                began = time.monotonic()
                await self._workers.run(self._tell_of_rest, on_cancel=_go_on)
                self._told_s = time.monotonic() - began
                if self._failure is None and self._patience is not None:
                    self._patience.reschedule(asyncio.get_running_loop().time() + self._config.body_idle_s - REST_S)
            return await receiving
        finally:
            if not receiving.done():
                receiving.cancel()
                await asyncio.wait({receiving})

    async def _store(self, content: memoryview, on_slab: SlabSink, lease: Callable[[], Awaitable[Lease]]) -> None:
        position = 0
        while position < len(content):
            slab = await lease()
            try:
                count = min(len(slab.view), len(content) - position)
                with slab.view[:count] as piece:
                    piece[:] = content[position : position + count]
                    await self._workers.run(partial(on_slab, piece), on_cancel=_go_on)
            finally:
                slab.release()
            position += count


class Bodies:
    """Finds or makes the body object of a request, whatever server runs the application."""

    def __init__(self, config: IngressConfig) -> None:
        """Take limits and pool; the threads start with the first body that needs them."""
        self._config = config
        self._workers = Workers(config.worker_threads)

    def body_of(self, scope: MutableMapping[str, Any], receive: Receive) -> RequestBody:
        """The request's body; the same object for the same scope.

        Raises:
            MalformedRequest: the server let a Content-Length through that is no number.
        """
        extensions: dict[str, Any] = scope.setdefault("extensions", {})
        body: RequestBody | None = extensions.get(BODY_EXTENSION)
        if body is None:
            body = extensions[BODY_EXTENSION] = ReceivedBody(_length(scope), receive, self._config, self._workers)
        return body

    def close(self) -> None:
        """Let the threads end; idempotent."""
        self._workers.close()


class WithBody:
    """An ASGI middleware that gives every request the body object that our own server would have given it."""

    def __init__(self, app: Asgi, bodies: Bodies) -> None:
        """Wrap `app`."""
        self._app = app
        self._bodies = bodies

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Run a request."""
        if scope["type"] == "http":
            self._bodies.body_of(scope, receive)
        await self._app(scope, receive, send)


def _length(scope: MutableMapping[str, Any]) -> int | None:
    headers = dict(scope["headers"])
    length: bytes | None = headers.get(b"content-length")
    if b"transfer-encoding" in headers or (length is None and not scope.get("http_version", "1.1").startswith("1")):
        return None
    if length is None:
        return 0
    if not length.isdigit():
        raise MalformedRequest("Content-Length must be one decimal number.")
    return int(length)
