"""Blocking calls from coroutines.

Law: `run_to_end` returns or raises only when the function is no longer running, also when it is cancelled; so whatever
the function uses (buffer, descriptor) may be let go as soon as it is over, and not earlier.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Generic, TypeVar, TypeVarTuple, cast

__all__ = ["run_or_undo", "run_to_end"]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class _Job(Generic[_T]):
    """A call on its way through a thread: one message back, where `wrap_future` and `asyncio.wait` take three turns."""

    __slots__ = ("_error", "_function", "_loop", "_result", "_waiter", "finished")

    def __init__(self, function: Callable[[], _T], loop: asyncio.AbstractEventLoop) -> None:
        self._function = function
        self._loop = loop
        self._result: _T | None = None
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.finished = False

    def execute(self) -> None:
        """In the thread."""
        try:
            self._result = self._function()
        except BaseException as exc:  # noqa: BLE001 - carried over to the event loop and raised there
            self._error = exc
        self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        self.finished = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        self._waiter = self._loop.create_future()
        await self._waiter

    def outcome(self) -> _T:
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # no cycle through this frame
        return cast("_T", self._result)


async def run_to_end(
    executor: Executor,
    function: Callable[[*_Ts], _T],
    *args: *_Ts,
    on_cancel: Callable[[], None] = lambda: None,
) -> _T:
    """Run `function` in a thread, always and to its end.

    After a cancellation its outcome is dropped: the caller undoes what must not stay.

    Args:
        executor: the threads.
        function: what blocks.
        args: its arguments.
        on_cancel: called at once when the waiting task is cancelled, to make `function` end early; the cancellation
            is passed on when it has ended.
    """
    job = _Job(partial(function, *args), asyncio.get_running_loop())
    executor.submit(job.execute)
    cancellation: asyncio.CancelledError | None = None
    while not job.finished:
        try:
            await job.wait()
        except asyncio.CancelledError as exc:
            cancellation = exc
            on_cancel()
    if cancellation is not None:
        raise cancellation
    return job.outcome()


async def run_or_undo(
    executor: Executor, undo: Callable[[_T], None], function: Callable[[*_Ts], _T], *args: *_Ts
) -> _T:
    """As `run_to_end`; when a cancellation drops the outcome, `undo` gets it first (on the event loop: brief)."""
    kept: list[_T] = []

    def keep() -> None:
        kept.append(function(*args))

    try:
        await run_to_end(executor, keep)
    except asyncio.CancelledError:
        for outcome in kept:
            undo(outcome)
        raise
    return kept[0]
