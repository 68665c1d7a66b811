"""The buffer pool: leases, turns, the reserved slab, cancellation, deadlines, closing."""

from __future__ import annotations

import asyncio
import ctypes
import mmap
import pickle
import threading
from collections.abc import Iterator

import pytest

from app.core.errors import PoolExhausted, ShuttingDown
from app.services.chunk_buffer_pool import ChunkBufferPool, PoolStats, SlabLease
from app.testing.virtual_time import VirtualTimeLoop, run_in_virtual_time

SLAB = 64 * 1024


def make_pool(slabs: int = 3, *, reserved: int = 1, timeout_s: float = 60.0) -> ChunkBufferPool:
    """An open pool."""
    pool = ChunkBufferPool(SLAB, slabs, timeout_s=timeout_s, reserved=reserved)
    pool.open()
    return pool


@pytest.fixture
def pool() -> Iterator[ChunkBufferPool]:
    """Two general slabs and a reserved one, all back at the end."""
    pool = make_pool()
    yield pool
    assert pool.stats.slabs_leased == 0
    assert pool.leased_by_owner == {}
    pool.close()


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


def waiting(pool: ChunkBufferPool, owner: str, *, urgent: bool = False) -> asyncio.Task[SlabLease]:
    """A task that acquires, and is likely to wait."""
    return asyncio.create_task(pool.acquire(owner, urgent=urgent))


async def test_slab_is_whole_and_starts_on_a_page(pool: ChunkBufferPool) -> None:
    """The view has the slab's size and a page's alignment, and is writable."""
    lease = await pool.acquire("ann")
    anchor = ctypes.c_char.from_buffer(lease.view)
    assert ctypes.addressof(anchor) % mmap.PAGESIZE == 0
    del anchor
    lease.view[:] = b"x" * SLAB
    assert len(lease.view) == SLAB
    assert lease.owner == "ann"
    lease.release()


async def test_nothing_is_mapped_before_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Construction allocates nothing; open maps every slab; later calls map none."""
    mapped: list[int] = []
    real = mmap.mmap

    def counting(fileno: int, length: int, **options: int) -> mmap.mmap:
        mapped.append(length)
        return real(fileno, length, **options)

    monkeypatch.setattr("app.services.chunk_buffer_pool.mmap.mmap", counting)
    pool = ChunkBufferPool(SLAB, 4, timeout_s=1)
    assert mapped == []
    pool.open()
    assert mapped == [SLAB] * 4
    for _ in range(10):
        (await pool.acquire("ann")).release()
    assert len(mapped) == 4
    pool.close()


async def test_unopened_pool_lends_nothing() -> None:
    """Using a pool before open is a programming error, said plainly."""
    with pytest.raises(RuntimeError, match="not open"):
        await ChunkBufferPool(SLAB, 2, timeout_s=1).acquire("ann")


def test_pool_opens_once(pool: ChunkBufferPool) -> None:
    """A second open would lose the first one's slabs, so it raises."""
    with pytest.raises(RuntimeError, match="once"):
        pool.open()


@pytest.mark.parametrize(("slab_bytes", "slabs", "reserved"), [(0, 2, 1), (SLAB, 0, 0), (SLAB, 1, 1), (SLAB, 2, -1)])
def test_size_that_leaves_nothing_for_ordinary_callers_is_refused(slab_bytes: int, slabs: int, reserved: int) -> None:
    """At least one slab is not reserved."""
    with pytest.raises(ValueError, match="reserve"):
        ChunkBufferPool(slab_bytes, slabs, timeout_s=1, reserved=reserved)


async def test_second_release_raises(pool: ChunkBufferPool) -> None:
    """A lease is returned exactly once, and the wrong return changes no count."""
    lease = await pool.acquire("ann")
    other = await pool.acquire("bob")
    lease.release()
    with pytest.raises(RuntimeError, match="twice"):
        lease.release()
    assert pool.leased_by_owner == {"bob": 1}
    other.release()


async def test_view_dies_with_the_return(pool: ChunkBufferPool) -> None:
    """A use after the return raises instead of touching the next holder's bytes."""
    lease = await pool.acquire("ann")
    view = lease.view
    lease.release()
    with pytest.raises(ValueError, match="released"):
        view[0] = 1


