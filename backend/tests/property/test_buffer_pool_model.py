"""The buffer pool under any order of acquiring, releasing, cancelling and losing leases."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.core.errors import PoolExhausted
from app.services.chunk_buffer_pool import ChunkBufferPool, PoolStats, SlabLease
from app.testing.virtual_time import VirtualTimeLoop

SLAB = 4096
TIMEOUT_S = 60.0


class Caller:
    """One `acquire` in a task of its own."""

    def __init__(self, owner: str, *, urgent: bool, came_at: float, task: asyncio.Task[SlabLease]) -> None:
        self.owner = owner
        self.urgent = urgent
        self.came_at = came_at
        self.task = task
        self.reserved = False


class PoolMachine(RuleBasedStateMachine):
    """Who has a slab, of which kind, and who waits, as plain lists say."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.loop = self.runner.get_loop()
        self.holding: list[Caller] = []
        self.waiting: list[Caller] = []
        self.gone: list[Caller] = []
        # Owners by turn, for general and reserved slabs; the first one is next.
        self.rounds: dict[bool, list[str]] = {False: [], True: []}

    @initialize(slabs=st.integers(1, 4), reserved=st.integers(0, 2))
    def start(self, slabs: int, reserved: int) -> None:
        """A pool of this many general and reserved slabs."""
        self.free = {False: slabs, True: reserved}
        self.total = slabs + reserved
        self.pool = ChunkBufferPool(SLAB, self.total, timeout_s=TIMEOUT_S, reserved=reserved)
        self.pool.open()

    def _may_have(self, caller: Caller, *, reserved: bool) -> bool:
        return caller.urgent or not reserved

    def _hand_out(self, *, reserved: bool) -> None:
        """Give a free slab of this kind to whoever's turn it is."""
        queue = [caller for caller in self.waiting if self._may_have(caller, reserved=reserved)]
        if not queue or not self.free[reserved]:
            return
        round_ = self.rounds[reserved]
        owner = round_.pop(0)
        caller = next(caller for caller in queue if caller.owner == owner)
        round_.append(owner)
        self._no_longer_waits(caller)
        self._grant(caller, reserved=reserved)

    def _grant(self, caller: Caller, *, reserved: bool) -> None:
        self.free[reserved] -= 1
        caller.reserved = reserved
        self.holding.append(caller)

    def _no_longer_waits(self, caller: Caller) -> None:
        self.waiting.remove(caller)
        for reserved, round_ in self.rounds.items():
            owners = {other.owner for other in self.waiting if self._may_have(other, reserved=reserved)}
            round_[:] = [owner for owner in round_ if owner in owners]

    def _pass(self, seconds: float) -> None:
        async def settle() -> None:
            await asyncio.sleep(seconds)
            for _ in range(4):
                await asyncio.sleep(0)

        self.runner.run(settle())
        for caller in [caller for caller in self.waiting if caller.came_at + TIMEOUT_S <= self.loop.time()]:
            self._no_longer_waits(caller)
            self.gone.append(caller)
            assert isinstance(caller.task.exception(), PoolExhausted)

    @rule(owner=st.sampled_from("abc"), urgent=st.booleans())
    def acquire(self, owner: str, urgent: bool) -> None:
        """Somebody wants a slab."""
        task = self.loop.create_task(self.pool.acquire(owner, urgent=urgent))
        caller = Caller(owner, urgent=urgent, came_at=self.loop.time(), task=task)
        if self.free[False]:
            self._grant(caller, reserved=False)
        elif urgent and self.free[True]:
            self._grant(caller, reserved=True)
        else:
            self.waiting.append(caller)
            for reserved, round_ in self.rounds.items():
                if self._may_have(caller, reserved=reserved) and owner not in round_:
                    round_.append(owner)
        self._pass(1)

    @precondition(lambda self: self.holding)
    @rule(data=st.data(), at_once=st.booleans())
    def release(self, data: st.DataObject, at_once: bool) -> None:
        """A slab comes back; perhaps whoever gets it is cancelled in the same tick."""
        caller = data.draw(st.sampled_from(self.holding))
        before = list(self.holding)
        caller.task.result().release()
        self._returned(caller)
        granted = [other for other in self.holding if other not in before]
        if at_once and granted:
            granted[0].task.cancel()
            self._returned(granted[0])
        self._pass(1)

    def _returned(self, caller: Caller) -> None:
        self.holding.remove(caller)
        self.gone.append(caller)
        self.free[caller.reserved] += 1
        self._hand_out(reserved=caller.reserved)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Somebody who waits goes."""
        caller = data.draw(st.sampled_from(self.waiting))
        caller.task.cancel()
        self._no_longer_waits(caller)
        self.gone.append(caller)
        self._pass(1)

    @rule(seconds=st.integers(1, 50))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self._pass(seconds + 0.5)

    @invariant()
    def agrees_with_the_model(self) -> None:
        """The same callers hold and wait; counts are right; no two hold the same bytes."""
        if not hasattr(self, "pool"):
            return
        assert all(caller.task.done() for caller in self.holding + self.gone)
        assert not any(caller.task.done() for caller in self.waiting)
        assert self.pool.stats == PoolStats(SLAB, self.total, len(self.holding), len(self.waiting))
        counts: dict[str, int] = {}
        for number, caller in enumerate(self.holding):
            counts[caller.owner] = counts.get(caller.owner, 0) + 1
            caller.task.result().view[:1] = bytes([number])
        assert self.pool.leased_by_owner == counts
        assert [caller.task.result().view[0] for caller in self.holding] == list(range(len(self.holding)))

    def teardown(self) -> None:
        """Every slab comes back."""
        if hasattr(self, "pool"):
            for caller in self.waiting:
                caller.task.cancel()

            async def settle() -> Any:
                return await asyncio.gather(*(caller.task for caller in self.waiting), return_exceptions=True)

            self.runner.run(settle())
            for caller in self.holding:
                caller.task.result().release()
            assert self.pool.stats == PoolStats(SLAB, self.total, 0, 0)
            self.pool.close()
        self.runner.close()


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
