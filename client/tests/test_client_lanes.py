"""How many chunks may be sent at once."""

from __future__ import annotations

import asyncio

import pytest

from forebay._lanes import LaneGate


async def test_no_more_than_the_limit_are_let_in() -> None:
    """The next one waits until somebody leaves."""
    gate = LaneGate(2)
    inside = most = 0

    async def lane(number: int) -> None:
        nonlocal inside, most
        async with gate.hold(number):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*map(lane, range(20)))
    assert most == 2


class Chunks:
    """Chunks that hold places until they are answered."""

    def __init__(self, gate: LaneGate, count: int) -> None:
        self.gate = gate
        self.inside: list[int] = []
        self._sent = [asyncio.Event() for _ in range(count)]
        self._answered = [asyncio.Event() for _ in range(count)]
        self.tasks = [asyncio.create_task(self._bring(number)) for number in range(count)]

    async def _bring(self, number: int) -> None:
        async with self.gate.hold(number) as place:
            self.inside.append(number)
            await self._sent[number].wait()
            self.gate.sent(place)
            await self._answered[number].wait()
            self.inside.remove(number)

    async def settled(self) -> list[int]:
        """Who is inside, when everybody has done what can be done."""
        for _ in range(10):
            await asyncio.sleep(0)
        return self.inside

    def send(self, number: int) -> None:
        """All of it is handed to the network."""
        self._sent[number].set()

    def answer(self, number: int) -> None:
        """It has arrived, or was refused."""
        self._sent[number].set()
        self._answered[number].set()


async def test_a_chunk_that_is_sent_leaves_its_lane_to_the_next() -> None:
    """Before it is answered; and its answer frees no second one."""
    chunks = Chunks(LaneGate(2), 5)
    assert await chunks.settled() == [0, 1]
    chunks.send(0)
    assert await chunks.settled() == [0, 1, 2]
    chunks.answer(0)
    assert await chunks.settled() == [1, 2]
    chunks.answer(1)
    assert await chunks.settled() == [2, 3]
    for number in range(5):
        chunks.answer(number)
    await asyncio.gather(*chunks.tasks)


async def test_one_chunk_more_than_there_are_lanes_is_in_flight() -> None:
    """However many are sent; then it is answers that are waited for."""
    gate = LaneGate(3)
    chunks = Chunks(gate, 9)
    for number in range(9):
        chunks.send(number)
    assert await chunks.settled() == [0, 1, 2, 3]
    assert gate.most_in_flight == 4
    chunks.answer(2)
    assert await chunks.settled() == [0, 1, 3, 4]
    for number in range(9):
        chunks.answer(number)
    await asyncio.gather(*chunks.tasks)


async def test_one_lane_is_one_chunk_at_a_time() -> None:
    """Sent and answered, then the next: what the sequential mode needs."""
    gate = LaneGate(1)
    chunks = Chunks(gate, 2)
    chunks.send(0)
    assert await chunks.settled() == [0]
    assert gate.most_in_flight == 1
    chunks.answer(0)
    assert await chunks.settled() == [1]
    chunks.answer(1)
    await asyncio.gather(*chunks.tasks)


async def test_a_lane_lost_takes_what_it_may_have_unanswered_along() -> None:
    """On a line that breaks, one chunk at a time means that."""
    gate = LaneGate(2)
    async with gate.hold(0) as first:
        gate.shrink(first.wave)
        assert gate.limit == 1
        chunks = Chunks(gate, 1)
        gate.sent(first)
        assert await chunks.settled() == []
    assert await chunks.settled() == [0]
    chunks.answer(0)
    await asyncio.gather(*chunks.tasks)


async def test_a_lane_is_left_once() -> None:
    """Sent is said again, or too late: no second chunk is let in for it."""
    gate = LaneGate(2)
    async with gate.hold(0) as place:
        pass
    async with gate.hold(1) as other:
        gate.sent(place)
        gate.sent(other)
        gate.sent(other)
        chunks = Chunks(gate, 3)
        assert await chunks.settled() == [0, 1]
    for number in range(3):
        chunks.answer(number)
    await asyncio.gather(*chunks.tasks)


async def test_the_lowest_number_goes_first() -> None:
    """A chunk that is repeated is what a destination that takes bytes in order waits for."""
    gate = LaneGate(1)
    order: list[int] = []

    async def bring(number: int) -> None:
        async with gate.hold(number):
            order.append(number)

    async with gate.hold(0):
        tasks = [asyncio.create_task(bring(number)) for number in (7, 3, 5)]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order == [3, 5, 7]


async def test_connections_that_break_together_halve_it_once() -> None:
    """One wave is one loss; the next wave is another, down to one lane."""
    gate = LaneGate(8)
    async with gate.hold(0) as one, gate.hold(1) as same:
        gate.shrink(one.wave)
        gate.shrink(same.wave)
        assert gate.limit == 4
    for expected in (2, 1, 1):
        async with gate.hold(0) as place:
            gate.shrink(place.wave)
        assert gate.limit == expected


async def test_a_round_of_successes_adds_one_lane_up_to_the_most() -> None:
    """Additive increase."""
    gate = LaneGate(3)
    async with gate.hold(0) as place:
        gate.shrink(place.wave)
    assert gate.limit == 1
    gate.grow()
    assert gate.limit == 2
    for _ in range(10):
        gate.grow()
    assert gate.limit == 3


@pytest.mark.parametrize("let_in", [False, True], ids=["waiting", "let in just then"])
async def test_who_waited_in_vain_takes_no_place(*, let_in: bool) -> None:
    """A cancelled waiter leaves nothing behind."""
    gate = LaneGate(1)

    async def enter(number: int) -> None:
        async with gate.hold(number):
            pass

    async with gate.hold(0):
        waiter = asyncio.create_task(enter(1))
        await asyncio.sleep(0)
        if not let_in:
            waiter.cancel()
            await asyncio.wait([waiter])
    waiter.cancel()
    await asyncio.wait([waiter])
    assert waiter.cancelled()
    await asyncio.wait_for(enter(2), 1)
