"""A file on its way to Google Drive, and its place, name and digest there.

Laws:
- The last bytes publish the file at Drive, under its name: only `finish` sends them, when the name has been looked at.
- What is stored is compared by SHA-256 before `finish` says so; where Drive tells none, by MD5. Another file than ours is
  removed, and what comes next has a new id.
- Policy `replace` moves to the trash what had the name before, when the new file is there and verified.
- After a crash at any moment `begin` finds by the id in `state` whatever has become of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

import structlog

from app.core.errors import (
    DestinationMismatch,
    DestinationRefused,
    DestinationRefusedUpload,
    DestinationUnavailable,
    FileTooLarge,
    ForebayError,
    NameTaken,
)
from app.core.upload import NameConflictPolicy, StoredFile
from app.destinations.google_drive.files import MY_DRIVE, RemoteFile
from app.destinations.google_drive.state import SavedSession
from app.destinations.google_drive.transit import FolderGone, Means, Transit
from app.destinations.port import Digests, Source, Target
from app.posix.threads import run_to_end

__all__ = ["DriveSession"]

log = structlog.get_logger(__name__)

_LARGEST_BYTES: Final = 5 * 1024**4
_MEDIA_TYPE: Final = re.compile(r"[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}", re.ASCII)
_DEFAULT_TYPE: Final = "application/octet-stream"


def _media_type(declared: str) -> str:
    """What can be a file's type at Drive: its own types make folders and documents of the bytes, or are refused."""
    plain = declared.partition(";")[0].strip().lower()
    usable = _MEDIA_TYPE.fullmatch(plain) and not plain.startswith("application/vnd.google-apps")
    return plain if usable else _DEFAULT_TYPE


