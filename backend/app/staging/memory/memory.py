"""Staging in memory: slabs of a fixed number, of which each upload has a window.

Laws:
- The memory is one mapping, made by `open` and by nobody else; it never grows. Its pages become resident as they are
  first used, those used last first.
- Which slabs are whose is decided on the event loop (`Window`); threads only look it up, under the lock, and copy
  without it. A window that was given up meanwhile is void: its slabs go to others when the last copy has ended.
- A slab that is free and a waiter that could have it never exist together. Uploads get room in turns; when the next in
  turn needs more than there is, nobody behind it gets any, so that it can't be starved by those who need less.
- Nothing of it survives the process.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from app.core.errors import PoolExhausted, RoomLost, StagingUnavailable
from app.core.upload import Extent
from app.posix.memory import Arena
from app.staging.memory.window import Window
from app.staging.port import Durability

__all__ = ["MemoryRoom", "MemorySpace", "MemoryStaging"]

_NO_PLACE: Final = "The upload has no place in the staging area."


@dataclass(frozen=True, slots=True)
class MemorySpace:
    """Room in bytes, and who waits for some."""

    total_bytes: int
    free_bytes: int
    reserved_bytes: int  # in use
    waiting: int


@dataclass(slots=True, eq=False)
class _Waiter:
    offset: int
    end: int
    granted: asyncio.Future[MemoryRoom]


class _Place:
    """An upload's window with what surrounds it; never used again once it is void."""

    __slots__ = ("copying", "upload_id", "void", "waiters", "window")

    def __init__(self, upload_id: str, window: Window) -> None:
        self.upload_id = upload_id
        self.window = window
        self.waiters: list[_Waiter] = []  # by position
        self.copying = 0  # threads that copy into or out of it
        self.void = False


class MemoryRoom:
    """`Room`, on loan."""

    __slots__ = ("_left", "_place", "_staging", "end", "offset")

    def __init__(self, staging: MemoryStaging, place: _Place, offset: int, end: int) -> None:
        self._staging = staging
        self._place = place
        self._left = False
        self.offset = offset
        self.end = end

    def keep(self, end: int | None = None) -> None:
        """The extent stays, or what of it comes before `end`."""
        if self._left:
            raise RuntimeError("room that was given back can't be kept")
        if self._place.void:
            raise RoomLost
        self._place.window.keep(self.offset, self.end if end is None else end)

    def release(self) -> None:
        """Give back what was not kept; idempotent."""
        if not self._left:
            self._left = True
            self._staging._leave(self._place, self.offset, self.end)  # noqa: SLF001 - lease and staging are one unit


class MemoryWriter:
    """`StagingWriter` into room that somebody holds. The lock makes a close wait for the copy it would cut."""

    __slots__ = ("_begin", "_lock", "_place", "_position", "_staging")

    def __init__(self, staging: MemoryStaging, place: _Place, offset: int) -> None:
        self._staging = staging
        self._place: _Place | None = place
        self._begin = self._position = offset
        self._lock = Lock()

    @property
    def position(self) -> int:
        """Absolute offset of the next byte."""
        return self._position

    def write(self, view: memoryview) -> None:
        """Copy all of `view` to `position`."""
        with self._lock:
            self._staging._put(self._opened(), self._position, view)  # noqa: SLF001 - one unit
            self._position += len(view)

    def finish(self, durability: Durability) -> None:
        """The extent is written; no memory survives a power cut, whatever is asked for."""
        del durability
        with self._lock:
            self._staging._fill(self._opened(), self._begin, self._position)  # noqa: SLF001

    def close(self) -> None:
        """Write no more; idempotent."""
        with self._lock:
            self._place = None

    def _opened(self) -> _Place:
        if self._place is None:
            raise StagingUnavailable("The writer was closed.")
        return self._place


@dataclass(slots=True)
class _Slabs:
    """Numbers of slabs; used as a stack."""

    free: list[int] = field(default_factory=list)
    total: int = 0


