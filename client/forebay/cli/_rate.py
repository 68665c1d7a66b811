"""Rate over the last seconds, and the time left at that rate."""

from __future__ import annotations

from collections import deque

__all__ = ["RateWindow"]


class RateWindow:
    """Rate of a count of bytes that grows, over a sliding window. Times in seconds of a monotonic clock."""

    def __init__(self, window_s: float = 8.0) -> None:
        self._window_s = window_s
        self._points: deque[tuple[float, int]] = deque()

    def add(self, now: float, count: int) -> None:
        """The count at a time. A count that went back (what was under way was lost) starts the window anew."""
        if self._points and count < self._points[-1][1]:
            self._points.clear()
        self._points.append((now, count))
        while len(self._points) > 2 and now - self._points[1][0] >= self._window_s:  # noqa: PLR2004 - a slope needs two
            self._points.popleft()

    def per_second(self, now: float) -> float | None:
        """Bytes per second up to now, so that a standstill shows; None while nothing can be said."""
        if not self._points:
            return None
        (since, first), (_, last) = self._points[0], self._points[-1]
        elapsed = now - since
        return (last - first) / elapsed if elapsed > 0 and len(self._points) > 1 else None

    def seconds_for(self, now: float, count: int) -> float | None:
        """How long `count` more bytes will take; None while nothing can be said."""
        rate = self.per_second(now)
        return count / rate if rate else None
