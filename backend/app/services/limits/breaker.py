"""A circuit breaker: after failures in a row, a destination is left alone for a while and then tried by one.

Laws:
- Closed: everybody may go. Open: nobody before its pause is over; then one, the probe, and the others wait for what
  comes of it.
- What those say who went before it opened (or closed) counts no more: only the probe closes it, or opens it again.
- Failures of those who were under way together are one failure: they met the same trouble.

Pure: time is given.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ["Breaker", "Entry"]

_FAILURES: Final = 5
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0


@dataclass(slots=True, eq=False)
class Entry:
    """Somebody who went."""

    generation: int
    at: float


class Breaker:
    """Of one destination."""

    def __init__(self, *, failures: int = _FAILURES, chance: Callable[[], float] = random.random) -> None:
        """Closed.

        Args:
            failures: in a row, after which it opens.
            chance: from 0 to 1: spreads pauses between three quarters and five quarters of their length.
        """
        self._limit = failures
        self._chance = chance
        self._generation = 0
        self._failures = 0
        self._last_failure = float("-inf")
        self._pause_s = _FIRST_PAUSE_S
        self._until: float | None = None
        self._probe: Entry | None = None
        self.reason = ""
        """Why it is open; empty when it is not."""

    @property
    def is_open(self) -> bool:
        """Whether it keeps anybody waiting."""
        return self._until is not None

    def pause_left_s(self, now: float) -> float | None:
        """Seconds until somebody may try again; None where it is closed, or somebody is trying."""
        return None if self._until is None or self._probe is not None else max(0.0, self._until - now)

    def enter(self, now: float) -> Entry | float:
        """Go, and tell how it went (`works`, `failed`, `left`); or the seconds after which asking again makes sense."""
        if self._until is not None:
            if self._probe is not None:
                return self._pause_s
            if now < self._until:
                return self._until - now
        entry = Entry(self._generation, now)
        if self._until is not None:
            self._probe = entry
        return entry

    def works(self, entry: Entry) -> bool:
        """The destination has answered; returns whether that closed it."""
        if entry is self._probe:
            self._generation += 1
            self._failures, self._pause_s, self._until, self._probe, self.reason = 0, _FIRST_PAUSE_S, None, None, ""
            return True
        if self._until is None and entry.generation == self._generation:
            self._failures = 0
        return False

    def failed(
        self, entry: Entry, now: float, reason: str, *, pause_s: float | None = None, at_least_s: float = 0.0
    ) -> None:
        """It does not work.

        Args:
            entry: who says so.
            now: seconds.
            reason: for whoever asks.
            pause_s: it is known to hold for everybody, and so long: open at once.
            at_least_s: what the destination has asked for (Retry-After).
        """
        if entry is not self._probe:
            if self._until is not None or entry.generation != self._generation:
                return
            if entry.at >= self._last_failure:
                self._failures += 1
                self._last_failure = now
            if pause_s is None and self._failures < self._limit:
                return
        pause = self._pause_s * (0.75 + self._chance() / 2) if pause_s is None else pause_s
        self._until = now + max(pause, at_least_s)
        self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * 2)
        self._generation += 1
        self._probe = None
        self.reason = reason

    def left(self, entry: Entry) -> None:
        """It is over without a verdict (cancelled, or ended by something else): where it was the probe, the next one is."""
        if entry is self._probe:
            self._probe = None
