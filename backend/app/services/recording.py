"""What is staged becomes recorded: in the database first, then in the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from app.core.errors import DatabaseUnavailable, ForebayError
from app.core.upload import Extent, UploadState
from app.persistence.repository import Repository
from app.services.interruption import unbroken
from app.services.live import LiveUpload

__all__ = ["Recorder", "record_extents"]


async def record_extents(
    repository: Repository, live: LiveUpload, extents: Sequence[Extent], *, at_s: float, durable: bool = False
) -> None:
    """Tell the database, then everybody; to be run `unbroken`.

    Args:
        repository: the database.
        live: the upload.
        extents: staged whole, and not recorded before.
        at_s: service seconds.
        durable: survives a power cut (the bytes must have been synced before).

    Raises:
        DatabaseUnavailable: it is not told; or it is, and said that it was not.
        NotFound, StateConflict: the database knows that the upload has ended.
    """
    try:
        await repository.record_extents(
            live.row.id, extents, active_at_s=at_s, state=UploadState.RECEIVING, durable=durable
        )
    except DatabaseUnavailable:
        live.doubt()
        raise
    if live.row.state is UploadState.CREATED:
        live.row = live.row.become(UploadState.RECEIVING)
    live.row = replace(live.row, active_at_s=at_s)
    for extent in extents:
        for number in live.row.grid.numbers_of(extent):
            live.attempts.pop(number, None)
            live.failed_chunks.discard(number)
        live.record(extent)


class Recorder:
    """Records pieces of one request while what comes behind them is received.

    Laws: in order, one transaction at a time; behind one that failed none is begun, so that nothing recorded has a gap
    before it. Event loop only.
    """

    def __init__(
        self,
        record: Callable[[Sequence[Extent]], Coroutine[Any, Any, None]],
        on_failure: Callable[[ForebayError], None],
    ) -> None:
        """Record nothing yet.

        Args:
            record: in one transaction.
            on_failure: told at once of what `record` raises.
        """
        self._record = record
        self._on_failure = on_failure
        self._last: asyncio.Task[None] | None = None

    @property
    def used(self) -> bool:
        """Whether there was anything to record."""
        return self._last is not None

    def add(self, extents: Sequence[Extent]) -> asyncio.Task[None]:
        """Record these together, behind those before. The task is for `over`."""
        self._last = asyncio.create_task(self._behind(self._last, extents), name="record-pieces")
        return self._last

    async def _behind(self, before: asyncio.Task[None] | None, extents: Sequence[Extent]) -> None:
        if before is not None:
            await before
        try:
            await self._record(extents)
        except ForebayError as exc:
            self._on_failure(exc)
            raise

    async def over(self, task: asyncio.Task[None] | None = None) -> None:
        """Return when that, or all, is recorded, or will not be; also when cancelled, then the cancellation goes on.

        Raises:
            What `record` has raised.
        """
        if (awaited := task or self._last) is not None:
            await unbroken(_result(awaited))


async def _result(task: asyncio.Task[None]) -> None:
    await task
