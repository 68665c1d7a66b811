"""What the receiver is told by the composition root: plain values, a source of slabs, somebody who counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from app.core.waiting import UNOBSERVED, WaitObserver

__all__ = ["IngressConfig", "IngressObserver", "Lease", "SilentObserver", "SlabSource"]

KIB = 1024


class Lease(Protocol):
    """A slab that somebody holds."""

    @property
    def view(self) -> memoryview:
        """The whole slab, writable."""

    def release(self) -> None:
        """Give it back; exactly once, in the event loop."""


class SlabSource(Protocol):
    """The buffer pool, as far as it is needed here (`app.services.chunk_buffer_pool.ChunkBufferPool`)."""

    async def acquire(self, owner: str, *, urgent: bool = False, waits: WaitObserver = UNOBSERVED) -> Lease:
        """A slab, fairly between owners; tells `waits` of a wait; raises PoolExhausted when none becomes free in time."""


class IngressObserver(Protocol):
    """Told what happens, in the event loop; must not block or raise."""

    def connection_opened(self, *, tls: bool) -> None:
        """A connection was accepted."""

    def connection_closed(self, *, tls: bool) -> None:
        """A connection that was opened is gone."""

    def bytes_received(self, count: int) -> None:
        """So many body bytes were taken over by a sink."""

    def request_refused(self, code: str, detail: str = "") -> None:
        """Ingress itself refused a request or connection, with this problem code, and in these words."""

    def accept_paused(self) -> None:
        """No connection can be accepted for the moment: descriptors or kernel memory are out."""


class SilentObserver:
    """Counts nothing."""

    def connection_opened(self, *, tls: bool) -> None:
        """Ignored."""

    def connection_closed(self, *, tls: bool) -> None:
        """Ignored."""

    def bytes_received(self, count: int) -> None:
        """Ignored."""

    def request_refused(self, code: str, detail: str = "") -> None:
        """Ignored."""

    def accept_paused(self) -> None:
        """Ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressConfig:
    """Limits and resources of the receiver; times in seconds, sizes in bytes.

    Attributes:
        pool: where slabs come from.
        worker_threads: threads in which sockets are read and sinks run; the pool needs about one slab for each.
        max_header_bytes: request line and header fields of one request, with their line ends.
        max_header_fields: header fields of one request; trailer fields of a chunked body have the same limits.
        header_timeout_s: from the connection (or a request's first byte) to the end of its header; TLS handshake too.
        keep_alive_s: how long a connection may stay open between requests.
        body_idle_s: how long a peer may neither send the body we wait for nor take the answer we send.
        min_rate_bytes: bytes per second that a body must bring, and that a peer must take of an answer that we can't get
            rid of; taken over `body_idle_s` of waiting for it.
        max_connections: open connections; further ones get 503.
        max_tls_connections: open connections when TLS is on (each holds some 300 KiB in uvloop and OpenSSL).
        shutdown_grace_s: time for requests in flight after the stop signal.
        drain_bytes: an unread body with at most so much left is read and dropped, and the connection kept.
        linger_bytes: read and dropped after an early refusal, so that the client gets to read it.
        linger_s: how long such a connection is kept at most.
    """

    pool: SlabSource
    worker_threads: int = 4
    max_header_bytes: int = 32 * KIB
    max_header_fields: int = 100
    header_timeout_s: float = 10.0
    keep_alive_s: float = 15.0
    body_idle_s: float = 60.0
    min_rate_bytes: int = KIB
    max_connections: int = 4096
    max_tls_connections: int = 200
    shutdown_grace_s: float = 20.0
    drain_bytes: int = 64 * KIB
    linger_bytes: int = 4096 * KIB
    linger_s: float = 2.0
    observer: IngressObserver = field(default_factory=SilentObserver)
