"""One file's bytes on their way: which id it has, which session it is in, how far it is.

Laws:
- The file's id is chosen before anything is sent, is in `saved`, and stays the same until a file under it was removed: so
  nothing is ever stored twice, and whatever has become of a request without an answer is found by that id.
- `committed` is what Drive has said. After every doubt (no answer, an error, a body that was not sent to its end) Drive is
  asked before anything more is sent; a call that was cancelled or has failed leaves the asking to the next one.
- A new id is in the database before anything can come of it: whoever gets one in the middle is told to come again.
- Nothing is tried again here but what is known to be of use at once: see `start`.
- A session that Drive refuses, and nobody knows why, is begun anew once; when that is of no use, it is told as refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from yarl import URL

from app.core.errors import DestinationRefused, DestinationUnavailable, ForebayError
from app.destinations.google_drive.api import DriveApi
from app.destinations.google_drive.body import PieceBody
from app.destinations.google_drive.faults import error_for
from app.destinations.google_drive.files import MY_DRIVE, UPLOAD_KEY, Files, Place, RemoteFile
from app.destinations.google_drive.folders import Folders
from app.destinations.google_drive.ids import IdPool
from app.destinations.google_drive.ledger import Ledger
from app.destinations.google_drive.names import Names
from app.destinations.google_drive.sealing import Sealer
from app.destinations.google_drive.state import SavedSession
from app.destinations.google_drive.upload import (
    Done,
    Gone,
    Held,
    IdTaken,
    Outcome,
    Refused,
    ResumableUpload,
    StartRefused,
    start,
)

__all__ = ["PART_BYTES", "FolderGone", "Means", "Transit"]

PART_BYTES: Final = 262_144  # every PUT but the last is a multiple
_STARTS: Final = 3
_QUESTIONS: Final = 6
_BETWEEN_S: Final = 0.25
_LOOKS: Final = 8
_REFUSED: Final = (
    "Google Drive refuses the upload session; the file is sent again in a new one. What was received is kept."
)
_EXPIRED: Final = "The upload session at Google Drive has expired; the file is sent again. What was received is kept."


@dataclass(frozen=True, slots=True)
class Means:
    """What the sessions of one destination share."""

    api: DriveApi
    files: Files
    folders: Folders
    names: Names
    ids: IdPool
    ledger: Ledger
    sealer: Sealer
    threads: Executor


class FolderGone(DestinationRefused):
    """The folder that the file is to be in was removed."""


class Transit:
    """Of one upload; used by one task at a time."""

    def __init__(
        self,
        upload_id: str,
        *,
        size: int,
        length_deferred: bool = False,
        media_type: str,
        means: Means,
    ) -> None:
        """Describe it; `take_up` or `start` must follow.

        Args:
            upload_id: of the upload.
            size: of the file; the most that it may have, where its length is deferred until `declare`.
            length_deferred: nobody has said it.
            media_type: one that can stand in a header.
            means: what it works with.
        """
        self._upload_id = upload_id
        self._size = size
        self._length_deferred = length_deferred
        self._media_type = media_type
        self._means = means
        self._upload: ResumableUpload | None = None
        self._in_doubt = False
        self._concluding = False  # the last bytes were sent, and nobody knows what became of them
        self._refused = False  # a session of it was, and nobody knows why
        self._moving = False  # a body was cut off: some of it may still be on its way within Drive
        self.saved = SavedSession(file_id="", parent="", drive_id=None, name="", sealed_uri=None)
        self.committed = 0
        self.file: RemoteFile | None = None
        """What it has become."""

    @property
    def place(self) -> Place:
        """The folder."""
        return Place(self.saved.parent, self.saved.drive_id)

    @property
    def _known_size(self) -> int | None:
        return None if self._length_deferred else self._size

    def declare(self, size: int) -> None:
        """The file has so many bytes; while nothing is being sent."""
        self._size, self._length_deferred = size, False
        if self._upload is not None:
            self._upload = replace(self._upload, size=size)

    # -- where it stands -----------------------------------------------------------------------------------------------

    async def take_up(self, saved: SavedSession) -> None:
        """Go on where an earlier life was."""
        self.saved, self._moving = saved, True
        uri = self._means.sealer.opened(saved.sealed_uri) if saved.sealed_uri else None
        if uri is not None:
            url = URL(uri, encoded=True)
            self._upload = ResumableUpload(self._means.api, url, size=self._known_size, media_type=self._media_type)
        await self._look()

    async def open(self) -> None:
        """See to it that bytes may be sent from `committed` on, or that `file` is known.

        Raises:
            DestinationUnavailable: not now; or a session was begun, which is in `saved`: come again, when that is kept.
            FolderGone: as `start`.
        """
        if self._in_doubt:
            await self._look()
        if self.file is None and self._upload is None:
            await self.start()
            if self.file is None:
                raise DestinationUnavailable("The upload to Google Drive begins anew. What was received is kept.")

    async def _look(self) -> None:
        self._in_doubt = True
        outcome: Outcome = Gone()
        # Of an empty file's session there is nothing to ask: `conclude` makes the file.
        if self._upload is not None and self._size:
            outcome = await self._where(self._upload)
        if isinstance(outcome, Held):
            self.committed = outcome.position
        else:
            await self._look_for_file()
            if self.file is None and self._size:
                self._lose_session()
        self._in_doubt = self._moving = False

    async def _where(self, upload: ResumableUpload) -> Outcome:
        """Where the session stands; after a cut, when it stands still."""
        outcome = await upload.where()
        for _ in range(_QUESTIONS if self._moving else 0):
            if not isinstance(outcome, Held):
                break
            await asyncio.sleep(_BETWEEN_S)
            before, outcome = outcome, await upload.where()
            if outcome == before:
                break
        return outcome

    async def _look_for_file(self) -> None:
        """Whether it has become a file. What Drive says of a session may be older than what has happened since."""
        file = await self._means.files.get(self.saved.file_id) if self.saved.file_id else None
        if file is not None and file.upload_id in {None, self._upload_id}:
            self._become(file)

    def _become(self, file: RemoteFile) -> None:
        self.file, self.committed, self._in_doubt, self._concluding = file, self._size, False, False

    def _lose_session(self) -> None:
        self._upload = None
        self.saved = replace(self.saved, sealed_uri=None)
        self.committed = 0

    def forget(self) -> None:
        """Nothing is at Drive under the id, which is used up."""
        self._lose_session()
        self.file, self._in_doubt = None, False
        self.saved = replace(self.saved, file_id="")

    async def cancel(self) -> None:
        """Leave nothing at Drive; idempotent."""
        if self._upload is not None:
            await self._upload.cancel()
            self._lose_session()
        if self.saved.file_id:
            await self._means.files.remove(self.saved.file_id)
            for _ in range(_LOOKS if self._concluding else 0):  # Drive may be putting the file together still
                await asyncio.sleep(_BETWEEN_S)
                if await self._means.files.get(self.saved.file_id) is not None:
                    await self._means.files.remove(self.saved.file_id)
                    break
            self._concluding = False
            self.forget()

    # -- its session ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin a session; or find that it is a file already.

        Tried again at once where the id turns out to be used up: a new one helps, and waiting does not.

        Raises:
            FolderGone: choose another in `saved`, and come again.
        """
        self._means.ledger.check(PART_BYTES if self._known_size is None else self._known_size)
        for _ in range(_STARTS):
            if not self.saved.file_id:
                self.saved = replace(self.saved, file_id=await self._means.ids.take())
            try:
                await self._begin()
            except IdTaken:
                await self._look_for_file()
                if self.file is not None:
                    return
                self.forget()
            except StartRefused as refused:
                self._cure(refused)
            else:
                return
        raise DestinationUnavailable("Google Drive began no upload session. What was received is kept.")

    async def _begin(self) -> None:
        metadata: dict[str, object] = {
            "id": self.saved.file_id,
            "name": self.saved.name,
            "mimeType": self._media_type,
            "appProperties": {UPLOAD_KEY: self._upload_id},
        }
        if self.saved.parent != MY_DRIVE:
            metadata["parents"] = [self.saved.parent]
        means = self._means
        self._upload = await start(means.api, metadata, size=self._known_size, media_type=self._media_type)
        means.ledger.begun()
        self.saved = replace(self.saved, sealed_uri=means.sealer.seal(str(self._upload.uri)))
        self.committed, self._in_doubt = 0, False

    def _cure(self, refused: StartRefused) -> None:
        """Take another id where that is the matter; else raise."""
        refusal, means = refused.refusal, self._means
        if refusal.may_be_daily_limit and (reached := means.ledger.believe()) is not None:
            raise reached
        if "notFound" in refusal.reasons:
            raise FolderGone(error_for(refusal).detail)
        if "invalid" in refusal.reasons and "file ID" in refusal.message:
            means.ids.forget()
            self.forget()
            return
        means.api.judge(refused.answer)

    # -- sending -------------------------------------------------------------------------------------------------------

    async def send(self, pieces: AsyncIterator[memoryview], length: int) -> None:
        """One PUT of `length` bytes from `committed` on, and Drive's word for what has come of them; `open` goes before.

        Fewer where the pieces end early.

        Raises:
            DestinationUnavailable, DestinationFull: it failed; some of it may have arrived.
            DestinationQuotaReached: no more for now.
            Exception: what the pieces raise.
        """
        upload, ledger, first = self._upload, self._means.ledger, self.committed
        if upload is None:
            raise RuntimeError("there is no session")
        # What lacks next to nothing is not parked for hours.
        limited = first + length < self._size or length > PART_BYTES
        if limited:
            ledger.check(length)
            if not ledger.may_send(length):
                length = max(PART_BYTES, ledger.left // PART_BYTES * PART_BYTES)
        publishes = first + length == self._size
        body = PieceBody(
            pieces,
            length,
            media_type=self._media_type,
            stall_s=self._means.api.timeouts.stall_s,
            may_send=ledger.may_send if limited else _always,
            on_sent=ledger.spend,
        )
        self._in_doubt = self._moving = True
        self._concluding = self._concluding or publishes
        error: ForebayError | None = None
        try:
            outcome = await upload.put(first, body)
        except ForebayError as exc:
            error = exc
        except BaseException:
            await body.stop(hurry=True)
            raise
        await body.stop(hurry=error is not None)
        self._moving = error is not None or not body.complete
        if error is None:
            await self._take(outcome, body, first)
        if body.error is not None:
            raise body.error
        if error is not None:
            await self._recover(error, body, publishes=publishes)

    async def _take(self, outcome: Outcome, body: PieceBody, first: int) -> None:
        match outcome:
            case Held(position=position):
                self.committed, self._in_doubt = position, not body.complete
                if body.complete and position <= first:
                    raise DestinationUnavailable(
                        "Google Drive kept nothing of what was sent. What was received is kept."
                    )
            case Done(file=file) if file is not None and file.id == self.saved.file_id:
                self._become(file)
            case Done():
                await self._look()
            case Gone() | Refused():
                await self._begin_anew(outcome)

    async def _recover(self, error: ForebayError, body: PieceBody, *, publishes: bool) -> None:
        """There was no answer, or an error: ask at once where that is of use, and raise unless all is well."""
        if body.forbidden:
            await self._look()
            raise self._means.ledger.reached(PART_BYTES)
        if body.ended_early:
            await self._look()
            return
        if body.stalled:
            error = DestinationUnavailable("Google Drive takes nothing of what is sent. What was received is kept.")
        if publishes:  # very often everything has arrived, and the answer was lost
            with suppress(ForebayError):
                await self._look()
            if self.file is not None:
                return
        raise error

    async def conclude(self) -> None:
        """Drive has all bytes and has said of no file: ask.

        Raises:
            DestinationUnavailable: there is none yet.
        """
        if self._upload is None:
            raise RuntimeError("there is no session")
        self._in_doubt = True
        outcome = await self._upload.complete()
        if isinstance(outcome, Held):
            self.committed, self._in_doubt = outcome.position, False
            if outcome.position == self._size:
                raise DestinationUnavailable(
                    "Google Drive has not put the file together yet. What was received is kept."
                )
            return
        if isinstance(outcome, Done) and outcome.file is not None and outcome.file.id == self.saved.file_id:
            self._become(outcome.file)
            return
        await self._begin_anew(outcome)

    async def _begin_anew(self, outcome: Outcome) -> None:
        """The session is of no more use, unless it has become the file.

        Raises:
            DestinationUnavailable: a new one is to be begun.
            DestinationRefusedUpload: that was of no use already; the session stays, and is asked when this is tried again.
        """
        await self._look_for_file()
        if self.file is not None:
            return
        if isinstance(outcome, Refused):
            if self._refused:
                raise outcome.error
            self._refused = True
        self._lose_session()
        self._in_doubt = False
        raise DestinationUnavailable(_REFUSED if isinstance(outcome, Refused) else _EXPIRED)


def _always(size: int) -> bool:
    del size
    return True
