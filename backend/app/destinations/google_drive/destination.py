"""Google Drive as destination: files in a folder of My Drive or of a shared drive.

Laws: a stored file's id is its id at Drive. Everything that sessions share (connections, ids, folders, names, the ledger)
is made here and ends with `aclose`. Nothing is opened before it is used. Nothing is tried again here: that is the
caller's business.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import Final

import structlog

from app.core.errors import DestinationFull, DestinationRefused, ForebayError
from app.core.names import validate_filename, validate_folder
from app.destinations.google_drive.api import DriveApi, Timeouts
from app.destinations.google_drive.cures import cure_for
from app.destinations.google_drive.download import open_content
from app.destinations.google_drive.faults import NO_STORAGE
from app.destinations.google_drive.files import Files
from app.destinations.google_drive.folders import Folders
from app.destinations.google_drive.ids import IdPool
from app.destinations.google_drive.ledger import Ledger
from app.destinations.google_drive.names import Names
from app.destinations.google_drive.options import GoogleDriveOptions
from app.destinations.google_drive.report import DriveReport
from app.destinations.google_drive.sealing import Sealer
from app.destinations.google_drive.session import DriveSession
from app.destinations.google_drive.tokens import TokenSource
from app.destinations.google_drive.transit import PART_BYTES, Means
from app.destinations.port import Abilities, KeepsValues, Target

__all__ = ["LEDGER_KEY", "GoogleDriveDestination"]

log = structlog.get_logger(__name__)

_TRANSFERS: Final = 32  # each is one connection, and Drive's rate is one connection's
_INFORMED_EVERY_S: Final = 600.0
LEDGER_KEY: Final = "google-drive-sent"


class GoogleDriveDestination:
    """`Destination`, `ServesFiles`, `Reports`, `KeepsInformed` and `Advises` over Google Drive."""

    def __init__(
        self,
        folder_id: str,
        *,
        options: GoogleDriveOptions,
        tokens: TokenSource,
        values: KeepsValues | None = None,
        ledger: Ledger | None = None,
        timeouts: Timeouts | None = None,
        tls: ssl.SSLContext | None = None,
        on_closed: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Describe it; nothing is touched yet.

        Args:
            folder_id: where files go; "" is My Drive.
            options: from the settings.
            tokens: access tokens; not closed here.
            values: keeps the ledger.
            ledger: shared with other destinations of the same account, in place of one over `values`.
            timeouts: how long Drive may take.
            tls: what to trust instead of the system's certificate authorities.
            on_closed: called at the end of `aclose`; closes the tokens where nobody else uses them.
        """
        self._options = options
        self._api = DriveApi(options, tokens, timeouts=timeouts or Timeouts(), tls=tls)
        self._files = Files(self._api)
        self._ids = IdPool(self._api)
        self._folders = Folders(self._files, self._ids, folder_id)
        self._ledger = ledger or Ledger(options.daily_bytes, key=LEDGER_KEY, values=values)
        self._sealer = Sealer(options.key_file)
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="google-drive")
        self._means = Means(
            api=self._api,
            files=self._files,
            folders=self._folders,
            names=Names(self._files),
            ids=self._ids,
            ledger=self._ledger,
            sealer=self._sealer,
            threads=self._threads,
        )
        self._on_closed = on_closed
        self._used: int | None = None
        self._room: int | None = None

    @property
    def abilities(self) -> Abilities:
        """In order, in multiples of 256 KiB; the last bytes publish."""
        return Abilities(
            transfers=_TRANSFERS,
            part_multiple_bytes=PART_BYTES,
            last_with_finish=True,
            native_digests=frozenset({"sha256", "md5"}),
        )

    async def check(self) -> None:
        """Look whether the login holds, the folder is there and can be written, and there is room."""
        await self._sealer.load()
        await self._ledger.load()
        place = await self._folders.own()
        if not place.writable:
            raise DestinationRefused(
                "The login may not add files to the destination's folder at Google Drive: make it an editor there (of a"
                " shared drive: a content manager). What was received is kept."
            )
        await self._ask_for_room(shared=place.drive_id is not None)

    async def _ask_for_room(self, *, shared: bool) -> None:
        await self._look_at_storage()
        if shared or self._room is None:
            return
        if not self._room:
            raise DestinationRefused(NO_STORAGE)
        if self._used is not None and self._used >= self._room:
            raise DestinationFull(
                "Google Drive has no storage left. Make room there (the trash counts as well) or buy more. What was received"
                " is kept."
            )

    async def _look_at_storage(self) -> None:
        quota = (await self._api.call("GET", "/about", params={"fields": "storageQuota"})).value().get("storageQuota")
        said = quota if isinstance(quota, dict) else {}
        self._used, self._room = _number(said.get("usage")), _number(said.get("limit"))

    async def keep_informed(self) -> None:
        """How much was sent, from the database; how much is stored, from Drive, every ten minutes."""
        while True:
            await self._ledger.load()
            try:
                await self._look_at_storage()
            except ForebayError as exc:
                self._used = self._room = None
                log.info("how much is stored is not known now", code=exc.code, detail=exc.detail)
            await asyncio.sleep(_INFORMED_EVERY_S)

    async def begin(self, target: Target, saved: str | None) -> DriveSession:
        """A resumable upload."""
        validate_folder(target.folder)
        validate_filename(target.filename)
        session = DriveSession(target, self._means)
        await session.begin(saved)
        return session

    def open_range(
        self, stored_id: str, start: int, end: int, *, size: int
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Pieces of at most 256 KiB."""
        return open_content(self._api, stored_id, start, end, size=size)

    async def delete(self, stored_id: str) -> None:
        """Remove a stored file for good; where the login may not, to the trash."""
        await self._files.remove(stored_id)

    def report(self) -> DriveReport:
        """For the status page; asks nothing."""
        return DriveReport(
            sent_in_24_hours=self._ledger.known,
            daily_limit=self._ledger.limit,
            storage_used=self._used,
            storage_limit=self._room,
            login_ok=self._api.login_ok,
        )

    def advice(self, exc: ForebayError) -> str:
        """As `forebay-server drive check` gives it."""
        cure = cure_for(exc, "upload", None, self._options)
        if not cure or cure.startswith("https:"):
            return cure
        return f"{cure[0].upper()}{cure[1:]}"

    async def aclose(self) -> None:
        """End what runs in the background, keep the ledger, close the connections."""
        await self._folders.aclose()
        await self._ids.aclose()
        await self._ledger.aclose()
        await self._api.aclose()
        self._threads.shutdown(wait=False)
        if self._on_closed is not None:
            await self._on_closed()


def _number(said: object) -> int | None:
    return int(said) if isinstance(said, str) and said.isdecimal() else None
