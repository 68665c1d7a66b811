"""The services that relay uploads through memory, in virtual time, with a fickle destination and database around them."""
# ruff: noqa: ARG002, S101 - doubles do not need all that they are told; these are tests

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Final, TypeVar, cast

from app.core.body import SlabSink
from app.core.errors import (
    ClientGone,
    DatabaseUnavailable,
    DestinationMismatch,
    DestinationUnavailable,
    StateConflict,
)
from app.core.upload import KIB, TERMINAL_STATES, Extent, Mode, StoredFile, Upload, UploadState
from app.core.waiting import UNOBSERVED, WaitObserver
from app.destinations.port import Abilities, Digests, Source, Target
from app.observability.metrics import Metrics
from app.persistence.repository import Repository
from app.services.chunk_buffer_pool import ChunkBufferPool
from app.services.destination_gate import DestinationGate
from app.services.events import EventHub
from app.services.incidents import Incidents
from app.services.limits.upload_limits import UploadLimits
from app.services.parallel_chunk_processor import ParallelChunkProcessor
from app.services.prefix_reader import PrefixReader
from app.services.progress import Throughput
from app.services.relay import Relay
from app.services.sending import Sender
from app.services.transfer import TransferEngine
from app.services.upload_concurrency_manager import UploadConcurrencyManager
from app.services.uploads import Uploads
from app.services.where_time_goes import WhereTimeGoes
from app.staging.memory import MemoryStaging
from app.testing.virtual_time import VirtualTimeLoop

__all__ = [
    "CHUNK",
    "LANES",
    "SLABS",
    "WINDOW_SLABS",
    "Body",
    "FickleDestination",
    "FickleSession",
    "Records",
    "RelayRig",
]

CHUNK = 256 * KIB
SLAB = 64 * KIB
WINDOW_SLABS = 17  # four chunks
SLABS = 40  # less than three windows: they have to share
LANES = 3
_PIECE: Final = 100 * KIB
_MISMATCHES: Final = 2  # three in a row are the end of an upload

T = TypeVar("T")


class Records:
    """The database, as far as it is used here, without one."""

    def __init__(self) -> None:
        self.rows: dict[str, Upload] = {}
        self.recorded: dict[str, dict[int, Extent]] = {}
        self.failures: list[bool] = []
        """Of the next writes; whether it was committed all the same."""

    async def _write(self, work: Callable[[], T]) -> T:
        await asyncio.sleep(0)
        committed = self.failures.pop(0) if self.failures else None
        if committed is False:
            raise DatabaseUnavailable
        result = work()
        await asyncio.sleep(0)
        if committed:
            raise DatabaseUnavailable
        return result

    async def add_upload(self, upload: Upload, *, extents: Sequence[Extent] = (), durable: bool = False) -> Upload:
        """Add it."""

        def work() -> Upload:
            self.rows[upload.id] = upload
            self.recorded[upload.id] = {extent.offset: extent for extent in extents}
            return upload

        return await self._write(work)

    async def save_upload(self, upload: Upload, *, durable: bool = False) -> None:
        """Store it, unless it has ended otherwise."""

        def work() -> None:
            known = self.rows[upload.id]
            if known.state in TERMINAL_STATES and known.state is not upload.state:
                raise StateConflict
            self.rows[upload.id] = upload

        await self._write(work)

    async def record_extents(
        self,
        upload_id: str,
        extents: Sequence[Extent],
        *,
        active_at_s: float,
        state: UploadState | None = None,
        durable: bool = False,
    ) -> None:
        """Record; the same again changes nothing."""

        def work() -> None:
            if self.rows[upload_id].ended:
                raise StateConflict
            for extent in extents:
                assert self.recorded[upload_id].setdefault(extent.offset, extent) == extent

        await self._write(work)

    async def forget_extents(self, upload_id: str, extents: Sequence[Extent] | None = None) -> None:
        """Forget all."""
        assert extents is None
        await self._write(self.recorded[upload_id].clear)

    async def extents(self, upload_id: str) -> list[Extent]:
        """What is recorded."""
        await asyncio.sleep(0)
        return sorted(self.recorded[upload_id].values())

    async def upload(self, upload_id: str) -> Upload | None:
        """Its row."""
        return self.rows.get(upload_id)

    async def upload_by_key(self, owner: str, key: str) -> Upload | None:
        """There is none."""
        return None


