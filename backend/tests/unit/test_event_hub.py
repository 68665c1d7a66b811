"""Signals to those who listen, coalesced."""

from __future__ import annotations

import asyncio

from app.services.events import EventHub


async def test_a_listener_hears_its_upload_and_its_owner_only() -> None:
    """Not what happens to others."""
    hub = EventHub()
    with hub.subscribe(upload_id="a") as one, hub.subscribe(owner="ann") as all_of_ann:
        hub.publish("a", "ann")
        hub.publish("b", "ann")
        hub.publish("c", "bob")
        assert await anext(one.changes(pause_s=0)) == ["a"]
        assert await anext(all_of_ann.changes(pause_s=0)) == ["a", "b"]


async def test_many_changes_wake_a_slow_listener_once() -> None:
    """Memory does not grow with what it missed."""
    hub = EventHub()
    with hub.subscribe(upload_id="a") as listener:
        for _ in range(1000):
            hub.publish("a", "ann")
        assert await anext(listener.changes(pause_s=0)) == ["a"]
        hub.publish("a", "ann")
        assert await anext(listener.changes(pause_s=0)) == ["a"]


async def test_the_end_of_an_upload_waits_for_no_pause() -> None:
    """Whoever follows one upload hears of it at once; whoever hears of many hears of the next in their turn."""
    hub = EventHub()
    with hub.subscribe(upload_id="a") as one, hub.subscribe(owner="ann") as all_of_ann:
        follows_one, follows_all = one.changes(pause_s=3600), all_of_ann.changes(pause_s=3600)
        hub.publish("a", "ann")
        assert [await anext(follows_one), await anext(follows_all)] == [["a"], ["a"]]
        last, next_of_all = asyncio.ensure_future(anext(follows_one)), asyncio.ensure_future(anext(follows_all))
        await asyncio.sleep(0)
        hub.publish("a", "ann", ended=True)
        assert await last == ["a"]
        assert not next_of_all.done()
        next_of_all.cancel()


async def test_closing_the_hub_ends_every_stream_and_those_that_come_later() -> None:
    """So that a shutdown is not held up."""
    hub = EventHub()

    async def listen() -> list[list[str]]:
        with hub.subscribe(upload_id="a") as listener:
            return [changed async for changed in listener.changes(pause_s=0)]

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    assert hub.subscribers == 1
    hub.close()
    assert await listening == []
    assert await listen() == []
    assert hub.subscribers == 0
