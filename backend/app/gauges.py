"""What the metrics look at when they are asked: the parts of a server themselves, so that no number is kept twice."""

from __future__ import annotations

from app.server import Server
from app.staging.memory import MemoryStaging

__all__ = ["watch"]


def watch(server: Server) -> None:
    """Register them."""
    metrics, context = server.metrics, server.context
    metrics.watch_pool(lambda: server.pool.stats)
    metrics.watch_slots(lambda: server.slots.stats)
    metrics.watch_memory(lambda: server.memory.latest)
    staging = server.staging
    metrics.watch_room(
        (lambda: staging.latest) if isinstance(staging, MemoryStaging) else lambda: server.housekeeping.room
    )
    if isinstance(staging, MemoryStaging):
        metrics.watch("staging_waiting", "Chunks that wait for room in memory.", lambda: staging.latest.waiting)
    metrics.watch(
        "loop_lag_max_seconds", "Longest delay of the event loop in the last minute.", lambda: server.lag.max_s
    )
    metrics.watch(
        "loop_blocked_max_seconds",
        "The same, less what its thread waited for a processor.",
        lambda: server.lag.blocked_max_s,
    )
    metrics.watch(
        "destinations_left_alone",
        "Destinations that fail everybody and are not used for a while.",
        lambda: sum(gate.breaker == "open" for gate in server.transfers.gates.values()),
    )
    metrics.watch("event_subscribers", "Event streams open.", lambda: server.hub.subscribers)
    metrics.watch("chunks_in_flight", "Chunks being received.", lambda: context.throughput.in_flight)
    metrics.watch("uploads_live", "Uploads that have not ended.", lambda: len(context.uploads.live))
