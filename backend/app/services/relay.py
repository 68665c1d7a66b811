"""Uploads through a bounded window of memory to their destination, without a disk in between.

Laws:
- A chunk's body is read only when there is room for it in the upload's window (`Windowed`).
- It is acknowledged, which is to be recorded in the database, when its destination has committed it: up to where
  `Abilities.sendable` lets it, since the rest goes there with the file's end. Then its room is given back, the last one's
  when the upload has ended. Until then it is to clients as if it had not come.
- Where the destination turns out to hold less than was given back, or other bytes, everything is asked for again, and
  what was sent is removed before the next session begins. As long as nothing was given back it is sent again from here.
- Who records what is acknowledged is the upload's transfer, so that nothing depends on a client that is still there.
- Who waits for what comes before, and nobody brings it, is told to ask where the upload stands: a client whose plan is of
  an earlier beginning would wait, with all its lanes, for chunks that it takes for acknowledged.
- A small file that came in one request is kept until the upload has ended. Where what nobody sends again to this upload is lost
  all the same (`LiveUpload.is_sent_once`), it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Final, Protocol

import structlog

from app.core.errors import (
    ChunkFailed,
    DestinationUnavailable,
    RoomLost,
    StagingUnavailable,
    StateConflict,
)
from app.core.upload import Chunk, Extent, Upload, UploadState
from app.observability.logging import parallel_debug
from app.observability.metrics import Metrics
from app.persistence.repository import Repository
from app.services.interruption import Interruption, unbroken
from app.services.live import LiveUpload
from app.services.prefix_digest import PrefixDigest
from app.services.progress import Throughput
from app.services.recording import record_extents
from app.staging.port import Room, Staging, Windowed

__all__ = ["Relay", "WindowedStaging"]

log = structlog.get_logger(__name__)

_PATIENCE_S: Final = 60.0  # without anything of the upload moving, in either direction
_GRACE_S: Final = 1.0  # and as long again, for the next bytes in order to be brought by somebody
_ASK: Final = "What comes before this chunk is missing, and nobody sends it. Ask for the upload and go on as it says."


class WindowedStaging(Staging, Windowed, Protocol):
    """A staging that is `Windowed`."""


class Relay:
    """What is different where staging is `Windowed`; without one the services do without this."""

    def __init__(
        self,
        *,
        staging: WindowedStaging,
        repository: Repository,
        throughput: Throughput,
        clock: Callable[[], float],
        attempts: int,
        metrics: Metrics,
        find: Callable[[str], LiveUpload | None],
        on_recorded: Callable[[LiveUpload], Awaitable[None]],
        on_lost: Callable[[LiveUpload], Awaitable[None]],
        patience_s: float = _PATIENCE_S,
        grace_s: float = _GRACE_S,
    ) -> None:
        """Keep what it works with.

        Args:
            staging: where bytes go.
            repository: where extents are recorded.
            throughput: what is counted.
            clock: service seconds.
            attempts: of the destination, after which a chunk that waits for it is refused.
            metrics: counts outcomes.
            find: an upload under way.
            on_recorded: told after chunks were recorded, or are so no more.
            on_lost: told when bytes are gone that nobody sends again.
            patience_s: how long a chunk waits while nothing moves, in seconds.
            grace_s: how long, once and again, it waits while nobody brings what comes before.
        """
        self._staging = staging
        self._repository = repository
        self._throughput = throughput
        self._clock = clock
        self._attempts = attempts
        self._metrics = metrics
        self._find = find
        self._on_recorded = on_recorded
        self._on_lost = on_lost
        self._patience_s = patience_s
        self._grace_s = grace_s
        staging.on_given_up = self._given_up

    # -- receiving ---------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def room(self, live: LiveUpload, chunk: Chunk) -> AsyncIterator[Room]:
        """Room for a chunk, or a hold on what has arrived of it; waits until its turn has come.

        Raises:
            PoolExhausted: not in time.
            RoomLost: everything was asked for again meanwhile.
            StateConflict: nobody brings what comes before.
            StagingUnavailable: the upload ended meanwhile.
        """
        live.queued[chunk.number] += 1
        try:
            async with self._while_it_gets_on(live):
                room = await self._staging.room(live.row.id, chunk.offset, chunk.length)
        finally:
            live.queued[chunk.number] -= 1
            if not live.queued[chunk.number]:
                del live.queued[chunk.number]
        try:
            yield room
        finally:
            room.release()

    @asynccontextmanager
    async def _while_it_gets_on(self, live: LiveUpload) -> AsyncIterator[None]:
        """Wait inside for what depends on the bytes that come next; ends with a conflict when nobody brings them."""
        loop, interruption = asyncio.get_running_loop(), Interruption()
        timer: asyncio.TimerHandle

        def look_later(*, lacked: bool) -> None:
            nonlocal timer
            timer = loop.call_later(self._grace_s, look, lacked)

        def look(lacked: bool) -> None:  # noqa: FBT001 - call_later passes positions only
            lacks = live.lacks_the_next
            if lacked and lacks:
                interruption.interrupt(StateConflict(_ASK, state=live.row.state.value))
            else:
                look_later(lacked=lacks)

        look_later(lacked=False)
        async with interruption:
            try:
                yield
            finally:
                timer.cancel()

    @staticmethod
    def arrived(live: LiveUpload, room: Room, extent: Extent) -> None:
        """A chunk is here, whole and as declared, or the beginning of one that is gone on with: let the transfer have it.

        Raises:
            RoomLost: everything was asked for again meanwhile.
        """
        room.keep(extent.end)
        live.arrive(extent)

    async def acknowledged(self, live: LiveUpload, chunk: Chunk) -> None:
        """Return when a chunk that has arrived may be acknowledged.

        Raises:
            RoomLost: it was given up.
            ChunkFailed: the destination has failed so often.
            DestinationUnavailable: nothing has moved for long.
            StateConflict: nobody brings what comes before.
            What `Upload.takes_no_more` is: the upload has ended without it.
        """
        async with self._while_it_gets_on(live):
            await self._acknowledged(live, chunk)

    async def _acknowledged(self, live: LiveUpload, chunk: Chunk) -> None:
        loop = asyncio.get_running_loop()
        place, since = self._progress(live), loop.time()
        while not live.is_recorded(chunk):
            if live.row.ended:
                raise live.row.takes_no_more
            if not live.has_arrived(chunk):
                raise RoomLost
            # Who sends a file in one request can't come again, and is told only when nothing moves for long.
            attempts = 0 if live.problem is None or live.row.in_one_request else live.problem.attempts
            if attempts >= self._attempts:
                raise ChunkFailed(chunk.number, attempts)
            if (now := self._progress(live)) != place:
                place, since = now, loop.time()
            try:
                async with asyncio.timeout_at(since + self._patience_s):
                    await live.turn()
            except TimeoutError as exc:
                if self._progress(live) == place and not live.is_recorded(chunk):
                    detail = live.problem.detail if live.problem is not None else None
                    raise DestinationUnavailable(detail) from exc

    @staticmethod
    def _progress(live: LiveUpload) -> tuple[int, ...]:
        """How far it is, in every respect."""
        return live.forwarded, live.sent, *(receiver.received() for receiver in live.receivers.values())

    def _given_up(self, upload_id: str, offset: int) -> None:
        if (live := self._find(upload_id)) is not None:
            log.info("bytes that nobody waits for made room for others", upload=upload_id, offset=offset)
            live.forget_from(offset)

    # -- sending -----------------------------------------------------------------------------------------------------

    def closed_bytes(self, row: Upload) -> int:
        """The most that is sent in one request: half of the window, so that the other half can be received meanwhile.

        Whole chunks, since one that was sent in part is read again from its beginning; where only one fits, all of it.
        """
        half = self._staging.window_bytes // 2
        return half // row.chunk_size * row.chunk_size or row.chunk_size

    async def in_step(self, live: LiveUpload, committed: int) -> bool:
        """Whether the destination has all that is not here any more; if not, everything is asked for again."""
        held_from = self._staging.held_from(live.row.id)
        if committed >= held_from:
            return True
        log.warning("the destination has lost what it had", upload=live.row.id, committed=committed, had=held_from)
        await self.start_over(live)
        await self._on_recorded(live)
        return False

    async def acknowledge(self, live: LiveUpload, committed: int) -> None:
        """The destination has the first `committed` bytes: record what may be acknowledged, and give its room back.

        No farther than they are digested: a request whose answer was lost may have brought more than it was seen to.

        Raises:
            DatabaseUnavailable: not recorded now.
            NotFound, StateConflict: the database knows that the upload has ended.
        """
        position, extents = live.recorded.prefix, []
        while (extent := live.readable.get(position)) is not None and extent.end <= live.digest.position:
            if live.abilities.sendable(live.row.size, extent.end) > committed:
                break
            extents.append(extent)
            position = extent.end
        if extents:
            await unbroken(self._record(live, extents))
        if not live.row.came_in_one_request:
            self._staging.confirm(live.row.id, min(committed, live.recorded.prefix))
            live.leave_behind(self._staging.held_from(live.row.id))
        if extents or live.all_recorded:
            await self._on_recorded(live)

    async def _record(self, live: LiveUpload, extents: list[Extent]) -> None:
        # Not durable: what is acknowledged is at the destination, and here nothing survives anyway.
        await record_extents(self._repository, live, extents, at_s=self._clock())
        for extent in extents:
            number = extent.offset // live.row.chunk_size
            self._throughput.recorded(extent.length, chunks=live.row.grid.ended_by(extent))
            self._metrics.chunk("stored")
            parallel_debug("chunk recorded", upload=live.row.id, chunk=number, bytes=extent.length)

    # -- beginning anew ----------------------------------------------------------------------------------------------

    async def begin_anew(self, live: LiveUpload) -> None:
        """What its session has is worth nothing: send it again from here, or ask for it again."""
        if self._staging.held_from(live.row.id):
            await self.start_over(live)
        else:
            self._leave_session(live)

    async def start_over(self, live: LiveUpload) -> None:
        """Ask for everything again. What was sent is removed before it is sent again."""
        if live.is_sent_once:
            await self._on_lost(live)  # not `unbroken`: the caller may be the transfer's task
        else:
            await unbroken(self._start_over(live))

    async def _start_over(self, live: LiveUpload) -> None:
        async with live.lock:
            if live.row.ended:
                return
            row = self.unreceived(live.row)
            await self._repository.forget_extents(row.id)
            await self._repository.save_upload(row)
            live.row = row
            live.forget_all()
            self._leave_session(live)
            with suppress(StagingUnavailable):
                self._staging.empty(row.id)
        log.warning("everything is asked for again", upload=row.id, bytes=row.known_size)
        for receiver in live.receivers.values():
            receiver.interruption.interrupt(RoomLost())
        live.changed()

    def unreceived(self, row: Upload) -> Upload:
        """The same with nothing received. Its session's state stays: that session is still to be aborted."""
        state = UploadState.RECEIVING if row.state is UploadState.TRANSFERRING else row.state
        return replace(row, state=state, received_at=None, sha256=None, crc32c=None, active_at_s=self._clock())

    @staticmethod
    def _leave_session(live: LiveUpload) -> None:
        live.former_session, live.session, live.plan = live.session or live.former_session, None, None

    # -- the end -----------------------------------------------------------------------------------------------------

    @staticmethod
    def with_digests(live: LiveUpload, row: Upload) -> Upload:
        """What `resume` needs to find the file at its destination in another life of the server."""
        if live.digest.position != row.size:
            return row
        return replace(row, sha256=live.digest.hexdigest(), crc32c=live.digest.crc32c)

    def resume(self, live: LiveUpload) -> bool:
        """Whether an upload of an earlier life may have become a file; then it is looked for, and its bytes are not needed."""
        row = live.row
        if row.state is not UploadState.TRANSFERRING or not live.all_recorded:
            return False
        if row.size and (row.sha256 is None or row.crc32c is None or row.transfer_state is None):
            return False
        self._staging.empty(row.id, start=row.size)
        if row.sha256 is not None and row.crc32c is not None:
            live.digest = PrefixDigest.known(row.size, row.sha256, row.crc32c)
        return True
