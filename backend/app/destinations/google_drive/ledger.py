"""How much was sent in the last 24 hours: Google takes 750 GB a day from one account, then nothing for hours.

Laws:
- What was sent counts, also what has to be sent again: rather too much than too little.
- An hour's bytes count until the whole hour is more than 24 hours ago. A clock that was set back makes them count longer,
  never shorter.
- Near the limit nothing is begun; the wait until enough has fallen out of the window is known. We do not go on with
  another account.
- What is kept (`KeepsValues`) is added to, so that several destinations of one account count together; it may lag behind
  by some hundred MiB; not being able to keep it stops no upload.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from typing import Final

from app.core.errors import DestinationQuotaReached, ForebayError
from app.core.upload import MIB
from app.destinations.port import KeepsValues

__all__ = ["DailyWindow", "Ledger"]

_HOUR_S: Final = 3600
_WINDOW_S: Final = 24 * _HOUR_S
_UNSAVED_BYTES: Final = 256 * MIB
_UNSAVED_S: Final = 60.0
_NEAR: Final = 0.9  # of the limit: from there on an ambiguous refusal is believed to be the daily limit
_BELIEVED_AFTER_S: Final = 600.0
_GUESSED_WAIT_S: Final = 900


class DailyWindow:
    """Bytes by hour. Pure: times are given, in seconds since the epoch."""

    def __init__(self, hours: dict[int, int] | None = None) -> None:
        """From what `dump` gave, as far as it makes sense."""
        self._hours = dict(hours or {})

    def add(self, size: int, now: float) -> None:
        """So many bytes were sent."""
        self._tidy(now)
        hour = int(now // _HOUR_S)
        self._hours[hour] = self._hours.get(hour, 0) + size

    def sent(self, now: float) -> int:
        """Bytes in the window."""
        self._tidy(now)
        return sum(self._hours.values())

    def wait_s(self, limit: int, size: int, now: float) -> int:
        """Seconds until `size` bytes are within the limit; 0: they are; of more than the limit, until the window is empty."""
        surplus = self.sent(now) + min(size, limit) - limit
        if surplus <= 0:
            return 0
        for hour in sorted(self._hours):
            surplus -= self._hours[hour]
            if surplus <= 0:
                return max(1, int((hour + 1) * _HOUR_S + _WINDOW_S - now) + 1)
        return _WINDOW_S

    def dump(self) -> str:
        """For `parse`."""
        return json.dumps({str(hour): size for hour, size in sorted(self._hours.items())})

    @classmethod
    def parse(cls, text: str | None) -> DailyWindow:
        """What `dump` made; anything else is an empty one."""
        try:
            said = json.loads(text or "{}")
            return cls({int(hour): int(size) for hour, size in said.items() if int(size) > 0})
        except (ValueError, AttributeError, TypeError):
            return cls()

    def merge(self, other: DailyWindow) -> None:
        """Count what the other has as well."""
        for hour, size in other._hours.items():
            self._hours[hour] = self._hours.get(hour, 0) + size

    def _tidy(self, now: float) -> None:
        present = int(now // _HOUR_S)
        for hour in [hour for hour in self._hours if (hour + 1) * _HOUR_S + _WINDOW_S <= now]:
            del self._hours[hour]
        for hour in [hour for hour in self._hours if hour > present]:  # the clock was set back
            self._hours[present] = self._hours.get(present, 0) + self._hours.pop(hour)


class Ledger:
    """Of one account. Event loop only."""

    def __init__(
        self, limit: int, *, key: str, values: KeepsValues | None, clock: Callable[[], float] = time.time
    ) -> None:
        """Describe it.

        Args:
            limit: bytes in 24 hours.
            key: under which `values` keeps it.
            values: None: it begins anew with each life of the server.
            clock: seconds since the epoch.
        """
        self.limit = limit
        self._key = key
        self._values = values
        self._clock = clock
        self._window = DailyWindow()
        self._unsaved = DailyWindow()
        self._loaded = values is None
        self._saved_at = time.monotonic()
        self._saving: asyncio.Task[None] | None = None
        self._refused_since: float | None = None

    @property
    def sent(self) -> int:
        """Bytes in the last 24 hours."""
        return self._window.sent(self._clock())

    @property
    def known(self) -> int | None:
        """The same, for people: None as long as what was kept could not be read."""
        return self.sent if self._loaded else None

    @property
    def left(self) -> int:
        """Bytes that may still be sent now."""
        return max(0, self.limit - self.sent)

    async def load(self) -> None:
        """Take over what was kept, once that can be read."""
        if self._loaded or self._values is None:
            return
        with suppress(ForebayError):
            self._take(DailyWindow.parse(await self._values.get(self._key)))

    def _take(self, kept: DailyWindow) -> None:
        """What is kept, and what is not kept yet."""
        kept.merge(self._unsaved)
        self._window, self._loaded = kept, True

    def check(self, size: int) -> None:
        """Before so many bytes are begun to be sent; of many, enough that it is worth while.

        Raises:
            DestinationQuotaReached: they are not to be sent now.
        """
        if self._wait_s(size):
            raise self.reached(size)

    def reached(self, size: int) -> DestinationQuotaReached:
        """The error that says when so many bytes are within the limit again."""
        return _reached(max(1, self._wait_s(size)))

    def _wait_s(self, size: int) -> int:
        return self._window.wait_s(self.limit, min(size, max(1, self.limit // 100)), self._clock())

    def may_send(self, size: int) -> bool:
        """While bytes are being sent: whether so many more are within the limit."""
        return size <= self.left

    def spend(self, size: int) -> None:
        """So many were sent."""
        now = self._clock()
        self._window.add(size, now)
        self._unsaved.add(size, now)
        if self._unsaved.sent(now) >= _UNSAVED_BYTES or time.monotonic() - self._saved_at > _UNSAVED_S:
            self._save_soon()

    def begun(self) -> None:
        """Drive let an upload begin: what it refused before was not the daily limit."""
        self._refused_since = None

    def believe(self) -> DestinationQuotaReached | None:
        """Drive refused to let an upload begin with words that may mean the daily limit, or nothing much; the error if so.

        Believed near the limit by our own count, or when no upload could begin for a while, however many have tried.
        """
        now = time.monotonic()
        since = self._refused_since = now if self._refused_since is None else self._refused_since
        if self.sent < _NEAR * self.limit and now - since < _BELIEVED_AFTER_S:
            return None
        return _reached(max(_GUESSED_WAIT_S, self._wait_s(self.limit)))

    async def aclose(self) -> None:
        """Keep what is not kept yet."""
        if self._saving is not None:
            await asyncio.wait({self._saving})
        if self._unsaved.sent(self._clock()):
            await self._save()

    def _save_soon(self) -> None:
        if self._values is not None and (self._saving is None or self._saving.done()):
            self._saving = asyncio.create_task(self._save(), name="drive-ledger", context=Context())

    async def _save(self) -> None:
        if self._values is None:
            return
        self._saved_at = time.monotonic()
        saved, self._unsaved = self._unsaved, DailyWindow()
        try:
            kept = DailyWindow.parse(await self._values.get(self._key))
            kept.merge(saved)
            kept.sent(self._clock())  # lets go of what has fallen out
            await self._values.set(self._key, kept.dump())
        except BaseException as exc:
            self._unsaved.merge(saved)
            if not isinstance(exc, ForebayError):
                raise
        else:
            self._take(kept)


def _reached(wait_s: int) -> DestinationQuotaReached:
    return DestinationQuotaReached(
        "Google Drive takes no more from this account for some time: the limit of uploads in 24 hours is reached. What was"
        " received is kept and goes there when it does again.",
        retry_after_s=wait_s,
    )
