"""An upload under way, as the process holds it: the row, what is recorded, who is sending.

Laws:
- One LiveUpload per upload, on the event loop only.
- `row` changes after the database has it, never before. State changes that end an upload happen under `lock`, so that a
  cancel and a completion see each other.
- `extents` mirrors what the database has; a recorded extent is never written again, only forgotten.
- `readable` is what the transfer may read: the same, but where staging relays (`app.services.relay`). There it is ahead
  of what is recorded by what has arrived and is not at the destination; no client is told of that.
- Whoever changes something that others wait for calls `changed`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from app.core.crc import crc32c_combine
from app.core.errors import VerificationPending
from app.core.ranges import ByteRange, RangeSet
from app.core.upload import Chunk, Extent, StoredFile, Upload, UploadState
from app.core.waiting import Cause
from app.destinations.port import Abilities, TransferSession
from app.posix.light_event import LightEvent
from app.services.interruption import Interruption
from app.services.limits.send_plan import SendPlan
from app.services.prefix_digest import PrefixDigest
from app.services.progress import RateWindow
from app.services.retries import Retries
from app.services.where_time_goes import WaitingTime

__all__ = ["LiveUpload", "Receiver", "TransferProblem"]


_VERIFICATION_WAIT_S = 10.0


@dataclass(slots=True, eq=False)
class Receiver:
    """A connection that brings a chunk."""

    interruption: Interruption = field(default_factory=Interruption)
    ended: LightEvent = field(default_factory=LightEvent)
    received: Callable[[], int] = lambda: 0
    stored: bool = False
    """What came is in staging, and nothing else goes there before its interruption was looked at."""

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Inside nothing is staged: who ends the upload does not wait for this (it may be waited for here)."""
        self.stored = True
        try:
            yield
        finally:
            self.stored = False


@dataclass(frozen=True, slots=True)
class TransferProblem:
    """Why the transfer does not get on, and how often it was tried."""

    code: str
    detail: str
    attempts: int
    for_operators: str
    """The same, and what can be done about it."""


