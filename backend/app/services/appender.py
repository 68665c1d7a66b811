"""From a request's body of any length to recorded bytes at the end of what an upload has: for protocols that append.

Laws:
- What is recorded of an upload that is appended to has no gap: bytes go where it ends, and nowhere else.
- One request at a time: a newer one, and whoever asks where the upload stands, ends the older one and waits until what
  that brought is recorded. So an answer about the position stays true until the next request.
- What had come when a request broke off is kept. Where a checksum was declared it is not: all of the request, or nothing.
- Bytes are recorded piece by piece while what follows is received; a piece ends after a second (`CheckpointedSink`), or
  with what is received in one go (`_STRETCH_BYTES`), and one such stretch may wait to be recorded while the next one
  comes: a server that dies loses a piece, and what came while it was being recorded.
- Where staging relays (`Relay`), a piece is read when there is room for it, and a request is acknowledged when its
  destination has all of it. Where the upload stands is what has come: it is kept as long as this server lives, and as
  acknowledged bytes no longer (docs/decisions/tus-in-memory.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from contextvars import copy_context
from typing import Final, NamedTuple, Protocol

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
from app.core.upload import MIB, Chunk, Extent, Mode, UploadState
from app.core.waiting import Cause
from app.persistence.repository import Repository
from app.services.chunk_sink import CheckpointedSink, StagingSink
from app.services.deferred_lengths import DeferredLengths
from app.services.interruption import abandoned_when_gone, unbroken
from app.services.live import LiveUpload, Receiver
from app.services.parallel_chunk_processor import ParallelChunkProcessor
from app.services.progress import Throughput
from app.services.recording import Recorder
from app.services.relay import Relay
from app.services.upload_concurrency_manager import UploadConcurrencyManager
from app.services.uploads import Uploads
from app.staging.port import Room, Staging

__all__ = ["Appender", "Check"]

_STRETCH_BYTES: Final = 64 * MIB
"""Received in one go, in whole chunks, one at least: what ends a burst and begins another costs a fast client."""
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
        lengths: DeferredLengths,
        relay: Relay | None = None,
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
        self._lengths = lengths
        self._relay = relay

    async def position(self, live: LiveUpload) -> int:
        """Where the upload stands; a request that still brings something is ended first.

        Raises:
            VerificationPending: after a power cut nobody knows yet.
        """
        await self._end_older(live)
        await live.settled()
        await live.settle_doubts(self._repository.extents)
        return live.position

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
            length: of the file, where the client says it with these bytes; see `DeferredLengths`. It stays said
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
                await self._lengths.declare(live, length)
            elif live.row.length_deferred:
                await self._lengths.have_room(live, offset + (body.length or 0))
            try:
                await self._take(live, body, receiver, check)
            except SyncFailed as exc:
                with receiver.recording():
                    await unbroken(self._uploads.fail(live, exc))
                raise
            if last and live.row.length_deferred:
                await self._lengths.declare(live, live.position)
            if length is not None or last:
                # What came before may still be on its way: with the length all of it is acknowledged.
                if live.position > live.recorded.prefix:
                    await self._acknowledged(live, live.recorded.prefix, live.position, body, receiver)
                with receiver.recording():
                    await self._uploads.recorded(live)  # it may be whole without another byte
        return live.position

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
        position = live.position
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
        begun = position = live.position
        size = live.row.size if body.length is None else begun + body.length
        limit = self._limit(live, body, size - begun) if check is not None else size - begun
        unjudged: list[_Piece] = []
        latest: asyncio.Task[None] | None = None
        async with AsyncExitStack() as rooms, self._recorder(live, receiver) as recorder:
            while not body.ended:
                piece = self._stretch(live, position, size, check)
                room = await self._room(rooms, live, piece, body, receiver)
                came = await self._bring(live, piece, body, receiver, recorder, check=check, room=room, limit=limit)
                if came is None:  # but for what was cut off of it
                    await self._over(live, recorder)
                    if live.position > position:
                        position = live.position
                        await self._forwarded(live, piece, position, body, receiver)
                    continue
                position = came.extent.end
                if check is not None:
                    unjudged.append(came)
                    continue
                earlier, latest = latest, await self._keep(live, [came], recorder)
                await rooms.aclose()
                if self._forwards(live):
                    await self._over(live, recorder)
                    await self._forwarded(live, piece, position, body, receiver)
                elif earlier is not None:
                    await self._over(live, recorder, earlier)
            if check is not None:
                check.judge()
                if unjudged:
                    await self._keep(live, unjudged, recorder)
        if position > begun:
            await self._acknowledged(live, begun, position, body, receiver)

    def _stretch(self, live: LiveUpload, position: int, size: int, check: Check | None) -> Chunk:
        """What comes next in one go: no more than a chunk where something is to be seen to before the one behind it."""
        chunk = step = live.row.chunk_size
        if check is None and self._relay is None and self._mode is Mode.PARALLEL and not live.row.length_deferred:
            step *= max(1, _STRETCH_BYTES // chunk)
        return Chunk(position // chunk, position, min(step - position % chunk, size - position))

    @asynccontextmanager
    async def _recorder(self, live: LiveUpload, receiver: Receiver) -> AsyncIterator[Recorder]:
        """Inside, pieces are recorded; afterwards all are, and it is seen whether the upload is whole."""

        async def record(extents: Sequence[Extent]) -> None:
            await self._processor.record(live, extents)
            self._uploads.transfers.poke(live)

        recorder = Recorder(record, receiver.interruption.interrupt)
        try:
            yield recorder
        finally:
            if recorder.used:
                with receiver.recording():
                    await self._over(live, recorder)
                    await self._uploads.recorded(live)

    def _forwards(self, live: LiveUpload) -> bool:
        """Whether bytes go on before the next ones are taken.

        A part has no destination of its own; and who sends a file in one request can't come again when that one has trouble.
        """
        return self._mode is Mode.SEQUENTIAL and not live.row.is_part and not live.row.in_one_request

    @staticmethod
    async def _over(live: LiveUpload, recorder: Recorder, task: asyncio.Task[None] | None = None) -> None:
        with live.waits.of(Cause.DISK):
            await recorder.over(task)

    async def _forwarded(self, live: LiveUpload, piece: Chunk, end: int, body: RequestBody, receiver: Receiver) -> None:
        """In sequential mode: return when the destination's side has the piece."""
        if self._relay is None and self._forwards(live):
            async with abandoned_when_gone(body), receiver.interruption:
                await self._processor.forwarded(live, piece, end)
        else:
            await self._acknowledged(live, piece.offset, end, body, receiver)

    async def _acknowledged(
        self, live: LiveUpload, begun: int, end: int, body: RequestBody, receiver: Receiver
    ) -> None:
        """Where staging relays: return when what came may be acknowledged."""
        if self._relay is not None:
            async with abandoned_when_gone(body), receiver.interruption:
                await self._relay.acknowledged(live, Chunk(begun // live.row.chunk_size, begun, end - begun))

    def _limit(self, live: LiveUpload, body: RequestBody, left: int) -> int:
        """The most that a body may have of which nothing goes on before all of it was judged."""
        if self._relay is None:
            return left
        limit = min(left, self._relay.closed_bytes(live.row))
        if body.length is not None and body.length > limit:
            raise BodyTooLarge(
                f"With a checksum, up to {limit} bytes are taken at once here: they are kept in memory until it is known.",
                limit=limit,
            )
        return limit

    async def _room(
        self, rooms: AsyncExitStack, live: LiveUpload, piece: Chunk, body: RequestBody, receiver: Receiver
    ) -> Room | None:
        """Room for the next piece, where it is not reserved already."""
        if live.row.length_deferred:
            await self._lengths.have_room(live, piece.end)
        if self._relay is None or not piece.length:
            return None
        async with abandoned_when_gone(body), receiver.interruption:
            with nullcontext() if live.has_unsent else live.waits.of(Cause.SLAB):
                return await rooms.enter_async_context(self._relay.room(live, piece))

    async def _bring(
        self,
        live: LiveUpload,
        piece: Chunk,
        body: RequestBody,
        receiver: Receiver,
        recorder: Recorder,
        *,
        check: Check | None,
        room: Room | None,
        limit: int,
    ) -> _Piece | None:
        """Stage the next piece; None: there was none. What came of one that broke off is recorded here."""
        sink = self._processor.staging_sink(live, piece)
        on_slab, on_rest = self._way(sink, live.row.chunk_size, recorder, check)
        receiver.received = lambda: sink.position - piece.offset
        live.waits.watch(sink.storing)
        try:
            async with receiver.interruption:
                await body.deliver(
                    on_slab,
                    limit=limit,
                    owner=live.row.owner,
                    most=max(1, piece.length),
                    waits=live.waits,
                    on_rest=on_rest,
                )
            return await self._came(live, sink, room) if sink.received else None
        except _BROKEN_OFF as exc:
            if check is None and sink.received and not live.row.ended:
                await self._keep(live, [await self._came(live, sink, room)], recorder)
            self._processor.count_failure(live, sink.chunk, exc)
            raise
        except ForebayError as exc:
            self._processor.count_failure(live, sink.chunk, exc)
            raise
        finally:
            sink.close()
            live.waits.unwatch(sink.storing)
            receiver.received = lambda: 0

    def _way(
        self, sink: StagingSink, chunk_size: int, recorder: Recorder, check: Check | None
    ) -> tuple[Callable[[memoryview], None], Callable[[], None] | None]:
        """What bytes go through, and what is told when none come, in a worker thread."""
        if check is not None:
            return _both(check, sink), None
        if self._relay is not None:  # keeps whole pieces
            return sink, None
        loop, context = asyncio.get_running_loop(), copy_context()

        def on_piece(extent: Extent) -> None:
            loop.call_soon_threadsafe(recorder.add, [extent], context=context)

        checkpointed = CheckpointedSink(sink, chunk_size, on_piece)
        return checkpointed, checkpointed.rest

    async def _came(self, live: LiveUpload, sink: StagingSink, room: Room | None) -> _Piece:
        """What came, and is finished: by its last byte (see `StagingSink`) or, where that did not come, here."""
        if not sink.whole:
            if room is not None:
                sink.finish()
            elif self._durable:
                with live.receivers[_APPENDING].recording(), live.waits.of(Cause.DISK):
                    await self._staging.sync(live.row.id)
        return _Piece(sink.extent(), room)

    async def _keep(self, live: LiveUpload, pieces: list[_Piece], recorder: Recorder) -> asyncio.Task[None] | None:
        """See to it that they are recorded: where staging relays, its destination does; else with the task returned."""
        if self._relay is None:
            return recorder.add([extent for extent, _ in pieces])
        with live.receivers[_APPENDING].recording():
            for extent, room in pieces:
                if room is not None:
                    self._relay.arrived(live, room, extent)
            await self._uploads.recorded(live)
        return None


class _Piece(NamedTuple):
    """What came, and where staging relays, the room that it has."""

    extent: Extent
    room: Room | None


def _both(check: Check, sink: StagingSink) -> Callable[[memoryview], None]:
    def take(view: memoryview) -> None:
        check.update(view)
        sink(view)

    return take
