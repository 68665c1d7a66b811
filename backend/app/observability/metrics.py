"""Metrics for Prometheus.

Laws: one registry for each `Metrics`, so that two servers in one process don't mix; labels come from closed sets
(states, codes, route templates, configured names), never from what a client sends; counters and histograms are told
what happened, gauges are read from their owners when somebody asks; a value that can't be read is left out, not
invented.

Counting is safe from any thread; `render` runs on the event loop (a few milliseconds at most) and reads only memory and
/proc.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Literal, Protocol

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.core.upload import UploadState

__all__ = ["ChunkOutcome", "MemoryReading", "Metrics", "PoolReading", "RoomReading", "SlotsReading"]

ChunkOutcome = Literal["stored", "repeated", "refused", "failed", "abandoned"]
"""stored: new bytes; repeated: the same bytes once more; refused: wrong, short, long, conflicting; failed: ours;
abandoned: the client left."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
_COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_BATCH_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TRANSFER_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800, 7200)

_log = logging.getLogger(__name__)


class PoolReading(Protocol):
    """What the buffer pool says of itself."""

    @property
    def slab_bytes(self) -> int: ...  # noqa: D102 - the name says it
    @property
    def slabs_total(self) -> int: ...  # noqa: D102
    @property
    def slabs_leased(self) -> int: ...  # noqa: D102
    @property
    def waiting(self) -> int: ...  # noqa: D102


class SlotsReading(Protocol):
    """What the concurrency manager says of itself."""

    @property
    def active_uploads(self) -> int: ...  # noqa: D102
    @property
    def max_uploads(self) -> int: ...  # noqa: D102
    @property
    def active_users(self) -> int: ...  # noqa: D102
    @property
    def max_users(self) -> int: ...  # noqa: D102
    @property
    def queued(self) -> int: ...  # noqa: D102


class MemoryReading(Protocol):
    """What the memory monitor says."""

    @property
    def current_usage(self) -> float | None:
        """Percent of the limit."""

    @property
    def limit(self) -> int | None:
        """Bytes."""

    @property
    def rss_bytes(self) -> int | None:
        """Of this process."""


class RoomReading(Protocol):
    """What staging says of its room."""

    @property
    def total_bytes(self) -> int: ...  # noqa: D102
    @property
    def free_bytes(self) -> int: ...  # noqa: D102
    @property
    def reserved_bytes(self) -> int: ...  # noqa: D102


Sample = tuple[str, str, float | None]
"""Name without prefix, help, value; a value of None is left out."""


class _Readings(Collector):
    """Gauges read from their owners when somebody asks."""

    def __init__(self) -> None:
        self._readers: list[Callable[[], list[Sample]]] = []

    def add(self, reader: Callable[[], list[Sample]]) -> None:
        self._readers.append(reader)

    def collect(self) -> Iterator[Metric]:
        for reader in self._readers:
            try:
                samples = reader()
            except Exception:  # noqa: BLE001 - whatever a callback raises, the others are still shown
                # One owner in trouble must not hide what the others say, least of all then.
                _log.exception("a gauge could not be read")
                continue
            for name, text, value in samples:
                if value is not None:
                    yield GaugeMetricFamily(f"forebay_{name}", text, value=value)


