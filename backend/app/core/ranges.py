"""Sets of byte positions as sorted, disjoint, half-open ranges `[start, end)`.

Laws: ranges never touch or overlap (adding coalesces); start < end; all in bytes from the file's first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

__all__ = ["ByteRange", "RangeSet"]

ByteRange = tuple[int, int]


class RangeSet:
    """Which bytes are there."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[ByteRange] = ()) -> None:
        """Build from ranges in any order; overlaps are merged."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in ranges:
            self.add(start, end)

    def __iter__(self) -> Iterator[ByteRange]:
        """Ranges in order."""
        return zip(self._starts, self._ends, strict=True)

    def __len__(self) -> int:
        """Count of separate ranges."""
        return len(self._starts)

    def __eq__(self, other: object) -> bool:
        """Equal when they hold the same bytes."""
        if not isinstance(other, RangeSet):
            return NotImplemented
        return self._starts == other._starts and self._ends == other._ends

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Show the ranges."""
        return f"RangeSet({list(self)})"

    @property
    def total(self) -> int:
        """How many bytes are in the set."""
        return sum(self._ends) - sum(self._starts)

    @property
    def prefix(self) -> int:
        """Length of the unbroken run from byte 0."""
        return self._ends[0] if self._starts and self._starts[0] == 0 else 0

    def add(self, start: int, end: int) -> None:
        """Add `[start, end)`.

        Raises:
            ValueError: when the range is empty or negative.
        """
        if not 0 <= start < end:
            msg = f"not a range: [{start}, {end})"
            raise ValueError(msg)
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def remove(self, start: int, end: int) -> None:
        """Take `[start, end)` out, as far as it was in."""
        kept = [
            piece
            for low, high in self
            for piece in ((low, min(high, start)), (max(low, end), high))
            if piece[0] < piece[1]
        ]
        self._starts = [low for low, _ in kept]
        self._ends = [high for _, high in kept]

    def covers(self, start: int, end: int) -> bool:
        """Whether all of `[start, end)` is in the set; an empty range always is."""
        if start >= end:
            return True
        at = bisect_right(self._starts, start) - 1
        return at >= 0 and self._ends[at] >= end

    def overlaps(self, start: int, end: int) -> bool:
        """Whether any byte of `[start, end)` is in the set."""
        at = bisect_right(self._ends, start)
        return start < end and at < len(self._starts) and self._starts[at] < end

    def missing(self, total: int, most: int | None = None) -> list[ByteRange]:
        """What of `[0, total)` is not in the set, in order; the first `most` ranges when given."""
        gaps: list[ByteRange] = []
        position = 0
        for start, end in self:
            if position < start:
                gaps.append((position, min(start, total)))
            position = end
            if position >= total or len(gaps) == most:
                return gaps
        if position < total and len(gaps) != most:
            gaps.append((position, total))
        return gaps