class DriveSession:
    """`TransferSession` of Google Drive."""

    def __init__(self, target: Target, means: Means) -> None:
        """Describe it; `begin` must follow."""
        self._target = target
        self._means = means
        self._transit = Transit(
            target.upload_id,
            size=target.size,
            length_deferred=target.length_deferred,
            media_type=_media_type(target.media_type),
            means=means,
        )
        self._stored: StoredFile | None = None

    @property
    def upload_id(self) -> str:
        """Of the upload."""
        return self._target.upload_id

    @property
    def state(self) -> str:
        """The file's id, where it goes, and the session's URI, sealed."""
        return self._transit.saved.dump()

    @property
    def committed(self) -> int:
        """What Drive has said."""
        return self._transit.committed

    async def begin(self, saved: str | None) -> None:
        """Go on where an earlier session was, or choose a place, a name and an id, and begin."""
        await self._means.sealer.load()
        await self._means.ledger.load()
        if (earlier := SavedSession.parse(saved)) is not None:
            self._means.names.keep(self, earlier.parent, earlier.name)
            await self._transit.take_up(earlier)
            return
        if self._target.size > _LARGEST_BYTES:
            raise FileTooLarge("The file is larger than Google Drive takes (5 TB).")
        await self._settle()
        await self._ready(self._transit.start)

    def declare(self, size: int) -> None:
        """For what is sent from now on."""
        if self._target.length_deferred:
            self._target = replace(self._target, size=size, length_deferred=False)
            self._transit.declare(size)

    async def append(self, pieces: AsyncIterator[memoryview], length: int) -> int:
        """One PUT, as long as the pieces come."""
        transit, before = self._transit, self._transit.committed
        await self._ready(transit.open)
        if transit.file is None and transit.committed == before and length > 0:
            await transit.send(pieces, length)
        return transit.committed

    async def finish(self, digests: Digests, source: Source) -> StoredFile:
        """Send what is left, compare, and settle the name."""
        if self._stored is not None and self._stored.sha256 == digests.sha256:
            return self._stored
        transit, names = self._transit, self._means.names
        async with names.alone(transit.saved.parent, self._target):
            await self._ready(transit.open)
            others = asyncio.create_task(self._others()) if transit.file is None else None
            try:
                if others is not None:
                    await self._mind(others)
                file = await self._verified(await self._sent(source), digests, source)
                file = await self._named(file, await others if others is not None else None)
            finally:
                if others is not None:
                    others.cancel()
                    with suppress(asyncio.CancelledError, ForebayError):
                        await others
        names.release(self)
        self._stored = StoredFile(id=file.id, name=file.name, size=self._target.size, sha256=digests.sha256)
        return self._stored

    async def abort(self) -> None:
        """Cancel the session, and remove what may have become of it."""
        await self._transit.cancel()
        self._means.names.release(self)
        self._stored = None

    # -- place and name ------------------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Choose the folder and the name."""
        place = await self._means.folders.at(self._target.folder)
        names, name = self._means.names, None
        if self._target.on_conflict is NameConflictPolicy.RENAME:
            name = names.take_plain(self, self._target, place)
        if name is None:
            name = await names.choose(self, self._target, place)
        saved = self._transit.saved
        self._transit.saved = replace(saved, parent=place.id, drive_id=place.drive_id, name=name)

    async def _ready(self, way: Callable[[], Awaitable[None]]) -> None:
        """`start` or `open` the transit, in a folder that is there."""
        try:
            await way()
        except FolderGone:
            gone = self._transit.saved.parent
            self._means.folders.forget(self._target.folder)
            await self._settle()
            if self._transit.saved.parent == gone:
                raise
            await way()

    async def _others(self) -> list[RemoteFile]:
        """Files of the name in the folder, but for ours."""
        saved = self._transit.saved
        found = await self._means.files.named(self._transit.place, [saved.name])
        replacing = self._target.on_conflict is NameConflictPolicy.REPLACE
        # A folder of the name is never replaced: it would take all that is in it along.
        return [file for file in found if file.id != saved.file_id and not (replacing and file.is_folder)]

    async def _mind(self, others: asyncio.Task[list[RemoteFile]]) -> None:
        """Wait for what has the name before the last bytes are sent, where the policy is about that."""
        match self._target.on_conflict:
            case NameConflictPolicy.FAIL if await others:
                raise NameTaken
            case NameConflictPolicy.REPLACE:
                await others

    async def _named(self, file: RemoteFile, others: list[RemoteFile] | None) -> RemoteFile:
        """Do what the policy says about others of its name; None: ours was there before they were looked for."""
        policy, saved = self._target.on_conflict, self._transit.saved
        if others is None:
            others = [other for other in await self._others() if other.age < file.age]
        if not others or file.name != saved.name or saved.parent not in {*file.parents, MY_DRIVE}:
            return file  # there are none, or somebody has moved ours meanwhile
        match policy:
            case NameConflictPolicy.RENAME:  # it was free when it was chosen
                name = await self._means.names.choose(self, self._target, self._transit.place, own_id=file.id)
                self._transit.saved = replace(saved, name=name)
                return await self._means.files.rename(file.id, name)
            case NameConflictPolicy.REPLACE:
                for other in others:
                    try:
                        await self._means.files.trash(other.id)
                    except (
                        DestinationRefused,
                        DestinationRefusedUpload,
                    ):  # somebody else's: both stay, and nothing is lost
                        log.warning("the file that was to be replaced stays", upload=self.upload_id)
        return file

    # -- content -------------------------------------------------------------------------------------------------------

    async def _sent(self, source: Source) -> RemoteFile:
        """The file, when all of it is there."""
        transit, size = self._transit, self._target.size
        while transit.file is None:
            before = transit.committed
            if before == size:
                await transit.conclude()
                continue
            async with source.pieces(before) as pieces:
                await transit.send(pieces, size - before)
            if transit.file is None and transit.committed <= before:
                raise DestinationUnavailable("Google Drive kept nothing of what was sent. What was received is kept.")
        return transit.file

    async def _verified(self, file: RemoteFile, digests: Digests, source: Source) -> RemoteFile:
        """The file as Drive describes it, if it is the one that was sent, where people can see it."""
        if file.trashed:  # with its folder, before or while it came
            await self._remove(file)
            self._means.folders.forget(self._target.folder)
            await self._settle()
            raise DestinationUnavailable("The folder was removed at Google Drive; the file is sent again to a new one.")
        if await self._is_ours(file, digests, None):
            return file
        # Drive may not have computed everything at once; and what is removed next should not be a good file.
        file = await self._means.files.get(file.id) or file
        if await self._is_ours(file, digests, source):
            return file
        await self._remove(file)
        raise DestinationMismatch

    async def _remove(self, file: RemoteFile) -> None:
        try:
            await self._means.files.remove(file.id)
        except (DestinationRefused, DestinationRefusedUpload):
            log.warning("a file that is not as it was sent can't be removed", upload=self.upload_id)
        self._transit.forget()

    async def _is_ours(self, file: RemoteFile, digests: Digests, source: Source | None) -> bool:
        says_nothing = file.size is None or (file.sha256 is None and file.md5 is None)
        if source is not None and says_nothing:
            raise DestinationUnavailable("Google Drive does not say yet what it has stored. What was received is kept.")
        if file.sha256 is not None or source is None:
            return file.size == self._target.size and file.sha256 == digests.sha256
        md5 = hashlib.md5(usedforsecurity=False)
        async with source.pieces(0) as pieces:
            async for piece in pieces:
                await run_to_end(self._means.threads, md5.update, piece)
        return file.size == self._target.size and file.md5 == md5.hexdigest()