class MemoryStaging:
    """`Staging`, `Windowed` and `Viewable` over anonymous memory."""

    def __init__(self, slab_bytes: int, slabs: int, *, window_slabs: int, timeout_s: float) -> None:
        """Decide the size; nothing is allocated before `open`.

        Args:
            slab_bytes: size of one slab, a multiple of the page's.
            slabs: how many.
            window_slabs: most slabs of one upload.
            timeout_s: longest wait for room, in seconds.

        Raises:
            ValueError: a window would have no room for anything wherever it begins.
        """
        if not 1 < window_slabs <= slabs:
            raise ValueError(f"windows of {window_slabs} slabs in a memory of {slabs}")
        self._slab_bytes = slab_bytes
        self._window_slabs = window_slabs
        self._timeout_s = timeout_s
        self._lock = Lock()
        self._slabs = _Slabs(total=slabs)
        self._arena: Arena | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._places: dict[str, _Place] = {}
        self._turns: OrderedDict[_Place, None] = OrderedDict()  # who waits
        self._resting: dict[_Place, None] = {}  # those that keep something and nobody attends; the longest first
        self.on_given_up: Callable[[str, int], None] = lambda _upload_id, _offset: None

    # -- staging -----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Map the memory.

        Raises:
            StagingUnavailable: the system does not grant it.
        """
        self._loop = asyncio.get_running_loop()
        try:
            self._arena = Arena(self._slabs.total * self._slab_bytes)
        except OSError as exc:
            mebibytes = self._slabs.total * self._slab_bytes >> 20
            raise StagingUnavailable(f"The system does not grant {mebibytes} MiB of memory for staging.") from exc
        self._slabs.free = list(range(self._slabs.total))[::-1]

    async def aclose(self) -> None:
        """Forget everything. Writers must be closed."""
        for upload_id in list(self._places):
            await self.discard(upload_id)
        self._slabs.free = []
        self._arena = None

    async def reserve(self, upload_id: str, owner: str, size: int) -> None:
        """Make a place; room is had by extents."""
        del owner, size
        if upload_id not in self._places:
            self._places[upload_id] = self._new_place(upload_id)

    async def adopt(self, upload_id: str, owner: str, size: int, recorded: Sequence[Extent]) -> None:
        """Nothing is left of an earlier life."""
        del upload_id, owner, size, recorded

    async def release_room(self, upload_id: str) -> None:
        """Give up what is kept behind a gap, unless somebody comes with more."""
        place = self._places.get(upload_id)
        if place is not None:
            self._give_up(place)
            self._serve()

    async def regain_room(self, upload_id: str) -> None:
        """Nothing: room is had by extents."""

    async def resize(self, upload_id: str, size: int) -> None:
        """Nothing: room is had by extents."""

    def open_writer(self, upload_id: str, offset: int) -> MemoryWriter:
        """A writer at `offset`, where somebody holds room."""
        return MemoryWriter(self, self._place(upload_id), offset)

    def read_into(self, upload_id: str, offset: int, view: memoryview) -> int:
        """Fill `view` from `offset`, as far as whole extents are there. Blocking."""
        place, arena = self._place(upload_id), self._mapped()
        with self._lock:
            if place.void:
                raise StagingUnavailable(_NO_PLACE)
            length = place.window.readable(offset, len(view))
            pieces = place.window.places(offset, length) if length else []
            place.copying += 1
        try:
            done = 0
            for slab, inside, count in pieces:
                arena.get(slab * self._slab_bytes + inside, view[done : done + count])
                done += count
        finally:
            self._copied(place)
        return length

    @contextmanager
    def pinned(self, upload_id: str) -> Iterator[None]:
        """The upload's slabs go to nobody else meanwhile."""
        place = self._place(upload_id)
        with self._lock:
            if place.void:
                raise StagingUnavailable(_NO_PLACE)
            place.copying += 1
        try:
            yield
        finally:
            self._copied(place)

    def view(self, upload_id: str, offset: int, length: int) -> memoryview:
        """As many as lie in one slab."""
        place, arena = self._place(upload_id), self._mapped()
        with self._lock:
            count = place.window.readable(offset, length)
            if not count:
                return memoryview(b"")
            slab, inside, together = place.window.places(offset, count)[0]
        return arena.view(slab * self._slab_bytes + inside, together)

    async def sync(self, upload_id: str) -> None:
        """Nothing: no memory survives a power cut."""

    def drop_cache(self, upload_id: str, offset: int, length: int) -> None:
        """Nothing: there is none."""

    async def discard(self, upload_id: str) -> None:
        """Give everything back; whoever waits for room is told."""
        place = self._places.pop(upload_id, None)
        if place is not None:
            self._send_away(place, StagingUnavailable(_NO_PLACE))
            self._make_void(place)
            self._serve()

    async def ids(self) -> list[str]:
        """Ids that have a place."""
        return list(self._places)

    async def space(self) -> MemorySpace:
        """How much room there is."""
        return self.latest

    @property
    def latest(self) -> MemorySpace:
        """How much room there is, at this moment."""
        total, free = self._slabs.total * self._slab_bytes, len(self._slabs.free) * self._slab_bytes
        return MemorySpace(total, free, total - free, sum(len(place.waiters) for place in self._turns))

    # -- windows -----------------------------------------------------------------------------------------------------

    @property
    def window_bytes(self) -> int:
        """A slab less than the window has: it may begin anywhere in its first."""
        return (self._window_slabs - 1) * self._slab_bytes

    def held_from(self, upload_id: str) -> int:
        """The first byte that is not confirmed."""
        return self._place(upload_id).window.start

    async def room(self, upload_id: str, offset: int, length: int) -> MemoryRoom:
        """Room for an extent; waits in turns."""
        place, loop = self._place(upload_id), asyncio.get_running_loop()
        waiter = _Waiter(offset, offset + length, loop.create_future())
        insort(place.waiters, waiter, key=lambda waiting: waiting.offset)
        self._turns.setdefault(place)
        self._serve()
        if waiter.granted.done():
            return waiter.granted.result()
        timer = loop.call_later(self._timeout_s, self._run_out, waiter)
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            if not waiter.granted.cancelled() and waiter.granted.exception() is None:
                waiter.granted.result().release()  # granted in the very tick of the cancellation
            raise
        finally:
            timer.cancel()
            self._serve()  # without this waiter, where it has none

    def confirm(self, upload_id: str, position: int) -> None:
        """Give back the room of kept extents before `position`."""
        with self._lock:
            self._slabs.free += self._place(upload_id).window.confirm(position)
        self._serve()

    def empty(self, upload_id: str, start: int = 0) -> None:
        """Begin again at `start`; who waits for room does so for another beginning, and is told."""
        before = self._place(upload_id)
        self._places[upload_id] = self._new_place(upload_id, start)
        self._send_away(before, RoomLost())
        self._make_void(before)
        self._serve()

    def _place(self, upload_id: str) -> _Place:
        try:
            return self._places[upload_id]
        except KeyError:
            raise StagingUnavailable(_NO_PLACE) from None

    def _new_place(self, upload_id: str, start: int = 0) -> _Place:
        return _Place(upload_id, Window(self._slab_bytes, self._window_slabs, start))

    def _leave(self, place: _Place, offset: int, end: int) -> None:
        with self._lock:
            if place.void:
                return
            self._slabs.free += place.window.leave(offset, end)
        if place.window.kept and not place.window.attended:
            self._resting[place] = None
        self._serve()

    def _send_away(self, place: _Place, error: StagingUnavailable) -> None:
        self._turns.pop(place, None)
        for waiter in place.waiters:
            if not waiter.granted.done():
                waiter.granted.set_exception(error)
        place.waiters.clear()

    def _make_void(self, place: _Place) -> None:
        """Its slabs go to others as soon as no thread copies any more."""
        self._resting.pop(place, None)
        with self._lock:
            place.void = True
            if not place.copying:
                self._take_slabs(place)

    def _take_slabs(self, place: _Place) -> None:
        self._slabs.free += place.window.slabs
        place.window.slabs.clear()

    # -- turns -------------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Grant what can be granted now."""
        short = False  # whoever is next in turn needs more slabs than there are
        going_round = True
        while going_round:
            going_round = False
            for place in list(self._turns):
                waiter = self._first(place)
                if waiter is None or not place.window.fits(waiter.end):
                    continue
                lacking = place.window.lacks(waiter.end)
                if lacking and (short or not self._have(lacking)):
                    short = True
                    continue
                self._grant(place, waiter, lacking)
                going_round = True

    def _first(self, place: _Place) -> _Waiter | None:
        """The waiter with the lowest position; the place leaves the turns with its last one."""
        while place.waiters and place.waiters[0].granted.done():
            del place.waiters[0]
        if not place.waiters:
            self._turns.pop(place, None)
            return None
        return place.waiters[0]

    def _grant(self, place: _Place, waiter: _Waiter, lacking: int) -> None:
        del place.waiters[0]
        self._resting.pop(place, None)
        with self._lock:
            slabs = [self._slabs.free.pop() for _ in range(lacking)]
            place.window.admit(waiter.offset, waiter.end, slabs)
        waiter.granted.set_result(MemoryRoom(self, place, waiter.offset, waiter.end))
        if not place.waiters:
            self._turns.pop(place, None)
        elif lacking:
            self._turns.move_to_end(place)

    def _have(self, count: int) -> bool:
        """Whether so many slabs are free, or come free by giving up what is of no use to anybody at the moment."""
        lacking = count - len(self._slabs.free)
        if lacking > sum(place.window.spare for place in self._resting):
            return False
        for place in list(self._resting):
            if len(self._slabs.free) >= count:
                break
            self._give_up(place)
        return True

    def _give_up(self, place: _Place) -> None:
        if place.window.spare:
            with self._lock:
                gap, slabs = place.window.give_up()
                self._slabs.free += slabs
            self.on_given_up(place.upload_id, gap)

    def _run_out(self, waiter: _Waiter) -> None:
        if not waiter.granted.done():
            waiter.granted.set_exception(PoolExhausted())

    # -- in threads --------------------------------------------------------------------------------------------------

    def _mapped(self) -> Arena:
        if self._arena is None:
            raise StagingUnavailable("Staging is not open.")
        return self._arena

    def _put(self, place: _Place, position: int, view: memoryview) -> None:
        arena = self._mapped()
        with self._lock:
            if place.void:
                raise RoomLost
            try:
                pieces = place.window.places(position, len(view))
            except IndexError as exc:
                raise StagingUnavailable("There is no room for these bytes in the upload's window.") from exc
            place.copying += 1
        try:
            done = 0
            for slab, inside, count in pieces:
                arena.put(slab * self._slab_bytes + inside, view[done : done + count])
                done += count
        finally:
            self._copied(place)

    def _fill(self, place: _Place, offset: int, end: int) -> None:
        with self._lock:
            if place.void:
                raise RoomLost
            place.window.fill(offset, end)

    def _copied(self, place: _Place) -> None:
        with self._lock:
            place.copying -= 1
            last = place.void and not place.copying
            if last:
                self._take_slabs(place)
        if last and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._serve)
