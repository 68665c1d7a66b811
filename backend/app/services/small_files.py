"""A small file in a single request: created, received and stored before the answer.

The same steps as the long way with fewer commits: nothing is in the database before the bytes are synced, so a server
that dies on the way leaves nothing but an orphan in staging, and the client, who had no answer, sends it again.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from dataclasses import replace

from app.core.body import RequestBody
from app.core.errors import BodyTooLarge, DatabaseUnavailable, LengthRequired, StagingUnavailable
from app.core.upload import Chunk, Extent, NameConflictPolicy, UploadState
from app.core.waiting import Cause
from app.observability.logging import parallel_debug
from app.observability.metrics import Metrics
from app.protocols.digest import DeclaredDigest
from app.services.chunk_sink import StagingSink
from app.services.interruption import abandoned_when_gone, unbroken
from app.services.live import LiveUpload, Receiver
from app.services.memory_monitor import MemoryMonitor
from app.services.new_upload import NewUpload
from app.services.parallel_chunk_processor import bring
from app.services.prefix_digest import PrefixDigest
from app.services.progress import Throughput
from app.services.relay import Relay
from app.services.upload_concurrency_manager import UploadConcurrencyManager
from app.services.uploads import Uploads
from app.staging.port import Durability, Staging

__all__ = ["SmallFiles"]


class SmallFiles:
    """Stores files of at most one chunk."""

    def __init__(
        self,
        *,
        uploads: Uploads,
        staging: Staging,
        slots: UploadConcurrencyManager,
        memory: MemoryMonitor,
        throughput: Throughput,
        metrics: Metrics,
        attempts: int,
        relay: Relay | None = None,
    ) -> None:
        """Keep what it works with; `relay`: where staging gives room by windows."""
        self._uploads = uploads
        self._staging = staging
        self._slots = slots
        self._memory = memory
        self._throughput = throughput
        self._metrics = metrics
        self._attempts = attempts
        self._relay = relay

    async def store(
        self, owner: str, wanted: NewUpload, body: RequestBody, *, idempotency_key: str | None
    ) -> LiveUpload:
        """Receive the body as the file; returns when the upload has ended, or goes on by itself since that takes long.

        Raises:
            LengthRequired, BodyTooLarge: not for this call.
            Everything that `Uploads.create` and `ParallelChunkProcessor.receive` raise.
        """
        row = self._uploads.plan(owner, wanted, idempotency_key=idempotency_key)
        row = replace(
            row, chunk_size=self._uploads.limits.single_request_bytes
        )  # it comes, and is recorded, as one chunk
        self._memory.admit()
        started = time.monotonic()
        live = LiveUpload(row, relayed=self._relay is not None, waits=self._uploads.where.of_upload(row.id))
        async with AsyncExitStack() as held:
            async with abandoned_when_gone(body):
                with live.waits.of(Cause.QUEUE):
                    await held.enter_async_context(self._slots.hold(row.id, owner))
            try:
                await self._staging.reserve(row.id, owner, row.size)
                await self._receive(held, live, wanted.digest, body)
            except BaseException:
                await unbroken(self._staging.discard(row.id))
                raise
            finally:
                self._slots.release(row.id)
        self._throughput.chunk_times.add(time.monotonic() - started)
        parallel_debug("chunk recorded", upload=live.row.id, chunk=0, bytes=live.row.size)
        # With a key a repeat must find this upload, whatever happens from here on, and what `replace` has replaced can't
        # be brought back: then it is recorded first.
        alone = idempotency_key is None and wanted.on_conflict is not NameConflictPolicy.REPLACE
        if alone and await unbroken(self._stored_at_once(live)):
            return live
        try:
            await self._staging.sync(live.row.id)  # its place: the row will count on it
        except BaseException:
            await unbroken(self._staging.discard(live.row.id))
            raise
        live = await self._uploads.keep_received(live)
        async with abandoned_when_gone(body):
            await self._uploads.arrived(live)
        return live

    async def _stored_at_once(self, live: LiveUpload) -> bool:
        """Publish it, then record it as completed, in one commit; False: it is neither."""
        transfers = self._uploads.transfers
        try:
            row = await transfers.publish_unrecorded(live)
            if row is None:
                return False
            try:
                await self._uploads.keep_stored(live, row)
            except DatabaseUnavailable:
                await transfers.withdraw(live)
                raise
        except BaseException:
            await self._staging.discard(live.row.id)
            raise
        return True

    def takes(self, body: RequestBody) -> bool:
        """Whether `length_of` has no objection."""
        return body.length is not None and body.length <= self._uploads.limits.single_request_bytes

    def length_of(self, body: RequestBody) -> int:
        """The file's size, as declared.

        Raises:
            LengthRequired, BodyTooLarge: not for this call.
        """
        if body.length is None:
            raise LengthRequired
        limit = self._uploads.limits.single_request_bytes
        if body.length > limit:
            raise BodyTooLarge(
                f"A single request takes up to {limit} bytes. Use POST /api/v1/uploads and chunks for larger files.",
                limit=limit,
            )
        return body.length

    async def _receive(
        self, held: AsyncExitStack, live: LiveUpload, declared: DeclaredDigest, body: RequestBody
    ) -> None:
        row = live.row
        chunk = Chunk(0, 0, row.size)
        receiver = Receiver()
        room = None
        if self._relay is not None and row.size:
            async with abandoned_when_gone(body):
                room = await held.enter_async_context(self._relay.room(live, chunk))
        sink = StagingSink(
            chunk,
            declared,
            staging=self._staging,
            upload_id=row.id,
            attempts=self._attempts,
            durability=Durability.BYTES,
            on_retry=self._count_retry,
            always_sha256=True,
        )
        self._throughput.in_flight += 1
        live.waits.watch(sink.storing)
        try:
            extent = await bring(chunk, body, sink, receiver, row.owner, urgent=False, waits=live.waits)
            if room is not None:
                room.keep()
        finally:
            sink.close()
            live.waits.unwatch(sink.storing)
            self._throughput.in_flight -= 1
        self._received(live, sink, extent)

    def _received(self, live: LiveUpload, sink: StagingSink, extent: Extent) -> None:
        # The content belongs to the request: the same Idempotency-Key with other bytes is another one.
        fingerprint = f"{live.row.request_fingerprint or ''}:{sink.hasher().hexdigest()}"
        live.row = replace(
            live.row.become(UploadState.TRANSFERRING), received_at=time.time(), request_fingerprint=fingerprint
        )
        if extent.length:
            live.record(extent)
            self._throughput.recorded(extent.length)
        live.digest = PrefixDigest.of_whole(extent, sink.hasher())
        if self._relay is not None:
            live.row = self._relay.with_digests(live, live.row)

    def _count_retry(self, _attempt: int, _error: StagingUnavailable) -> None:
        self._throughput.retries_total += 1
        self._metrics.retried("staging")
