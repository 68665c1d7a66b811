"""Slots: permits to have an active upload, so that as many are under way as the machine does well with.

Laws:
- A slot belongs to an upload, not to a connection: any number of connections `hold` it at once, and it is counted once.
- While somebody holds it, it does not expire. When the last one leaves, it stays with the upload for `idle_s`, so that
  the next chunk finds it; then it goes to the next. An idle resumable upload therefore has none.
- After `release` (receiving has ended) it goes as soon as nobody holds it.
- A free slot and a waiter that may have it never exist together: whatever frees one hands it on in the same call.
  Order and limits are `FairSlots`'s; a newcomer that finds a slot free goes the same way, so nobody is overtaken.
- Connections of one waiting upload wait as one entry of the queue, each with its own deadline; the entry goes with the
  last of them.
- Everything runs on the event loop's thread; there is no lock.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from app.core.errors import ForebayError, LimitReached, ShuttingDown, StateConflict
from app.services.limits.fair_slots import FairSlots

__all__ = ["ConcurrencyStats", "UploadConcurrencyManager"]


@dataclass(frozen=True, slots=True)
class ConcurrencyStats:
    """The slots at this moment."""

    active_uploads: int
    max_uploads: int
    active_users: int
    max_users: int
    queued: int
    refused_total: int


@dataclass(eq=False, slots=True)
class _Slot:
    upload_id: str
    owner: str
    holders: int = 0
    used: bool = False  # somebody got as far as holding it; before that nothing is worth keeping it for
    ended: bool = False


@dataclass(eq=False, slots=True)
class _Entry:
    upload_id: str
    owner: str
    waiters: set[asyncio.Future[_Slot]] = field(default_factory=set)


class UploadConcurrencyManager:
    """Gives uploads their slots, fairly."""

    def __init__(
        self,
        *,
        max_uploads: int,
        max_users: int,
        max_uploads_per_user: int | None,
        queue_limit: int,
        queue_timeout_s: float,
        idle_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set the limits.

        Args:
            max_uploads: slots.
            max_users: distinct owners with a slot.
            max_uploads_per_user: slots of one owner; None: no limit of its own.
            queue_limit: uploads that may wait.
            queue_timeout_s: longest wait of a connection, in seconds.
            idle_s: how long a slot outlasts its last holder, in seconds.
            clock: seconds, never going back, at the pace of the event loop's.

        Raises:
            ValueError: a limit below 1.
        """
        self._fair = FairSlots(max_slots=max_uploads, max_owners=max_users, max_per_owner=max_uploads_per_user)
        self._queue_limit = queue_limit
        self._queue_timeout_s = queue_timeout_s
        self._idle_s = idle_s
        self._clock = clock
        self._slots: dict[str, _Slot] = {}
        self._idle: OrderedDict[str, float] = OrderedDict()  # slots nobody holds, by deadline (all wait equally long)
        self._idle_timer: asyncio.TimerHandle | None = None
        self._entries: dict[str, _Entry] = {}
        self._admitting = True
        self._closed = False
        self._refused_total = 0

    @property
    def stats(self) -> ConcurrencyStats:
        """Slots out, limits, who waits, and how many calls were refused so far."""
        return ConcurrencyStats(
            active_uploads=self._fair.slots,
            max_uploads=self._fair.max_slots,
            active_users=self._fair.owners,
            max_users=self._fair.max_owners,
            queued=self._fair.queued,
            refused_total=self._refused_total,
        )

    @asynccontextmanager
    async def hold(self, upload_id: str, owner: str) -> AsyncIterator[None]:
        """Keep the upload's slot, taking one first if it has none; waits in turn. Cancelling it loses no slot.

        Args:
            upload_id: whose slot.
            owner: of the upload, always the same one.

        Raises:
            LimitReached: no slot came within the waiting time; or too many uploads wait, this owner's the most.
            StateConflict: `release` was called for the upload while it waited.
            ShuttingDown: the upload has no slot, and no new ones are given out any more.
        """
        slot = self._slots.get(upload_id)
        if slot is None:
            slot = await self._wait_for_slot(upload_id, owner)
        else:
            self._idle.pop(upload_id, None)
            slot.holders += 1
        slot.used = True
        try:
            yield
        finally:
            self._leave(slot)

    def release(self, upload_id: str) -> None:
        """Receiving has ended, well or not: the slot goes now, or with its last holder. No effect without a slot.

        If the upload is waiting for one, whoever waits gets StateConflict.
        """
        slot = self._slots.get(upload_id)
        if slot is not None:
            slot.ended = True
            if not slot.holders:
                self._return(slot)
        entry = self._entries.get(upload_id)
        if entry is not None:
            self._dismiss(entry, StateConflict)

    def queue_position(self, upload_id: str) -> int | None:
        """Where a waiting upload is in the order in which slots are granted; 1 is next; None when it does not wait."""
        entry = self._entries.get(upload_id)
        return None if entry is None else self._fair.position(entry.owner, upload_id)

    def stop_admission(self) -> None:
        """Give out no slots any more: whoever waits gets ShuttingDown; uploads that have one may go on. Idempotent."""
        self._admitting = False
        for entry in list(self._entries.values()):
            self._dismiss(entry, ShuttingDown)

    def close(self) -> None:
        """Stop admission, take back idle slots and stop the timer; slots that are held go with their last holder."""
        self.stop_admission()
        self._closed = True
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        for upload_id in list(self._idle):
            self._return(self._slots[upload_id])

    async def _wait_for_slot(self, upload_id: str, owner: str) -> _Slot:
        if not self._admitting:
            raise ShuttingDown
        loop = asyncio.get_running_loop()
        granted: asyncio.Future[_Slot] = loop.create_future()
        entry = self._entries.get(upload_id)
        if entry is not None:
            entry.waiters.add(granted)
        else:
            entry = self._entries[upload_id] = _Entry(upload_id, owner, {granted})
            self._fair.enqueue(owner, upload_id)
            self._expire()
            if self._fair.queued > self._queue_limit:
                self._dismiss(self._entries[self._fair.overflow(owner).item], LimitReached)
        if granted.done():
            return granted.result()
        timer = loop.call_later(self._queue_timeout_s, self._give_up, entry, granted)
        try:
            return await granted
        except asyncio.CancelledError:
            # Granted in the very tick of the cancellation: the slot goes back, and with that to the next in turn.
            if not granted.cancelled() and granted.exception() is None:
                self._leave(granted.result())
            else:
                self._drop(entry, granted)
            raise
        finally:
            timer.cancel()

    def _hand_out(self) -> None:
        """Give free slots to whoever is next, until there is no more of either."""
        while self._admitting and (grant := self._fair.next_grant()) is not None:
            entry = self._entries.pop(grant.item)
            waiters = [waiter for waiter in entry.waiters if not waiter.done()]
            if not waiters:  # they are all being cancelled: that costs the owner's next upload no turn
                self._fair.withdraw(grant.owner, grant.item)
                continue
            self._fair.grant_next()
            slot = self._slots[grant.item] = _Slot(entry.upload_id, entry.owner, holders=len(waiters))
            for waiter in waiters:
                waiter.set_result(slot)

    def _leave(self, slot: _Slot) -> None:
        slot.holders -= 1
        if slot.holders:
            return
        if slot.ended or self._closed or not slot.used:
            self._return(slot)
        else:
            self._idle[slot.upload_id] = self._clock() + self._idle_s
            self._watch_idle()

    def _return(self, slot: _Slot) -> None:
        self._idle.pop(slot.upload_id, None)
        del self._slots[slot.upload_id]
        self._fair.give_back(slot.owner)
        self._hand_out()

    def _expire(self) -> None:
        """Take back the slots that have been idle for their time, and hand out what is free."""
        now = self._clock()
        while self._idle:
            upload_id, deadline = next(iter(self._idle.items()))
            if deadline > now:
                break
            self._return(self._slots[upload_id])
        self._hand_out()

    def _watch_idle(self) -> None:
        if self._idle and self._idle_timer is None:
            deadline = next(iter(self._idle.values()))
            delay_s = max(0.0, deadline - self._clock())
            self._idle_timer = asyncio.get_running_loop().call_later(delay_s, self._idle_due)

    def _idle_due(self) -> None:
        # A slot taken up again leaves its timer running: it fires for nothing, once, and is set for the next deadline.
        self._idle_timer = None
        self._expire()
        self._watch_idle()

    def _give_up(self, entry: _Entry, granted: asyncio.Future[_Slot]) -> None:
        if not granted.done():
            self._refused_total += 1
            granted.set_exception(LimitReached())
            self._drop(entry, granted)

    def _dismiss(self, entry: _Entry, error: type[ForebayError]) -> None:
        """Send away everybody who waits in this entry."""
        for granted in list(entry.waiters):
            if not granted.done():
                if error is LimitReached:
                    self._refused_total += 1
                granted.set_exception(error())
            self._drop(entry, granted)

    def _drop(self, entry: _Entry, granted: asyncio.Future[_Slot]) -> None:
        """One waiter less; the entry goes with its last."""
        entry.waiters.discard(granted)
        if not entry.waiters and self._entries.get(entry.upload_id) is entry:
            del self._entries[entry.upload_id]
            self._fair.withdraw(entry.owner, entry.upload_id)
            self._hand_out()  # who waited for a seat may have held another back