async def test_slab_in_use_cannot_be_returned(pool: ChunkBufferPool) -> None:
    """While something holds the view's buffer (as a thread in readv does), the return is refused; later it works."""
    lease = await pool.acquire("ann")
    in_use = pickle.PickleBuffer(lease.view)
    with pytest.raises(RuntimeError, match="in use"):
        lease.release()
    assert pool.stats.slabs_leased == 1
    in_use.release()
    lease.release()


async def test_what_is_out_is_observable() -> None:
    """Stats and owners follow every lease."""
    pool = make_pool(4)
    leases = [await pool.acquire(owner) for owner in ("ann", "bob", "ann")]
    waiter = waiting(pool, "cid")
    await settle()
    assert pool.stats == PoolStats(slab_bytes=SLAB, slabs_total=4, slabs_leased=3, waiting=1)
    assert pool.leased_by_owner == {"ann": 2, "bob": 1}
    for lease in leases:
        lease.release()
    (await waiter).release()
    assert pool.stats == PoolStats(slab_bytes=SLAB, slabs_total=4, slabs_leased=0, waiting=0)
    pool.close()


async def test_owner_with_500_waiting_starves_nobody() -> None:
    """A newcomer's turn comes after one slab of the crowd's, not after 500."""
    pool = make_pool(2)
    first = await pool.acquire("crowd")
    served: list[str] = []

    async def use(owner: str) -> None:
        lease = await pool.acquire(owner)
        served.append(owner)
        await asyncio.sleep(0)
        lease.release()

    async with asyncio.TaskGroup() as group:
        for _ in range(500):
            group.create_task(use("crowd"))
        await settle()
        for owner in ("bob", "cid"):
            group.create_task(use(owner))
        await settle()
        assert pool.stats.waiting == 502
        first.release()
    assert served[:4] == ["crowd", "bob", "cid", "crowd"]
    assert len(served) == 502
    pool.close()


async def test_owners_take_turns_while_all_wait() -> None:
    """With three owners waiting, slabs go round; within an owner, first come first served."""
    pool = make_pool(2)
    lease = await pool.acquire("x")
    tasks = {f"{owner}{number}": waiting(pool, owner) for owner in ("ann", "bob", "cid") for number in (1, 2)}
    await settle()
    order: list[str] = []
    while tasks:
        lease.release()
        await settle()
        name = next(name for name, task in tasks.items() if task.done())
        order.append(name)
        lease = tasks.pop(name).result()
    lease.release()
    assert order == ["ann1", "bob1", "cid1", "ann2", "bob2", "cid2"]
    pool.close()


async def test_nobody_overtakes_a_waiter(pool: ChunkBufferPool) -> None:
    """A returned slab belongs to the waiter at once; who asks before the waiter has run gets none."""
    first, second = await pool.acquire("ann"), await pool.acquire("ann")
    waiter = waiting(pool, "bob")
    await settle()
    first.release()
    assert pool.acquire_nowait("eve") is None
    (await waiter).release()
    second.release()


async def test_reserved_slab_is_for_urgent_callers_only(pool: ChunkBufferPool) -> None:
    """With the general slabs out, an ordinary caller waits and an urgent one does not."""
    leases = [await pool.acquire("ann"), await pool.acquire("ann")]
    assert pool.acquire_nowait("bob") is None
    leases.append(await pool.acquire("bob", urgent=True))
    assert pool.acquire_nowait("bob", urgent=True) is None
    for lease in leases:
        lease.release()


async def test_urgent_caller_spares_the_reserve_while_others_are_free(pool: ChunkBufferPool) -> None:
    """The reserved slab is the last one that urgent callers take."""
    leases = [await pool.acquire("ann", urgent=True) for _ in range(2)]
    leases.append(await pool.acquire("bob", urgent=True))
    assert pool.stats.slabs_leased == 3
    leases[0].release()
    leases[0] = await pool.acquire("cid")
    for lease in leases:
        lease.release()


