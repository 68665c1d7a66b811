"""What time does: idle uploads give back room, then expire; history ends; the service clock is saved."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from app.core.errors import ForebayError
from app.core.upload import UploadState
from app.persistence.repository import Repository
from app.services.live import LiveUpload
from app.services.service_clock import ServiceClock
from app.services.uploads import Uploads
from app.staging.port import SpaceReport, Staging

__all__ = ["Ages", "Housekeeping"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ages:
    """Service seconds."""

    reservation_idle_s: float
    expiry_s: float
    history_s: float
    sweep_s: float = 10.0


class Housekeeping:
    """A sweep now and then."""

    def __init__(
        self, *, uploads: Uploads, staging: Staging, repository: Repository, clock: ServiceClock, ages: Ages
    ) -> None:
        """Keep what it works with."""
        self._uploads = uploads
        self._staging = staging
        self._repository = repository
        self._clock = clock
        self._ages = ages
        self.room: SpaceReport | None = None

    async def run(self) -> None:
        """Sweep until cancelled; a sweep that fails is logged and the next one comes."""
        while True:
            await asyncio.sleep(self._ages.sweep_s)
            try:
                await self.sweep()
            except ForebayError as exc:
                log.warning("sweep failed", code=exc.code, detail=exc.detail)

    async def sweep(self) -> None:
        """Once over everything."""
        await self._clock.save()
        self.room = await self._staging.space()
        now = self._clock()
        for live in self._uploads.live:
            try:
                await self._look_at(live, now)
            except ForebayError as exc:  # one upload's trouble is not the others'
                log.warning("sweep passed over an upload", upload=live.row.id, code=exc.code, detail=exc.detail)
        for upload_id in await self._repository.ended_before(now - self._ages.history_s, limit=500):
            await self._repository.delete_upload(upload_id)

    async def _look_at(self, live: LiveUpload, now: float) -> None:
        if live.row.state is UploadState.TRANSFERRING:
            return  # its lock may be held for as long as its destination takes
        idle = 0.0 if live.receivers else now - live.row.active_at_s
        if idle > self._ages.expiry_s:
            await self._uploads.expire(live)
        elif idle > self._ages.reservation_idle_s:
            await self._release_room(live)

    async def _release_room(self, live: LiveUpload) -> None:
        async with live.lock:
            if not (live.room_released or live.all_recorded or live.receivers or live.row.ended):
                live.room_released = True
                await self._staging.release_room(live.row.id)
