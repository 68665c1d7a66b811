"""An event that has no deque until somebody waits."""

from __future__ import annotations

import asyncio

import pytest

from app.posix.light_event import LightEvent


async def test_who_comes_after_it_was_set_does_not_wait() -> None:
    """And it stays set."""
    event = LightEvent()
    event.set()
    await event.wait()
    await event.wait()
    assert event.is_set()


async def test_everybody_who_waits_is_let_go() -> None:
    """Also those whom a clear follows at once."""
    event = LightEvent()
    waiting = [asyncio.create_task(event.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    event.set()
    event.clear()
    await asyncio.gather(*waiting)
    assert not event.is_set()


async def test_who_comes_after_a_clear_waits_for_the_next_set() -> None:
    """Not for the one before."""
    event = LightEvent()
    first = asyncio.create_task(event.wait())
    await asyncio.sleep(0)
    event.set()
    event.clear()
    second = asyncio.create_task(event.wait())
    await first
    assert not second.done()
    event.set()
    await second


async def test_one_who_is_cancelled_takes_nobody_along() -> None:
    """The others wait on."""
    event = LightEvent()
    one, other = (asyncio.create_task(event.wait()) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    event.set()
    await other


async def test_nothing_is_held_for_nobody() -> None:
    """That is what it is for; an `asyncio.Event` has a deque at once."""
    event = LightEvent()
    event.set()
    await event.wait()
    event.clear()
    assert event._waited_for is None
