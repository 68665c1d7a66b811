"""From a request's body to a recorded chunk: in any order, many at once, or one after the other.

Laws:
- A chunk is acknowledged (``receive`` returns) only when the database has its extent; in sequential mode, and where
  staging relays (`Relay`), only when the destination's side has it too.
- One connection per chunk: a newer one ends the older one and starts when the older's last burst has ended.
- A recorded chunk is never written again; a repeat is checksummed and discarded.
- Nothing of the body is read before length, state, order, slot and room are settled.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, nullcontext
from typing import Any

import structlog

from app.core.body import RequestBody
from app.core.errors import (
    ChunkConflict,
    ChunkFailed,
    ChunkOutOfOrder,
    ChunkShort,
    ChunkTooLong,
    ClientGone,
    DatabaseUnavailable,
    DestinationUnavailable,
    ForebayError,
    ModeChanged,
    OutOfSpace,
    PoolExhausted,
    RoomLost,
    StagingUnavailable,
    StateConflict,
    Superseded,
    SyncFailed,
)
from app.core.upload import Chunk, Extent, Mode, UploadState
from app.core.waiting import Cause, WaitObserver
from app.observability.logging import parallel_debug
from app.observability.metrics import Metrics
from app.persistence.repository import Repository
from app.protocols.digest import NOTHING_DECLARED, DeclaredDigest
from app.services.chunk_sink import ChecksumSink, StagingSink
from app.services.interruption import abandoned_when_gone, unbroken
from app.services.live import LiveUpload, Receiver
from app.services.progress import Throughput
from app.services.recording import record_extents
from app.services.relay import Relay
from app.services.upload_concurrency_manager import UploadConcurrencyManager
from app.staging.port import Durability, Room, Staging

__all__ = ["ParallelChunkProcessor", "bring"]

log = structlog.get_logger(__name__)

_PATIENCE_S = 60.0  # of a client that waits, in sequential mode, for its chunk to be forwarded
_WRITABLE = frozenset({UploadState.CREATED, UploadState.RECEIVING})
_REPEATABLE = frozenset({UploadState.TRANSFERRING, UploadState.COMPLETED})
_SERVER_FAULTS = (ChunkFailed, DatabaseUnavailable, OutOfSpace, PoolExhausted, StagingUnavailable)


async def bring(
    chunk: Chunk,
    body: RequestBody,
    sink: ChecksumSink,
    receiver: Receiver,
    owner: str,
    *,
    urgent: bool,
    waits: WaitObserver,
) -> Extent:
    """Deliver a body of exactly the chunk's length into the sink and judge it.

    Raises:
        ChunkShort: the body ended early; also what ``deliver`` and the sink raise, and the receiver's interruption.
    """
    async with receiver.interruption:
        received = await body.deliver(sink, limit=chunk.length, owner=owner, urgent=urgent, waits=waits)
    if received < chunk.length:
        raise ChunkShort(f"The body has {received} bytes; chunk {chunk.number} has {chunk.length}. Send it again.")
    return sink.extent()


class ParallelChunkProcessor:
    """Receives chunks of uploads."""

    def __init__(
        self,
        *,
        staging: Staging,
        repository: Repository,
        slots: UploadConcurrencyManager,
        throughput: Throughput,
        clock: Callable[[], float],
        mode: Mode,
        attempts: int,
        durable: bool,
        on_recorded: Callable[[LiveUpload], Awaitable[None]],
        on_untrusted: Callable[[LiveUpload, SyncFailed], Coroutine[Any, Any, None]],
        metrics: Metrics,
        relay: Relay | None = None,
    ) -> None:
        """Keep what it works with.

        Args:
            staging: where bytes go.
            repository: where extents are recorded.
            slots: who may receive.
            throughput: what is counted.
            clock: service seconds.
            mode: parallel or sequential, for the life of the process.
            attempts: attempts to store a piece.
            durable: sync before each acknowledgement.
            on_recorded: told after each recorded or repeated chunk.
            on_untrusted: told when the disk has lost bytes of the upload.
            metrics: counts outcomes.
            relay: where staging gives room by windows and keeps nothing for long.
        """
        self._staging = staging
        self._repository = repository
        self._slots = slots
        self._throughput = throughput
        self._clock = clock
        self._mode = mode
        self._attempts = attempts
        self._durable = durable
        self._on_recorded = on_recorded
        self._on_untrusted = on_untrusted
        self._metrics = metrics
        self._relay = relay

    async def receive(self, live: LiveUpload, number: int, body: RequestBody, declared: DeclaredDigest) -> int:
        """Take chunk `number`; returns its CRC32C when it may be acknowledged.

        Raises:
            ChunkOutOfRange, ChunkShort, ChunkTooLong, StateConflict, ChunkOutOfOrder, ModeChanged: before any byte is read.
            LimitReached, PoolExhausted: no slot, or no room, in time.
            Superseded, ChunkConflict, DigestMismatch, ClientGone, RequestTimedOut: while it came; nothing is recorded.
            ChunkFailed, OutOfSpace, StagingUnavailable, DatabaseUnavailable: it could not be stored.
            DestinationUnavailable: it could not be brought there, where it has to be before it is acknowledged.
        """
        chunk = live.row.grid.chunk(number)
        self._check_length(chunk, body)
        begun_anew, started = live.begun_anew, time.monotonic()
        try:
            crc = await self._receive_and_acknowledge(live, chunk, body, declared)
        except RoomLost as exc:
            if live.begun_anew == begun_anew:
                raise
            raise StateConflict(
                "Everything is asked for again. Ask for the upload and go on as it says.", state=live.row.state.value
            ) from exc
        self._throughput.chunk_times.add(time.monotonic() - started)
        return crc

    async def _receive_and_acknowledge(
        self, live: LiveUpload, chunk: Chunk, body: RequestBody, declared: DeclaredDigest
    ) -> int:
        async with AsyncExitStack() as held:
            async with abandoned_when_gone(body):
                await live.settled()
                await live.settle_doubts(self._repository.extents)
                self._check_state(live, chunk)
                self._check_order(live, chunk)
                if self._waits_for_the_destination(live, chunk):
                    await self.forwarded(live, chunk, chunk.offset)
                if not live.is_recorded(chunk):
                    with live.waits.of(Cause.QUEUE):
                        await held.enter_async_context(self._slots.hold(live.row.id, live.row.owner))
                if live.room_released:
                    await self.regain_room(live)
                room = await self._room(held, live, chunk)
            try:
                crc = await self._receive(live, chunk, body, declared, room)
            except SyncFailed as exc:
                await unbroken(self._on_untrusted(live, exc))
                raise
            if self._relay is not None and not live.is_recorded(chunk):
                await self._on_recorded(live)  # lets the transfer have it
                async with abandoned_when_gone(body):
                    await self._acknowledged(self._relay, live, chunk)
        await self._on_recorded(live)
        if self._waits_for_the_destination(live, chunk):
            async with abandoned_when_gone(body):
                await self.forwarded(live, chunk, chunk.end)
        return crc

    def _waits_for_the_destination(self, live: LiveUpload, chunk: Chunk) -> bool:
        """In sequential mode; but for a repeat of what was acknowledged in parallel mode, with a gap before it."""
        ahead = live.is_recorded(chunk) and not live.recorded.covers(0, chunk.offset)
        return self._mode is Mode.SEQUENTIAL and not ahead

    async def _room(self, held: AsyncExitStack, live: LiveUpload, chunk: Chunk) -> Room | None:
        """Where staging relays: room for the chunk; where its bytes came before, it is first acknowledged: see `Relay`."""
        if self._relay is None or live.is_recorded(chunk):
            return None
        # While its own bytes fill the window it is their destination that it waits for, and that is counted there.
        with nullcontext() if live.has_unsent else live.waits.of(Cause.SLAB):
            room = await held.enter_async_context(self._relay.room(live, chunk))
        if live.has_arrived(chunk):
            await self._acknowledged(self._relay, live, chunk)
        return room

    async def _acknowledged(self, relay: Relay, live: LiveUpload, chunk: Chunk) -> None:
        try:
            await relay.acknowledged(live, chunk)
        except ForebayError as exc:
            self.count_failure(live, chunk, exc)
            raise

    async def regain_room(self, live: LiveUpload) -> None:
        """Have room again for an upload that stood still for long; raises as `Staging.regain_room`."""
        async with live.lock:  # room that is just being released is regained afterwards
            if live.room_released and not live.row.ended:
                await self._staging.regain_room(live.row.id)
                live.room_released = False

    @staticmethod
    def _check_length(chunk: Chunk, body: RequestBody) -> None:
        if body.length is None or body.length == chunk.length:
            return
        sentence = f"Chunk {chunk.number} has {chunk.length} bytes; the body has {body.length}."
        raise (ChunkTooLong if body.length > chunk.length else ChunkShort)(sentence, chunk_length=chunk.length)

    @staticmethod
    def _check_state(live: LiveUpload, chunk: Chunk) -> None:
        state = live.row.state
        if live.row.parts or live.row.grows_at_its_end:
            raise StateConflict(
                "This upload was begun with another protocol and is gone on with by its PATCH.", state=state.value
            )
        if live.row.in_one_request:
            raise StateConflict("This file comes in one request; nothing can be added.", state=state.value)
        if state in _WRITABLE or (state in _REPEATABLE and live.is_recorded(chunk)):
            return
        raise StateConflict(f"The upload is {state}; it takes no more chunks.", state=state.value)

    def _check_order(self, live: LiveUpload, chunk: Chunk) -> None:
        if self._mode is Mode.PARALLEL or live.is_recorded(chunk):
            return
        expected = live.next_chunk()
        if chunk.number == expected and live.receivers.keys() <= {chunk.number}:
            return
        refusal = ModeChanged if live.from_earlier_life else ChunkOutOfOrder
        raise refusal(
            f"Chunks are taken one at a time and in order now; send chunk {expected} next.",
            mode=self._mode.value,
            next_chunk=expected,
        )

    async def _receive(
        self, live: LiveUpload, chunk: Chunk, body: RequestBody, declared: DeclaredDigest, room: Room | None
    ) -> int:
        while (older := live.receivers.get(chunk.number)) is not None or live.extents_in_doubt:
            if older is not None:
                older.interruption.interrupt(Superseded())
                await older.ended.wait()
            else:
                await live.settle_doubts(self._repository.extents)
        # Things may have changed while we waited; from here to the registration nothing does.
        self._check_state(live, chunk)
        self._check_order(live, chunk)
        repeat = live.has_arrived(chunk)
        if self._relay is not None and room is None and not repeat:
            raise RoomLost  # it was recorded when we looked
        sink = ChecksumSink(chunk, declared) if repeat else self.staging_sink(live, chunk, declared)
        receiver = Receiver(received=lambda: sink.received)
        live.receivers[chunk.number] = receiver
        self._throughput.in_flight += 1
        self._count_attempt(live, chunk)
        live.waits.watch(sink.storing)
        try:
            urgent = chunk.offset <= live.readable_prefix and (len(live.recorded) > 1 or len(live.receivers) > 1)
            extent = await bring(chunk, body, sink, receiver, live.row.owner, urgent=urgent, waits=live.waits)
            if repeat:
                self._compare(live, chunk, extent)
                self._metrics.chunk("repeated")
            elif self._relay is not None and room is not None:
                self._relay.arrived(live, room, extent)
            else:
                with live.waits.of(Cause.DISK):
                    await unbroken(self.record(live, [extent]))
                self._metrics.chunk("stored")
        except ForebayError as exc:
            self.count_failure(live, chunk, exc)
            raise
        finally:
            sink.close()
            live.waits.unwatch(sink.storing)
            self._throughput.in_flight -= 1
            live.receivers.pop(chunk.number)
            receiver.ended.set()
            live.changed()
        return extent.crc32c

    def staging_sink(self, live: LiveUpload, chunk: Chunk, declared: DeclaredDigest = NOTHING_DECLARED) -> StagingSink:
        """Where the bytes of a chunk go."""

        def count_retry(attempt: int, error: StagingUnavailable) -> None:
            self._throughput.retries_total += 1
            self._metrics.retried("staging")
            live.retries.failed("staging", error.code, attempt, chunk=chunk.number)
            live.retries.again()

        return StagingSink(
            chunk,
            declared,
            staging=self._staging,
            upload_id=live.row.id,
            attempts=self._attempts,
            durability=Durability.ALL if self._durable else Durability.BEGUN,
            on_retry=count_retry,
        )

    @staticmethod
    def _compare(live: LiveUpload, chunk: Chunk, extent: Extent) -> None:
        if not live.has_arrived(chunk):
            raise StateConflict("What was recorded of this chunk was lost meanwhile. Send it again.")
        crc = live.crc32c_of(chunk)
        if crc is None:
            raise StateConflict("This upload came by another protocol, and not in chunks.", state=live.row.state.value)
        if crc != extent.crc32c:
            raise ChunkConflict(chunk=chunk.number)

    async def record(self, live: LiveUpload, extents: Sequence[Extent]) -> None:
        """Tell the database of what is staged, then everybody; to be run `unbroken`.

        Raises:
            DatabaseUnavailable: it is not told; or it is, and said that it was not.
            StateConflict: the upload has ended meanwhile.
        """
        await record_extents(self._repository, live, extents, at_s=self._clock(), durable=self._durable)
        for extent in extents:
            self._throughput.recorded(extent.length, chunks=live.row.grid.ended_by(extent))
            number = extent.offset // live.row.chunk_size
            parallel_debug("chunk recorded", upload=live.row.id, chunk=number, bytes=extent.length)
        if live.row.ended:
            raise StateConflict(f"The upload is {live.row.state}; it takes no more chunks.", state=live.row.state.value)

    def _count_attempt(self, live: LiveUpload, chunk: Chunk) -> None:
        seen = live.attempts.get(chunk.number, 0)
        live.attempts[chunk.number] = seen + 1
        if seen:
            live.retries.again()
            self._throughput.retries_total += 1
        parallel_debug("chunk started", upload=live.row.id, chunk=chunk.number, attempt=seen + 1)

    def count_failure(self, live: LiveUpload, chunk: Chunk, error: ForebayError) -> None:
        """Remember that a chunk did not come, or was not stored."""
        live.retries.failed("receiving", error.code, live.attempts.get(chunk.number, 1), chunk=chunk.number)
        if isinstance(error, _SERVER_FAULTS):
            live.failed_chunks.add(chunk.number)
            self._throughput.failures.add()
            self._metrics.chunk("failed")
            log.warning("chunk failed", upload=live.row.id, chunk=chunk.number, code=error.code, detail=error.detail)
        elif isinstance(error, (ClientGone, Superseded)):
            self._metrics.chunk("abandoned")
        else:
            self._metrics.chunk("refused")
            parallel_debug("chunk refused", upload=live.row.id, chunk=chunk.number, code=error.code)

    async def forwarded(self, live: LiveUpload, chunk: Chunk, end: int) -> None:
        """Return when the destination's side has the bytes before `end`.

        Raises:
            ChunkFailed: it has failed too often.
            DestinationUnavailable: it takes nothing for so long that the client is better told.
        """
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._wait_until_forwarded(live, chunk, end)
        except TimeoutError as exc:
            detail = live.problem.detail if live.problem is not None else "The destination takes its time."
            raise DestinationUnavailable(f"{detail} Send the chunk again later.", retry_after_s=30) from exc

    async def _wait_until_forwarded(self, live: LiveUpload, chunk: Chunk, end: int) -> None:
        while not live.is_forwarded(end) and not live.row.ended:
            if live.problem is not None and live.problem.attempts >= self._attempts:
                raise ChunkFailed(chunk.number, live.problem.attempts)
            if not live.recorded.covers(0, end):
                raise StateConflict("What was recorded was lost meanwhile. Ask for the upload and go on as it says.")
            await live.turn()
        if live.row.ended and live.row.state is not UploadState.COMPLETED:
            raise StateConflict(f"The upload is {live.row.state}; it takes no more chunks.", state=live.row.state.value)
