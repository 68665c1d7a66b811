"""Where an upload's time goes: seconds of waiting, by cause, of all its connections and of its transfer.

Laws:
- Each connection, and the transfer, waits for one thing at a time; who waits for something else in the middle of a wait
  says `instead`. So the sum is never more than the number of those that wait times the time that has passed.
- What is under way counts up to now.
- Nothing is computed before somebody waits or asks. A wait costs two looks at the clock, once per burst or chunk.
- Event loop only; threads write their `ThreadTime`, which is read here.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import Final, Literal

from app.core.waiting import Cause

__all__ = ["WINDOW_S", "Spent", "ThreadTime", "WaitingTime", "WhereTimeGoes", "slowest", "slowness"]

WINDOW_S: Final = 30.0
_CAUSES: Final = tuple(Cause)
_INDEX: Final = {cause: index for index, cause in enumerate(_CAUSES)}
_COUNT: Final = len(_CAUSES)
_BUCKET_S: Final = 3.0
_BUCKETS: Final = int(WINDOW_S / _BUCKET_S) + 1
_SYNC_S: Final = 1.0  # at most so often the window is brought up to date while nobody asks
_FRESH_S: Final = 0.05
_DISK: Final = _INDEX[Cause.DISK]
_NOTICEABLE: Final = 0.1
"""Of the time that has passed: waiting for less is nothing that keeps anybody."""
_ALWAYS: Final = 0.8
"""Of the time that has passed: who waits for its destination for so much of it gets there no sooner for anything else."""

Spent = dict[Cause, float]
"""Seconds, for every cause."""


class ThreadTime:
    """Seconds that threads, one at a time, wait for something; read by the event loop meanwhile."""

    __slots__ = ("_began", "_spent")

    def __init__(self) -> None:
        """Nothing yet."""
        self._began = 0.0
        self._spent = 0.0

    def begin(self) -> None:
        """The thread waits from now on."""
        self._began = time.monotonic()

    def end(self) -> None:
        """It waits no longer."""
        began, self._began = self._began, 0.0  # in this order: who reads in between sees less, never more
        self._spent += time.monotonic() - began

    def seconds(self, now: float) -> float:
        """So far; `now` is monotonic. Momentarily less than a moment ago, perhaps."""
        spent, began = self._spent, self._began
        return spent + (now - began if began else 0.0)


class _Wait:
    """`with` a wait, or without one for a while."""

    __slots__ = ("_cause", "_enter", "_leave")

    def __init__(self, cause: Cause, enter: Callable[[Cause], None], leave: Callable[[Cause], None]) -> None:
        self._cause = cause
        self._enter = enter
        self._leave = leave

    def __enter__(self) -> None:
        self._enter(self._cause)

    def __exit__(self, *_: object) -> None:
        self._leave(self._cause)


class WaitingTime:
    """Of one upload; a `WaitObserver`."""

    __slots__ = (
        "_born",
        "_clock",
        "_due",
        "_newest",
        "_on_active",
        "_open",
        "_since",
        "_spread_out",
        "_sums",
        "_synced",
        "_threads",
        "_total",
        "_waiting",
        "name",
    )

    def __init__(
        self,
        name: str = "",
        *,
        on_active: Callable[[WaitingTime], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing was waited for.

        Args:
            name: the upload's id.
            on_active: told when waiting begins.
            clock: monotonic seconds; that of `ThreadTime`.
        """
        self.name = name
        self._clock = clock
        self._on_active = on_active
        self._born = self._synced = self._due = clock()
        self._waiting = 0
        self._open = [0] * _COUNT  # how many wait, by cause
        self._since = [0.0] * _COUNT  # until when that is in the total
        self._total = [0.0] * _COUNT
        self._spread_out = [0.0] * _COUNT  # what of the total is in the window's buckets, or was
        self._sums: array[float] | None = None  # the window, by bucket and cause; made when it is needed
        self._newest = 0  # bucket
        self._threads: dict[ThreadTime, float] = {}  # with what was counted of each

    @property
    def active(self) -> bool:
        """Whether anybody waits, or may wait in a thread."""
        return self._waiting > 0 or bool(self._threads)

    def begin(self, cause: Cause) -> None:
        """See `WaitObserver`."""
        index, now = _INDEX[cause], self._clock()
        if not self._waiting and not self._threads:
            self._on_active(self)
        if now >= self._due:
            self._sync(now)
        others = self._open[index]
        if others:
            self._total[index] += others * (now - self._since[index])
        self._since[index] = now
        self._open[index] = others + 1
        self._waiting += 1

    def end(self, cause: Cause) -> None:
        """See `WaitObserver`."""
        index, now = _INDEX[cause], self._clock()
        waiting = self._open[index]
        self._total[index] += waiting * (now - self._since[index])
        self._since[index] = now
        self._open[index] = waiting - 1
        self._waiting -= 1
        if now >= self._due:
            self._sync(now)

    def of(self, cause: Cause) -> _Wait:
        """`with` it: wait for that inside."""
        return _Wait(cause, self.begin, self.end)

    def instead(self, cause: Cause) -> _Wait:
        """`with` it, inside of `of`: do, or wait for, something else."""
        return _Wait(cause, self.end, self.begin)

    def watch(self, thread: ThreadTime) -> None:
        """Count what a thread waits for the disk, until `unwatch`."""
        if not self.active:
            self._on_active(self)
        if (now := self._clock()) >= self._due:
            self._sync(now)
        self._threads[thread] = 0.0

    def unwatch(self, thread: ThreadTime) -> None:
        """It is over."""
        now = self._clock()
        self._total[_DISK] += max(0.0, thread.seconds(now) - self._threads.pop(thread))
        if now >= self._due:
            self._sync(now)

    def total(self) -> list[float]:
        """Seconds since it was made, in the order of `Cause`."""
        now = self._clock()
        seconds = self._total.copy()
        if self._waiting:
            for index, waiting in enumerate(self._open):
                if waiting:
                    seconds[index] += waiting * (now - self._since[index])
        for thread, counted in self._threads.items():
            seconds[_DISK] += max(0.0, thread.seconds(now) - counted)
        return seconds

    def lately(self) -> Spent:
        """Seconds of the last `WINDOW_S`; of the last twentieth of a second perhaps not all yet."""
        now = self._clock()
        if now - self._synced > _FRESH_S:
            self._sync(now)
        sums = self._sums
        if sums is None:
            return dict.fromkeys(_CAUSES, 0.0)
        self._move_window(sums, int(now / _BUCKET_S))
        oldest = (self._newest + 1) % _BUCKETS * _COUNT
        left = now % _BUCKET_S / _BUCKET_S  # of the oldest bucket, what the window has left behind
        return {
            cause: max(0.0, sum(sums[index::_COUNT]) - left * sums[oldest + index]) for cause, index in _INDEX.items()
        }

    @property
    def window_s(self) -> float:
        """How much time `lately` is about."""
        return min(WINDOW_S, self._clock() - self._born)

    def _sync(self, now: float) -> None:
        """Bring everything up to now, and what is new into the window: evenly over the time since the last sync."""
        for index in range(_COUNT):
            if self._open[index]:
                self._total[index] += self._open[index] * (now - self._since[index])
                self._since[index] = now
        for thread, counted in self._threads.items():
            if (seconds := thread.seconds(now)) > counted:
                self._total[_DISK] += seconds - counted
                self._threads[thread] = seconds
        if self._total != self._spread_out:
            for index in range(_COUNT):
                if (fresh := self._total[index] - self._spread_out[index]) > 0:
                    self._spread(index, fresh, now)
            self._spread_out = list(self._total)
        self._synced, self._due = now, now + _SYNC_S

    def _spread(self, index: int, seconds: float, end: float) -> None:
        if self._sums is None:
            self._sums = array("d", bytes(8 * _BUCKETS * _COUNT))
        last = int(end / _BUCKET_S)
        self._move_window(self._sums, last)
        start = min(self._synced, end - 1e-9)
        rate = seconds / (end - start)
        for bucket in range(max(int(start / _BUCKET_S), last - _BUCKETS + 1), last + 1):
            inside = min(end, (bucket + 1) * _BUCKET_S) - max(start, bucket * _BUCKET_S)
            self._sums[bucket % _BUCKETS * _COUNT + index] += rate * inside

    def _move_window(self, sums: array[float], bucket: int) -> None:
        """Let it end with that bucket."""
        for passed in range(max(self._newest + 1, bucket - _BUCKETS + 1), bucket + 1):
            place = passed % _BUCKETS * _COUNT
            sums[place : place + _COUNT] = array("d", bytes(8 * _COUNT))
        self._newest = max(self._newest, bucket)


