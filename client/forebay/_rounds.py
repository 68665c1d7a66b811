"""Sending what is missing: one plan, several lanes.

Laws: a chunk is sent only while the plan holds and the server misses it. A lane whose chunk has been handed to the
network takes the next one while the answer comes; sequentially, a chunk is answered before the next one is sent (both
are `LaneGate`'s). After a connection that broke with bytes under way the server is asked before the chunk is repeated,
since it may have been taken. What shows that the plan no longer fits (409, 404) ends the round: no lane takes another
chunk, those in flight end, and the caller asks and plans anew.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from forebay._http import Api
from forebay._lanes import LaneGate, Place
from forebay._meter import Meter
from forebay._plan import PlannedChunk, is_missing
from forebay._retry import Patience, Retrier
from forebay._source import SourceFile
from forebay.errors import (
    ChunkConflict,
    Conflict,
    ConnectionFailed,
    DigestMismatch,
    FileChanged,
    ForebayError,
    ModeChanged,
    NotFound,
    VerificationFailed,
)
from forebay.models import UploadInfo

__all__ = ["ENDED_STATES", "SEQUENTIAL", "Round", "first_of"]

SEQUENTIAL: Final = "sequential"
ENDED_STATES: Final = frozenset({"completed", "failed", "cancelled", "expired"})

_DIGEST_ATTEMPTS: Final = 3
_WATCH_S: Final = 1.0


@dataclass(slots=True)
class _Known:
    """What is known of a chunk from one attempt to the next."""

    chunk: PlannedChunk
    crc32c: int | None = None
    unsure: bool = False  # bytes were under way when the connection broke
    mismatches: int = 0


def first_of(group: ExceptionGroup[Exception]) -> Exception:
    """The first error in a group of groups: the others follow from the same trouble."""
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


class Round:
    """One plan of one upload in one mode. Used once."""

    def __init__(
        self,
        api: Api,
        source: SourceFile,
        info: UploadInfo,
        chunks: Iterable[PlannedChunk],
        *,
        parallel: int | None,
        meter: Meter,
        patience: Patience,
        retrier: Callable[[int], Retrier],
        crcs: dict[int, int],
    ) -> None:
        """Plan.

        Args:
            api: open.
            source: open.
            info: where the upload stands.
            chunks: to send, in order.
            parallel: chunks sent at once at most, beside the server's own limit.
            meter: told what happens.
            patience: renewed by what arrives.
            retrier: makes the one that repeats a chunk's attempts, given its number.
            crcs: by chunk number; filled with those of the chunks that arrive.
        """
        self._api = api
        self._source = source
        self._info = info
        self._queue = deque(chunks)
        self._meter = meter
        self._patience = patience
        self._retrier = retrier
        self._crcs = crcs
        most = 1 if info.mode == SEQUENTIAL else min(info.max_concurrent_chunks, parallel or info.max_concurrent_chunks)
        self._lanes = max(1, min(most, len(self._queue)))
        self._gate = LaneGate(self._lanes)
        self._outdated: ForebayError | None = None
        self._achieved = 0

    async def run(self) -> None:
        """Send until everything has arrived or the plan is out of date.

        Raises:
            Conflict: the plan was out of date before anything arrived; ask, and try again after a while.
            ForebayError: a chunk can't be sent.
        """
        self._meter.lanes(self._lanes)
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch())
                async with asyncio.TaskGroup() as lanes:
                    for _ in range(self._gate.most_in_flight):
                        lanes.create_task(self._bring_some())
                watch.cancel()
        except ExceptionGroup as group:
            raise first_of(group) from group
        if self._outdated is not None and not self._achieved:
            raise self._outdated

    async def _bring_some(self) -> None:
        """Chunk after chunk; so many do this as chunks may be in flight, and the gate decides how many of them send."""
        while self._queue and self._outdated is None:
            chunk = self._queue.popleft()
            try:
                await self._bring(chunk)
            except ChunkConflict as exc:
                raise FileChanged(
                    f"The server holds other bytes of {self._source.path} than the file has now: it was changed since "
                    "the upload began. Upload it again.",
                ) from exc
            except (Conflict, NotFound) as exc:
                self._outdated = exc

    async def _bring(self, chunk: PlannedChunk) -> None:
        """Attempt after attempt, until the server has the chunk."""
        known = _Known(chunk)
        async for attempt in self._retrier(chunk.number).attempts():
            with attempt:
                async with self._gate.hold(chunk.number) as place:
                    if self._outdated is None:
                        await self._attempt(known, place)

    async def _attempt(self, known: _Known, place: Place) -> None:
        """Send the chunk, unless the server turns out to have it."""
        chunk = known.chunk
        if known.unsure and not await self._is_missing(known):
            return
        if known.crc32c is None:
            known.crc32c = await self._source.crc32c(chunk.offset, chunk.length)
        self._source.check_unchanged()
        with self._meter.flight() as flight:

            def moved(count: int) -> None:
                self._meter.moved(flight, count)
                if flight.sent == chunk.length:
                    self._gate.sent(place)

            try:
                await self._api.put_range(
                    "uploads",
                    self._info.id,
                    "chunks",
                    str(chunk.number),
                    source=self._source,
                    offset=chunk.offset,
                    length=chunk.length,
                    crc32c=known.crc32c,
                    on_piece=moved,
                )
            except ConnectionFailed:
                if flight.sent:
                    known.unsure = True
                    self._patience.moved()
                    self._gate.shrink(place.wave)
                    self._meter.lanes(self._gate.limit)
                raise
            except DigestMismatch as exc:
                self._source.check_unchanged()
                known.mismatches += 1
                known.crc32c = None
                if known.mismatches >= _DIGEST_ATTEMPTS:
                    raise VerificationFailed(
                        f"Chunk {chunk.number} of {self._source.path} arrived damaged {known.mismatches} times. Something "
                        "between here and the server changes bytes; check memory, disk and network hardware.",
                        request_id=exc.request_id,
                    ) from exc
                raise
        self._arrived(known)

    async def _is_missing(self, known: _Known) -> bool:
        """Ask about a chunk whose last answer was lost; one that has arrived is accounted for."""
        info = UploadInfo.from_json(await self._api.get("uploads", self._info.id))
        known.unsure = False
        if not is_missing(known.chunk, info.missing):
            self._arrived(known)
            return False
        if info.mode != self._info.mode:
            self._outdated = ModeChanged(f"The server's mode is {info.mode} now.")
            return False
        return True

    def _arrived(self, known: _Known) -> None:
        if known.crc32c is not None:
            self._crcs[known.chunk.number] = known.crc32c
        self._achieved += 1
        self._patience.renew()
        self._gate.grow()
        self._meter.lanes(self._gate.limit)
        self._meter.acknowledged(known.chunk.length)

    async def _watch(self) -> None:
        """Look at the destination's side and the queue, once a second."""
        while True:
            await asyncio.sleep(_WATCH_S)
            with suppress(ForebayError):  # the lanes meet the same trouble and deal with it
                info = UploadInfo.from_json(await self._api.get("uploads", self._info.id))
                if self._meter.overheard(info):
                    self._patience.renew()
