"""Staging in memory against the contract, and what only it does: rooms, windows, turns."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.core.errors import PoolExhausted, RoomLost, StagingUnavailable
from app.core.upload import KIB, Extent
from app.staging.memory import MemoryStaging
from app.staging.port import Durability, Linkable, Viewable, Windowed
from app.testing.staging_contract import StagingContract, begin, read, write

SLAB = 64 * KIB


@asynccontextmanager
async def memory_of(slabs: int, window: int, *, slab_bytes: int = SLAB, timeout_s: float = 5) -> AsyncIterator[Any]:
    """An open one; everything is back at the end of what it is used for."""
    staging = MemoryStaging(slab_bytes, slabs, window_slabs=window, timeout_s=timeout_s)
    await staging.open()
    try:
        yield staging
    finally:
        await staging.aclose()


@pytest.fixture(params=[4 * KIB, 64 * KIB, 1024 * KIB], ids=["small slabs", "slabs", "large slabs"])
def slab_bytes(request: pytest.FixtureRequest) -> int:
    """Sizes of slabs below, at and above those of extents."""
    return int(request.param)


class TestMemoryContract(StagingContract):
    """The contract."""

    @pytest.fixture
    async def staging(self, slab_bytes: int) -> AsyncIterator[MemoryStaging]:
        """With room for what the contract writes."""
        slabs = -(-2048 * KIB // slab_bytes)
        async with memory_of(2 * slabs, slabs, slab_bytes=slab_bytes) as staging:
            yield staging


async def confirmed(staging: MemoryStaging, upload_id: str, offset: int, data: bytes) -> None:
    """An extent that was received, kept, and taken by the destination."""
    room = await staging.room(upload_id, offset, len(data))
    write(staging, upload_id, offset, data)
    room.keep()
    room.release()
    staging.confirm(upload_id, offset + len(data))


async def kept(staging: MemoryStaging, upload_id: str, offset: int, length: int) -> bytes:
    """An extent that was received and is kept; nobody attends."""
    room = await staging.room(upload_id, offset, length)
    data = os.urandom(length)
    write(staging, upload_id, offset, data)
    room.keep()
    room.release()
    return data


def used(staging: MemoryStaging) -> int:
    """Slabs in use."""
    return staging.latest.reserved_bytes // SLAB


async def test_it_is_windowed_and_keeps_no_files() -> None:
    """So a directory destination gets a copy."""
    async with memory_of(4, 2) as staging:
        assert isinstance(staging, Windowed)
        assert isinstance(staging, Viewable)
        assert not isinstance(staging, Linkable)


async def test_nothing_is_mapped_before_it_is_opened() -> None:
    """Imports and construction allocate nothing."""
    staging = MemoryStaging(1024**3, 1024**3, window_slabs=2, timeout_s=1)
    with pytest.raises(StagingUnavailable, match="1099511627776 MiB"):
        await staging.open()


async def test_without_room_nothing_is_written() -> None:
    """A writer outside of what was granted writes nowhere."""
    async with memory_of(4, 3) as staging:
        room = await begin(staging, "up", SLAB)
        for offset in (SLAB - 1, SLAB, 3 * SLAB):
            writer = staging.open_writer("up", offset)
            with pytest.raises(StagingUnavailable, match="no room"):
                writer.write(memoryview(b"xy"))
            writer.close()
        room.release()
        assert used(staging) == 0


async def test_what_was_not_written_can_not_be_read() -> None:
    """A slab still holds somebody else's bytes: only what was written to its end is read."""
    async with memory_of(4, 3) as staging:
        await begin(staging, "secret", SLAB)
        write(staging, "secret", 0, b"s" * SLAB)
        await staging.discard("secret")
        await begin(staging, "up", 2 * SLAB)
        write(staging, "up", 10, b"mine")
        assert read(staging, "up", 0, SLAB) == b""
        assert read(staging, "up", 10, SLAB) == b"mine"


async def test_the_window_moves_with_what_is_confirmed() -> None:
    """Far more passes through than there is room for, and what was passed is gone."""
    async with memory_of(4, 3) as staging:
        await staging.reserve("up", "ann", 0)
        data = os.urandom(50 * 40 * KIB)
        for offset in range(0, len(data), 40 * KIB):
            piece = data[offset : offset + 40 * KIB]
            room = await staging.room("up", offset, len(piece))
            write(staging, "up", offset, piece)
            room.keep()
            room.release()
            assert read(staging, "up", offset, len(piece)) == piece
            staging.confirm("up", offset + len(piece))
            assert read(staging, "up", offset, len(piece)) == b""
            assert staging.held_from("up") == offset + len(piece)
        assert used(staging) == 0


