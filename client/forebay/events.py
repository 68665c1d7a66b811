"""What happens during an upload, told to a callback or an iterator.

Order: `Waiting`* `Started` (`Progress` | `Retrying` | `Waiting` | `Adapted`)* `Completed`; an upload that fails ends with
its exception instead. Bytes are of the file. `received` is what the server has acknowledged and keeps, `stored` what is
at the destination: only `Completed` says that the file is there and verified.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from forebay.models import UploadResult

__all__ = [
    "Adapted",
    "Completed",
    "Phase",
    "Progress",
    "ProgressCallback",
    "Retrying",
    "Started",
    "UploadEvent",
    "Waiting",
]

Phase = Literal["sending", "storing"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing moves: another process sends this file, the server has queued the upload, or its destination is in trouble."""

    path: Path
    reason: Literal["locked", "queued", "destination"]
    position: int | None = None  # in the server's queue; 1 is next
    detail: str | None = None  # the destination's trouble, in the server's words


@dataclass(frozen=True, slots=True)
class Started:
    """The server knows the upload."""

    path: Path
    upload_id: str
    size: int
    resumed: int  # bytes it had already
    mode: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is; at most ten a second, and at each change of phase."""

    path: Path
    upload_id: str
    phase: Phase
    size: int
    sent: int  # received, and on the way
    received: int
    stored: int
    retries: int
    lanes: int  # chunks that may be sent at once now


@dataclass(frozen=True, slots=True)
class Retrying:
    """An attempt failed and will be repeated; `delay_s` is None where backoff with jitter decides."""

    path: Path
    upload_id: str | None
    chunk: int | None
    code: str
    detail: str
    retries: int
    delay_s: float | None


@dataclass(frozen=True, slots=True)
class Adapted:
    """The server's mode changed, and the order and number of chunks sent at once with it."""

    path: Path
    upload_id: str
    mode: str
    lanes: int


@dataclass(frozen=True, slots=True)
class Completed:
    """The file is at the destination, and verified."""

    path: Path
    result: UploadResult


UploadEvent = Waiting | Started | Progress | Retrying | Adapted | Completed
ProgressCallback = Callable[[UploadEvent], None]
"""Called on the event loop's thread: returns at once, never blocks. What it raises ends the upload, which can be resumed."""
