"""Counts what happens to one upload and tells the callback, not too often."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from forebay.errors import ForebayError
from forebay.events import Adapted, Completed, Phase, Progress, ProgressCallback, Retrying, Started, Waiting
from forebay.models import UploadInfo, UploadResult

__all__ = ["Flight", "Meter"]

_INTERVAL_S: Final = 0.1


@dataclass(eq=False, slots=True)
class Flight:
    """A body on its way; one of many that may be equally far."""

    sent: int = 0


class Meter:
    """`received` follows acknowledgements, `stored` the server's word; neither is ever guessed."""

    def __init__(self, path: Path, size: int, progress: ProgressCallback | None) -> None:
        self._path = path
        self._size = size
        self._progress = progress
        self._flights: list[Flight] = []
        self._info: UploadInfo | None = None
        self._next_at = 0.0
        self._phase: Phase = "sending"
        self._position: int | None = None
        self._trouble: str | None = None
        self._lanes = 1
        self._received = 0
        self._stored = 0
        self.retries = 0
        self.resumed = 0

    def started(self, info: UploadInfo, *, resumed: int) -> None:
        """The server knows the upload, and had so many bytes of it before this run."""
        self._info = info
        self.resumed = resumed
        if self._progress is not None:
            self._progress(Started(self._path, info.id, self._size, resumed, info.mode))

    def asked(self, info: UploadInfo) -> None:
        """The server said where it stands; nothing is in flight."""
        before, self._info = self._info, info
        self._received = info.bytes_received
        if before is not None and before.mode != info.mode and self._progress is not None:
            lanes = 1 if info.mode == "sequential" else info.max_concurrent_chunks
            self._progress(Adapted(self._path, info.id, info.mode, lanes))
        self._told(info)

    def overheard(self, info: UploadInfo) -> bool:
        """The server said where it stands while chunks are in flight; whether something moved by itself."""
        moved = info.bytes_transferred > self._stored
        if self._position is not None and (info.queue_position is None or info.queue_position < self._position):
            moved = True
        self._told(info)
        return moved

    def stored(self, count: int) -> None:
        """The server said how much is at the destination, and nothing else."""
        self._stored = count
        self._report()

    def acknowledged(self, length: int) -> None:
        """A chunk is kept by the server."""
        self._received += length
        self._report()

    def lanes(self, count: int) -> None:
        """So many chunks may be sent at once."""
        self._lanes = count

    @contextmanager
    def flight(self) -> Iterator[Flight]:
        """A body is being sent: what of it is on the way counts until it has arrived or failed."""
        flight = Flight()
        self._flights.append(flight)
        try:
            yield flight
        finally:
            self._flights.remove(flight)

    def moved(self, flight: Flight, count: int) -> None:
        """The socket took bytes."""
        flight.sent += count
        self._report()

    def retrying(self, chunk: int | None, error: ForebayError, delay_s: float | None) -> None:
        """An attempt failed and will be repeated."""
        self.retries += 1
        if self._progress is not None:
            upload_id = self._info.id if self._info is not None else None
            self._progress(Retrying(self._path, upload_id, chunk, error.code, error.detail, self.retries, delay_s))

    def completed(self, result: UploadResult) -> None:
        """The file is there and verified."""
        if self._progress is not None:
            self._progress(Completed(self._path, result))

    def _told(self, info: UploadInfo) -> None:
        self._stored = info.bytes_transferred
        if info.queue_position is not None and info.queue_position != self._position and self._progress is not None:
            self._progress(Waiting(self._path, "queued", position=info.queue_position))
        self._position = info.queue_position
        if info.error_detail is not None and info.error_detail != self._trouble and self._progress is not None:
            self._progress(Waiting(self._path, "destination", detail=info.error_detail))
        self._trouble = info.error_detail
        phase: Phase = "sending" if info.missing else "storing"
        changed, self._phase = phase != self._phase, phase
        self._report(at_once=changed)

    def _report(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if self._progress is None or self._info is None or (now < self._next_at and not at_once):
            return
        self._next_at = now + _INTERVAL_S
        sent = min(self._size, self._received + sum(flight.sent for flight in self._flights))
        self._progress(
            Progress(
                path=self._path,
                upload_id=self._info.id,
                phase=self._phase,
                size=self._size,
                sent=sent,
                received=self._received,
                stored=self._stored,
                retries=self.retries,
                lanes=self._lanes,
            )
        )
