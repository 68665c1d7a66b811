"""An event that weighs nothing while nobody waits for it.

An `asyncio.Event` has a deque from the start, 0.9 KiB with it; of each connection that is held there were four, and
nobody waited for any of them.
"""

from __future__ import annotations

import asyncio

__all__ = ["LightEvent"]


class LightEvent:
    """`asyncio.Event`, as far as it is used here; event loop only."""

    __slots__ = ("_is_set", "_waited_for")

    def __init__(self) -> None:
        """Not set."""
        self._is_set = False
        self._waited_for: asyncio.Event | None = None

    def is_set(self) -> bool:
        """Whether `wait` returns at once."""
        return self._is_set

    def set(self) -> None:
        """Let everybody go who waits, or will."""
        self._is_set = True
        waited_for, self._waited_for = self._waited_for, None
        if waited_for is not None:
            waited_for.set()

    def clear(self) -> None:
        """Let everybody wait who comes from now on; who was let go before goes."""
        self._is_set = False

    async def wait(self) -> None:
        """Return when it is set."""
        if self._is_set:
            return
        if self._waited_for is None:
            self._waited_for = asyncio.Event()
        await self._waited_for.wait()