async def test_extents_are_let_go_of_whole() -> None:
    """What is confirmed up to the middle of an extent stays, to be read and checked from its beginning."""
    async with memory_of(4, 3) as staging:
        await staging.reserve("up", "ann", 0)
        data = await kept(staging, "up", 0, SLAB)
        staging.confirm("up", SLAB - 1)
        assert (staging.held_from("up"), read(staging, "up", 0, SLAB)) == (0, data)
        staging.confirm("up", SLAB)
        assert (staging.held_from("up"), used(staging)) == (SLAB, 0)


async def test_whoever_is_admitted_ahead_has_the_room_for_what_comes_before() -> None:
    """The next in order is granted at once, though others have taken all that was left."""
    async with memory_of(6, 4) as staging:
        for name in ("one", "two"):
            await staging.reserve(name, "ann", 0)
        ahead = await staging.room("one", 3 * SLAB, SLAB)
        others = [await staging.room("two", n * SLAB, SLAB) for n in range(2)]
        assert used(staging) == 6
        async with asyncio.timeout(1):
            before = [await staging.room("one", n * SLAB, SLAB) for n in range(3)]
        assert used(staging) == 6
        for room in (*before, ahead, *others):
            room.release()
        assert used(staging) == 0


async def test_an_extent_behind_the_window_waits_until_the_window_moves() -> None:
    """And gets its room in that very call."""
    async with memory_of(8, 3) as staging:
        await staging.reserve("up", "ann", 0)
        await kept(staging, "up", 0, SLAB)
        waiting = asyncio.create_task(staging.room("up", 3 * SLAB, SLAB))
        await asyncio.sleep(0)
        assert (waiting.done(), staging.latest.waiting) == (False, 1)
        staging.confirm("up", SLAB)
        (await waiting).release()
        assert (used(staging), staging.latest.waiting) == (0, 0)


async def test_room_is_granted_by_position() -> None:
    """Whoever comes first in the file goes first, whoever asked first."""
    async with memory_of(8, 2) as staging:
        await staging.reserve("up", "ann", 0)
        await kept(staging, "up", 0, SLAB)
        await kept(staging, "up", SLAB, SLAB)
        order: list[int] = []

        async def ask(number: int) -> None:
            room = await staging.room("up", number * SLAB, SLAB)
            order.append(number)
            room.release()

        async with asyncio.TaskGroup() as group:
            for number in (5, 4, 3, 2):
                group.create_task(ask(number))
            await asyncio.sleep(0)
            for number in (1, 2):
                staging.confirm("up", number * SLAB)
                await asyncio.sleep(0)
            for number in (2, 3):
                await confirmed(staging, "up", number * SLAB, b"x" * SLAB)
                await asyncio.sleep(0)
        assert order == [2, 3, 4, 5]


async def test_uploads_get_room_in_turns_and_who_needs_much_is_not_starved() -> None:
    """While the next in turn waits for more than is free, nobody overtakes it with less."""
    async with memory_of(4, 4) as staging:
        for name in ("holder", "large", "small"):
            await staging.reserve(name, "ann", 0)
        held = [await staging.room("holder", n * SLAB, SLAB) for n in range(4)]
        large = asyncio.create_task(staging.room("large", 0, 3 * SLAB))
        await asyncio.sleep(0)
        small = asyncio.create_task(staging.room("small", 0, SLAB))
        for room in reversed(held):
            room.release()
            await asyncio.sleep(0)
            if not large.done():
                assert not small.done()
        (await large).release()
        (await small).release()
        assert used(staging) == 0


async def test_nobody_waits_for_ever() -> None:
    """After the time it is refused, and the others go on waiting."""
    async with memory_of(2, 2, timeout_s=0.05) as staging:
        for name in ("one", "two"):
            await staging.reserve(name, "ann", 0)
        held = await staging.room("one", 0, 2 * SLAB)
        with pytest.raises(PoolExhausted):
            await staging.room("two", 0, SLAB)
        assert staging.latest.waiting == 0
        held.release()
        (await staging.room("two", 0, SLAB)).release()


async def test_a_cancelled_wait_loses_nothing() -> None:
    """Neither before the room was granted nor in the tick in which it is."""
    async with memory_of(2, 2) as staging:
        for name in ("one", "two"):
            await staging.reserve(name, "ann", 0)
        held = await staging.room("one", 0, 2 * SLAB)
        early, late = (asyncio.create_task(staging.room("two", 0, SLAB)) for _ in range(2))
        await asyncio.sleep(0)
        early.cancel()
        await asyncio.sleep(0)
        held.release()
        late.cancel()
        for task in (early, late):
            with pytest.raises(asyncio.CancelledError):
                await task
        assert (used(staging), staging.latest.waiting) == (0, 0)


async def test_discard_tells_whoever_waits_and_gives_all_back() -> None:
    """Rooms that are still out are void, and may be released as ever."""
    async with memory_of(2, 2) as staging:
        await staging.reserve("up", "ann", 0)
        room = await staging.room("up", 0, 2 * SLAB)
        waiting = asyncio.create_task(staging.room("up", 2 * SLAB, SLAB))
        await asyncio.sleep(0)
        await staging.discard("up")
        with pytest.raises(StagingUnavailable, match="no place"):
            await waiting
        assert used(staging) == 0
        with pytest.raises(RoomLost):
            room.keep()
        room.release()
        assert used(staging) == 0


