"""The window of one upload: which of its bytes have room, and in which slabs. Pure: no memory, no clock, no waiting.

Laws:
- An upload's room is one run of slabs, from its first byte that is not confirmed to the farthest byte admitted. So what
  is admitted anywhere has the room for all that comes before it: bytes that come in order never wait for room that
  those behind them hold, and an upload that has room can always get on.
- The run is never longer than `most` slabs. It grows by what is admitted, and shrinks in front by whole extents that
  are confirmed, behind by what nobody keeps or holds room for.
- Bytes can be read when their extent was written to its end (`filled`); what is in a slab besides is another upload's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from app.core.ranges import RangeSet

__all__ = ["Window"]


class Window:
    """Positions in bytes from the file's first; slabs are numbers."""

    def __init__(self, slab_bytes: int, most: int, start: int = 0) -> None:
        """Begin at `start` without any room.

        Args:
            slab_bytes: size of a slab.
            most: slabs that the run may have.
            start: the first byte that is not confirmed.
        """
        self._slab_bytes = slab_bytes
        self._most = most
        self.start = start
        self.slabs: deque[int] = deque()
        self.kept: dict[int, int] = {}
        """Ends of the extents that stay until they are confirmed, by offset."""
        self.filled = RangeSet()
        self._wanted: list[tuple[int, int]] = []  # offset and end of the room that is held

    @property
    def base(self) -> int:
        """Position of the first slab's first byte."""
        return self.start - self.start % self._slab_bytes

    @property
    def in_order(self) -> int:
        """Up to where extents are kept without a gap."""
        position = self.start
        while (end := self.kept.get(position)) is not None:
            position = end
        return position

    def _slabs_to(self, end: int) -> int:
        """Length of a run that reaches `end`."""
        return -(-(end - self.base) // self._slab_bytes) if end > self.start else 0

    def fits(self, end: int) -> bool:
        """Whether the run may reach `end`."""
        return self._slabs_to(end) <= self._most

    def lacks(self, end: int) -> int:
        """Slabs that the run needs more to reach `end`."""
        return max(0, self._slabs_to(end) - len(self.slabs))

    def admit(self, offset: int, end: int, slabs: Sequence[int]) -> None:
        """Hold room for an extent; `slabs` are those that were lacking."""
        self.slabs.extend(slabs)
        self._wanted.append((offset, end))

    def leave(self, offset: int, end: int) -> list[int]:
        """Hold that room no longer; returns the slabs that came free."""
        self._wanted.remove((offset, end))
        if offset not in self.kept and (offset, end) not in self._wanted:
            self._empty(offset, end)
        return self._trim()

    @property
    def attended(self) -> bool:
        """Whether somebody holds room."""
        return bool(self._wanted)

    def keep(self, offset: int, end: int) -> None:
        """The extent stays until it is confirmed."""
        self.kept[offset] = end

    def fill(self, offset: int, end: int) -> None:
        """These bytes were written, to the last."""
        if max(offset, self.start) < end:
            self.filled.add(max(offset, self.start), end)

    def readable(self, offset: int, length: int) -> int:
        """How many of `length` bytes from `offset` can be read in one go."""
        return next((min(length, end - offset) for start, end in self.filled if start <= offset < end), 0)

    def confirm(self, position: int) -> list[int]:
        """Let go of kept extents before `position`, whole and in order; returns the slabs that came free."""
        before = self.base
        while (end := self.kept.get(self.start)) is not None and end <= position:
            del self.kept[self.start]
            self.start = end
        self._empty(0, self.start)
        passed = [self.slabs.popleft() for _ in range((self.base - before) // self._slab_bytes)]
        return passed + self._trim()

    @property
    def spare(self) -> int:
        """Slabs that would come free by letting go of what is kept behind the first gap."""
        return 0 if self._wanted else len(self.slabs) - self._slabs_to(self.in_order)

    def give_up(self) -> tuple[int, list[int]]:
        """Let go of kept extents behind the first gap; returns its position and the slabs that came free."""
        gap = self.in_order
        self.kept = {offset: end for offset, end in self.kept.items() if offset < gap}
        return gap, self._trim()

    def places(self, position: int, length: int) -> list[tuple[int, int, int]]:
        """Where these bytes are: (slab, offset in it, bytes), in order.

        Raises:
            IndexError: there is no room for some of them.
        """
        size, pieces = self._slab_bytes, []
        at, end = position - self.base, position - self.base + length
        if position < self.start or end > len(self.slabs) * size:
            raise IndexError(f"no room for {length} bytes at {position}")
        while at < end:
            number, inside = divmod(at, size)
            count = min(size - inside, end - at)
            pieces.append((self.slabs[number], inside, count))
            at += count
        return pieces

    def _trim(self) -> list[int]:
        """Shorten the run to what is kept or wanted; what is cut off can't be read any more."""
        end = max([self.start, *self.kept.values(), *(end for _, end in self._wanted)])
        cut = [self.slabs.pop() for _ in range(len(self.slabs) - self._slabs_to(end))]
        if cut:
            self._empty(end, end + (len(cut) + 1) * self._slab_bytes)
        return cut

    def _empty(self, offset: int, end: int) -> None:
        if offset < end:
            self.filled.remove(offset, end)
