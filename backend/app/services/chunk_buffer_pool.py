"""The buffer pool: the only place where received bytes are in memory.

Laws:
- Slabs are page-aligned anonymous private mappings, made by `open` and by nobody else; the pool never grows. With none
  free, callers wait, and the sockets they would read from stay unread.
- A slab out is a `SlabLease`: it knows its owner and is returned exactly once. Its view dies with the return, so a use
  afterwards raises instead of touching somebody else's bytes; and while anything still uses the view's buffer (a thread
  in `readv`), the return is refused.
- General slabs go to waiting owners in turns, urgent or not. The reserved ones serve urgent callers only (the chunk
  that others wait for) when no general slab is free. Each slab stays of its kind, so neither can starve the other.
- The quiet ones serve those only who read for themselves, and who see to it that they are no more than that. Such a use
  makes all of a slab resident, where a slow body has touched a few KiB of its: so it is always the same ones.
- A free slab and a waiter that could take it never exist together: a return hands its slab on in the same call. So
  the fast path is one look at a list.
- `acquire`, `acquire_nowait`, `release` and `close` run on the event loop's thread; there is no lock.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import mmap
import threading
import warnings
from contextlib import suppress
from dataclasses import dataclass

from app.core.errors import PoolExhausted, ShuttingDown
from app.core.waiting import UNOBSERVED, Cause, WaitObserver
from app.services.limits.round_robin import RoundRobin

__all__ = ["ChunkBufferPool", "PoolStats", "SlabLease"]

_log = logging.getLogger(__name__)
_HUGE_PAGE_BYTES = 2 * 1024 * 1024  # x86-64, and arm64 with pages of 4 KiB
_HUGE_POOL_BYTES = 32 * 1024 * 1024


class _State(enum.Enum):
    NEW = enum.auto()
    OPEN = enum.auto()
    CLOSED = enum.auto()


class _Kind(enum.Enum):
    GENERAL = enum.auto()
    RESERVED = enum.auto()
    QUIET = enum.auto()


@dataclass(frozen=True, slots=True)
class PoolStats:
    """What is out, and who waits."""

    slab_bytes: int
    slabs_total: int
    slabs_leased: int
    waiting: int


class SlabLease:
    """A slab on loan. Hold it no longer than a burst, and `release` it on every path."""

    __slots__ = ("__weakref__", "_kind", "_pool", "_slab", "owner", "view")

    owner: str
    view: memoryview
    """The slab's bytes, `slab_bytes` long and page-aligned; what an earlier holder wrote may still be in it."""

    def __init__(self, pool: ChunkBufferPool, slab: mmap.mmap, owner: str, kind: _Kind) -> None:
        self._pool: ChunkBufferPool | None = pool
        self._slab = slab
        self._kind = kind
        self.owner = owner
        self.view = memoryview(slab)

    def release(self) -> None:
        """Give the slab back; it may go to a waiter within this call.

        Raises:
            RuntimeError: it was given back before; or the view's buffer is in use right now (then nothing has
                happened, and it can be released again later); or this is not the pool's thread.
        """
        pool = self._pool
        if pool is None:
            raise RuntimeError(f"slab of {self.owner!r} released twice")
        pool._check_thread()  # noqa: SLF001 - lease and pool are one unit
        try:
            self.view.release()
        except BufferError as exc:
            raise RuntimeError(f"slab of {self.owner!r} released while it is in use") from exc
        self._pool = None
        pool._take_back(self._slab, self.owner, self._kind)  # noqa: SLF001

    def __del__(self) -> None:
        # Perhaps in a foreign thread, and perhaps with slices of the view still alive somewhere: this slab is therefore
        # never used again (its memory goes with the last slice); the pool makes a new one in its place.
        pool: ChunkBufferPool | None = getattr(self, "_pool", None)
        if pool is not None:
            pool._replace_lost(self.owner, self._kind)  # noqa: SLF001
            warnings.warn(f"slab of {self.owner!r} was never released", ResourceWarning, source=self, stacklevel=2)


@dataclass(eq=False, slots=True)
class _Waiter:
    owner: str
    urgent: bool
    granted: asyncio.Future[SlabLease]