class _WithoutCreated:
    """A view of the registry without the `_created` series, which double every counter and that nobody plots."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            if metric.samples:
                yield metric


class Metrics:
    """Everything that is counted, of one server."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._received = Counter("forebay_received_bytes", "Body bytes received.", registry=registry)
        self._chunks = Counter("forebay_chunks", "Chunks by outcome.", ["outcome"], registry=registry)
        self._transitions = Counter(
            "forebay_upload_transitions", "Changes of upload states.", ["before", "after"], registry=registry
        )
        self._requests = Histogram(
            "forebay_request_seconds",
            "Requests, from their headers to the end of the answer.",
            ["route", "method", "status"],
            buckets=_REQUEST_SECONDS,
            registry=registry,
        )
        self._refusals = Counter("forebay_refusals", "Answers with a problem, by code.", ["code"], registry=registry)
        self._retries = Counter("forebay_retries", "Repeated attempts, by what was tried.", ["what"], registry=registry)
        self._lag = Histogram(
            "forebay_loop_lag_seconds",
            "How late the event loop came back to a task that asked for it.",
            buckets=_LAG_SECONDS,
            registry=registry,
        )
        self._commits = Histogram(
            "forebay_database_commit_seconds", "Commits.", buckets=_COMMIT_SECONDS, registry=registry
        )
        self._batches = Histogram(
            "forebay_database_commit_writes", "Writes that share a commit.", buckets=_BATCH_ROWS, registry=registry
        )
        self._transferred = Counter(
            "forebay_transferred_bytes", "Bytes that a destination took.", ["destination"], registry=registry
        )
        self._transfers = Histogram(
            "forebay_transfer_seconds",
            "Transfers that finished.",
            ["destination"],
            buckets=_TRANSFER_SECONDS,
            registry=registry,
        )
        self._readings = _Readings()
        registry.register(self._readings)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    # -- what happened -----------------------------------------------------------------------------------------------

    def received(self, count: int) -> None:
        """Body bytes came in."""
        self._received.inc(count)

    def chunk(self, outcome: ChunkOutcome) -> None:
        """A chunk ended, one way or another."""
        self._chunks.labels(outcome).inc()

    def transition(self, before: UploadState | None, after: UploadState) -> None:
        """An upload changed its state; `before` is None for a new one."""
        self._transitions.labels(before.value if before else "none", after.value).inc()

    def request(self, route: str | None, method: str, status: int, seconds: float) -> None:
        """A request was answered.

        Args:
            route: the route's template (`/api/v1/uploads/{id}`), never the path; None when no route matched.
            method: as sent; what is not a method of ours counts as `other`.
            status: of the answer.
            seconds: from its headers to the end of the answer.
        """
        known = method if method in _METHODS else "other"
        self._requests.labels(route or "none", known, str(status)).observe(seconds)

    def refused(self, code: str) -> None:
        """A problem was answered; `code` is the error class's."""
        self._refusals.labels(code).inc()

    def retried(self, what: Literal["staging", "destination", "database"]) -> None:
        """Something was tried again."""
        self._retries.labels(what).inc()

    def loop_lag(self, seconds: float) -> None:
        """The event loop was so late."""
        self._lag.observe(seconds)

    def committed(self, seconds: float, writes: int) -> None:
        """The database committed so many writes at once."""
        self._commits.observe(seconds)
        self._batches.observe(writes)

    def transferred(self, destination: str, count: int) -> None:
        """A destination, by its configured name, took bytes."""
        self._transferred.labels(destination).inc(count)

    def transfer_finished(self, destination: str, seconds: float) -> None:
        """A file arrived at a destination, so long after the transfer began."""
        self._transfers.labels(destination).observe(seconds)

    # -- what is ----------------------------------------------------------------------------------------------------

    def watch_pool(self, read: Callable[[], PoolReading]) -> None:
        """Show the buffer pool."""

        def samples() -> list[Sample]:
            pool = read()
            return [
                ("pool_slab_bytes", "Size of one buffer.", pool.slab_bytes),
                ("pool_slabs", "Buffers there are.", pool.slabs_total),
                ("pool_slabs_leased", "Buffers lent out.", pool.slabs_leased),
                ("pool_waiting", "Bodies that wait for a buffer.", pool.waiting),
            ]

        self._readings.add(samples)

    def watch_slots(self, read: Callable[[], SlotsReading]) -> None:
        """Show slots and queue."""

        def samples() -> list[Sample]:
            slots = read()
            return [
                ("uploads_active", "Uploads that hold a slot.", slots.active_uploads),
                ("uploads_limit", "Slots.", slots.max_uploads),
                ("users_active", "Users with an active upload.", slots.active_users),
                ("users_limit", "Users that may have one.", slots.max_users),
                ("uploads_queued", "Uploads that wait for a slot.", slots.queued),
            ]

        self._readings.add(samples)

    def watch_memory(self, read: Callable[[], MemoryReading]) -> None:
        """Show memory; what could not be measured is absent."""

        def samples() -> list[Sample]:
            memory = read()
            return [
                ("memory_used_percent", "Memory in use, of the limit.", memory.current_usage),
                ("memory_limit_bytes", "The container's or host's limit.", memory.limit),
                ("memory_rss_bytes", "Resident memory of this process.", memory.rss_bytes),
            ]

        self._readings.add(samples)

    def watch_room(self, read: Callable[[], RoomReading | None]) -> None:
        """Show staging's room, as last looked at; None while nobody has looked."""

        def samples() -> list[Sample]:
            room = read()
            if room is None:
                return []
            return [
                ("staging_total_bytes", "Size of the staging volume.", room.total_bytes),
                ("staging_free_bytes", "Free there.", room.free_bytes),
                ("staging_reserved_bytes", "Set aside for uploads under way.", room.reserved_bytes),
            ]

        self._readings.add(samples)

    def watch(self, name: str, text: str, read: Callable[[], float | None]) -> None:
        """Show one more value, as `forebay_NAME`; None is left out."""
        self._readings.add(lambda: [(name, text, read())])

    def render(self) -> tuple[str, bytes]:
        """Content type and body of an answer to Prometheus."""
        return CONTENT_TYPE_LATEST, generate_latest(_WithoutCreated(self.registry))
