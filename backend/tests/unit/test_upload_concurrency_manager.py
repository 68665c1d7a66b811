"""Slots: sharing, idle deadlines, limits, fair waiting, refusals, cancellation, shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from app.core.errors import ForebayError, LimitReached, ShuttingDown, StateConflict
from app.services.upload_concurrency_manager import ConcurrencyStats, UploadConcurrencyManager
from app.testing.virtual_time import run_in_virtual_time

IDLE_S = 30.0
QUEUE_TIMEOUT_S = 20.0


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run the test on a loop whose clock jumps."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_in_virtual_time(test(*args, **kwargs))

    return run


def make(**limits: Any) -> UploadConcurrencyManager:
    """A manager with one slot, on the running loop's clock."""
    defaults: dict[str, Any] = {
        "max_uploads": 1,
        "max_users": 100,
        "max_uploads_per_user": None,
        "queue_limit": 1000,
        "queue_timeout_s": QUEUE_TIMEOUT_S,
        "idle_s": IDLE_S,
        "clock": asyncio.get_running_loop().time,
    }
    return UploadConcurrencyManager(**(defaults | limits))


class Connection:
    """Holds an upload's slot in a task of its own until told to leave; the owner is the id's first letter."""

    def __init__(self, manager: UploadConcurrencyManager, upload_id: str) -> None:
        self._manager = manager
        self._upload_id = upload_id
        self._leave = asyncio.Event()
        self.entered = asyncio.Event()
        self.refusal: ForebayError | None = None
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            async with self._manager.hold(self._upload_id, self._upload_id[0]):
                self.entered.set()
                await self._leave.wait()
        except ForebayError as exc:
            self.refusal = exc

    @property
    def holds(self) -> bool:
        """Whether the slot is this connection's now."""
        return self.entered.is_set() and not self.task.done()

    async def leave(self) -> None:
        """End the connection, as after a chunk."""
        self._leave.set()
        await self.task
        await settle()

    async def break_off(self) -> None:
        """Cancel the connection."""
        self.task.cancel()
        await asyncio.wait([self.task])


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(6):
        await asyncio.sleep(0)


async def connect(manager: UploadConcurrencyManager, *upload_ids: str) -> list[Connection]:
    """One connection for each, in this order, each as far as it gets."""
    connections = []
    for upload_id in upload_ids:
        connections.append(Connection(manager, upload_id))
        await settle()
    return connections


@contextlib.asynccontextmanager
async def all_gone(manager: UploadConcurrencyManager) -> AsyncIterator[None]:
    """After this, and the idle time, no slot may be out and nothing may wait."""
    yield
    await asyncio.sleep(IDLE_S + 1)
    assert (manager.stats.active_uploads, manager.stats.active_users, manager.stats.queued) == (0, 0, 0)


@in_virtual_time
async def test_connections_of_one_upload_share_one_slot() -> None:
    """However many chunks arrive at once, the upload counts once."""
    manager = make(max_uploads=2)
    async with all_gone(manager):
        connections = await connect(manager, "a1", "a1", "a1", "b1")
        assert manager.stats == ConcurrencyStats(2, 2, 2, 100, 0, 0)
        for connection in connections:
            await connection.leave()


@in_virtual_time
async def test_held_slot_never_expires() -> None:
    """A connection that takes hours keeps its slot."""
    manager = make()
    async with all_gone(manager):
        (connection,) = await connect(manager, "a1")
        await asyncio.sleep(100 * IDLE_S)
        assert manager.stats.active_uploads == 1
        await connection.leave()


@in_virtual_time
async def test_slot_outlasts_its_last_holder_by_the_idle_time_and_no_longer() -> None:
    """It returns at the deadline, by itself, and only then."""
    manager = make()
    (connection,) = await connect(manager, "a1")
    await connection.leave()
    await asyncio.sleep(IDLE_S - 0.1)
    assert manager.stats.active_uploads == 1
    await asyncio.sleep(0.2)
    assert manager.stats.active_uploads == 0


