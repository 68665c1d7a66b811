"""From a request's body of any length to recorded bytes at the end of what an upload has: for protocols that append.

Laws:
- What is recorded of an upload that is appended to has no gap: bytes go where it ends, and nowhere else.
- One request at a time: a newer one, and whoever asks where the upload stands, ends the older one and waits until what
  that brought is recorded. So an answer about the position stays true until the next request.
- What had come when a request broke off is kept. Where a checksum was declared it is not: all of the request, or nothing.
- Bytes are recorded piece by piece, none beyond the end of a chunk: a server that dies loses one piece.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Protocol

from app.core.body import RequestBody
from app.core.errors import (
    BodyTooLarge,
    ClientGone,
    ForebayError,
    OffsetConflict,
    RequestTimedOut,
    ShuttingDown,
    StateConflict,
    Superseded,
    SyncFailed,
)
from app.core.upload import Chunk, Extent, Mode, UploadState
from app.core.waiting import Cause
from app.persistence.repository import Repository
from app.services.chunk_sink import StagingSink
from app.services.interruption import abandoned_when_gone, unbroken
from app.services.live import LiveUpload, Receiver
from app.services.parallel_chunk_processor import ParallelChunkProcessor
from app.services.progress import Throughput
from app.services.upload_concurrency_manager import UploadConcurrencyManager
from app.services.uploads import Uploads
from app.staging.port import Staging

__all__ = ["Appender", "Check"]

_APPENDING: Final = -1  # the receiver's key, where others have the number of their chunk
_BROKEN_OFF: Final = (ClientGone, RequestTimedOut, ShuttingDown, Superseded)
_WRITABLE: Final = frozenset({UploadState.CREATED, UploadState.RECEIVING})


class Check(Protocol):
    """What the bytes of a request are said to be."""

    def update(self, view: memoryview) -> None:
        """Take the next bytes; in a worker thread."""

    def judge(self) -> None:
        """All have come: raises when they are others."""


class Appender:
    """Appends to uploads."""

    def __init__(
        self,
        *,
        processor: ParallelChunkProcessor,
        staging: Staging,
        repository: Repository,
        slots: UploadConcurrencyManager,
        throughput: Throughput,
        mode: Mode,
        durable: bool,
        uploads: Uploads,
    ) -> None:
        """Keep what it works with; see `ParallelChunkProcessor`, with which it shares how a piece is stored and recorded."""
        self._processor = processor
        self._staging = staging
        self._repository = repository
        self._slots = slots
        self._throughput = throughput
        self._mode = mode
        self._durable = durable
        self._uploads = uploads

    async def position(self, live: LiveUpload) -> int:
        """Where the upload stands; a request that still brings something is ended first.

        Raises:
            VerificationPending: after a power cut nobody knows yet.
        """
        await self._end_older(live)
        await live.settled()
        await live.settle_doubts(self._repository.extents)
        return live.row.size if live.row.state is UploadState.COMPLETED else live.recorded.prefix

    async def append(
        self,
        live: LiveUpload,
        offset: int,
        body: RequestBody,
        check: Check | None = None,
        *,
        length: int | None = None,
        last: bool = False,
    ) -> int:
        """Add a body at `offset`; returns where the upload stands when it may be acknowledged.

        Args:
            live: the upload.
            offset: where it should stand, in bytes.
            body: unread.
            check: what its bytes are said to be.
            length: of the file, where the client says it with these bytes; see `Uploads.declare_length`. It stays said
                when they break off.
            last: the file ends where the body does; with that its length is known, if it was not before.

        Raises:
            OffsetConflict, StateConflict, BodyTooLarge: before any byte is read.
            InconsistentUploadLength, FileTooLarge: likewise, of `length`.
            LimitReached: no slot in time.
            ClientGone, RequestTimedOut, Superseded, ShuttingDown: while it came; what had come is recorded.
            ChunkFailed, OutOfSpace, StagingUnavailable, DatabaseUnavailable: it could not be stored.
            What `check` raises: nothing of it is recorded.
        """
        async with self._alone(live) as receiver, AsyncExitStack() as held:
            async with abandoned_when_gone(body):
                await live.settled()
                await live.settle_doubts(self._repository.extents)
                self._check(live, offset, body, length)
                with live.waits.of(Cause.QUEUE):
                    await held.enter_async_context(self._slots.hold(live.row.id, live.row.owner))
                if live.room_released:
                    await self._processor.regain_room(live)
            self._check(live, offset, body, length)
            if length is not None:
                await self._uploads.declare_length(live, length)
            elif live.row.length_deferred:
                await self._uploads.have_room(live, offset + (body.length or 0))
            try:
                await self._take(live, body, receiver, check)
            except SyncFailed as exc:
                await unbroken(self._uploads.fail(live, exc))
                raise
            if last and live.row.length_deferred:
                await self._uploads.declare_length(live, live.recorded.prefix)
            if length is not None or last:
                with receiver.recording():
                    await self._uploads.recorded(live)  # it may be whole without another byte
        return live.row.size if live.row.state is UploadState.COMPLETED else live.recorded.prefix

    @asynccontextmanager
    async def _alone(self, live: LiveUpload) -> AsyncIterator[Receiver]:
        await self._end_older(live)
        receiver = live.receivers[_APPENDING] = Receiver()
        self._throughput.in_flight += 1
        try:
            yield receiver
        finally:
            self._throughput.in_flight -= 1
            del live.receivers[_APPENDING]
            receiver.ended.set()
            live.changed()

    @staticmethod
    async def _end_older(live: LiveUpload) -> None:
        while (older := live.receivers.get(_APPENDING)) is not None:
            older.interruption.interrupt(Superseded())
            await older.ended.wait()

    @staticmethod
    def _check(live: LiveUpload, offset: int, body: RequestBody, length: int | None) -> None:
        state = live.row.state
        size = length if length is not None and live.row.length_deferred else live.row.size
        position = live.row.size if state is UploadState.COMPLETED else live.recorded.prefix
        if offset != position:
            raise OffsetConflict(f"The upload stands at {position}; this begins at {offset}.", position=position)
        if (live.row.ended and state is not UploadState.COMPLETED) or (
            state not in _WRITABLE and position < live.row.size
        ):
            raise StateConflict(f"The upload is {state}; nothing can be added.", state=state.value)
        left = max(0, size - offset)
        if body.length is not None and body.length > left:
            may_have = "may have" if live.row.length_deferred else "has"
            raise BodyTooLarge(
                f"The file {may_have} {size} bytes; with these it would have {offset + body.length}.", limit=left
            )

    async def _take(self, live: LiveUpload, body: RequestBody, receiver: Receiver, check: Check | None) -> None:
        begun = position = live.recorded.prefix
        size = live.row.size if body.length is None else begun + body.length
        unjudged: list[Extent] = []
        while not body.ended:
            within = live.row.chunk_size - position % live.row.chunk_size
            piece = Chunk(position // live.row.chunk_size, position, min(within, size - position))
            if live.row.length_deferred:
                await self._uploads.have_room(live, piece.end)
            extent = await self._bring(live, piece, body, receiver, check, limit=size - begun)
            if extent is None:
                break
            position = extent.end
            if check is None:
                await self._keep(live, [extent])
            else:
                unjudged.append(extent)
            if self._mode is Mode.SEQUENTIAL and check is None and not live.row.is_part:
                await self._processor.forwarded(live, piece, position)
        if check is not None:
            check.judge()
            if unjudged:
                await self._keep(live, unjudged)

    async def _bring(
        self,
        live: LiveUpload,
        piece: Chunk,
        body: RequestBody,
        receiver: Receiver,
        check: Check | None,
        *,
        limit: int,
    ) -> Extent | None:
        """Stage the next piece; None: there was none. What came of one that broke off is recorded here."""
        sink = self._processor.staging_sink(live, piece)
        receiver.received = lambda: sink.received
        live.waits.watch(sink.storing)
        try:
            async with receiver.interruption:
                await body.deliver(
                    _both(check, sink), limit=limit, owner=live.row.owner, most=max(1, piece.length), waits=live.waits
                )
        except _BROKEN_OFF as exc:
            if check is None and sink.received and not live.row.ended:
                await self._keep(live, [sink.extent()])
            self._processor.count_failure(live, piece, exc)
            raise
        except ForebayError as exc:
            self._processor.count_failure(live, piece, exc)
            raise
        finally:
            sink.close()
            live.waits.unwatch(sink.storing)
            receiver.received = lambda: 0
        return sink.extent() if sink.received else None

    async def _keep(self, live: LiveUpload, extents: list[Extent]) -> None:
        with live.receivers[_APPENDING].recording():
            with live.waits.of(Cause.DISK):
                if self._durable:
                    await self._staging.sync(live.row.id)
                await unbroken(self._processor.record(live, extents))
            await self._uploads.recorded(live)


def _both(check: Check | None, sink: StagingSink) -> Callable[[memoryview], None]:
    if check is None:
        return sink

    def take(view: memoryview) -> None:
        check.update(view)
        sink(view)

    return take