class WhereTimeGoes:
    """All uploads together, and which of them wait."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nobody waits."""
        self._clock = clock
        self._active: dict[WaitingTime, list[float]] = {}  # with the totals at the last look
        self._looked_at = clock()

    @property
    def active(self) -> list[WaitingTime]:
        """Those that wait, or have waited since the last `per_second`."""
        return list(self._active)

    def of_upload(self, upload_id: str) -> WaitingTime:
        """For a new upload."""
        return WaitingTime(upload_id, on_active=self._note, clock=self._clock)

    def _note(self, waiting: WaitingTime) -> None:
        if waiting not in self._active:
            self._active[waiting] = waiting.total()

    def per_second(self) -> Spent:
        """Seconds of waiting per second since the last call, summed over uploads."""
        now = self._clock()
        passed_s, self._looked_at = max(now - self._looked_at, 1e-9), now
        sums = [0.0] * _COUNT
        for waiting, before in list(self._active.items()):
            after = waiting.total()
            if after != before:
                for index, seconds in enumerate(after):
                    if (fresh := seconds - before[index]) > 0:
                        sums[index] += fresh
            if waiting.active:
                self._active[waiting] = after
            else:
                del self._active[waiting]
        return {cause: sums[index] / passed_s for cause, index in _INDEX.items()}


def slowest(spent: Spent, passed_s: float) -> Cause | None:
    """What most of the waiting was for; None where there was next to none in the time that has passed."""
    cause = max(_CAUSES, key=spent.__getitem__)
    return cause if spent[cause] > _NOTICEABLE * passed_s else None


def slowness(spent: Spent, passed_s: float, receiving: Literal["over", "idle", "busy"]) -> Cause | None:
    """What keeps an upload, of what it has waited for in the last `passed_s` seconds; None: nothing does.

    Args:
        spent: as `WaitingTime.lately` says.
        passed_s: the time that is about.
        receiving: `over` when everything has come, so that the client no longer matters; `idle` while nobody sends.
    """
    if receiving == "over":
        return slowest({**spent, Cause.CLIENT: 0.0}, passed_s)
    # Of eight connections each waits for the same client, and a transfer is but one: if it has always had something to
    # wait for at its destination, that is what decides.
    sending = {cause: spent[cause] for cause in (Cause.DESTINATION, Cause.BACKOFF)}
    if sum(sending.values()) >= _ALWAYS * passed_s > 0:
        return max(sending, key=sending.__getitem__)
    if receiving == "idle":
        return Cause.CLIENT
    return slowest(spent, passed_s)