@in_virtual_time
async def test_deadline_counts_from_the_last_holder() -> None:
    """Each chunk renews it; the second of two connections too."""
    manager = make()
    async with all_gone(manager):
        first, second = await connect(manager, "a1", "a1")
        await first.leave()
        await asyncio.sleep(2 * IDLE_S)
        await second.leave()
        await asyncio.sleep(IDLE_S - 1)
        (third,) = await connect(manager, "a1")
        await third.leave()
        await asyncio.sleep(IDLE_S - 1)
        assert manager.stats.active_uploads == 1


@in_virtual_time
async def test_idle_slot_goes_to_the_waiting_upload_at_its_deadline() -> None:
    """Nobody has to call for that to happen."""
    manager = make(queue_timeout_s=1000)
    async with all_gone(manager):
        (idle,) = await connect(manager, "a1")
        await idle.leave()
        (waiting,) = await connect(manager, "b1")
        assert not waiting.holds
        await waiting.entered.wait()
        assert asyncio.get_running_loop().time() == pytest.approx(IDLE_S)
        await waiting.leave()


@in_virtual_time
async def test_slots_idle_at_different_times_expire_each_at_its_own() -> None:
    """One timer serves all deadlines."""
    manager = make(max_uploads=3)
    for upload_id in ("a1", "b1", "c1"):
        (connection,) = await connect(manager, upload_id)
        await connection.leave()
        await asyncio.sleep(10)
    (renewed,) = await connect(manager, "a1")
    await renewed.leave()
    counts = []
    for _ in range(4):
        counts.append(manager.stats.active_uploads)
        await asyncio.sleep(10)
    assert counts == [3, 2, 1, 0]


@in_virtual_time
async def test_clock_alone_decides_when_a_newcomer_finds_an_expired_slot() -> None:
    """A deadline that has passed counts even when the timer has not fired yet."""
    now = 0.0
    manager = make(clock=lambda: now)
    (connection,) = await connect(manager, "a1")
    await connection.leave()
    now = IDLE_S
    (newcomer,) = await connect(manager, "b1")
    assert newcomer.holds
    manager.release("b1")
    await newcomer.leave()
    assert manager.stats.active_uploads == 0


@in_virtual_time
async def test_release_of_an_idle_slot_returns_it_at_once() -> None:
    """A finished upload does not wait for the idle time; a second release does nothing."""
    manager = make()
    first, second = await connect(manager, "a1", "b1")
    await first.leave()
    manager.release("a1")
    manager.release("a1")
    manager.release("unknown")
    await settle()
    assert second.holds
    assert manager.stats.active_uploads == 1
    manager.release("b1")
    await second.leave()
    assert manager.stats.active_uploads == 0


@in_virtual_time
async def test_released_slot_goes_with_its_last_holder() -> None:
    """While a connection is still there the slot is not given away; then at once."""
    manager = make()
    first, second = await connect(manager, "a1", "a1")
    manager.release("a1")
    await first.leave()
    assert manager.stats.active_uploads == 1
    await second.leave()
    assert manager.stats.active_uploads == 0


@in_virtual_time
async def test_second_connection_leaks_no_slot_in_a_thousand_rounds() -> None:
    """Two connections for one upload, ended in every order and way: the slot is back each time."""
    manager = make(max_uploads=1, queue_timeout_s=10_000)
    for round_number in range(1000):
        first, second = Connection(manager, "a1"), Connection(manager, "a1")
        if round_number % 2:
            await settle()
        pair = (first, second) if round_number % 3 else (second, first)
        if round_number % 5 == 0:
            manager.release("a1")
        for connection in pair:
            if round_number % 7:
                await connection.entered.wait() if not connection.task.done() else None
                await connection.leave()
            else:
                await connection.break_off()
        manager.release("a1")
        assert manager.stats == ConcurrencyStats(0, 1, 0, 100, 0, 0)


@in_virtual_time
async def test_limit_of_uploads_holds() -> None:
    """The one too many waits, and gets the slot that comes free."""
    manager = make(max_uploads=2)
    async with all_gone(manager):
        first, second, third = await connect(manager, "a1", "b1", "c1")
        assert (first.holds, second.holds, third.holds) == (True, True, False)
        assert manager.stats.queued == 1
        manager.release("b1")
        await second.leave()
        assert third.holds
        await first.leave()
        await third.leave()


