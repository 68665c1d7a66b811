"""An event loop in which waiting takes no time: when nothing is left to do, its clock jumps to the next timer.

So a test of a deadline is exact and quick. Work in threads is not waited for while a timer is pending.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["VirtualTimeLoop", "run_in_virtual_time"]

Result = TypeVar("Result")


class _JumpingSelector(selectors.PollSelector):
    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Report what is ready; where nothing is, let `timeout` have passed."""
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.now_s += max(0.0, timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Its `time()` starts at 0 and moves only by jumps."""

    def __init__(self) -> None:
        self._virtual = _JumpingSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._virtual.now_s


def run_in_virtual_time(main: Coroutine[Any, Any, Result]) -> Result:
    """Like `asyncio.run`, on a loop of this kind."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