class LiveUpload:
    """See the laws above."""

    __slots__ = (
        "_completed_chunks",
        "_doubts",
        "_doubts_settled",
        "_forgotten",
        "_readable_bytes",
        "_row",
        "_turn",
        "abilities",
        "attempts",
        "begun_anew",
        "bytes_rate",
        "cancelling",
        "chunk_rate",
        "digest",
        "ended",
        "extents",
        "failed_chunks",
        "former_session",
        "from_earlier_life",
        "fruitless",
        "gone",
        "lock",
        "mismatches",
        "on_change",
        "on_transition",
        "plan",
        "problem",
        "queued",
        "readable",
        "receivers",
        "recorded",
        "relayed",
        "retries",
        "room_released",
        "room_until",
        "sent",
        "session",
        "stored",
        "storing",
        "transfer_task",
        "verified",
        "waits",
    )

    def __init__(
        self,
        row: Upload,
        extents: list[Extent] | None = None,
        *,
        from_earlier_life: bool = False,
        relayed: bool = False,
        waits: WaitingTime | None = None,
    ) -> None:
        """Take up an upload with what is recorded of it.

        Args:
            row: as the database has it.
            extents: likewise.
            from_earlier_life: of the server.
            relayed: chunks are acknowledged when they have arrived.
            waits: where its time is counted, together with others'; by itself when None.
        """
        self._row = row
        self.relayed = relayed
        self.on_transition: Callable[[UploadState, UploadState], None] = lambda _before, _after: None
        self.from_earlier_life = from_earlier_life
        self.lock = asyncio.Lock()
        self.extents: dict[int, Extent] = {}
        self.recorded = RangeSet()
        self.readable: dict[int, Extent] = {} if relayed else self.extents
        self._readable_bytes = RangeSet() if relayed else self.recorded
        self._completed_chunks: int | None = None
        self.receivers: dict[int, Receiver] = {}
        self.attempts: dict[int, int] = {}
        self.failed_chunks: set[int] = set()
        self.retries = Retries(row.retries)
        self.room_released = False
        self.room_until = 0  # of an upload of unknown length: where the room ends that it was given in this life
        self._doubts = 0  # writes to the database that failed and may have been committed all the same
        self._doubts_settled = 0
        self._forgotten = 0  # how often something was forgotten
        self.begun_anew = 0  # how often everything was
        self.queued: Counter[int] = Counter()  # connections that wait for room, by chunk
        self.verified = LightEvent()
        self.verified.set()
        self.ended = LightEvent()
        self.gone = LightEvent()  # nothing of it is held or kept any more
        # -- the transfer's
        self.digest = PrefixDigest()
        self.abilities = Abilities()  # of its destination
        self.session: TransferSession | None = None
        self.former_session: TransferSession | None = None  # to be aborted before the next one begins
        self.plan: SendPlan | None = None
        self.sent = 0  # how far a request that is under way has come; not confirmed
        self.fruitless = 0
        self.mismatches = 0
        self.cancelling = False  # somebody wants its end: the transfer is not to go on
        self.stored: StoredFile | None = None  # at the destination; the database may not know yet
        self.transfer_task: asyncio.Task[None] | None = None
        self.problem: TransferProblem | None = None
        # -- for show
        self.waits = waits or WaitingTime(row.id)
        self.storing = Cause.DESTINATION  # what its destination is to be counted as
        self.bytes_rate = RateWindow()
        self.chunk_rate = RateWindow()
        self.on_change: Callable[[], None] = lambda: None
        self._turn: asyncio.Future[None] | None = None
        for extent in extents or ():
            self._note(extent)

    @property
    def row(self) -> Upload:
        """As the database has it."""
        return self._row

    @row.setter
    def row(self, row: Upload) -> None:
        before, self._row = self._row.state, row
        if before is not row.state:
            self.on_transition(before, row.state)

    def _note(self, extent: Extent) -> None:
        self.extents[extent.offset] = extent
        self.recorded.add(extent.offset, extent.end)
        self._completed_chunks = None
        if self.relayed:
            self._arrive(extent)

    def _arrive(self, extent: Extent) -> None:
        self.readable[extent.offset] = extent
        self._readable_bytes.add(extent.offset, extent.end)

    def arrive(self, extent: Extent) -> None:
        """Its bytes are in staging, whole; they are acknowledged later."""
        self._arrive(extent)
        self.changed()

    def record(self, extent: Extent) -> None:
        """The database has it: so have we."""
        self._note(extent)
        self.bytes_rate.add(extent.length)
        if chunks := self.row.grid.ended_by(extent):
            self.chunk_rate.add(chunks)
        self.changed()

    @property
    def extents_in_doubt(self) -> bool:
        """Whether the database may have extents that are not here."""
        return self._doubts > self._doubts_settled

    def doubt(self) -> None:
        """The database may have more extents than we know: ask it before anything more is written."""
        self._doubts += 1

    async def settle_doubts(self, ask: Callable[[str], Awaitable[list[Extent]]]) -> None:
        """Take over what the database has; a doubt that comes up meanwhile stays one. Raises what `ask` raises."""
        while self.extents_in_doubt:
            seen, forgotten = self._doubts, self._forgotten
            extents = await ask(self.row.id)
            if forgotten != self._forgotten:
                continue  # what we were told may be older than that
            for extent in extents:
                if extent.offset not in self.extents:
                    self._note(extent)
            self._doubts_settled = max(self._doubts_settled, seen)

    def forget(self, extent: Extent) -> None:
        """Its bytes turned out to be wrong or gone."""
        del self.extents[extent.offset]
        self.recorded.remove(extent.offset, extent.end)
        self._completed_chunks = None
        self._forgotten += 1
        self.changed()

    def forget_from(self, offset: int) -> None:
        """What has arrived from there on, and is not acknowledged, is in staging no more."""
        for extent in [extent for extent in self.readable.values() if extent.offset >= offset]:
            if extent.offset not in self.extents:
                del self.readable[extent.offset]
                self._readable_bytes.remove(extent.offset, extent.end)
        self.changed()

    def leave_behind(self, position: int) -> None:
        """What is recorded before `position` is at the destination, and in staging no more."""
        if any(extent.end <= position for extent in self.readable.values()):
            self.readable = {offset: extent for offset, extent in self.readable.items() if extent.end > position}

    def forget_all(self) -> None:
        """Everything is asked for again; the transfer begins anew."""
        for extents in (self.extents, self.readable):
            extents.clear()
        for ranges in (self.recorded, self._readable_bytes):
            ranges.remove(0, self.row.size)
        self._completed_chunks = None
        self._forgotten += 1
        self.begun_anew += 1
        self.digest = PrefixDigest()
        self.changed()

    def readable_between(self, start: int, end: int) -> list[Extent]:
        """Extents in staging that have bytes of `[start, end)`, in order."""
        found = [extent for extent in self.readable.values() if extent.offset < end and extent.end > start]
        return sorted(found, key=lambda extent: extent.offset)

    @property
    def readable_prefix(self) -> int:
        """How many bytes from the first the transfer could have read."""
        return self._readable_bytes.prefix

    @property
    def position(self) -> int:
        """Where an upload stands that is added to at its end: what came without a gap, and is here or was sent on."""
        return self.row.size if self.row.state is UploadState.COMPLETED else self.readable_prefix

    @property
    def is_sent_once(self) -> bool:
        """Whether nobody sends again what was acknowledged of it.

        So it is with a file that came in one request; and with the IETF's uploads, whose clients may let go of what they
        were told is here: their offset MUST NOT decrease (draft-ietf-httpbis-resumable-upload, Offset).
        """
        return self.row.in_one_request or self.row.came_in_one_request or self.row.resumable

    @property
    def lacks_the_next(self) -> bool:
        """Whether all that comes in order is recorded, and nobody brings more of it."""
        next_one = self.readable_prefix // self.row.chunk_size
        at_rest = self.readable_prefix == self.recorded.prefix < self.row.size
        return at_rest and next_one not in self.receivers and not self.queued[next_one]

    def has_arrived(self, chunk: Chunk) -> bool:
        """Whether the chunk is in staging, or was, whole; acknowledged or not."""
        return self._readable_bytes.covers(chunk.offset, chunk.end)

    @property
    def forwarded(self) -> int:
        """Bytes from the first that the destination's side has: sent and confirmed, or (where it takes the file over) read and verified."""
        if self.session is not None:
            return self.session.committed
        return 0 if self.relayed else self.digest.position

    @property
    def bytes_received(self) -> int:
        """Recorded, so acknowledged."""
        return self.row.size if self.row.state is UploadState.COMPLETED else self.recorded.total

    @property
    def bytes_transferred(self) -> int:
        """At the destination, or taken by the connection to it; none before the end where it takes the file over whole."""
        if self.row.state is UploadState.COMPLETED:
            return self.row.size
        return max(self.session.committed, self.sent) if self.session is not None else 0

    def is_forwarded(self, end: int) -> bool:
        """Whether the destination's side has what of the first `end` bytes it takes before the file is whole."""
        return self.forwarded >= self.abilities.sendable(self.row.size, end)

    @property
    def has_unsent(self) -> bool:
        """Whether something is there that its session has not been sent, or whose arrival is not recorded."""
        if self.relayed and self.readable_prefix > self.recorded.prefix:
            return True
        return self.has_more_to_send

    @property
    def has_more_to_send(self) -> bool:
        """Whether something is there that its session has not been sent."""
        if self.session is None or self.plan is None:
            return False
        committed = self.session.committed
        return self.plan.until(committed, self.readable_prefix) > committed

    @property
    def all_recorded(self) -> bool:
        """Whether every byte is here."""
        return self.recorded.prefix == self.row.size and not self.row.length_deferred

    def missing(self, most: int) -> list[ByteRange]:
        """The first byte ranges still to come, up to that many; none where nobody knows."""
        return [] if self.row.length_deferred else self.recorded.missing(self.row.size, most)

    def is_recorded(self, chunk: Chunk) -> bool:
        """Whether the chunk is here, whole."""
        return self.recorded.covers(chunk.offset, chunk.end)

    def completed_chunks(self) -> int:
        """Chunks that are here, whole; counted once per change, since it looks at every range."""
        if self._completed_chunks is None:
            self._completed_chunks = self._count_completed()
        return self._completed_chunks

    def _count_completed(self) -> int:
        grid, count = self.row.grid, 0
        for start, end in self.recorded:
            first = -(-start // grid.chunk_size)
            last = grid.count if end == self.row.size else end // grid.chunk_size
            count += max(0, last - first)
        return count

    def next_chunk(self) -> int | None:
        """The first chunk that is not here, whole."""
        if self.all_recorded:
            return None
        return self.recorded.prefix // self.row.chunk_size

    def crc32c_of(self, chunk: Chunk) -> int | None:
        """CRC32C of a chunk that has arrived, from its extents; None where they do not end with it: it was appended."""
        position, crc = chunk.offset, 0
        while position < chunk.end:
            extent = self.extents.get(position) or self.readable.get(position)
            if extent is None or extent.end > chunk.end:
                return None
            crc = crc32c_combine(crc, extent.crc32c, extent.length)
            position = extent.end
        return crc

    def changed(self) -> None:
        """Wake everybody in `turn`, and tell the listener."""
        self.on_change()
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)
        self._turn = None

    async def turn(self) -> None:
        """Return at the next change."""
        if self._turn is None:
            self._turn = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._turn)

    async def settled(self) -> None:
        """Return when what is recorded can be believed (at once, but after a power cut).

        Raises:
            VerificationPending: it takes longer than a request should wait.
        """
        try:
            async with asyncio.timeout(_VERIFICATION_WAIT_S):
                await self.verified.wait()
        except TimeoutError as exc:
            raise VerificationPending from exc

    async def stop_receiving(self, error: Any) -> None:  # noqa: ANN401 - a factory of errors, one per receiver
        """End every connection that sends to this upload and wait until none touches staging any more."""
        for receiver in list(self.receivers.values()):
            receiver.interruption.interrupt(error())
            if not receiver.stored:
                await receiver.ended.wait()
