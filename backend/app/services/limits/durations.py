"""Durations, counted in buckets that grow by a fifth: quantiles in a fixed amount of memory. Pure."""

from __future__ import annotations

import math
from array import array
from typing import Final, Self

__all__ = ["DurationHistogram"]

_SHORTEST_S: Final = 0.001
_PER_OCTAVE: Final = 4
_BUCKETS: Final = 1 + 22 * _PER_OCTAVE  # up to an hour and more


class DurationHistogram:
    """A quantile is right to a tenth of itself; below a millisecond and above an hour nothing is told apart."""

    __slots__ = ("_counts", "count")

    def __init__(self) -> None:
        """Empty."""
        self._counts = array("L", bytes(array("L").itemsize * _BUCKETS))
        self.count = 0

    def add(self, seconds: float) -> None:
        """Something took so long."""
        place = 0 if seconds <= _SHORTEST_S else int(math.log2(seconds / _SHORTEST_S) * _PER_OCTAVE) + 1
        self._counts[min(place, _BUCKETS - 1)] += 1
        self.count += 1

    def merge(self, other: Self) -> None:
        """Count what the other has counted as well."""
        if other.count:
            for place, count in enumerate(other._counts):
                self._counts[place] += count
            self.count += other.count

    def quantile(self, share: float) -> float | None:
        """Seconds that this share of all, from 0 to 1, did not exceed; None when there are none."""
        if not self.count:
            return None
        reached, place = self._counts[0], 0
        while reached < math.ceil(share * self.count):
            place += 1
            reached += self._counts[place]
        return _SHORTEST_S * 2.0 ** ((place - 0.5) / _PER_OCTAVE) if place else _SHORTEST_S