@in_virtual_time
async def test_limit_of_users_holds_and_lets_their_own_uploads_pass() -> None:
    """A second user waits though slots are free; the first user's next upload does not, until somebody waits."""
    manager = make(max_uploads=10, max_users=2)
    async with all_gone(manager):
        a1, b1, a2, c1 = await connect(manager, "a1", "b1", "a2", "c1")
        assert a2.holds
        assert not c1.holds
        manager.release("b1")
        await b1.leave()
        assert c1.holds
        assert manager.stats.active_users == 2
        for connection in (a1, a2, c1):
            await connection.leave()


@in_virtual_time
async def test_user_without_a_seat_is_not_kept_out_by_refills_of_those_seated() -> None:
    """While a newcomer waits for a seat, the user with the fewest slots gets no more of them."""
    manager = make(max_uploads=4, max_users=2, queue_timeout_s=10_000)
    async with all_gone(manager):
        a1, b1, b2 = await connect(manager, "a1", "b1", "b2")
        c1, a2, b3 = await connect(manager, "c1", "a2", "b3")
        assert (c1.holds, a2.holds, b3.holds) == (False, False, True)
        manager.release("a1")
        await a1.leave()
        assert c1.holds
        for upload_id, connection in {"b1": b1, "b2": b2, "b3": b3, "c1": c1}.items():
            manager.release(upload_id)
            await connection.leave()
        assert a2.holds
        await a2.leave()


@in_virtual_time
async def test_limit_per_user_holds_and_lets_others_pass() -> None:
    """Who is at their own limit waits for themselves; others go by."""
    manager = make(max_uploads=3, max_uploads_per_user=1)
    async with all_gone(manager):
        a1, a2, b1 = await connect(manager, "a1", "a2", "b1")
        assert (a1.holds, a2.holds, b1.holds) == (True, False, True)
        manager.release("a1")
        await a1.leave()
        assert a2.holds
        await a2.leave()
        await b1.leave()


@in_virtual_time
async def test_first_upload_of_another_user_goes_before_200_queued_files() -> None:
    """The next free slot is B's."""
    manager = make(max_uploads=2, queue_timeout_s=10_000)
    crowd = await connect(manager, *(f"a{number}" for number in range(202)))
    (newcomer,) = await connect(manager, "b1")
    assert manager.stats.queued == 201
    assert manager.queue_position("b1") == 1
    manager.release("a0")
    await crowd[0].leave()
    assert newcomer.holds
    manager.close()
    await asyncio.wait([connection.task for connection in crowd[2:]])
    await crowd[1].leave()
    await newcomer.leave()
    assert manager.stats.active_uploads == 0


@in_virtual_time
async def test_equal_users_take_turns_by_the_longest_unserved() -> None:
    """With equal slots, who was served longest ago is next; within a user, first come first served."""
    manager = make(queue_timeout_s=10_000)
    connections = dict(
        zip(
            ("x1", "a1", "a2", "b1", "b2", "c1"),
            await connect(manager, "x1", "a1", "a2", "b1", "b2", "c1"),
            strict=True,
        )
    )
    order = []
    while connections:
        upload_id = next(name for name, connection in connections.items() if connection.holds)
        order.append(upload_id)
        manager.release(upload_id)
        await connections.pop(upload_id).leave()
    assert order == ["x1", "a1", "b1", "c1", "a2", "b2"]


@in_virtual_time
async def test_queue_positions_are_those_of_granting() -> None:
    """Not of arrival: users alternate, those with slots come later."""
    manager = make(max_uploads=2)
    connections = await connect(manager, "a1", "b1", "a2", "a3", "c1", "c2")
    positions = {name: manager.queue_position(name) for name in ("a2", "a3", "c1", "c2", "a1", "unknown")}
    assert positions == {"c1": 1, "a2": 2, "c2": 3, "a3": 4, "a1": None, "unknown": None}
    manager.close()
    for connection in connections:
        connection.task.cancel()
    await asyncio.wait([connection.task for connection in connections])