class ChunkBufferPool:
    """A fixed number of slabs, lent fairly."""

    def __init__(self, slab_bytes: int, slabs: int, *, timeout_s: float, reserved: int = 1, quiet: int = 0) -> None:
        """Decide the pool's size; nothing is allocated before `open`.

        Args:
            slab_bytes: size of one slab.
            slabs: how many, the reserved and quiet ones included.
            timeout_s: longest wait in `acquire`, in seconds.
            reserved: how many of them are for urgent callers only.
            quiet: how many of them are for `acquire_quiet` only.

        Raises:
            ValueError: no slab would be left for callers that are not urgent.
        """
        if slab_bytes < 1 or min(reserved, quiet) < 0 or reserved + quiet >= slabs:
            raise ValueError(f"a pool of {slabs} slabs of {slab_bytes} bytes can't reserve {reserved} and {quiet}")
        self._slab_bytes = slab_bytes
        self._slabs_total = slabs
        self._timeout_s = timeout_s
        self._reserved = reserved
        self._quiet = quiet
        self._state = _State.NEW
        self._thread: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._general_free: list[mmap.mmap] = []  # used as stacks: the slab used last is the one still in the caches
        self._reserved_free: list[mmap.mmap] = []
        self._quiet_free: list[mmap.mmap] = []
        self._waiting: RoundRobin[_Waiter] = RoundRobin()  # everybody
        self._waiting_urgent: RoundRobin[_Waiter] = RoundRobin()  # those of them who may have a reserved slab
        self._leased_by_owner: dict[str, int] = {}
        self._leased = 0

    def open(self) -> None:
        """Map the slabs (their pages become resident as they are first used).

        Raises:
            RuntimeError: the pool was opened before; a pool is opened once.
            OSError: the system does not grant the memory.
        """
        if self._state is not _State.NEW:
            raise RuntimeError("a pool is opened once")
        self._reserved_free = [self._map() for _ in range(self._reserved)]
        self._quiet_free = [self._map() for _ in range(self._quiet)]
        self._general_free = [self._map() for _ in range(self._slabs_total - self._reserved - self._quiet)]
        self._state = _State.OPEN

    def close(self) -> None:
        """Unmap the free slabs and refuse whoever waits or comes with ShuttingDown; idempotent.

        Leases that are out stay valid; each one's memory goes when it is released.
        """
        self._state = _State.CLOSED
        self._general_free.clear()
        self._reserved_free.clear()
        self._quiet_free.clear()
        while self._waiting:
            waiter = self._waiting.pop()
            if waiter.urgent:
                self._waiting_urgent.discard(waiter.owner, waiter)
            if not waiter.granted.done():
                waiter.granted.set_exception(ShuttingDown())

    @property
    def stats(self) -> PoolStats:
        """The pool at this moment."""
        return PoolStats(self._slab_bytes, self._slabs_total, self._leased, len(self._waiting))

    @property
    def quiet_slabs(self) -> int:
        """How many `acquire_quiet` has to give."""
        return self._quiet

    @property
    def leased_by_owner(self) -> dict[str, int]:
        """Slabs out, by who has them; owners without any are absent."""
        return dict(self._leased_by_owner)

    def acquire_nowait(self, owner: str, *, urgent: bool = False) -> SlabLease | None:
        """Lease a slab if one is free for this caller; None otherwise.

        Raises:
            RuntimeError: the pool is not open, or this is not its thread.
            ShuttingDown: it was closed.
        """
        self._check_thread()
        if self._general_free:
            return self._lend(self._general_free.pop(), owner, _Kind.GENERAL)
        if urgent and self._reserved_free:
            return self._lend(self._reserved_free.pop(), owner, _Kind.RESERVED)
        if self._state is _State.CLOSED:
            raise ShuttingDown
        if self._state is _State.NEW:
            raise RuntimeError("the pool is not open")
        return None

    def acquire_quiet(self, owner: str) -> SlabLease | None:
        """Lease a quiet slab; None when none is left, or there are none. Nobody waits for one.

        Raises:
            RuntimeError: this is not the pool's thread.
        """
        self._check_thread()
        return self._lend(self._quiet_free.pop(), owner, _Kind.QUIET) if self._quiet_free else None

    async def acquire(self, owner: str, *, urgent: bool = False, waits: WaitObserver = UNOBSERVED) -> SlabLease:
        """Lease a slab; waits in turns with other owners while none is free. Cancelling it loses nothing.

        Args:
            owner: whose share of the pool it is.
            urgent: a reserved one will do.
            waits: told when it has to be waited for.

        Raises:
            PoolExhausted: none came free within the pool's waiting time.
            ShuttingDown: the pool was closed, before or during the wait.
            RuntimeError: it was never opened, or this is not its thread.
        """
        lease = self.acquire_nowait(owner, urgent=urgent)
        if lease is not None:
            return lease
        loop = asyncio.get_running_loop()
        waiter = _Waiter(owner, urgent, loop.create_future())
        self._waiting.push(owner, waiter)
        if urgent:
            self._waiting_urgent.push(owner, waiter)
        timer = loop.call_later(self._timeout_s, self._give_up, waiter)
        waits.begin(Cause.SLAB)
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            self._withdraw(waiter)
            # Granted in the very tick of the cancellation: the next in turn gets it.
            if not waiter.granted.cancelled() and waiter.granted.exception() is None:
                waiter.granted.result().release()
            raise
        finally:
            waits.end(Cause.SLAB)
            timer.cancel()

    def _map(self) -> mmap.mmap:
        # One mapping each, so that every slab starts on a page whatever the page size; private, since anonymous shared
        # memory would be accounted as a file's (shmem).
        slab = mmap.mmap(-1, self._slab_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        # A fast body is received with a fourteenth less processor time in huge pages. But they make all of a slab resident
        # for the few KiB of a slow body, so a large pool, which is one for many slow bodies, does without.
        huge = self._slab_bytes % _HUGE_PAGE_BYTES == 0 and self._slabs_total * self._slab_bytes <= _HUGE_POOL_BYTES
        with suppress(OSError):  # a kernel without transparent huge pages
            slab.madvise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE)
        return slab

    def _check_thread(self) -> None:
        if self._thread != threading.get_ident():
            if self._thread is not None:
                raise RuntimeError("the pool belongs to the event loop's thread")
            self._thread = threading.get_ident()
            self._loop = asyncio.get_running_loop()

    def _lend(self, slab: mmap.mmap, owner: str, kind: _Kind) -> SlabLease:
        lease = SlabLease(self, slab, owner, kind)
        self._leased += 1
        self._leased_by_owner[owner] = self._leased_by_owner.get(owner, 0) + 1
        return lease

    def _take_back(self, slab: mmap.mmap, owner: str, kind: _Kind) -> None:
        self._leased -= 1
        left = self._leased_by_owner[owner] - 1
        if left:
            self._leased_by_owner[owner] = left
        else:
            del self._leased_by_owner[owner]
        if self._state is not _State.OPEN:
            return
        if kind is _Kind.QUIET:
            self._quiet_free.append(slab)
            return
        waiter = self._next(kind)
        if waiter is not None:
            waiter.granted.set_result(self._lend(slab, waiter.owner, kind))
        elif kind is _Kind.RESERVED:
            self._reserved_free.append(slab)
        else:
            self._general_free.append(slab)

    def _next(self, kind: _Kind) -> _Waiter | None:
        """Take out the waiter whose turn it is for a slab of this kind; none whose task is being cancelled."""
        queue = self._waiting_urgent if kind is _Kind.RESERVED else self._waiting
        while queue:
            waiter = queue.pop()
            self._withdraw(waiter)
            if not waiter.granted.done():
                return waiter
        return None

    def _withdraw(self, waiter: _Waiter) -> None:
        self._waiting.discard(waiter.owner, waiter)
        self._waiting_urgent.discard(waiter.owner, waiter)

    def _give_up(self, waiter: _Waiter) -> None:
        if not waiter.granted.done():
            self._withdraw(waiter)
            waiter.granted.set_exception(PoolExhausted())

    def _replace_lost(self, owner: str, kind: _Kind) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take_back_lost, owner, kind)

    def _take_back_lost(self, owner: str, kind: _Kind) -> None:
        _log.error("a slab of %r was never released; replaced", owner)
        self._take_back(self._map(), owner, kind)
