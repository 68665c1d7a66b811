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
from app.persistence.repository import Repository
from app.services.live import LiveUpload
from app.services.prefix_reader import PrefixReader
from app.services.uploads import Uploads
from app.staging.port import Staging

__all__ = ["boot_id", "recover"]

log = structlog.get_logger(__name__)

_KEY = "verified_boot_id"


def boot_id(path: Path = Path("/proc/sys/kernel/random/boot_id")) -> str:
    """This boot of the machine; empty where the system has no such thing (then every start verifies)."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


async def recover(
    *,
    uploads: Uploads,
    repository: Repository,
    staging: Staging,
    reader: PrefixReader,
    boot: str,
    background: asyncio.TaskGroup,
) -> None:
    """Take up everything; verification, where needed, goes on in `background`."""
    rows = await repository.active_uploads()
    unclean = not boot or await repository.get_meta(_KEY) not in {None, boot}
    doubtful: list[LiveUpload] = []
    for row in rows:
        live = await uploads.adopt(row)
        if unclean and live.extents and not live.row.ended:
            live.verified.clear()
            doubtful.append(live)
    known = {row.id for row in rows}
    orphans = [name for name in await staging.ids() if name not in known]
    for name in orphans:
        await staging.discard(name)
    log.info("recovered", uploads=len(rows), orphans_removed=len(orphans), verifying=len(doubtful))
    if doubtful:
        background.create_task(_verify_all(doubtful, uploads, repository, reader, boot), name="verify-after-power-loss")
        return
    await repository.set_meta(_KEY, boot, durable=True)
    for live in uploads.live:
        await uploads.recorded(live)


async def _verify_all(
    doubtful: list[LiveUpload], uploads: Uploads, repository: Repository, reader: PrefixReader, boot: str
) -> None:
    pending = doubtful
    while pending:
        pending = [live for live in pending if not await _verify(live, uploads, reader)]
        if pending:
            await asyncio.sleep(5)  # the staging area or the database was not available: everything waits for it
    await repository.set_meta(_KEY, boot, durable=True)


async def _verify(live: LiveUpload, uploads: Uploads, reader: PrefixReader) -> bool:
    try:
        spoilt = [extent for extent in list(live.extents.values()) if not await reader.verify(live, extent)]
        if spoilt:
            log.warning("bytes did not survive the power cut", upload=live.row.id, extents=len(spoilt))
            await uploads.ask_again(live, spoilt)
        live.verified.set()
        await uploads.recorded(live)
    except ForebayError as exc:
        log.warning("verification waits", upload=live.row.id, code=exc.code, detail=exc.detail)
        return live.row.ended
    return True