async def test_returned_reserved_slab_waits_for_the_next_urgent_caller(pool: ChunkBufferPool) -> None:
    """A reserved slab does not become a general one by being used."""
    general = [await pool.acquire("ann"), await pool.acquire("ann")]
    reserved = await pool.acquire("ann", urgent=True)
    ordinary, urgent = waiting(pool, "bob"), waiting(pool, "cid", urgent=True)
    await settle()
    reserved.release()
    await settle()
    assert urgent.done()
    assert not ordinary.done()
    general.pop().release()
    (await ordinary).release()
    urgent.result().release()
    general.pop().release()


async def test_endless_urgent_callers_do_not_starve_ordinary_ones(pool: ChunkBufferPool) -> None:
    """General slabs go by turns of owners whatever the urgency: the ordinary caller is served in the first round."""
    held = [await pool.acquire("ann"), await pool.acquire("ann"), await pool.acquire("ann", urgent=True)]
    urgent = [waiting(pool, "ann", urgent=True) for _ in range(20)]
    ordinary = waiting(pool, "bob")
    await settle()
    held[0].release()
    held[1].release()
    await settle()
    assert ordinary.done()
    held[2].release()
    ordinary.result().release()
    for task in urgent:
        (await task).release()


async def test_slab_granted_to_a_cancelled_waiter_goes_to_the_next(pool: ChunkBufferPool) -> None:
    """Cancelled in the very tick of the grant, a waiter passes its slab on."""
    held = [await pool.acquire("ann"), await pool.acquire("ann")]
    first, second = waiting(pool, "bob"), waiting(pool, "cid")
    await settle()
    held[0].release()
    first.cancel()
    lease = await second
    assert first.cancelled() or (await asyncio.gather(first, return_exceptions=True))
    assert pool.leased_by_owner == {"ann": 1, "cid": 1}
    lease.release()
    held[1].release()


async def test_slab_returned_after_a_cancellation_skips_the_cancelled(pool: ChunkBufferPool) -> None:
    """A waiter that is cancelled but has not run yet is not given a slab."""
    held = [await pool.acquire("ann"), await pool.acquire("ann")]
    first, second = waiting(pool, "bob"), waiting(pool, "cid")
    await settle()
    first.cancel()
    held[0].release()
    assert pool.leased_by_owner == {"ann": 1, "cid": 1}
    (await second).release()
    held[1].release()


async def test_cancelled_waiter_leaves_the_queue(pool: ChunkBufferPool) -> None:
    """Nothing of it remains, in either queue."""
    held = [await pool.acquire("ann"), await pool.acquire("ann"), await pool.acquire("ann", urgent=True)]
    waiter = waiting(pool, "bob", urgent=True)
    await settle()
    assert pool.stats.waiting == 1
    waiter.cancel()
    await settle()
    assert pool.stats.waiting == 0
    for lease in held:
        lease.release()


