"""Ending a piece of work from outside, and finishing one that must not be cut."""

from __future__ import annotations

import asyncio

import pytest

from app.core.errors import Superseded
from app.services.interruption import Interruption, unbroken


async def test_an_interruption_ends_the_scope_with_its_error() -> None:
    """The waiting task sees the error, not a cancellation, and is not left cancelling."""
    interruption, inside = Interruption(), asyncio.Event()

    async def work() -> int:
        try:
            async with interruption:
                inside.set()
                await asyncio.Event().wait()
        except Superseded:
            await asyncio.sleep(0)  # raises CancelledError if a cancellation were left over
            task = asyncio.current_task()
            assert task is not None
            return task.cancelling()
        raise AssertionError("not interrupted")

    task = asyncio.create_task(work())
    await inside.wait()
    interruption.interrupt(Superseded())
    assert await task == 0


async def test_a_cancellation_by_somebody_else_stays_one() -> None:
    """The scope does not swallow it."""
    inside = asyncio.Event()

    async def work() -> None:
        async with Interruption():
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_interruption_before_entry_is_raised_at_entry() -> None:
    """Nothing of the work runs."""
    interruption = Interruption()
    interruption.interrupt(Superseded())
    with pytest.raises(Superseded):
        async with interruption:
            raise AssertionError("entered")


async def test_unbroken_work_is_finished_before_the_cancellation_goes_on() -> None:
    """However often the caller is cancelled."""
    started, go_on, finished = asyncio.Event(), asyncio.Event(), False

    async def commit() -> None:
        nonlocal finished
        started.set()
        await go_on.wait()
        finished = True

    task = asyncio.create_task(unbroken(commit()))
    await started.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert finished


async def test_unbroken_work_gives_its_result_or_its_error() -> None:
    """As if it had been awaited."""

    async def fine() -> int:
        return 7

    async def wrong() -> None:
        raise Superseded

    assert await unbroken(fine()) == 7
    with pytest.raises(Superseded):
        await unbroken(wrong())
