"""Who is told when an upload changes: a signal per subscriber and upload, coalesced, never a queue that grows.

A subscriber that is slow finds the newest state when it comes back, not a backlog.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Final

__all__ = ["EventHub", "Subscription"]


_Topic = tuple[str, str]
_ALL: Final[_Topic] = ("all", "")


class Subscription:
    """What has changed since the last look."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._changed: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._closed = False

    def notify(self, upload_id: str, *, at_once: bool = False) -> None:
        """The upload has changed; `at_once`: in a way that no pause keeps back."""
        self._changed[upload_id] = None
        self._wake.set()
        if at_once:
            self._hurry.set()

    def close(self) -> None:
        """End the iteration."""
        self._closed = True
        self._wake.set()

    def take(self) -> list[str]:
        """Ids changed since the last time; for whoever looks now and then and waits for nothing."""
        changed, self._changed = list(self._changed), {}
        return changed

    async def changes(self, *, pause_s: float) -> AsyncIterator[list[str]]:
        """Ids changed since the last time, at most every `pause_s` but for what hurries, until closed."""
        while not self._closed:
            await self._wake.wait()
            self._wake.clear()
            self._hurry.clear()
            if changed := self.take():
                yield changed
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._hurry.wait()


class EventHub:
    """Subscriptions by upload and by owner."""

    def __init__(self) -> None:
        """Nobody listens."""
        self._topics: defaultdict[_Topic, set[Subscription]] = defaultdict(set)
        self._all: set[Subscription] = set()
        self._closed = False

    @property
    def subscribers(self) -> int:
        """How many listen."""
        return len(self._all)

    @contextmanager
    def subscribe(self, *, upload_id: str | None = None, owner: str | None = None) -> Iterator[Subscription]:
        """Listen to an upload, or to all of an owner, or to all there are."""
        topic = ("upload", upload_id) if upload_id is not None else ("owner", owner) if owner is not None else _ALL
        subscription = Subscription()
        if self._closed:
            subscription.close()
        self._topics[topic].add(subscription)
        self._all.add(subscription)
        try:
            yield subscription
        finally:
            self._all.discard(subscription)
            self._topics[topic].discard(subscription)
            if not self._topics[topic]:
                del self._topics[topic]

    def publish(self, upload_id: str, owner: str, *, ended: bool = False) -> None:
        """The upload has changed; its end does not wait for the pauses of those who listen to it alone."""
        for topic in (("upload", upload_id), ("owner", owner), _ALL):
            for subscription in self._topics.get(topic, ()):
                subscription.notify(upload_id, at_once=ended and topic[0] == "upload")

    def close(self) -> None:
        """The server stops: end every stream."""
        self._closed = True
        for subscription in self._all:
            subscription.close()
