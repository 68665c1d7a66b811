"""How many chunks may be in flight."""

from __future__ import annotations

import asyncio

from forebay._lanes import LaneGate


async def test_no_more_than_the_limit_are_let_in() -> None:
    """The next one waits until somebody leaves."""
    gate = LaneGate(2)
    inside = most = 0

    async def lane() -> None:
        nonlocal inside, most
        async with gate.hold():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(lane() for _ in range(20)))
    assert most == 2


async def test_connections_that_break_together_halve_it_once() -> None:
    """One wave is one loss; the next wave is another, down to one lane."""
    gate = LaneGate(8)
    async with gate.hold() as wave, gate.hold() as same:
        gate.shrink(wave)
        gate.shrink(same)
        assert gate.limit == 4
    for expected in (2, 1, 1):
        async with gate.hold() as wave:
            gate.shrink(wave)
        assert gate.limit == expected


async def test_a_round_of_successes_adds_one_lane_up_to_the_most() -> None:
    """Additive increase."""
    gate = LaneGate(3)
    async with gate.hold() as wave:
        gate.shrink(wave)
    assert gate.limit == 1
    gate.grow()
    assert gate.limit == 2
    for _ in range(10):
        gate.grow()
    assert gate.limit == 3


async def test_who_waited_in_vain_takes_no_place() -> None:
    """A cancelled waiter leaves nothing behind."""
    gate = LaneGate(1)

    async def enter() -> None:
        async with gate.hold():
            pass

    async with gate.hold():
        waiter = asyncio.create_task(enter())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.wait([waiter])
    await asyncio.wait_for(enter(), 1)
