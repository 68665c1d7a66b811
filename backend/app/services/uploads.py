"""Uploads from creation to end: the one place where they begin, are found and end.

Laws:
- Every upload that has not ended has a LiveUpload here, from `open` (recovery) or `create` until it ended.
- Owners see their own; for anybody else an upload does not exist.
- An ended upload's staged bytes are discarded after the database knows of the end, never before.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace

import structlog

from app.core.errors import (
    DatabaseUnavailable,
    DigestMismatch,
    FileTooLarge,
    ForebayError,
    IdempotencyConflict,
    IncompleteUpload,
    InvalidRequest,
    NotFound,
    OutOfSpace,
    RoomLost,
    StateConflict,
    SyncFailed,
    TooManyPending,
)
from app.core.names import validate_filename, validate_folder
from app.core.upload import (
    IN_ONE_REQUEST,
    MIN_CHUNK_BYTES,
    Completion,
    Extent,
    Mode,
    Upload,
    UploadState,
)
from app.core.waiting import Cause
from app.destinations.port import Destination, TakesOver
from app.observability.metrics import Metrics
from app.persistence.repository import Repository
from app.protocols.digest import DeclaredDigest
from app.services.events import EventHub
from app.services.incidents import Incidents
from app.services.interruption import unbroken
from app.services.limits.upload_limits import UploadLimits
from app.services.live import LiveUpload
from app.services.memory_monitor import MemoryMonitor
from app.services.new_upload import NewUpload
from app.services.relay import Relay
from app.services.transfer import TransferEngine
from app.services.upload_concurrency_manager import UploadConcurrencyManager
from app.services.where_time_goes import WhereTimeGoes
from app.staging.port import Staging

__all__ = ["ANSWER_S", "Uploads"]

log = structlog.get_logger(__name__)

ANSWER_S = 50.0
"""How long an answer waits for a destination: proxies give up after 60 s by default. The upload goes on by itself."""


class Uploads:
    """The registry of uploads."""

    def __init__(
        self,
        *,
        limits: UploadLimits,
        staging: Staging,
        destinations: Mapping[str, Destination],
        repository: Repository,
        slots: UploadConcurrencyManager,
        memory: MemoryMonitor,
        hub: EventHub,
        clock: Callable[[], float],
        metrics: Metrics,
        where: WhereTimeGoes,
        incidents: Incidents,
    ) -> None:
        """Keep what it works with; `transfers` and `relay` are set by the composition root, since each needs the other."""
        self.limits = limits
        self.where = where
        self.transfers: TransferEngine
        self.relay: Relay | None = None
        self.on_parts_wanted: Callable[[LiveUpload], None] = lambda _live: None
        """Told of a file that is made of others and lacks bytes."""
        self._staging = staging
        self._destinations = destinations
        self._repository = repository
        self._slots = slots
        self._memory = memory
        self._hub = hub
        self._clock = clock
        self._metrics = metrics
        self._incidents = incidents
        self._live: dict[str, LiveUpload] = {}
        self._pending: Counter[str] = Counter()
        self._beginning: dict[str, asyncio.Event] = {}
        self._adopting = asyncio.Lock()

    # -- finding -----------------------------------------------------------------------------------------------------

    @property
    def live(self) -> list[LiveUpload]:
        """Uploads that have not ended."""
        return list(self._live.values())

    async def find(self, upload_id: str, owner: str | None) -> LiveUpload:
        """The upload, also one that has ended; `owner` None: whoever asks may see it.

        Raises:
            NotFound: there is none, or it is somebody else's.
        """
        live = self._live.get(upload_id)
        if live is None:
            row = await self._repository.upload(upload_id)
            if row is None or owner not in {None, row.owner}:
                raise NotFound
            live = await self._known_to_database(row)
        if owner not in {None, live.row.owner}:
            raise NotFound
        return live

    async def _known_to_database(self, row: Upload) -> LiveUpload:
        """One that has ended; or is just beginning; or whose beginning was said to have failed and was committed."""
        if (begun := self._beginning.get(row.id)) is not None:
            await begun.wait()
        if (live := self._live.get(row.id)) is not None:
            return live
        if not row.ended:
            return await unbroken(self._take_up(row))
        return await self._of_the_past(row)

    async def _take_up(self, row: Upload) -> LiveUpload:
        async with self._adopting:
            if (live := self._live.get(row.id)) is not None:
                return live
            row = await self._repository.upload(row.id) or row
            if row.ended:
                return await self._of_the_past(row)
            log.warning("upload taken up", upload=row.id)
            live = await self.adopt(row)
            self.on_parts_wanted(live)
            return live

    async def _of_the_past(self, row: Upload) -> LiveUpload:
        if row.state is UploadState.COMPLETED:
            live = LiveUpload(row)
            live.doubt()  # its extents are asked for by whoever sends a chunk again
        else:
            live = LiveUpload(row, await self._repository.extents(row.id))
        live.ended.set()
        live.gone.set()
        return live

    def under_way(self, upload_id: str) -> LiveUpload | None:
        """The upload, if it has not ended."""
        return self._live.get(upload_id)

    # -- beginning ---------------------------------------------------------------------------------------------------

    async def create(self, owner: str, wanted: NewUpload, *, idempotency_key: str | None) -> LiveUpload:
        """Begin an upload, or find the one that the same Idempotency-Key began.

        Raises:
            InvalidRequest, InvalidName, FileTooLarge: it can't be taken as asked.
            MemoryPressure, MemoryUnknown: no new uploads now.
            OutOfSpace, UserQuotaExceeded: no room.
            TooManyPending: the owner has too many unfinished ones.
            IdempotencyConflict: the key was used for another request.
        """
        row = self.plan(owner, wanted, idempotency_key=idempotency_key)
        if idempotency_key is not None:  # a repeat takes no room and is no new upload
            kept = await self._repository.upload_by_key(owner, idempotency_key)
            if kept is not None:
                return await self._earlier(row, kept)
        self._memory.admit()
        if self._pending[owner] >= self.limits.max_pending_per_user:
            raise TooManyPending(limit=self.limits.max_pending_per_user)
        with self._being_begun(row):
            return await unbroken(self._begin(row))

    @contextmanager
    def _being_begun(self, row: Upload) -> Iterator[None]:
        begun = self._beginning[row.id] = asyncio.Event()
        try:
            yield
        finally:
            del self._beginning[row.id]
            begun.set()

    def plan(self, owner: str, wanted: NewUpload, *, idempotency_key: str | None) -> Upload:
        """Check a request and make its row; nothing is kept yet. Raises as `create`."""
        if wanted.destination not in self._destinations:
            known = ", ".join(sorted(self._destinations))
            raise InvalidRequest(f"There is no destination of that name. This server has: {known}.")
        if wanted.size is not None:
            self.limits.check_size(wanted.size)
        chunk_size = self._chunk_size(wanted)
        size = self.limits.largest(chunk_size) if wanted.size is None else wanted.size
        return Upload(
            id=secrets.token_hex(16),
            owner=owner,
            filename=validate_filename(wanted.filename),
            folder=validate_folder(wanted.folder),
            media_type=wanted.media_type,
            size=size,
            chunk_size=chunk_size,
            state=UploadState.CREATED,
            completion=wanted.completion,
            on_conflict=wanted.on_conflict,
            destination=wanted.destination,
            created_at=time.time(),
            active_at_s=self._clock(),
            declared_sha256=wanted.digest.sha256.hex() if wanted.digest.sha256 is not None else None,
            declared_crc32c=wanted.digest.crc32c,
            idempotency_key=idempotency_key,
            request_fingerprint=_fingerprint_of(wanted, idempotency_key),
            tus_metadata=wanted.tus_metadata,
            tus_concat=wanted.tus_concat,
            length_deferred=wanted.size is None,
            resumable=wanted.resumable,
        )

    def _chunk_size(self, wanted: NewUpload) -> int:
        limits = self.limits
        if wanted.chunk_size is not None and not MIN_CHUNK_BYTES <= wanted.chunk_size <= limits.max_chunk_bytes:
            raise InvalidRequest(f"chunk_size must be from {MIN_CHUNK_BYTES} to {limits.max_chunk_bytes} bytes.")
        multiple = self._destinations[wanted.destination].abilities.part_multiple_bytes
        asked_for = wanted.chunk_size
        if asked_for is None and wanted.appended and limits.mode is Mode.PARALLEL and limits.window_bytes is None:
            # There is nobody to share the file out to.
            asked_for = limits.chunk_bytes
        return limits.chunk_of(wanted.size, asked_for, multiple)

    async def _begin(self, row: Upload) -> LiveUpload:
        await self._staging.reserve(row.id, row.owner, row.known_size or 0)
        try:
            kept = await self._repository.add_upload(row)
        except BaseException:
            await self._staging.discard(row.id)
            raise
        if kept.id != row.id:
            await self._staging.discard(row.id)
            return await self._earlier(row, kept)
        live = self._keep(LiveUpload(row, relayed=self.relay is not None, waits=self.where.of_upload(row.id)))
        self._metrics.transition(None, row.state)
        if live.all_recorded:  # an empty file
            await self.whole(live)
        return live

    def _keep(self, live: LiveUpload) -> LiveUpload:
        if live.row.id not in self._live:
            self._pending[live.row.owner] += 1
        self._live[live.row.id] = live
        live.on_transition = self._metrics.transition
        if (destination := self._destinations.get(live.row.destination)) is not None:
            live.abilities = destination.abilities
            if isinstance(destination, TakesOver):
                live.storing = Cause.DISK
        upload_id, owner = live.row.id, live.row.owner  # not `live`: it would keep itself alive
        live.on_change = lambda: self._hub.publish(upload_id, owner)
        return live

    def _let_go(self, live: LiveUpload) -> None:
        if self._live.pop(live.row.id, None) is not None:
            self._pending[live.row.owner] -= 1
            if not self._pending[live.row.owner]:
                del self._pending[live.row.owner]

    async def keep_received(self, live: LiveUpload) -> LiveUpload:
        """Take up a file that came in one request, staged and synced, and let it go to its destination.

        Returns the upload that the same Idempotency-Key began, where there is one.

        Raises:
            IdempotencyConflict: the key was used for another request.
            DatabaseUnavailable: nothing is kept.
        """
        with self._being_begun(live.row):
            return await unbroken(self._begin_received(live))

    async def _begin_received(self, live: LiveUpload) -> LiveUpload:
        row = live.row
        try:
            kept = await self._repository.add_upload(row, extents=list(live.extents.values()), durable=True)
        except BaseException:
            await self._staging.discard(row.id)
            raise
        if kept.id != row.id:
            await self._staging.discard(row.id)
            return await self._earlier(row, kept)
        self._keep(live)
        self._metrics.transition(None, live.row.state)
        self.transfers.poke(live)
        return live

    async def keep_stored(self, live: LiveUpload, row: Upload) -> None:
        """Record a file that came in one request and is at its destination already, as `row` says.

        Raises:
            DatabaseUnavailable: it is not recorded.
        """
        try:
            await self._repository.add_upload(row, extents=list(live.extents.values()), durable=True)
        except DatabaseUnavailable:
            if not await self._is_recorded(row.id):  # else it was committed, and only the answer was lost
                raise
        live.row = row
        self._keep(live)
        self._metrics.transition(None, row.state)
        self.transfers.let_end(live)

    async def _is_recorded(self, upload_id: str) -> bool:
        """Whether the database has it; False where it does not say."""
        try:
            return await self._repository.upload(upload_id) is not None
        except DatabaseUnavailable:
            return False

    async def _earlier(self, row: Upload, kept: Upload) -> LiveUpload:
        """The same Idempotency-Key began `kept`: that is the answer."""
        if kept.request_fingerprint != row.request_fingerprint:
            raise IdempotencyConflict
        live = await self.find(kept.id, row.owner)
        if not live.row.size:  # no chunk could ask again
            await self.recorded(live)
        return live

    # -- going on ----------------------------------------------------------------------------------------------------

    async def recorded(self, live: LiveUpload) -> None:
        """A chunk was recorded: see whether the upload is whole, and let the transfer get on.

        With explicit completion the client is still there: the sync waits for `complete`, not the last chunk's answer.
        """
        if live.all_recorded and live.row.received_at is None and not live.row.ended:
            if live.row.completion is Completion.AUTO or live.row.is_part:
                await unbroken(self.whole(live))
                return
            self._slots.release(live.row.id)
        self.transfers.poke(live)

    async def whole(self, live: LiveUpload) -> None:
        """Everything is here: make it survive a power cut, then let it go to the destination.

        Raises:
            SyncFailed: the disk lost bytes; the upload is quarantined (failed), since they can't be trusted.
            StagingUnavailable: not synced yet; the client may ask again.
            DatabaseUnavailable: the client may ask again.
        """
        try:
            await self._whole(live)
        except SyncFailed as exc:
            await self.fail(live, exc)
            raise
        self._slots.release(live.row.id)
        live.changed()
        self.transfers.poke(live)

    async def _whole(self, live: LiveUpload) -> None:
        async with live.lock:
            if live.row.received_at is not None or live.row.ended or not live.all_recorded:
                return
            row = replace(live.row, received_at=time.time())
            if row.completion is Completion.AUTO:
                row = self._transferring(live, row)
            # A part's bytes may never have to be written: `Concatenation.kept`.
            lasting = not row.is_part or self.is_waited_for(row.id)
            with live.waits.of(Cause.DISK):
                if lasting:
                    await self._staging.sync(live.row.id)
                await self._repository.save_upload(row, durable=lasting)
            live.row = row

    def is_waited_for(self, part_id: str) -> bool:
        """Whether a file that is begun and not synced yet is made of that part."""
        return any(
            part_id in live.row.parts and live.row.received_at is None and not live.row.ended
            for live in self._live.values()
        )

    def _transferring(self, live: LiveUpload, row: Upload) -> Upload:
        row = row.become(UploadState.TRANSFERRING)
        return row if self.relay is None else self.relay.with_digests(live, row)

    async def complete(self, live: LiveUpload, declared: DeclaredDigest) -> LiveUpload:
        """The client says that it has sent everything; returns when the file is at its destination, or `ANSWER_S` later.

        Raises:
            IncompleteUpload: bytes are missing; names them.
            StateConflict: it was cancelled or has expired.
            DigestMismatch: the file is not what was declared.
        """
        if live.row.is_part:
            raise StateConflict(
                "This upload is a part of a file; there is none to complete.", state=live.row.state.value
            )
        await live.settled()
        if not live.row.ended:
            await unbroken(self._finish_receiving(live, declared))
        if not await self.arrived(live):
            return live
        if live.row.state is UploadState.COMPLETED:
            crc_differs = declared.crc32c is not None and declared.crc32c != live.row.crc32c
            sha_differs = declared.sha256 is not None and declared.sha256.hex() != live.row.sha256
            if crc_differs or sha_differs:
                raise DigestMismatch("The stored file does not have this digest.")
            return live
        if live.row.state is UploadState.RECEIVING:
            raise self._incomplete(live)
        raise live.row.ending

    @staticmethod
    async def arrived(live: LiveUpload) -> bool:
        """Wait until its way to the destination is over, well or not; False: it takes longer than an answer may."""
        try:
            async with asyncio.timeout(ANSWER_S):
                while not live.row.ended and live.row.state is not UploadState.RECEIVING:
                    await live.turn()
        except TimeoutError:
            return live.row.ended
        return True

    async def _finish_receiving(self, live: LiveUpload, declared: DeclaredDigest) -> None:
        if not live.all_recorded:
            raise self._incomplete(live)
        await self.whole(live)
        async with live.lock:
            if live.row.ended:
                return
            row = self._declare(live.row, declared)
            if row.state in {UploadState.CREATED, UploadState.RECEIVING}:
                row = self._transferring(live, row)
            if row != live.row:
                await self._repository.save_upload(row, durable=True)
                live.row = row
        live.changed()
        self.transfers.poke(live)

    @staticmethod
    def _declare(row: Upload, declared: DeclaredDigest) -> Upload:
        """Add what is declared now to what was declared before."""
        sha256 = row.declared_sha256 if declared.sha256 is None else declared.sha256.hex()
        crc32c = row.declared_crc32c if declared.crc32c is None else declared.crc32c
        if row.declared_sha256 not in {None, sha256} or row.declared_crc32c not in {None, crc32c}:
            raise DigestMismatch(
                "Another digest was declared for this upload before. One of the two is not the file's."
            )
        return replace(row, declared_sha256=sha256, declared_crc32c=crc32c)

    @staticmethod
    def _incomplete(live: LiveUpload) -> IncompleteUpload:
        return IncompleteUpload(missing=[{"start": start, "end": end} for start, end in live.missing(100)])

    # -- ending ------------------------------------------------------------------------------------------------------

    async def cancel(self, live: LiveUpload) -> None:
        """Stop it for good: nothing is received, transferred or kept any more when this returns.

        Raises:
            StateConflict: it is completed, or about to be.
        """
        await unbroken(self._cancel(live))

    async def _cancel(self, live: LiveUpload) -> None:
        live.cancelling = True
        try:
            if live.lock.locked():  # by a transfer that ends, perhaps for as long as its destination takes
                await self.transfers.interrupt(live)
            async with live.lock:
                if live.row.state not in {UploadState.CANCELLED, UploadState.EXPIRED, UploadState.FAILED}:
                    if not live.row.ended and await self.transfers.published(live):
                        raise StateConflict("The file is at its destination already.", state=live.row.state.value)
                    await self._end(live, UploadState.CANCELLED, None)
        finally:
            live.cancelling = False
            self.transfers.poke(live)
        await self.ended(live)
        await live.gone.wait()  # somebody else's end may be clearing away still

    async def leave(self, live: LiveUpload) -> None:
        """Its file is at its destination and stays; to clients of the protocol that it was begun with it is gone.

        Raises:
            DatabaseUnavailable: it is still to be found.
        """
        async with live.lock:
            row = replace(live.row, tus_metadata=None, resumable=False)
            await self._repository.save_upload(row)
            live.row = row

    async def remove_part(self, live: LiveUpload) -> None:
        """Its bytes are in another file now: forget it.

        Raises:
            DatabaseUnavailable: it is still there.
        """
        await unbroken(self._remove_part(live))

    async def _remove_part(self, live: LiveUpload) -> None:
        async with live.lock:
            if not live.row.ended:
                await self._end(live, UploadState.CANCELLED, None)
        await self.ended(live)
        await self._repository.delete_upload(live.row.id)

    async def expire(self, live: LiveUpload) -> None:
        """Nobody came back for it."""
        async with live.lock:
            if live.row.ended or live.receivers or live.row.state is UploadState.TRANSFERRING:
                return
            await self._end(live, UploadState.EXPIRED, None)
        await self.ended(live)

    async def fail(self, live: LiveUpload, error: ForebayError) -> None:
        """It can't be brought to its end: what it was declared as, its name, or the disk is against it.

        Its transfer's task may be the caller (`unbroken` would make another one of it, which would wait for itself).
        """
        async with live.lock:
            if not live.row.ended:
                await self._end(live, UploadState.FAILED, error)
        await self.ended(live)

    async def _end(self, live: LiveUpload, state: UploadState, error: ForebayError | None) -> None:
        row = live.row.become(
            state,
            ended_at=time.time(),
            active_at_s=self._clock(),
            retries=live.retries.dump(),
            error_code=error.code if error is not None else None,
            error_detail=error.detail if error is not None else None,
        )
        try:
            await self._repository.save_upload(row, durable=True)
        except (NotFound, StateConflict):  # an end that we were told had failed was written all the same, or by others
            log.warning("the database knows of another end", upload=row.id, wanted=state.value)
            row = await self._repository.upload(row.id) or row
        live.row = row

    async def ended(self, live: LiveUpload) -> None:
        """The row says that it ended: let go of everything it held."""
        if live.ended.is_set():
            return
        live.ended.set()
        row = live.row
        log.info("upload ended", upload=row.id, state=row.state.value, bytes=row.known_size, code=row.error_code)
        self._incidents.upload_ended(row)
        try:
            if row.state is not UploadState.COMPLETED:  # who still sends to a completed one repeats what is recorded
                await live.stop_receiving(lambda: row.takes_no_more)
                await self.transfers.cancel(live)
        except ForebayError as exc:
            log.warning("what was sent could not be removed", upload=row.id, code=exc.code, detail=exc.detail)
        finally:
            self._slots.release(row.id)
            live.on_change = lambda: None  # the end is told once, and not only as a change
            live.changed()
            self._hub.publish(row.id, row.owner, ended=True)
            live.verified.set()
            try:
                await self._staging.discard(row.id)
            except ForebayError as exc:  # collected as an orphan at the next start
                log.warning("staged bytes could not be removed", upload=row.id, code=exc.code, detail=exc.detail)
            finally:
                self._let_go(live)
                live.gone.set()

    # -- another life ------------------------------------------------------------------------------------------------

    async def adopt(self, row: Upload) -> LiveUpload:
        """Take up an upload of an earlier life of the server; where its bytes are gone, everything is asked for again."""
        extents = await self._repository.extents(row.id)
        if row.in_one_request and row.received_at is None:  # that request is over
            live = self._keep(LiveUpload(row, from_earlier_life=True, waits=self.where.of_upload(row.id)))
            await self.lose(live)
            return live
        size = max((extent.end for extent in extents), default=0) if row.length_deferred else row.size
        kept = await self._staging.adopt(row.id, row.owner, size, extents)
        if kept is not None:
            live = self._keep(LiveUpload(row, extents, from_earlier_life=True, waits=self.where.of_upload(row.id)))
            if lost := sorted(set(extents) - set(kept)):
                log.error("staged bytes are gone", upload=row.id, bytes=sum(extent.length for extent in lost))
                await self.ask_again(live, lost)
            live.room_released = not live.all_recorded  # staging may have found less room than was reserved
            return live
        if self.relay is not None:
            return await self._adopt_relayed(self.relay, row, extents)
        log.error("staged bytes are gone", upload=row.id, bytes=sum(extent.length for extent in extents))
        live = self._keep(LiveUpload(row, from_earlier_life=True, waits=self.where.of_upload(row.id)))
        try:
            await self._staging.discard(row.id)  # there may be something else of that name
            await self._staging.reserve(row.id, row.owner, row.known_size or 0)
            if live.is_sent_once and extents:
                await self.lose(live)
            else:
                await self._start_over(live)
        except OutOfSpace as exc:
            async with live.lock:
                await self._end(live, UploadState.FAILED, exc)
            await self.ended(live)
        return live

    async def _adopt_relayed(self, relay: Relay, row: Upload, extents: list[Extent]) -> LiveUpload:
        """Nothing is here any more, as ever; but it may have become a file already."""
        await self._staging.reserve(row.id, row.owner, row.size)
        waits = self.where.of_upload(row.id)
        live = self._keep(LiveUpload(row, extents, from_earlier_life=True, relayed=True, waits=waits))
        if relay.resume(live):
            return live
        if live.is_sent_once:  # also one that has brought nothing: it may have been told to stand anywhere
            await self.lose(live)
            return live
        destination = self._destinations.get(row.destination)
        multiple = 1 if destination is None else destination.abilities.part_multiple_bytes
        if not self.limits.can_hold(row.chunk_size, multiple):
            with suppress(FileTooLarge):  # nobody can send it now; it waits for a larger window, or expires
                live.row = replace(row, chunk_size=self.limits.chunk_of(row.known_size, None, multiple))
        if extents or live.row.received_at is not None or live.row != row:
            await relay.start_over(live)
        return live

    async def ask_again(self, live: LiveUpload, spoilt: list[Extent]) -> None:
        """These extents no longer hold what was acknowledged: forget them, so that the client sends them again."""
        if live.is_sent_once:
            await self.lose(live)
            return
        if self.relay is not None:
            await self.relay.start_over(live)
            return
        await unbroken(self._ask_again(live, spoilt))

    async def _ask_again(self, live: LiveUpload, spoilt: list[Extent]) -> None:
        async with live.lock:
            if live.row.ended:
                return
            await self._repository.forget_extents(live.row.id, spoilt)
            row = replace(live.row, received_at=None, active_at_s=self._clock())  # its age begins anew: it must be sent
            if row.state is UploadState.TRANSFERRING:
                row = row.become(UploadState.RECEIVING)
            await self._repository.save_upload(row)
            live.row = row
            for extent in spoilt:
                live.forget(extent)
        self.on_parts_wanted(live)

    async def lose(self, live: LiveUpload) -> None:
        """What was acknowledged is gone, and nobody sends it again."""
        await self.fail(live, RoomLost("The server has lost what had come of the file. Send it again."))

    async def _start_over(self, live: LiveUpload) -> None:
        """Nothing is here any more. What its session has is kept: it may have become a file, and is compared at the end."""
        await self._repository.forget_extents(live.row.id)
        row = replace(live.row, received_at=None, active_at_s=self._clock())
        if row.state is UploadState.TRANSFERRING:
            row = row.become(UploadState.RECEIVING)
        await self._repository.save_upload(row)
        live.row = row


def _fingerprint_of(wanted: NewUpload, idempotency_key: str | None) -> str | None:
    if idempotency_key is not None:
        return wanted.fingerprint()
    return IN_ONE_REQUEST if wanted.in_one_request else None