def test_wait_ends_with_pool_exhausted_after_the_timeout() -> None:
    """After exactly timeout_s; the place in the queue goes, and the slab later too."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        pool = make_pool(2, timeout_s=60)
        lease = await pool.acquire("ann")
        with pytest.raises(PoolExhausted):
            await pool.acquire("bob")
        assert loop.time() == pytest.approx(60)
        assert pool.stats.waiting == 0
        lease.release()
        (await pool.acquire("bob")).release()
        pool.close()

    run_in_virtual_time(main())


def test_granted_waiter_is_not_timed_out_later() -> None:
    """The deadline is for the wait, not for the lease; its timer goes with the wait."""

    async def main() -> None:
        pool = make_pool(2, timeout_s=60)
        lease = await pool.acquire("ann")
        waiter = waiting(pool, "bob")
        await asyncio.sleep(59)
        lease.release()
        await settle()
        assert not [timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()]
        await asyncio.sleep(120)
        (await waiter).release()
        assert pool.stats.slabs_leased == 0
        pool.close()

    run_in_virtual_time(main())


async def test_close_sends_waiters_away_and_lets_leases_end() -> None:
    """Waiters and newcomers get ShuttingDown; a lease that is out stays usable and returns to nowhere."""
    pool = make_pool(2)
    lease = await pool.acquire("ann")
    waiters = [waiting(pool, "bob"), waiting(pool, "cid")]
    await settle()
    pool.close()
    pool.close()
    for waiter in waiters:
        with pytest.raises(ShuttingDown):
            await waiter
    with pytest.raises(ShuttingDown):
        await pool.acquire("eve")
    lease.view[0] = 1
    assert pool.stats.slabs_leased == 1
    lease.release()
    assert pool.stats == PoolStats(SLAB, 2, 0, 0)


async def test_close_sends_urgent_waiters_away() -> None:
    """Those who wait for the reserve too."""
    pool = make_pool(2)
    leases = [await pool.acquire("ann"), await pool.acquire("ann", urgent=True)]
    waiter = waiting(pool, "bob", urgent=True)
    await settle()
    pool.close()
    with pytest.raises(ShuttingDown):
        await waiter
    for lease in leases:
        lease.release()
    assert pool.stats.slabs_leased == 0


async def test_release_from_another_thread_is_refused(pool: ChunkBufferPool) -> None:
    """There is no lock, so a foreign thread must not get in; the lease is untouched."""
    lease = await pool.acquire("ann")
    raised: list[BaseException] = []

    def release() -> None:
        try:
            lease.release()
        except RuntimeError as exc:
            raised.append(exc)

    thread = threading.Thread(target=release)
    thread.start()
    thread.join()
    assert "thread" in str(raised[0])
    lease.release()


async def test_lost_lease_is_reported_and_replaced(caplog: pytest.LogCaptureFixture) -> None:
    """A lease dropped without release warns; its slab is replaced and a waiter gets the new one."""
    pool = make_pool(2)
    leases = [await pool.acquire("ann")]
    waiter = waiting(pool, "bob")
    await settle()
    with pytest.warns(ResourceWarning, match="'ann'"):
        leases.clear()
    (await waiter).release()
    assert "'ann'" in caplog.text
    assert pool.stats == PoolStats(SLAB, 2, 0, 0)
    pool.close()


async def test_view_of_a_lost_lease_shares_no_memory_with_its_replacement() -> None:
    """Somebody may still write through a slice of it: those bytes must not show up in another upload."""
    pool = make_pool(2)
    leases = [await pool.acquire("ann")]
    dangling = leases[0].view[:4]
    dangling[:] = b"anns"
    with pytest.warns(ResourceWarning, match="'ann'"):
        leases.clear()
    replacement = await pool.acquire("bob")
    replacement.view[:4] = b"bobs"
    assert bytes(dangling) == b"anns"
    dangling[:] = b"eeee"
    assert bytes(replacement.view[:4]) == b"bobs"
    replacement.release()
    pool.close()


def test_lease_lost_after_the_loop_only_warns() -> None:
    """With its loop gone there is nobody to give the slab to."""

    async def main() -> SlabLease:
        return await make_pool(2).acquire("ann")

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        leases = [runner.run(main())]
    with pytest.warns(ResourceWarning, match="'ann'"):
        leases.clear()


async def test_quiet_slabs_are_always_the_same_ones_and_nobody_elses() -> None:
    """Not even when bodies wait; a digest makes all of a slab resident, a slow body a few KiB."""
    pool = ChunkBufferPool(SLAB, 4, timeout_s=60, reserved=1, quiet=1)
    pool.open()
    first = pool.acquire_quiet("transfer:ann")
    assert first is not None
    assert pool.acquire_quiet("transfer:bob") is None
    general = [await pool.acquire("ann"), await pool.acquire("bob")]
    first.view[:5] = b"quiet"
    waiter = waiting(pool, "cat")
    await settle()
    first.release()
    await settle()
    assert not waiter.done()
    again = pool.acquire_quiet("transfer:bob")
    assert again is not None
    assert again.view[:5] == b"quiet"
    assert pool.stats == PoolStats(slab_bytes=SLAB, slabs_total=4, slabs_leased=3, waiting=1)
    general.pop().release()
    general.append(await waiter)
    for lease in (again, *general):
        lease.release()
    pool.close()
    assert pool.acquire_quiet("transfer:ann") is None


def test_a_pool_of_quiet_and_reserved_slabs_only_is_refused() -> None:
    """Nobody else would ever get one."""
    with pytest.raises(ValueError, match="reserve"):
        ChunkBufferPool(SLAB, 3, timeout_s=1, reserved=1, quiet=2)
