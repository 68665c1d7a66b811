"""Slots against a plain model: the algorithm alone, then the manager with connections, cancellation and time."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.core.errors import ForebayError, LimitReached, StateConflict
from app.services.limits.fair_slots import FairSlots
from app.services.upload_concurrency_manager import ConcurrencyStats, UploadConcurrencyManager
from app.testing.virtual_time import VirtualTimeLoop

OWNERS = "abcde"
UPLOADS = [f"{owner}{number}" for owner in OWNERS for number in range(4)]
LIMITS = st.fixed_dictionaries(
    {
        "uploads": st.integers(1, 5),
        "users": st.integers(1, 4),
        "per_user": st.none() | st.integers(1, 3),
    }
)
# Quarters are exact as floats; with every call on a whole second, no two kinds of deadline ever coincide.
IDLE_S = 30.25
QUEUE_TIMEOUT_S = 20.5


@dataclass
class PlainSlots:
    """The rules as one would write them down: lists, and a search through them. An upload's owner is its first letter."""

    uploads: int
    users: int
    per_user: int | None
    active: list[str] = field(default_factory=list)
    queue: list[str] = field(default_factory=list)
    turns: list[str] = field(default_factory=list)  # owners; who was served longest ago, or came first, is first

    def count(self, owner: str) -> int:
        """Slots of an owner."""
        return sum(upload[0] == owner for upload in self.active)

    def enqueue(self, upload: str) -> None:
        """The upload waits."""
        self.queue.append(upload)
        if upload[0] not in self.turns:
            self.turns.append(upload[0])

    def withdraw(self, upload: str) -> None:
        """It waits no more."""
        self.queue.remove(upload)
        self._forget(upload[0])

    def give_back(self, upload: str) -> None:
        """Its slot is free."""
        self.active.remove(upload)
        self._served(upload[0])
        self._forget(upload[0])

    def grant(self) -> str | None:
        """Give the next slot, if there is one for anybody."""
        owner = self._choose()
        if owner is None:
            return None
        upload = next(upload for upload in self.queue if upload[0] == owner)
        self.queue.remove(upload)
        self.active.append(upload)
        self._served(owner)
        return upload

    def _choose(self) -> str | None:
        if len(self.active) >= self.uploads:
            return None
        allowed = {upload[0] for upload in self.queue}
        allowed = {owner for owner in allowed if self.per_user is None or self.count(owner) < self.per_user}
        seated = {upload[0] for upload in self.active}
        if len(seated) >= self.users and allowed - seated:
            allowed = (allowed & seated) - {min(seated, key=self._rank)}
        return min(allowed, key=self._rank, default=None)

    def _rank(self, owner: str) -> tuple[int, int]:
        return self.count(owner), self.turns.index(owner)

    def _served(self, owner: str) -> None:
        self.turns.remove(owner)
        self.turns.append(owner)

    def _forget(self, owner: str) -> None:
        if all(upload[0] != owner for upload in self.active + self.queue):
            self.turns.remove(owner)


class FairSlotsMachine(RuleBasedStateMachine):
    """Every grant is the model's, and every queue position the one a simulation finds."""

    @initialize(limits=LIMITS)
    def start(self, limits: dict[str, Any]) -> None:
        """Begin with these limits."""
        self.model = PlainSlots(**limits)
        self.fair = FairSlots(max_slots=limits["uploads"], max_owners=limits["users"], max_per_owner=limits["per_user"])

    @rule(upload=st.sampled_from(UPLOADS))
    def enqueue(self, upload: str) -> None:
        """Somebody comes."""
        if upload not in self.model.queue + self.model.active:
            self.model.enqueue(upload)
            self.fair.enqueue(upload[0], upload)

    @precondition(lambda self: self.model.active)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        """Somebody ends."""
        upload = data.draw(st.sampled_from(self.model.active))
        self.model.give_back(upload)
        self.fair.give_back(upload[0])

    @precondition(lambda self: self.model.queue)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        """Somebody waits no longer."""
        upload = data.draw(st.sampled_from(self.model.queue))
        self.model.withdraw(upload)
        self.fair.withdraw(upload[0], upload)

    @rule(most=st.integers(1, 3))
    def grant(self, most: int) -> None:
        """Slots are given out, perhaps not all that are free."""
        for _ in range(most):
            expected = self.model.grant()
            ahead = self.fair.next_grant()
            given = self.fair.grant_next()
            assert ahead == given
            assert (given.item if given else None) == expected

    @invariant()
    def counts_are_the_models(self) -> None:
        """Slots, owners and queue."""
        model = self.model
        seated = {upload[0] for upload in model.active}
        assert (self.fair.slots, self.fair.owners, self.fair.queued) == (
            len(model.active), len(seated), len(model.queue)
        )  # fmt: skip
        assert len(model.active) <= model.uploads
        assert len(seated) <= model.users

    @invariant()
    def positions_are_the_order_of_granting(self) -> None:
        """If only slots were added, uploads would be granted in the order of their positions, which have no gaps."""
        positions = {upload: self.fair.position(upload[0], upload) for upload in self.model.queue}
        order = sorted(positions, key=lambda upload: positions[upload] or 0)
        assert [positions[upload] for upload in order] == list(range(1, len(order) + 1))
        simulated = copy.deepcopy(self.model)
        simulated.uploads = len(UPLOADS) + 1
        granted = []
        while (upload := simulated.grant()) is not None:
            granted.append(upload)
        assert order[: len(granted)] == granted


