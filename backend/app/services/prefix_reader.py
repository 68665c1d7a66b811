"""Reads an upload's growing prefix from staging, once and in order, for the transfer.

Laws: every extent's bytes are checked against the CRC32C recorded when they were acknowledged, whatever the reason for
reading them; a slab is held only while its piece is with the consumer, and none where staging is in memory itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import aclosing, asynccontextmanager, nullcontext, suppress
from typing import Final

from app.core.upload import MIB, Extent, UploadState
from app.core.waiting import Cause
from app.posix.threads import run_to_end
from app.services.chunk_buffer_pool import ChunkBufferPool
from app.services.live import LiveUpload
from app.services.prefix_digest import ExtentDigest
from app.services.where_time_goes import ThreadTime
from app.staging.port import Staging, Viewable

__all__ = ["BytesLost", "PrefixReader"]

_Fetch = Callable[[int, int], memoryview]  # offset and most bytes; fewer may come, none where they are gone

_UNSENT_BYTES: Final = 16 * MIB
"""Read in one go when nobody gets the pieces: some 10 ms of SHA-256, which a cancellation waits for. With a hop through
the event loop for each slab, the digest lagged far behind a busy receiver."""

_CROWDED: Final = 1.5  # time taken over processor time used from which on others want the processors
_PAUSES: Final = 4.0  # times the work before: a fifth of a processor is left to the digest
_LONGEST_PAUSE_S: Final = 0.25


class BytesLost(Exception):
    """Staging no longer has the bytes that were acknowledged (bit rot, a power cut)."""

    def __init__(self, extent: Extent) -> None:
        """Say which."""
        super().__init__(f"{extent.length} bytes at {extent.offset}")
        self.extent = extent


class PrefixReader:
    """Bytes in order, digest on the way."""

    def __init__(
        self,
        staging: Staging,
        pool: ChunkBufferPool,
        threads: Executor,
        *,
        destinations: int = 1,
        turns: bool = True,
        in_flight: Callable[[], int] = lambda: 0,
    ) -> None:
        """Keep what it reads with.

        Args:
            staging: where bytes are.
            pool: slabs to read into.
            threads: run the reads and the digests.
            destinations: how many there are: each has a share of the slabs, so that a slow one takes neither those of
                the others nor those with which bytes are received, verified and digested.
            turns: uploads that are still received may wait for each other; not where each chunk's answer waits for its
                digest.
            in_flight: how many requests bring bytes, of all uploads.
        """
        self._staging = staging
        self._viewable = staging if isinstance(staging, Viewable) else None
        self._pool = pool
        self._threads = threads
        share = max(1, pool.stats.slabs_total // 2 // max(1, destinations))
        self._sending: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(share))
        self._quiet = asyncio.Semaphore(pool.quiet_slabs or max(1, pool.stats.slabs_total // 4))
        self._turns = turns
        self._in_flight = in_flight
        self._digested = 0  # uploads at the moment, or waiting for their turn
        self._crowded = False  # at the last look
        self._whose: LiveUpload | None = None  # turn it is
        self._over = asyncio.Event()  # that turn

    async def pieces(
        self,
        live: LiveUpload,
        *,
        send_from: int,
        send_until: int,
        stall_s: float,
        give_way: Callable[[], bool] = lambda: False,
        on_digested: Callable[[int], None] = lambda _: None,
    ) -> AsyncGenerator[memoryview]:
        """Yield the staged bytes `[send_from, send_until)`, slab by slab, until the prefix stands still.

        The digest goes on from where it is, by whole extents: those that end behind `send_until` are digested to their
        end. Bytes that it has passed already are read again, and checked again. Close it (`aclosing`).

        Args:
            live: the upload; its `digest` is moved on.
            send_from: bytes from the file's first.
            send_until: nothing is read for its own sake from there on.
            stall_s: how long to wait for more.
            give_way: asked after each extent; ends it there when somebody else's turn has come.
            on_digested: told how many bytes the digest has passed, after each extent.

        Raises:
            BytesLost: an extent does not hold what was acknowledged.
            StagingUnavailable: it can't be read.
            PoolExhausted: no slab became free.
        """
        passed = min(live.digest.position, send_until)
        for extent in live.readable_between(send_from, passed):
            again = self._extent(live, ExtentDigest(extent, None), send_from, passed)
            async with aclosing(again):
                async for view in again:
                    yield view
            if give_way():
                return
        while live.digest.position < send_until:
            next_one = live.readable.get(live.digest.position)
            if next_one is None:
                if live.readable_prefix == live.row.size or not await self._grows(live, stall_s):
                    return
                continue
            trial = live.digest.begin(next_one)
            moving = self._extent(live, trial, send_from, send_until)
            async with aclosing(moving):
                async for view in moving:
                    yield view
            live.digest.accept(trial)
            on_digested(next_one.length)
            live.changed()
            if give_way():
                return

    async def _extent(
        self, live: LiveUpload, trial: ExtentDigest, send_from: int, send_until: int
    ) -> AsyncGenerator[memoryview]:
        """Read the trial's extent to its end; yield what of it is wanted."""
        extent = trial.extent
        while trial.position < extent.end:
            quiet_until = send_from if trial.position < send_from else extent.end if trial.position >= send_until else 0
            quiet = quiet_until >= extent.end
            async with self._turn(live) if quiet else nullcontext(enter_result=False) as alone:
                async with self._access(live, "transfer", quiet=quiet) as fetch:
                    view, pause_s = await self._read(live.row.id, trial, fetch, unsent_until=quiet_until)
                    if not view:
                        raise BytesLost(extent)
                    start = trial.position - len(view)
                    wanted = view[max(0, send_from - start) : max(0, send_until - start)]
                    if wanted:
                        yield wanted
                await asyncio.sleep(0.0 if alone else pause_s)
        if not trial.holds:
            raise BytesLost(extent)

    @asynccontextmanager
    async def _turn(self, live: LiveUpload) -> AsyncIterator[bool]:
        """Read, and pause, inside: one after the other while others want the processors and nobody waits for the digest.

        With a fifth of a processor each, many uploads that are still received would have them all. Yields whether no
        other upload is received or digested: then it is other programs that want them, a client on this machine for
        instance, and a pause would only put off the upload's own end.
        """
        self._digested += 1
        mine = False
        try:
            while self._turns and live.row.state is not UploadState.TRANSFERRING:
                if self._whose is None:
                    mine = self._crowded
                    self._whose = live if mine else None
                    break
                with suppress(TimeoutError):  # to see whether it has come whole meanwhile
                    async with asyncio.timeout(_LONGEST_PAUSE_S):
                        await self._over.wait()
            yield self._digested == 1 and self._in_flight() <= len(live.receivers)
        finally:
            self._digested -= 1
            if mine:
                self._whose = None
                over, self._over = self._over, asyncio.Event()
                over.set()

    @asynccontextmanager
    async def _access(self, live: LiveUpload, purpose: str, *, quiet: bool) -> AsyncIterator[_Fetch]:
        """What fetches bytes, in a thread; what it has fetched last is valid inside. `quiet`: nobody else gets them."""
        upload_id = live.row.id
        if (viewable := self._viewable) is not None:
            with viewable.pinned(upload_id):
                yield lambda offset, most: viewable.view(upload_id, offset, most)
            return
        share = self._quiet if quiet else self._sending[live.row.destination]
        with live.waits.of(Cause.SLAB):
            await share.acquire()
        try:
            owner = f"{purpose}:{live.row.owner}"
            lease = self._pool.acquire_quiet(owner) if quiet else None
            if lease is None:
                lease = await self._pool.acquire(owner, waits=live.waits)
            slab, reading = lease.view, ThreadTime()

            def fetch(offset: int, most: int) -> memoryview:
                view = slab[: min(len(slab), most)]
                reading.begin()
                try:
                    return view[: self._staging.read_into(upload_id, offset, view)]
                finally:
                    reading.end()

            live.waits.watch(reading)
            try:
                yield fetch
            finally:
                live.waits.unwatch(reading)
                lease.release()
        finally:
            share.release()

    async def verify(self, live: LiveUpload, extent: Extent) -> bool:
        """Whether staging still holds what was acknowledged, without moving the upload's digest."""
        trial = ExtentDigest(extent, None)
        while trial.position < extent.end:
            async with self._access(live, "verify", quiet=True) as fetch:
                view, pause_s = await self._read(live.row.id, trial, fetch, unsent_until=extent.end)
                if not view:
                    return False
            await asyncio.sleep(pause_s)
        return trial.holds

    async def _read(
        self, upload_id: str, trial: ExtentDigest, fetch: _Fetch, *, unsent_until: int
    ) -> tuple[memoryview, float]:
        """The next piece of the trial's extent; of those that nobody gets, many in one go, and the last is returned.

        With it the seconds for which to leave the processors to others, if the work had to share them: a niceness alone
        leaves a digest a third of a processor that threads which receive could use, since they wait so often.
        """
        first = trial.position
        stop = min(first + _UNSENT_BYTES, unsent_until)
        wall_s = used_s = 0.0

        def work() -> memoryview:
            nonlocal wall_s, used_s
            while True:
                view = fetch(trial.position, trial.extent.end - trial.position)
                wall_s, used_s = wall_s - time.perf_counter(), used_s - time.thread_time()
                trial.update(view)
                wall_s, used_s = wall_s + time.perf_counter(), used_s + time.thread_time()
                if trial.position == trial.extent.end:
                    # All up to here has been read for the last time; what a second reading made "active" in the page
                    # cache would count as memory in use. From 0: pages dirty at the last time are clean by now.
                    self._staging.drop_cache(upload_id, 0, trial.position)
                    return view
                if not view or trial.position >= stop:
                    return view

        view = await run_to_end(self._threads, work)  # also when cancelled, twice: the thread writes into the slab
        if first >= unsent_until:
            return view, 0.0
        self._crowded = wall_s > _CROWDED * used_s
        return view, min(_LONGEST_PAUSE_S, _PAUSES * wall_s) if self._crowded else 0.0

    @staticmethod
    async def _grows(live: LiveUpload, stall_s: float) -> bool:
        try:
            async with asyncio.timeout(stall_s):
                while live.digest.position not in live.readable and not live.row.ended:
                    await live.turn()
        except TimeoutError:
            return False
        return not live.row.ended
