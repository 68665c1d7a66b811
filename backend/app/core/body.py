"""What the application sees of a request body, whoever delivers it.

Implemented in `app.ingress`; found in the ASGI scope as `scope["extensions"]["forebay.body"]`. Interim responses go out by
`scope["extensions"]["forebay.send_informational"]`, which is not there where there are none (HTTP/1.0, another server).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from app.core.waiting import UNOBSERVED, WaitObserver

__all__ = ["BODY_EXTENSION", "INFORMATIONAL_EXTENSION", "RequestBody", "SendInformational", "SlabSink"]

BODY_EXTENSION = "forebay.body"
INFORMATIONAL_EXTENSION = "forebay.send_informational"

SendInformational = Callable[[int, list[tuple[bytes, bytes]]], bool]
"""Sends an interim response, at once or not at all: False when the client does not read. Only before the final one."""

SlabSink = Callable[[memoryview], None]
"""Takes the next bytes of a body. Called in a worker thread, in order, never twice at the same time; the view is
valid only until it returns. What it raises ends the delivery and comes out of `deliver`."""


class RequestBody(Protocol):
    """A request's body, nothing of which is read before it is asked for."""

    @property
    def length(self) -> int | None:
        """Content-Length in bytes; None with `Transfer-Encoding: chunked`."""

    @property
    def ended(self) -> bool:
        """Whether all of it has been delivered."""

    @property
    def trailer(self) -> Sequence[tuple[str, str]]:
        """The trailer fields that the request's `Trailer` has announced and that came, names in lower case.

        None before the body has ended, for one of declared length, and where another ASGI server drops them. They say
        nothing about the request but what whoever asks for them makes of them (RFC 9110 section 6.5.1).
        """

    async def deliver(
        self,
        on_slab: SlabSink,
        *,
        limit: int,
        owner: str,
        urgent: bool = False,
        most: int | None = None,
        waits: WaitObserver = UNOBSERVED,
        on_rest: Callable[[], None] | None = None,
    ) -> int:
        """Read the body to its end and hand it over piece by piece; returns the bytes delivered.

        When this returns or raises, also by cancellation, no thread uses `on_slab` or `on_rest` any more and every slab
        is back.

        Args:
            on_slab: called in a worker thread for each piece.
            limit: the most bytes that may come; more is `BodyTooLarge` (at once when the length is declared).
            owner: whose share of the buffer pool is used.
            urgent: others wait for this body; it may use the pool's reserved slab.
            most: stop when so many bytes have been handed over, at least 1; the next call goes on. Fewer come at the end
                only. `limit` is of all calls together.
            waits: told when this waits for the client's bytes, or for a slab.
            on_rest: called in a worker thread, as `on_slab` is, when nothing has come for a second or two and all that had
                was handed over.

        Raises:
            ClientGone: the connection broke or ended before the body was whole.
            RequestTimedOut: nothing came for the idle time, or it came below the minimum rate.
            BodyTooLarge: more than `limit`.
            MalformedRequest: broken chunked framing.
            PoolExhausted: no slab became free within the pool's waiting time.
            ShuttingDown: the server is stopping and the grace time is over.
        """

    async def wait_gone(self) -> None:
        """Return when the client has left while nothing of the body is being read; for those who keep it waiting.

        Where the server can't tell (another ASGI server), it never returns.
        """