TestFairSlots = FairSlotsMachine.TestCase
TestFairSlots.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(limits=LIMITS, seed=st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_newcomer_gets_a_slot_however_fast_others_refill(limits: dict[str, Any], seed: Any) -> None:
    """Owners that always have more waiting, and end their uploads in any order, can't keep a newcomer out."""
    fair = FairSlots(max_slots=limits["uploads"], max_owners=limits["users"], max_per_owner=limits["per_user"])
    active: list[str] = []

    def hand_out() -> bool:
        newcomer = False
        while (grant := fair.grant_next()) is not None:
            active.append(grant.owner)
            newcomer |= grant.owner == "newcomer"
        return newcomer

    for owner in OWNERS:
        for number in range(200):
            fair.enqueue(owner, f"{owner}{number}")
    hand_out()
    fair.enqueue("newcomer", "newcomer0")
    if hand_out():
        return
    for _ in range(40):  # rounds, in each of which every upload that was active ends
        for owner in seed.sample(active, len(active)):
            active.remove(owner)
            fair.give_back(owner)
            if hand_out():
                return
    pytest.fail("the newcomer starves")


@given(counts=st.lists(st.integers(1, 6), min_size=1, max_size=5), last=st.integers(0, 4))
def test_overflow_hits_whoever_waits_with_the_most(counts: list[int], last: int) -> None:
    """The refused item is its owner's newest, and no owner with fewer waiting is refused for one with more."""
    fair = FairSlots(max_slots=1, max_owners=1)
    for owner, count in zip(OWNERS, counts, strict=False):
        for number in range(count):
            fair.enqueue(owner, f"{owner}{number}")
    arrived = OWNERS[last % len(counts)]
    refused = fair.overflow(arrived)
    count = counts[OWNERS.index(refused.owner)]
    assert refused.item == f"{refused.owner}{count - 1}"
    if refused.owner == arrived:
        assert count * len(counts) >= sum(counts)
    else:
        assert count == max(counts)
        assert count > counts[last % len(counts)]


@pytest.mark.parametrize("cycles", [5000])
def test_owners_that_come_and_go_leave_nothing_behind(cycles: int) -> None:
    """Waiting and leaving again, thousands of times, does not let the heaps grow without bound."""
    fair = FairSlots(max_slots=1, max_owners=1)
    fair.enqueue("first", "first")
    fair.grant_next()
    fair.enqueue("second", "second")
    for number in range(cycles):
        fair.enqueue(f"owner{number}", "item")
        fair.withdraw(f"owner{number}", "item")
    assert len(fair._newcomers) < 100
    assert len(fair._owners) == 2


@dataclass(eq=False)
class Connection:
    """One `hold` in a task of its own, and what the model says of it."""

    upload: str
    leave: asyncio.Event
    came_at: float
    task: asyncio.Task[None] | None = None
    holds: bool = False
    error: type[BaseException] | None = None


@dataclass
class ModelSlot:
    """A slot in the model."""

    holders: list[Connection]
    idle_since: float | None = None
    ended: bool = False


class ManagerMachine(RuleBasedStateMachine):
    """Connections come, leave, break off and wait; uploads end; time passes. The model says who holds a slot."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.loop = self.runner.get_loop()
        self.connections: list[Connection] = []
        self.slots: dict[str, ModelSlot] = {}
        self.waiting: dict[str, list[Connection]] = {}
        self.expected: dict[Connection, str | type[BaseException]] = {}
        self.refused = 0

    @initialize(limits=LIMITS)
    def start(self, limits: dict[str, Any]) -> None:
        """Begin with these limits."""
        self.plain = PlainSlots(**limits)
        self.manager = UploadConcurrencyManager(
            max_uploads=limits["uploads"],
            max_users=limits["users"],
            max_uploads_per_user=limits["per_user"],
            queue_limit=1000,
            queue_timeout_s=QUEUE_TIMEOUT_S,
            idle_s=IDLE_S,
            clock=self.loop.time,
        )

    # -- the model ----------------------------------------------------------------------------------------------------

    def _grant(self) -> None:
        while (upload := self.plain.grant()) is not None:
            self.slots[upload] = ModelSlot(holders=self.waiting.pop(upload))
            for connection in self.slots[upload].holders:
                self.expected[connection] = "holds"

    def _return(self, upload: str) -> None:
        del self.slots[upload]
        self.plain.give_back(upload)
        self._grant()

    def _leaves(self, connection: Connection, *, used: bool = True) -> None:
        slot = self.slots[connection.upload]
        slot.holders.remove(connection)
        if not slot.holders:
            if slot.ended or not used:
                self._return(connection.upload)
            else:
                slot.idle_since = self.loop.time()
                self.slots[connection.upload] = self.slots.pop(connection.upload)  # the idle ones by when they began

    def _stops_waiting(self, connection: Connection, outcome: type[BaseException]) -> None:
        self.expected[connection] = outcome
        others = self.waiting[connection.upload]
        others.remove(connection)
        if not others:
            del self.waiting[connection.upload]
            self.plain.withdraw(connection.upload)
            self._grant()

    def _until(self, now: float) -> None:
        """What deadlines do up to now, in their order."""
        while True:
            due: list[tuple[float, str | Connection]] = [
                (slot.idle_since + IDLE_S, upload) for upload, slot in self.slots.items() if slot.idle_since is not None
            ]
            due += [(c.came_at + QUEUE_TIMEOUT_S, c) for cs in self.waiting.values() for c in cs]
            when, what = min(due, key=lambda item: item[0], default=(now + 1, ""))
            if when > now:
                return
            if isinstance(what, Connection):
                self.refused += 1
                self._stops_waiting(what, LimitReached)
            else:
                self._return(what)

    # -- both ---------------------------------------------------------------------------------------------------------

    async def _hold(self, connection: Connection) -> None:
        try:
            async with self.manager.hold(connection.upload, connection.upload[0]):
                connection.holds = True
                await connection.leave.wait()
        except ForebayError as exc:
            connection.error = type(exc)
        finally:
            connection.holds = False

    def _pass(self, seconds: float) -> None:
        async def settle() -> None:
            await asyncio.sleep(seconds)
            for _ in range(6):
                await asyncio.sleep(0)

        self.runner.run(settle())
        self._until(self.loop.time())

    def _some(self, data: st.DataObject, state: str) -> Connection:
        return data.draw(st.sampled_from([c for c in self.connections if self.expected[c] == state]))

    def _any(self, state: str) -> bool:
        return any(self.expected[connection] == state for connection in self.connections)

    @rule(upload=st.sampled_from(UPLOADS))
    def connect(self, upload: str) -> None:
        """A chunk arrives."""
        connection = Connection(upload, asyncio.Event(), self.loop.time())
        connection.task = self.loop.create_task(self._hold(connection))
        self.connections.append(connection)
        if upload in self.slots:
            self.slots[upload].holders.append(connection)
            self.slots[upload].idle_since = None
            self.expected[connection] = "holds"
        else:
            self.expected[connection] = "waits"
            self.waiting.setdefault(upload, []).append(connection)
            if len(self.waiting[upload]) == 1:
                self.plain.enqueue(upload)
                self._grant()
        self._pass(1)

    @precondition(lambda self: self._any("holds"))
    @rule(data=st.data(), cancelled=st.booleans())
    def leave(self, data: st.DataObject, cancelled: bool) -> None:
        """A chunk ends, or its client breaks off."""
        connection = self._some(data, "holds")
        if cancelled:
            assert connection.task is not None
            connection.task.cancel()
        else:
            connection.leave.set()
        self.expected[connection] = "left"
        self._leaves(connection)
        self._pass(1)

    @precondition(lambda self: self._any("waits"))
    @rule(data=st.data())
    def break_off(self, data: st.DataObject) -> None:
        """A client that waits goes."""
        connection = self._some(data, "waits")
        assert connection.task is not None
        connection.task.cancel()
        self._stops_waiting(connection, asyncio.CancelledError)
        self._pass(1)

    @rule(upload=st.sampled_from(UPLOADS))
    def release(self, upload: str) -> None:
        """Receiving has ended."""
        self.manager.release(upload)
        self._model_release(upload)
        self._pass(1)

    def _model_release(self, upload: str) -> None:
        if upload in self.slots:
            self.slots[upload].ended = True
            if not self.slots[upload].holders:
                self._return(upload)
        for connection in list(self.waiting.get(upload, [])):
            self._stops_waiting(connection, StateConflict)

    @precondition(lambda self: self._any("waits") and any(not slot.holders for slot in self.slots.values()))
    @rule(data=st.data(), cancel_first=st.booleans())
    def release_and_break_off_at_once(self, data: st.DataObject, cancel_first: bool) -> None:
        """A slot comes free and a waiter is cancelled in the same tick, before either has run."""
        upload = data.draw(st.sampled_from([upload for upload, slot in self.slots.items() if not slot.holders]))
        connection = self._some(data, "waits")
        assert connection.task is not None
        if cancel_first:
            connection.task.cancel()
            self._stops_waiting(connection, asyncio.CancelledError)
            self.manager.release(upload)
            self._model_release(upload)
        else:
            self.manager.release(upload)
            self._model_release(upload)
            connection.task.cancel()
            if self.expected[connection] == "holds":
                others = [c for c in self.slots[connection.upload].holders if c is not connection]
                self.expected[connection] = "left"
                self._leaves(connection, used=bool(others))
            else:
                self._stops_waiting(connection, asyncio.CancelledError)
        self._pass(1)

    @rule(seconds=st.integers(1, 40))
    def wait(self, seconds: int) -> None:
        """Time passes, and with it deadlines."""
        self._pass(seconds)

    @invariant()
    def agrees_with_the_model(self) -> None:
        """Who holds, who waits, who was refused and why, positions and counts; no limit is passed; no slot is lost."""
        if not hasattr(self, "plain"):
            return
        for connection in self.connections:
            expected = self.expected[connection]
            assert connection.task is not None
            assert connection.holds == (expected == "holds")
            assert connection.task.done() == (expected not in {"holds", "waits"})
            if isinstance(expected, type) and issubclass(expected, ForebayError):
                assert connection.error is expected
        users = {upload[0] for upload in self.slots}
        assert self.manager.stats == ConcurrencyStats(
            active_uploads=len(self.slots),
            max_uploads=self.plain.uploads,
            active_users=len(users),
            max_users=self.plain.users,
            queued=len(self.waiting),
            refused_total=self.refused,
        )
        assert len(self.slots) <= self.plain.uploads
        assert len(users) <= self.plain.users
        if self.plain.per_user is not None:
            assert all(self.plain.count(user) <= self.plain.per_user for user in users)
        positions = {upload: self.manager.queue_position(upload) for upload in UPLOADS}
        assert sorted(upload for upload, position in positions.items() if position) == sorted(self.waiting)
        assert sorted(filter(None, positions.values())) == list(range(1, len(self.waiting) + 1))

    def teardown(self) -> None:
        """When all have left and the idle time is over, every slot is back."""
        if hasattr(self, "plain"):
            for connection in self.connections:
                connection.leave.set()
            self.runner.run(asyncio.sleep(len(UPLOADS) * (IDLE_S + QUEUE_TIMEOUT_S)))
            assert self.manager.stats.active_uploads == 0
            assert self.manager.stats.queued == 0
            self.manager.close()
        self.runner.close()


TestManager = ManagerMachine.TestCase
TestManager.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