async def test_emptying_makes_void_what_was_given_out_and_is_waited_for() -> None:
    """Writers of before write nowhere; the window begins anew."""
    async with memory_of(4, 2) as staging:
        await staging.reserve("up", "ann", 0)
        await confirmed(staging, "up", 0, b"x" * SLAB)
        room = await staging.room("up", SLAB, SLAB)
        writer = staging.open_writer("up", SLAB)
        ahead = asyncio.create_task(staging.room("up", 4 * SLAB, SLAB))
        await asyncio.sleep(0)
        staging.empty("up")
        assert (staging.held_from("up"), used(staging), staging.latest.waiting) == (0, 0, 0)
        with pytest.raises(RoomLost):
            await ahead
        with pytest.raises(RoomLost):
            writer.write(memoryview(b"late"))
        with pytest.raises(RoomLost):
            writer.finish(Durability.ALL)
        with pytest.raises(RoomLost):
            room.keep()
        room.release()
        writer.close()
        for number in range(3):
            await confirmed(staging, "up", number * SLAB, b"y" * SLAB)
        assert used(staging) == 0


async def test_slabs_that_are_being_read_go_to_nobody_else() -> None:
    """Their upload may be given up meanwhile; what is viewed stays what it was."""
    async with memory_of(2, 2) as staging:
        await staging.reserve("up", "ann", 0)
        data = await kept(staging, "up", 0, SLAB)
        with staging.pinned("up"):
            view = staging.view("up", 0, SLAB)
            await staging.discard("up")
            await staging.reserve("next", "ann", 0)
            waiting = asyncio.create_task(staging.room("next", 0, 2 * SLAB))
            await asyncio.sleep(0.01)
            assert (waiting.done(), bytes(view)) == (False, data)
        (await waiting).release()
        assert used(staging) == 0


async def test_what_lies_behind_a_gap_and_nobody_attends_makes_room_for_others() -> None:
    """What is contiguous stays: the destination can take it, and the digest may have passed it."""
    async with memory_of(6, 4) as staging:
        told: list[tuple[str, int]] = []
        staging.on_given_up = lambda upload_id, offset: told.append((upload_id, offset))
        for name in ("left", "attended", "new"):
            await staging.reserve(name, "ann", 0)
        data = await kept(staging, "left", 0, SLAB)
        await kept(staging, "left", 2 * SLAB, SLAB)
        held = await staging.room("attended", 2 * SLAB, SLAB)
        held.keep()
        assert used(staging) == 6
        room = await staging.room("new", 0, SLAB)
        assert told == [("left", SLAB)]
        assert used(staging) == 5
        assert (read(staging, "left", 0, SLAB), read(staging, "left", 2 * SLAB, SLAB)) == (data, b"")
        for each in (room, held):
            each.release()


async def test_nothing_is_given_up_in_vain() -> None:
    """Where it would not be enough, it is left."""
    async with memory_of(4, 4, timeout_s=0.05) as staging:
        told: list[tuple[str, int]] = []
        staging.on_given_up = lambda upload_id, offset: told.append((upload_id, offset))
        for name in ("left", "new"):
            await staging.reserve(name, "ann", 0)
        await kept(staging, "left", 0, SLAB)
        await kept(staging, "left", 2 * SLAB, SLAB)
        with pytest.raises(PoolExhausted):
            await staging.room("new", 0, 4 * SLAB)
        assert told == []


async def test_an_idle_upload_gives_up_what_lies_behind_a_gap() -> None:
    """Housekeeping's `release_room`; not while somebody comes with more."""
    async with memory_of(6, 4) as staging:
        await staging.reserve("up", "ann", 0)
        await kept(staging, "up", 2 * SLAB, SLAB)
        room = await staging.room("up", 0, SLAB)
        await staging.release_room("up")
        assert used(staging) == 3
        room.release()
        await staging.release_room("up")
        assert used(staging) == 0
        await staging.regain_room("up")
        await staging.release_room("unknown")


async def test_an_earlier_life_has_left_nothing() -> None:
    """Whatever was recorded of it."""
    async with memory_of(2, 2) as staging:
        assert await staging.adopt("up", "ann", 5, [Extent(0, 5, 0)]) is None


@pytest.mark.parametrize(("slabs", "window"), [(4, 1), (2, 3), (0, 0)])
def test_a_window_that_can_not_be_is_refused(slabs: int, window: int) -> None:
    """It has two slabs at least, since an extent may begin anywhere, and no more than there are."""
    with pytest.raises(ValueError, match="windows of"):
        MemoryStaging(SLAB, slabs, window_slabs=window, timeout_s=1)
