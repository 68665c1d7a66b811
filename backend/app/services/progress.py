"""Rates and counts, for the status page, the progress answers and the metrics. Nothing here does I/O."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.services.limits.durations import DurationHistogram

__all__ = ["RateWindow", "Throughput"]

WINDOW_SECONDS = 10.0


class RateWindow:
    """How much per second over the last `window_s`, in buckets of a tenth of it."""

    def __init__(self, window_s: float = WINDOW_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        """An empty window."""
        self.window_s = window_s
        self._clock = clock
        self._bucket_s = window_s / 10
        self._buckets: list[tuple[int, float]] = []  # a dozen at most; there are two windows for each upload
        self._born = clock()

    def add(self, amount: float = 1) -> None:
        """Count something that happened now."""
        at = int(self._clock() / self._bucket_s)
        if self._buckets and self._buckets[-1][0] == at:
            self._buckets[-1] = (at, self._buckets[-1][1] + amount)
        else:
            self._buckets.append((at, amount))
            self._trim(at)

    def _trim(self, at: int) -> None:
        while self._buckets and self._buckets[0][0] <= at - 10:
            del self._buckets[0]

    @property
    def total(self) -> float:
        """Sum in the window."""
        self._trim(int(self._clock() / self._bucket_s))
        return sum(amount for _, amount in self._buckets)

    @property
    def per_second(self) -> float:
        """Mean rate; over the time since birth while that is shorter than the window."""
        lived = max(self._bucket_s, min(self.window_s, self._clock() - self._born))
        return self.total / lived


class Throughput:
    """What the receiving side of the whole server does."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing yet."""
        self.in_flight = 0
        self.retries_total = 0
        self.bytes_total = 0
        self.chunks_total = 0
        self.came_total = 0
        """Bytes of bodies, recorded later or not at all."""
        self.sent_total = 0
        """Bytes on their way into destinations; what is sent twice counts twice."""
        self.chunk_times = DurationHistogram()
        """From a chunk's headers to its acknowledgement; whoever shows them takes them."""
        self.chunks = RateWindow(clock=clock)
        self.failures = RateWindow(clock=clock)
        self.bytes = RateWindow(clock=clock)

    def recorded(self, length: int, *, chunks: int = 1) -> None:
        """So many bytes are here and may be acknowledged; with them so many chunks are whole."""
        self.chunks.add(chunks)
        self.bytes.add(length)
        self.chunks_total += chunks
        self.bytes_total += length

    def came(self, count: int) -> None:
        """So many bytes of bodies have come."""
        self.came_total += count

    def sent(self, length: int) -> None:
        """So many bytes are with a destination, or digested where it takes the file over."""
        self.sent_total += length

    @property
    def error_rate(self) -> float:
        """Failed chunks over all ended ones in the window, from 0 to 1; a client that left is no error."""
        failed = self.failures.total
        ended = failed + self.chunks.total
        return failed / ended if ended else 0.0
