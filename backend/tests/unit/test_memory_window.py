"""The window of one upload, against sets of bytes: room, order, bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.staging.memory.window import Window

SLAB = 4
MOST = 5
END = 60

extents = st.tuples(st.integers(0, END - 1), st.integers(1, 9)).map(lambda pair: (pair[0], min(END, pair[0] + pair[1])))


class WindowModel(RuleBasedStateMachine):
    """Slabs are numbered as they are handed out; bytes are integers."""

    @initialize(start=st.integers(0, 10))
    def begin(self, start: int) -> None:
        """Anywhere."""
        self.window = Window(SLAB, MOST, start)
        self.handed_out = 0
        self.free: list[int] = []
        self.held: list[tuple[int, int]] = []
        self.kept: dict[int, int] = {}
        self.start = start

    def _slabs(self, count: int) -> list[int]:
        taken = [self.free.pop() if self.free else self._new() for _ in range(count)]
        assert len(set(taken)) == count
        return taken

    def _new(self) -> int:
        self.handed_out += 1
        return self.handed_out

    @rule(extent=extents)
    def admit(self, extent: tuple[int, int]) -> None:
        """Where it fits, and overlaps nothing that is kept otherwise."""
        offset, end = extent
        if offset < self.start or any(low < end and offset < high for low, high in self.kept.items()):
            return
        if not self.window.fits(end):
            assert end - self.window.base > MOST * SLAB
            return
        lacking = self.window.lacks(end)
        assert len(self.window.slabs) + lacking <= MOST
        self.window.admit(offset, end, self._slabs(lacking))
        self.held.append(extent)
        assert self.window.lacks(offset + 1) == 0, "what comes before has room"

    @precondition(lambda self: self.held)
    @rule(index=st.integers(0, 50), whole=st.booleans())
    def leave(self, index: int, whole: bool) -> None:
        """Written to its end and kept, or not."""
        offset, end = self.held.pop(index % len(self.held))
        clear = not any(low < end and offset < high for low, high in [*self.kept.items(), *self.held])
        if whole and clear and offset >= self.start:
            self.window.fill(offset, end)
            self.window.keep(offset, end)
            self.kept[offset] = end
        self.free += self.window.leave(offset, end)

    @rule(position=st.integers(0, END))
    def confirm(self, position: int) -> None:
        """Whole extents, in order."""
        while self.start in self.kept and self.kept[self.start] <= position:
            self.start = self.kept.pop(self.start)
        self.held = [(offset, end) for offset, end in self.held if self._left(offset, end)]
        self.free += self.window.confirm(position)

    def _left(self, offset: int, end: int) -> bool:
        """Nobody holds room for what is confirmed."""
        if end > self.start:
            return True
        self.free += self.window.leave(offset, end)
        return False

    @rule()
    def give_up(self) -> None:
        """What lies behind a gap, when nobody holds room."""
        spare = self.window.spare
        assert not (spare and self.held)
        if not self.held:
            gap, slabs = self.window.give_up()
            assert len(slabs) == spare
            self.free += slabs
            self.kept = {offset: end for offset, end in self.kept.items() if offset < gap}

    @invariant()
    def it_is_as_modelled(self) -> None:
        """Slabs are where they belong, as many as are needed, and what is kept can be read."""
        if not hasattr(self, "window"):
            return
        window = self.window
        assert sorted([*window.slabs, *self.free]) == list(range(1, self.handed_out + 1))
        assert (window.start, window.kept) == (self.start, self.kept)
        farthest = max([self.start, *self.kept.values(), *(end for _, end in self.held)])
        needed = -(-(farthest - window.base) // SLAB) if farthest > self.start else 0
        assert len(window.slabs) == needed <= MOST
        for offset, end in self.kept.items():
            assert window.readable(offset, end - offset) == end - offset
            places = window.places(offset, end - offset)
            assert sum(count for _, _, count in places) == end - offset
        assert window.attended == bool(self.held)


TestWindowModel = WindowModel.TestCase


@given(start=st.integers(0, 100), length=st.integers(1, SLAB * (MOST - 1)))
def test_what_is_a_slab_shorter_than_the_window_fits_wherever_it_begins(start: int, length: int) -> None:
    """That is what is promised to whoever cuts files into chunks."""
    assert Window(SLAB, MOST, start).fits(start + length)


@given(start=st.integers(0, 30), offset=st.integers(0, 20), length=st.integers(1, 20))
def test_places_cover_the_bytes_once_and_in_order(start: int, offset: int, length: int) -> None:
    """Each byte has one place, and the places follow each other."""
    window = Window(SLAB, 20, start)
    position = start + offset
    window.admit(position, position + length, list(range(100, 100 + window.lacks(position + length))))
    bytes_at = [(slab, inside + n) for slab, inside, count in window.places(position, length) for n in range(count)]
    expected = [divmod(position - window.base + n, SLAB) for n in range(length)]
    assert bytes_at == [(100 + number, inside) for number, inside in expected]