@in_virtual_time
async def test_wait_is_bounded_and_refused_with_the_guides_message() -> None:
    """After exactly the queue timeout, with Retry-After; the entry is gone and counted."""
    manager = make()
    (holder,) = await connect(manager, "a1")
    with pytest.raises(LimitReached) as refusal:
        async with manager.hold("b1", "b"):
            raise AssertionError
    assert asyncio.get_running_loop().time() == pytest.approx(QUEUE_TIMEOUT_S)
    assert str(refusal.value) == "Upload limit exceeded or insufficient resources"
    assert refusal.value.retry_after_s
    assert refusal.value.status == 503
    assert manager.stats == ConcurrencyStats(1, 1, 1, 100, 0, 1)
    assert manager.queue_position("b1") is None
    await holder.leave()


@in_virtual_time
async def test_full_queue_refuses_at_once() -> None:
    """No wait, the guide's message; chunks of an upload that waits already may still join it."""
    manager = make(queue_limit=1)
    holder, waiting, joining = await connect(manager, "a1", "b1", "b1")
    with pytest.raises(LimitReached, match=r"^Upload limit exceeded or insufficient resources$"):
        async with manager.hold("c1", "c"):
            raise AssertionError
    assert asyncio.get_running_loop().time() == 0
    assert manager.stats.refused_total == 1
    manager.release("a1")
    await holder.leave()
    assert waiting.holds
    assert joining.holds
    await waiting.leave()
    await joining.leave()


@in_virtual_time
async def test_full_queue_refuses_the_user_who_filled_it() -> None:
    """A newcomer below its share takes the place of the newest upload of whoever waits with the most."""
    manager = make(queue_limit=4)
    connections = await connect(manager, "x1", "a1", "a2", "a3", "a4", "a5", "b1")
    refused = [isinstance(connection.refusal, LimitReached) for connection in connections]
    assert refused == [False, False, False, False, True, True, False]
    assert manager.stats.queued == 4
    assert manager.stats.refused_total == 2
    manager.close()
    await asyncio.wait([connection.task for connection in connections[1:]])
    await connections[0].leave()


@in_virtual_time
async def test_chunks_of_one_waiting_upload_wait_as_one() -> None:
    """One entry in the queue, one slot, all of them in together."""
    manager = make()
    async with all_gone(manager):
        holder, *chunks = await connect(manager, "a1", "b1", "b1", "b1")
        assert manager.stats.queued == 1
        manager.release("a1")
        await holder.leave()
        assert all(chunk.holds for chunk in chunks)
        assert manager.stats.active_uploads == 1
        for chunk in chunks:
            await chunk.leave()


@in_virtual_time
async def test_entry_keeps_its_place_until_its_last_waiter_goes() -> None:
    """One chunk cancelled: the upload still waits. All cancelled: it does not."""
    manager = make()
    holder, first, second = await connect(manager, "a1", "b1", "b1")
    await first.break_off()
    assert manager.queue_position("b1") == 1
    await second.break_off()
    assert manager.queue_position("b1") is None
    assert manager.stats.queued == 0
    await holder.leave()


@in_virtual_time
async def test_slot_granted_to_a_cancelled_waiter_goes_to_the_next() -> None:
    """Cancelled in the very tick of the grant; the slot does not linger for the idle time."""
    manager = make()
    async with all_gone(manager):
        holder, first, second = await connect(manager, "a1", "b1", "c1")
        await holder.leave()
        manager.release("a1")
        await first.break_off()
        await settle()
        assert second.holds
        assert manager.stats.active_uploads == 1
        await second.leave()


@in_virtual_time
async def test_slot_is_not_given_to_a_waiter_whose_cancellation_is_under_way() -> None:
    """Cancelled first, slot free in the same tick: the next one has it."""
    manager = make()
    async with all_gone(manager):
        holder, first, second = await connect(manager, "a1", "b1", "c1")
        await holder.leave()
        first.task.cancel()
        manager.release("a1")
        await settle()
        assert first.task.cancelled()
        assert second.holds
        await second.leave()