class FickleSession:
    """A session of the destination below."""

    def __init__(self, destination: FickleDestination, target: Target, number: int) -> None:
        self.destination = destination
        self.target = target
        self.number = number
        self.held = bytearray()
        self.unseen = b""  # held as well; the answer was lost, and nobody has asked since
        self.aborted = False
        self.life = destination.lives[target.upload_id]

    @property
    def state(self) -> str:
        """Its number."""
        return str(self.number)

    @property
    def committed(self) -> int:
        """What it holds."""
        if self.target.upload_id in self.destination.files:
            return self.target.size
        return len(self.held)

    def declare(self, size: int) -> None:
        """Where it was deferred."""
        self.target = replace(self.target, size=size, length_deferred=False)

    async def append(self, pieces: AsyncIterator[memoryview], length: int) -> int:
        """As the whim has it."""
        assert self.life == self.destination.lives[self.target.upload_id], "what it has was asked for again"
        whim = self.destination.whim()
        await self.destination.open.wait()
        if self.unseen:
            self.held, self.unseen = self.held + self.unseen, b""
            return self._noted()
        if whim == "refuse":
            raise DestinationUnavailable
        came = bytearray()
        async for piece in pieces:
            came += piece
            await asyncio.sleep(0)
            if whim in {"break", "doubt"} and len(came) >= length // 2:
                break
        assert len(came) <= length
        keep = len(came) // 2 if whim == "less" else len(came)
        multiple = self.destination.abilities.part_multiple_bytes
        taken = bytes(came[: keep if len(self.held) + keep == self.target.size else keep // multiple * multiple])
        if whim == "doubt":
            self.unseen = taken
            raise DestinationUnavailable
        self.held += taken
        if whim == "lose":
            self.held.clear()
        if whim in {"break", "lose"}:
            self._noted()
            raise DestinationUnavailable
        return self._noted()

    def _noted(self) -> int:
        reached = self.destination.reached
        reached[self.target.upload_id] = max(reached[self.target.upload_id], len(self.held))
        return len(self.held)

    async def finish(self, digests: Digests, source: Source) -> StoredFile:
        """Publish, as the whim has it."""
        files, upload_id = self.destination.files, self.target.upload_id
        whim = self.destination.whim()
        await self.destination.open.wait()
        self.held, self.unseen = self.held + self.unseen, b""
        if upload_id not in files:
            if whim == "refuse":
                raise DestinationUnavailable
            if whim == "lose":
                self.held.clear()
            content = bytearray(self.held)
            if len(content) < self.target.size:
                async with source.pieces(len(content)) as pieces:
                    async for piece in pieces:
                        content += piece
            spoilt = whim == "mismatch" and self.destination.may_mismatch(upload_id)
            if spoilt or hashlib.sha256(content).hexdigest() != digests.sha256:
                self.held.clear()
                raise DestinationMismatch
            files[upload_id] = bytes(content)
            if whim == "break":
                raise DestinationUnavailable  # the answer is lost
        stored = files[upload_id]
        assert hashlib.sha256(stored).hexdigest() == digests.sha256
        return StoredFile(id=upload_id, name=self.target.filename, size=len(stored))

    async def abort(self) -> None:
        """Remove everything, published or not."""
        await asyncio.sleep(0)
        if self.destination.whim() == "refuse":
            raise DestinationUnavailable
        self.aborted = True
        self.held.clear()
        self.unseen = b""
        self.destination.files.pop(self.target.upload_id, None)


class FickleDestination:
    """A destination with whims; one whim for each call."""

    def __init__(self, abilities: Abilities) -> None:
        self.abilities = abilities
        self.whims: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.files: dict[str, bytes] = {}
        self.sessions: list[FickleSession] = []
        self.reached: Counter[str] = Counter()
        self.lives: Counter[str] = Counter()
        """How often an upload was begun anew."""
        self.mismatches: Counter[str] = Counter()

    def whim(self) -> str:
        """The next one."""
        return self.whims.pop(0) if self.whims else ""

    def may_mismatch(self, upload_id: str) -> bool:
        """Not for ever."""
        self.mismatches[upload_id] += 1
        return self.mismatches[upload_id] <= _MISMATCHES

    async def check(self) -> None:
        """It is there."""

    async def begin(self, target: Target, saved: str | None) -> FickleSession:
        """A new one, when the one before was aborted; or that one."""
        await asyncio.sleep(0)
        if saved is not None:
            session = self.sessions[int(saved)]
            assert not session.aborted or not session.held
            return session
        for session in self.sessions:
            if session.target.upload_id == target.upload_id:
                assert session.aborted, "the one before was left behind"
        session = FickleSession(self, target, len(self.sessions))
        self.sessions.append(session)
        return session

    async def aclose(self) -> None:
        """Nothing is open."""


class Body:
    """A request's body that comes when it is told to."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.length = len(data)
        self.allowed = 0
        self.asked_for = False
        self._moved = asyncio.Event()
        self._gone = asyncio.Event()

    def bring(self, count: int) -> None:
        """So many bytes more."""
        self.allowed = min(self.length, self.allowed + count)
        self._moved.set()

    def leave(self) -> None:
        """The client has gone."""
        self._gone.set()
        self._moved.set()

    async def deliver(
        self,
        on_slab: SlabSink,
        *,
        limit: int,
        owner: str,
        urgent: bool = False,
        waits: WaitObserver = UNOBSERVED,
    ) -> int:
        """What has come, piece by piece."""
        self.asked_for = True
        done = 0
        while done < self.length:
            while self.allowed == done and not self._gone.is_set():
                self._moved.clear()
                await self._moved.wait()
            if self._gone.is_set():
                raise ClientGone
            end = min(self.allowed, done + _PIECE)
            on_slab(memoryview(bytearray(self.data[done:end])))
            done = end
            await asyncio.sleep(0)
        return done

    async def wait_gone(self) -> None:
        """Until the client leaves."""
        await self._gone.wait()


class AtOnce:
    """Threads that are none."""

    def submit(self, function: Callable[[], Any]) -> Future[Any]:
        """Run it."""
        function()
        return Future()


class Admits:
    """Memory is never short."""

    def admit(self) -> None:
        """Always."""


class RelayRig:
    """The services over all that."""

    def __init__(self, loop: VirtualTimeLoop, abilities: Abilities) -> None:
        self.loop = loop
        self.records = Records()
        self.destination = FickleDestination(abilities)
        repository = cast("Repository", self.records)
        self.staging = MemoryStaging(SLAB, SLABS, window_slabs=WINDOW_SLABS, timeout_s=30)
        self.slots = UploadConcurrencyManager(
            max_uploads=3,
            max_users=3,
            max_uploads_per_user=None,
            queue_limit=100,
            queue_timeout_s=30,
            idle_s=30,
            clock=loop.time,
        )
        pool = ChunkBufferPool(CHUNK, 4, timeout_s=10)
        metrics, throughput, destinations = Metrics(), Throughput(clock=loop.time), {"default": self.destination}
        self.reader = PrefixReader(self.staging, pool, AtOnce())  # type: ignore[arg-type]
        memory: Any = Admits()
        incidents = Incidents()
        self.uploads = Uploads(
            limits=UploadLimits(
                mode=Mode.PARALLEL,
                chunk_bytes=CHUNK,
                max_chunk_bytes=CHUNK,
                lanes=LANES,
                max_file_bytes=1 << 40,
                expiry_s=1e9,
                max_pending_per_user=100,
                window_bytes=self.staging.window_bytes,
            ),
            staging=self.staging,
            destinations=destinations,
            repository=repository,
            slots=self.slots,
            memory=memory,
            hub=EventHub(),
            clock=loop.time,
            metrics=metrics,
            where=WhereTimeGoes(clock=loop.time),
            incidents=incidents,
        )
        self.relay = self.uploads.relay = Relay(
            staging=self.staging,
            repository=repository,
            throughput=throughput,
            clock=loop.time,
            attempts=3,
            metrics=metrics,
            find=self.uploads.under_way,
            on_recorded=self.uploads.recorded,
            on_lost=self.uploads.lose,
        )
        self.uploads.transfers = self.transfers = TransferEngine(
            staging=self.staging,
            reader=self.reader,
            sender=Sender(
                reader=self.reader,
                repository=repository,
                throughput=throughput,
                closed_bytes=None,
                relay=self.relay,
            ),
            destinations=destinations,
            repository=repository,
            permits=2,
            clock=loop.time,
            on_ended=self.uploads.ended,
            on_failed=self.uploads.fail,
            on_lost=self.uploads.ask_again,
            metrics=metrics,
            throughput=throughput,
            incidents=incidents,
        )
        begin_again = self.staging.empty

        def noted(upload_id: str, start: int = 0) -> None:
            self.destination.lives[upload_id] += 1
            begin_again(upload_id, start)

        self.staging.empty = noted  # type: ignore[method-assign]
        self.transfers.gates["default"] = DestinationGate("default", permits=2, clock=loop.time)
        self.processor = ParallelChunkProcessor(
            staging=self.staging,
            repository=repository,
            slots=self.slots,
            throughput=throughput,
            clock=loop.time,
            mode=Mode.PARALLEL,
            attempts=3,
            durable=False,
            on_recorded=self.uploads.recorded,
            on_untrusted=self.uploads.fail,
            metrics=metrics,
            relay=self.relay,
        )
        self._over = asyncio.Event()
        self._running = loop.create_task(self._run())

    async def _run(self) -> None:
        await self.staging.open()
        async with asyncio.TaskGroup() as group:
            self.transfers.start(group)
            await self._over.wait()
            self.transfers.stop()

    async def close(self) -> None:
        """Everything has ended."""
        self._over.set()
        await self._running
        self.slots.close()
        await self.staging.aclose()
