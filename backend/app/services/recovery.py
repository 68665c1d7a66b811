"""The start: uploads of an earlier life go on, what nobody knows is removed, what a power cut may have spoilt is verified.

A process that died leaves the page cache behind: what was recorded is there. A machine that lost power does not; that
is seen by the kernel's boot id (proc_sys_kernel(5), random/boot_id) differing from the one under which everything was
last verified. Then each recorded extent is read and compared before anybody relies on it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from app.core.errors import ForebayError
from app.core.upload import Upload
from app.persistence.repository import Repository
from app.services.live import LiveUpload
from app.services.prefix_reader import PrefixReader
from app.services.uploads import Uploads
from app.staging.port import Staging

__all__ = ["Recovery", "boot_id"]

log = structlog.get_logger(__name__)

_VERIFIED_BOOT = "verified_boot_id"
_PAUSE_S = 5.0


def boot_id(path: Path = Path("/proc/sys/kernel/random/boot_id")) -> str:
    """This boot of the machine; empty where the system has no such thing (then every start verifies)."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


class Recovery:
    """Run once: `take_up` before the first request, `go_on` beside the requests."""

    def __init__(
        self,
        *,
        uploads: Uploads,
        repository: Repository,
        staging: Staging,
        reader: PrefixReader,
        boot: str | None = None,
    ) -> None:
        """Keep what it works with; `boot` is this boot's id, the kernel's when None."""
        self._uploads = uploads
        self._repository = repository
        self._staging = staging
        self._reader = reader
        self._boot = boot_id() if boot is None else boot
        self._doubtful: list[LiveUpload] = []

    async def take_up(self) -> None:
        """Know every upload again, and remove the bytes of those that nobody knows.

        Raises:
            DatabaseUnavailable, StagingUnavailable: the server can't start.
        """
        rows = await self._repository.active_uploads()
        verified_boot = await self._repository.get_meta(_VERIFIED_BOOT)
        unclean = not self._boot or verified_boot != self._boot
        for row in rows:
            live = await self._uploads.adopt(row)
            if unclean and live.extents and not live.row.ended:
                live.verified.clear()
                self._doubtful.append(live)
        known = {row.id for row in rows}
        orphans = [name for name in await self._staging.ids() if name not in known]
        for name in orphans:
            await self._staging.discard(name)
        log.info("recovered", uploads=len(rows), orphans_removed=len(orphans), to_verify=len(self._doubtful))

    async def go_on(self) -> None:
        """Verify what is doubtful, and let every upload get on."""
        for row in await self._unremoved():
            self._uploads.transfers.remove_later(LiveUpload(row))
        for live in self._uploads.live:
            if live.verified.is_set():
                await self._get_on(live)
        while self._doubtful:
            self._doubtful = [live for live in self._doubtful if not await self._verify(live)]
            if self._doubtful:
                await asyncio.sleep(_PAUSE_S)  # staging or database was not available: everything waits for it anyway
        while True:
            try:
                await self._repository.set_meta(_VERIFIED_BOOT, self._boot, durable=True)
            except ForebayError as exc:
                log.warning("could not remember the boot", code=exc.code)
                await asyncio.sleep(_PAUSE_S)
            else:
                return

    async def _unremoved(self) -> list[Upload]:
        try:
            return await self._repository.unremoved_uploads()
        except ForebayError as exc:  # the next start asks again
            log.warning("could not look for what is to be removed", code=exc.code)
            return []

    async def _get_on(self, live: LiveUpload) -> None:
        try:
            await self._uploads.recorded(live)
        except ForebayError as exc:  # the client's next chunk or `complete` tries again
            log.warning("upload waits", upload=live.row.id, code=exc.code, detail=exc.detail)

    async def _verify(self, live: LiveUpload) -> bool:
        try:
            spoilt = [extent for extent in list(live.extents.values()) if not await self._reader.verify(live, extent)]
            if spoilt:
                log.warning("bytes did not survive the power cut", upload=live.row.id, extents=len(spoilt))
                await self._uploads.ask_again(live, spoilt)
        except ForebayError as exc:
            log.warning("verification waits", upload=live.row.id, code=exc.code, detail=exc.detail)
            return live.row.ended
        live.verified.set()
        await self._get_on(live)
        return True
