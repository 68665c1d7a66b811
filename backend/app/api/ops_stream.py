"""What the operations page is told, in the order of a stream: `history` and `limits` once, then what changes.

Times named `at`, `…_at` and `until` are seconds since the epoch; sizes are bytes; what is not known is null.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from app.core.upload import Mode, UploadState
from app.core.waiting import Cause

__all__ = [
    "EVENTS",
    "DestinationState",
    "OpsHistory",
    "OpsIncident",
    "OpsIncidents",
    "OpsLimits",
    "OpsRow",
    "OpsSample",
    "OpsUploads",
    "Waits",
]


class Waits(BaseModel):
    """Seconds of waiting, by what was waited for; of several connections at once, those of each."""

    client: float = Field(description="For the client's bytes.")
    queue: float = Field(description="For a slot, or for a turn at the destination.")
    slab: float = Field(description="For a buffer of the pool.")
    disk: float = Field(description="Writing to, syncing or reading staging, or a destination that is a directory.")
    destination: float = Field(description="Requests to the destination in flight, with nothing else to do.")
    backoff: float = Field(description="Between two tries, or while the destination is left alone.")


class OpsSample(BaseModel):
    """The server over an interval that ends at `at`; rates are per second."""

    at: float
    bytes_in: float
    bytes_out: float = Field(description="To destinations.")
    chunks: float
    error_rate: float = Field(description="Failed chunks over all ended ones of the last ten seconds, from 0 to 1.")
    active_uploads: int
    active_users: int
    queued: int
    memory_percent: float | None
    memory_level: Literal["ok", "high", "error"]
    rss_bytes: int | None
    slabs_leased: int
    slab_waiting: int
    loop_delay_ms: float = Field(description="The event loop's longest delay in the interval.")
    chunk_p50_ms: float | None
    chunk_p99_ms: float | None
    causes: Waits = Field(description="Seconds of waiting per second, of all uploads.")
    slowness: Cause | None


class OpsHistory(BaseModel):
    """At most the last hour, oldest first; each sample is over `step_seconds`. Event `history`."""

    step_seconds: float
    samples: list[OpsSample]


class OpsLimits(BaseModel):
    """What does not change while the server runs. Event `limits`."""

    max_uploads: int
    max_users: int
    max_memory_percent: float
    memory_limit_bytes: int | None
    slabs_total: int
    slab_bytes: int
    mode: Mode
    version: str
    started_at: float


class DestinationState(BaseModel):
    """A destination. Event `destinations`: all of them, by name."""

    kind: str = Field(description="The scheme of its URL: disk, gdrive.")
    breaker: Literal["closed", "open"] = Field(description="open: it is left alone for a while.")
    reason: str | None = Field(description="Code of the problem for which it is left alone.")
    sentence: str | None = Field(description="What the problem is, and what an operator can do.")
    transferring: int
    waiting: int = Field(description="Uploads whose transfer was held up and is tried again.")
    parked: int = Field(description="Those of them that wait for the destination's quota.")
    backoff_until: float | None = Field(description="When it is tried again.")
    report: dict[str, int | bool | None] | None = Field(description="What it says of itself: bytes sent today, room.")


class OpsRow(BaseModel):
    """An upload that has not ended."""

    id: str
    owner: str
    filename: str
    size: int | None = Field(description="Null as long as its client has not said it.")
    state: UploadState
    destination: str
    received: int
    stored: int
    bytes_per_second: float
    retries: int
    queue_position: int | None
    created_at: float
    problem: str | None = Field(description="Why its transfer does not get on.")
    where: Waits = Field(description="Of the last 30 seconds.")
    slowness: Cause | None = Field(description="What it mostly waits for; null where nothing keeps it.")


class OpsUploads(BaseModel):
    """All that have not ended at first, then those that have changed. Event `uploads`."""

    rows: list[OpsRow]
    gone: list[str] = Field(description="Ids of those that have ended.")


class OpsIncident(BaseModel):
    """Something an operator may want to know; one that comes again is the same one with a higher `count`."""

    id: int
    at: float
    kind: Literal["start", "stop", "refusal", "failure", "destination", "memory"]
    sentence: str
    count: int
    upload_id: str | None
    owner: str | None


class OpsIncidents(BaseModel):
    """All that are kept at first, then new ones and those that have come again. Event `incidents`."""

    incidents: list[OpsIncident]


EVENTS: dict[str, type[BaseModel]] = {
    "history": OpsHistory,
    "limits": OpsLimits,
    "sample": OpsSample,
    "destinations": DestinationState,
    "uploads": OpsUploads,
    "incidents": OpsIncidents,
}
"""Events of the stream, with what each carries (`destinations`: an object of them, by name)."""
