"""A circuit breaker: after failures in a row, a destination is left alone for a while and then tried by one.

Pure: time is given.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Breaker"]

_FAILURES: Final = 5
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0


class Breaker:
    """Of one destination. Closed: everybody may; open: nobody before `delay_s`; then half open: one may, until told how it went."""

    def __init__(self, *, failures: int = _FAILURES) -> None:
        """Closed; opens after so many failures in a row."""
        self._limit = failures
        self._failures = 0
        self._pause_s = _FIRST_PAUSE_S
        self._until: float | None = None
        self._probing = False
        self._reason = ""

    @property
    def reason(self) -> str:
        """Why it is open; empty when it is not."""
        return self._reason

    @property
    def is_open(self) -> bool:
        """Whether it keeps anybody waiting."""
        return self._until is not None

    def delay_s(self, now: float) -> float:
        """Seconds after which asking again makes sense; 0: go, and tell how it went.

        One who goes while it is open is the probe: the others wait for what comes of it.
        """
        if self._until is None:
            return 0.0
        if self._probing:
            return self._pause_s
        if now < self._until:
            return self._until - now
        self._probing = True
        return 0.0

    def succeeded(self) -> None:
        """It works."""
        self._failures, self._pause_s, self._until, self._probing, self._reason = 0, _FIRST_PAUSE_S, None, False, ""

    def failed(self, now: float, reason: str, *, pause_s: float | None = None) -> None:
        """It does not; `pause_s`: known to hold for everybody and so long, so open at once."""
        self._failures += 1
        if pause_s is None and self._failures < self._limit and not self._probing:
            return
        self._until = now + (self._pause_s if pause_s is None else pause_s)
        self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * 2)
        self._probing = False
        self._reason = reason

    def abandoned(self) -> None:
        """Whoever went does not know how it would have gone (cancelled, or stopped by something else)."""
        self._probing = False
