"""A file put together from other uploads, its parts (tus, concatenation).

Laws:
- The bytes stay on the disk: they are copied by the kernel, which shares them instead where the file system can. The
  checksums recorded with them come along, and the transfer compares what it reads, as with any other upload.
- A part may still be receiving; it is waited for. One that ended takes the file that needs it with it.
- Parts are kept until the file has all its bytes and those are synced; then they are removed, unless another file still
  waits for them. So a server that dies goes on where it was.
- Where every part is whole, the answer to the final upload waits for the file to be synced (`kept`), so that the parts'
  own bytes need not be written; a part that becomes whole while a file waits for it is synced then.
- Who puts a file together is a receiver of it: it does not expire meanwhile, and its end stops the work first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import replace
from typing import Final

import stamina
import structlog

from app.core.errors import (
    ForebayError,
    IncompleteUpload,
    InternalError,
    InvalidRequest,
    NotFound,
    OutOfSpace,
    StagingUnavailable,
    SyncFailed,
    Unavailable,
)
from app.core.upload import MIB, Extent, UploadState
from app.persistence.repository import Repository
from app.services.deferred_lengths import DeferredLengths
from app.services.interruption import unbroken
from app.services.live import LiveUpload, Receiver, TransferProblem
from app.services.new_upload import NewUpload
from app.services.recording import record_extents
from app.services.uploads import Uploads
from app.staging.port import Copying

__all__ = ["Concatenation"]

log = structlog.get_logger(__name__)

_STEP_BYTES: Final = 64 * MIB  # copied and recorded at a time
_ANSWER_S: Final = 10.0
"""That long is waited for a file to be put together and synced; then its parts are, where they are."""
_FIRST_WAIT_S: Final = 0.2
_LONGEST_WAIT_S: Final = 60.0
_JOINING: Final = -2  # the receiver's key, where others have the number of their chunk
_LOST: Final = "Of the uploads that this file is made of one has ended before it was needed. Upload the file again."


class Concatenation:
    """Puts files together, each in a task."""

    def __init__(
        self,
        *,
        uploads: Uploads,
        lengths: DeferredLengths,
        staging: Copying | None,
        repository: Repository,
        clock: Callable[[], float],
    ) -> None:
        """Keep what it works with.

        Args:
            uploads: the registry.
            lengths: where that of a part was not said in the beginning.
            staging: where bytes are; None: it can't copy, and no file is put together.
            repository: where extents are recorded.
            clock: service seconds.
        """
        self._uploads = uploads
        self._lengths = lengths
        self._staging = staging
        self._repository = repository
        self._clock = clock
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        uploads.on_parts_wanted = self.poke

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Those under way."""
        return list(self._tasks.values())

    def start(self, group: asyncio.TaskGroup) -> None:
        """Tasks belong to `group` from now on; files of an earlier life are gone on with."""
        self._group = group
        for live in self._uploads.live:
            self.poke(live)

    def stop(self) -> None:
        """Take no new work; the group's owner cancels what runs."""
        self._group = None

    async def begin(self, owner: str, wanted: NewUpload, parts: Sequence[str]) -> LiveUpload:
        """Begin a file that is put together from uploads of the same owner, in this order, as they become whole.

        Raises:
            InvalidRequest: one of them can't be used.
            What `Uploads.create` raises.
        """
        sizes = [(await self._part(part, owner)).row.known_size for part in parts]
        live = await self._uploads.create(owner, replace(wanted, size=_sum(sizes)), idempotency_key=None)
        self.poke(live)
        return live

    async def _part(self, upload_id: str, owner: str) -> LiveUpload:
        try:
            live = await self._uploads.find(upload_id, owner)
        except NotFound:
            live = None
        if live is None or live.row.ended or not live.row.is_part:
            raise InvalidRequest(f"There is no partial upload {upload_id} that could be used.")
        await live.settled()  # after a power cut nobody knows yet what is left of it
        return live

    async def kept(self, live: LiveUpload) -> None:
        """Return when a power cut can take nothing of a file whose parts have been received, as far as they have.

        Raises:
            What `Upload.ending` is: it has failed meanwhile.
            SyncFailed: a part has lost bytes, and is failed.
            StagingUnavailable, DatabaseUnavailable: not now.
        """
        parts = [part for each in dict.fromkeys(live.row.parts) if (part := self._uploads.under_way(each)) is not None]
        whole = [part for part in parts if part.all_recorded]  # the others are synced when they are
        if len(whole) == len(parts):
            with suppress(TimeoutError):
                async with asyncio.timeout(_ANSWER_S):
                    while not (live.row.received_at or live.row.ended or live.problem):
                        await live.turn()
        if live.row.received_at is None and not live.row.ended:
            for part in whole:
                await self._sync(part)
            async with live.lock:
                if not live.row.ended:
                    await self._repository.save_upload(live.row, durable=True)  # and all that was committed before
        if live.row.ended and live.row.state is not UploadState.COMPLETED:
            raise live.row.ending

    async def _sync(self, part: LiveUpload) -> None:
        if self._staging is None:
            return
        try:
            await self._staging.sync(part.row.id)
        except SyncFailed as exc:
            await self._uploads.fail(part, exc)
            raise
        except StagingUnavailable:
            if not part.row.ended:  # else it was let go of meanwhile
                raise

    def length_of(self, live: LiveUpload) -> int | None:
        """The size of a file as far as it or its parts tell; None while that is not known."""
        if not live.row.length_deferred or not live.row.parts:
            return live.row.known_size
        parts = [self._uploads.under_way(part) for part in live.row.parts]
        return _sum([None if part is None else part.row.known_size for part in parts])

    def poke(self, live: LiveUpload) -> None:
        """See to it that a file is put together."""
        row = live.row
        if self._group is None or not row.parts or row.ended or row.id in self._tasks:
            return
        # In a context of its own: its log lines don't belong to the request that happened to poke.
        self._tasks[row.id] = self._group.create_task(self._run(live), name=f"join-{row.id}", context=Context())

    async def _run(self, live: LiveUpload) -> None:
        receiver = live.receivers[_JOINING] = Receiver()
        error: ForebayError | None = None
        try:
            async with receiver.interruption:
                await self._persist_in_trying(live, receiver)
        except ForebayError as exc:
            log.info("a file was not put together", upload=live.row.id, code=exc.code, detail=exc.detail)
            error = exc
        except Exception:  # one upload's trouble must not end the server; the next start tries again
            log.exception("putting a file together broke", upload=live.row.id)
            error = InternalError()
        finally:
            del live.receivers[_JOINING]
            del self._tasks[live.row.id]
            receiver.ended.set()
            live.changed()
        if isinstance(error, IncompleteUpload):
            await self._fail(live, error)
        elif error is None and live.row.received_at is None:
            self.poke(live)  # while the parts were removed it has lost what it had

    async def _fail(self, live: LiveUpload, error: IncompleteUpload) -> None:
        try:
            await self._uploads.fail(live, error)
        except ForebayError as exc:  # the next start tries again, or it expires
            log.warning("an upload can't be ended now", upload=live.row.id, code=exc.code, detail=exc.detail)

    async def _persist_in_trying(self, live: LiveUpload, receiver: Receiver) -> None:
        async for attempt in stamina.retry_context(
            on=(Unavailable, OutOfSpace),
            attempts=None,
            timeout=None,
            wait_initial=_FIRST_WAIT_S,
            wait_max=_LONGEST_WAIT_S,
        ):
            with attempt:
                try:
                    await self._join(live, receiver)
                except (Unavailable, OutOfSpace) as exc:
                    live.problem = TransferProblem(exc.code, exc.detail, attempt.num, exc.detail)
                    live.changed()
                    raise
                live.problem = None

    async def _join(self, live: LiveUpload, receiver: Receiver) -> None:
        await live.verified.wait()
        while live.row.received_at is None and not live.row.ended:
            await live.settle_doubts(self._repository.extents)
            position = 0
            for part in live.row.parts:
                position += await self._take(live, position, part)
            await self._lengths.declare(live, position)
            with receiver.recording():
                await self._uploads.recorded(live)
        for part in dict.fromkeys(live.row.parts):
            await self._let_go(part)

    async def _take(self, live: LiveUpload, position: int, part_id: str) -> int:
        """Add a part at `position`, when it is whole; its size."""
        part = self._uploads.under_way(part_id)
        while part is not None and part.row.received_at is None and not part.row.ended:
            if part.all_recorded:
                await self._uploads.recorded(part)  # is just being synced, or could not be
            else:
                await part.turn()
        if part is None or part.row.ended or self._staging is None:
            raise IncompleteUpload(_LOST)
        await part.verified.wait()
        if live.row.length_deferred:
            await self._lengths.have_room(live, position + part.row.size)
        lacking = [
            extent
            for extent in sorted(part.extents.values())
            if not live.recorded.covers(position + extent.offset, position + extent.end)
        ]
        while lacking:
            step = _together(lacking)
            del lacking[: len(step)]
            offset, length = step[0].offset, step[-1].end - step[0].offset
            try:
                await self._staging.copy(part_id, offset, length, live.row.id, position + offset)
            except SyncFailed as exc:
                await self._uploads.fail(part, exc)
                raise IncompleteUpload(_LOST) from exc
            moved = [extent._replace(offset=position + extent.offset) for extent in step]
            # Not durable: until all of it is synced the parts are there.
            await unbroken(record_extents(self._repository, live, moved, at_s=self._clock()))
            self._uploads.transfers.poke(live)
        return part.row.size

    async def _let_go(self, part_id: str) -> None:
        """A part that no other file waits for is needed no more."""
        part = self._uploads.under_way(part_id)
        if part is not None and not self._uploads.is_waited_for(part_id):
            await self._uploads.remove_part(part)


def _together(extents: Sequence[Extent]) -> list[Extent]:
    """Of extents in order the first ones that follow each other without a gap, and are not too long together."""
    step = [extents[0]]
    for extent in extents[1:]:
        if extent.offset != step[-1].end or extent.end - step[0].offset > _STEP_BYTES:
            break
        step.append(extent)
    return step


def _sum(sizes: Iterable[int | None]) -> int | None:
    total = 0
    for size in sizes:
        if size is None:
            return None
        total += size
    return total
