"""Files whose size their client says later: until then room grows with what comes.

Law: nobody adds bytes to the upload while one of these runs (see `Appender`, of which there is one request at a time).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from app.core.errors import FileTooLarge, InconsistentUploadLength
from app.core.sizes import in_units
from app.persistence.repository import Repository
from app.services.interruption import unbroken
from app.services.limits.upload_limits import UploadLimits
from app.services.live import LiveUpload
from app.staging.port import Staging

__all__ = ["DeferredLengths"]


class DeferredLengths:
    """Says lengths, and makes room before they are said."""

    def __init__(
        self, *, limits: UploadLimits, staging: Staging, repository: Repository, clock: Callable[[], float]
    ) -> None:
        """Keep what it works with; `clock` tells service seconds."""
        self._limits = limits
        self._staging = staging
        self._repository = repository
        self._clock = clock

    async def declare(self, live: LiveUpload, length: int) -> None:
        """The client says the size of a file that it began without one; the same again changes nothing.

        Whether the upload is whole with that is seen by `Uploads.recorded`, not here.

        Raises:
            InconsistentUploadLength: it was said before, and was another; or more than that has come.
            FileTooLarge: files may not be as large.
            OutOfSpace, UserQuotaExceeded: no room.
            What `Upload.takes_no_more` is: the upload has ended.
            DatabaseUnavailable: the client may say it again.
        """
        if not live.row.length_deferred:
            if length != live.row.size:
                raise InconsistentUploadLength(f"The file has {live.row.size} bytes, as was said before; not {length}.")
            return
        self._limits.check_size(length)
        if length > live.row.size:
            limit = live.row.size
            raise FileTooLarge(f"Files whose length is said later may have up to {in_units(limit)} here.", limit=limit)
        if length < live.position:
            raise InconsistentUploadLength(f"{live.position} bytes have come; the file can't have {length}.")
        await unbroken(self._declare(live, length))

    async def _declare(self, live: LiveUpload, length: int) -> None:
        async with live.lock:
            if live.row.ended:
                raise live.row.takes_no_more
            await self._set_aside(live, length)
            row = replace(live.row, size=length, length_deferred=False, active_at_s=self._clock())
            await self._repository.save_upload(row)
            live.row = row
        live.changed()

    async def have_room(self, live: LiveUpload, end: int) -> None:
        """Set room aside up to `end`, where the next bytes will end.

        Raises:
            OutOfSpace, UserQuotaExceeded, StagingUnavailable: as `Staging.reserve`.
        """
        if end > live.room_until:
            async with live.lock:
                await unbroken(self._set_aside(live, end))

    async def _set_aside(self, live: LiveUpload, size: int) -> None:
        live.room_until = 0  # until it is changed, nobody knows
        await self._staging.resize(live.row.id, size)
        live.room_until = size
        live.room_released = False
