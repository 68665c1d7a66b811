"""Who of the waiting peers has something, or has left: one epoll instance beside the event loop's own.

`loop.add_reader` can't say `EPOLLRDHUP`, may not be used on a descriptor that has a transport, and would wake for data
that nobody wants yet. An epoll descriptor is itself pollable, so the loop watches just that one.

Laws: event loop thread only; each watch fires once and is armed again by its owner; `forget` comes before the
descriptor is closed (otherwise a duplicate would keep the registration alive under a number that is used again).
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Final

__all__ = ["HANGUP", "READABLE", "Readiness"]

READABLE: Final = select.EPOLLIN
HANGUP: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

_BATCH: Final = 256


class Readiness:
    """Watches descriptors."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Join the event loop."""
        self._loop = loop
        loop.add_reader(self._epoll.fileno(), self._dispatch)

    def close(self) -> None:
        """Leave the event loop; watches end silently. Idempotent."""
        if self._loop is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._loop = None
        self._epoll.close()
        self._callbacks.clear()

    def watch(self, descriptor: int, events: int, callback: Callable[[int], None]) -> None:
        """Call `callback(events)` once when one of `events` holds; replaces an earlier watch of the descriptor.

        Hang-up and error of both directions are always told (epoll_ctl(2)).
        """
        if descriptor in self._callbacks:
            self._epoll.modify(descriptor, events | select.EPOLLONESHOT)
        else:
            self._epoll.register(descriptor, events | select.EPOLLONESHOT)
        self._callbacks[descriptor] = callback

    def forget(self, descriptor: int) -> None:
        """End the watch; idempotent."""
        if self._callbacks.pop(descriptor, None) is not None and not self._epoll.closed:
            self._epoll.unregister(descriptor)

    def _dispatch(self) -> None:
        for descriptor, events in self._epoll.poll(0, _BATCH):
            callback = self._callbacks.get(descriptor)  # an earlier callback of this batch may have forgotten it
            if callback is not None:
                self._call(callback, events)

    def _call(self, callback: Callable[[int], None], events: int) -> None:
        """One callback's failure must not cost the others their events, which come only once."""
        try:
            callback(events)
        except Exception as exc:  # noqa: BLE001 - reported as the event loop reports its own
            if self._loop is not None:
                self._loop.call_exception_handler({"message": "Readiness callback failed", "exception": exc})