@in_virtual_time
async def test_cancelled_upload_costs_its_user_no_turn() -> None:
    """Passed over while it goes, its user's next upload is still before those who came later."""
    manager = make()
    async with all_gone(manager):
        holder, gone, same_user, other = await connect(manager, "x1", "a1", "a2", "b1")
        await holder.leave()
        gone.task.cancel()
        manager.release("x1")
        await settle()
        assert (same_user.holds, other.holds) == (True, False)
        manager.release("a2")
        await same_user.leave()
        await other.leave()


@in_virtual_time
async def test_other_chunk_keeps_the_slot_granted_to_a_cancelled_one() -> None:
    """Two chunks granted together, one cancelled in the same tick: the other holds on."""
    manager = make()
    async with all_gone(manager):
        holder, first, second = await connect(manager, "a1", "b1", "b1")
        await holder.leave()
        manager.release("a1")
        await first.break_off()
        assert second.holds
        await second.leave()


@in_virtual_time
async def test_release_of_a_waiting_upload_sends_its_connections_away() -> None:
    """A cancelled upload does not go on waiting for a slot it can't use."""
    manager = make()
    holder, first, second = await connect(manager, "a1", "b1", "b1")
    manager.release("b1")
    await settle()
    for connection in (first, second):
        assert isinstance(connection.refusal, StateConflict)
    assert manager.stats == ConcurrencyStats(1, 1, 1, 100, 0, 0)
    await holder.leave()


@in_virtual_time
async def test_stopped_admission_refuses_newcomers_and_waiters_only() -> None:
    """Uploads with a slot go on, also with further connections; nobody gets a new slot, even a free one."""
    manager = make(max_uploads=1)
    holder, waiting = await connect(manager, "a1", "b1")
    manager.stop_admission()
    manager.stop_admission()
    await settle()
    assert isinstance(waiting.refusal, ShuttingDown)
    (further,) = await connect(manager, "a1")
    assert further.holds
    manager.release("a1")
    await holder.leave()
    await further.leave()
    with pytest.raises(ShuttingDown):
        async with manager.hold("c1", "c"):
            raise AssertionError
    assert manager.stats == ConcurrencyStats(0, 1, 0, 100, 0, 0)


@in_virtual_time
async def test_sending_waiters_away_gives_nobody_a_slot() -> None:
    """Not even an upload that waited only because of another one, which is sent away first."""
    manager = make(max_uploads=4, max_users=2)
    *holders, newcomer, held_back = await connect(manager, "a1", "b1", "b2", "c1", "a2")
    manager.stop_admission()
    await settle()
    assert isinstance(newcomer.refusal, ShuttingDown)
    assert isinstance(held_back.refusal, ShuttingDown)
    assert manager.stats.active_uploads == 3
    for connection in holders:
        await connection.leave()


@in_virtual_time
async def test_close_takes_idle_slots_at_once_and_held_ones_with_their_holder() -> None:
    """Nothing remains, no timer either."""
    manager = make(max_uploads=2)
    idle, held = await connect(manager, "a1", "b1")
    await idle.leave()
    manager.close()
    assert manager.stats.active_uploads == 1
    await held.leave()
    assert manager.stats.active_uploads == 0


@in_virtual_time
async def test_error_in_a_holder_gives_the_slot_back_as_any_end_does() -> None:
    """The slot is idle afterwards, not held for ever."""
    manager = make()
    async with all_gone(manager):
        with pytest.raises(ZeroDivisionError):
            async with manager.hold("a1", "a"):
                raise ZeroDivisionError
        assert manager.stats.active_uploads == 1


@pytest.mark.parametrize("limit", ["max_uploads", "max_users", "max_uploads_per_user"])
@in_virtual_time
async def test_limit_of_zero_is_refused(limit: str) -> None:
    """It would let nobody in, ever."""
    with pytest.raises(ValueError, match="start at 1"):
        make(**{limit: 0})
