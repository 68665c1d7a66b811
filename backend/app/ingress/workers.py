"""The threads in which sockets are read and sinks run.

Law: `run` returns or raises only when the job is no longer running, also when it is cancelled; so whatever the job uses
(slab, descriptor, sink) may be let go as soon as `run` is over, and not earlier.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar, cast

__all__ = ["Workers"]

T = TypeVar("T")


class _Job(Generic[T]):
    __slots__ = ("_error", "_function", "_loop", "_result", "_waiter", "finished")

    def __init__(self, function: Callable[[], T], loop: asyncio.AbstractEventLoop) -> None:
        self._function = function
        self._loop = loop
        self._result: T | None = None
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.finished = False

    def execute(self) -> None:
        """In the worker thread."""
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

    def outcome(self) -> T:
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # no cycle through this frame
        return cast("T", self._result)


class Workers:
    """A fixed number of threads, started as they are needed."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="ingress")
        self._threads = threads
        self._busy = 0

    @property
    def crowded(self) -> bool:
        """Whether jobs wait for a thread; may be read from any thread."""
        return self._busy > self._threads

    async def run(self, function: Callable[[], T], *, on_cancel: Callable[[], None]) -> T:
        """Run `function` in a thread.

        Args:
            function: what blocks.
            on_cancel: called at once when the waiting task is cancelled, to make `function` end early; the
                cancellation is passed on when it has ended.
        """
        job = _Job(function, asyncio.get_running_loop())
        cancelled: asyncio.CancelledError | None = None
        self._busy += 1
        try:
            self._executor.submit(job.execute)
            while not job.finished:
                try:
                    await job.wait()
                except asyncio.CancelledError as exc:
                    cancelled = exc
                    on_cancel()
        finally:
            self._busy -= 1
        if cancelled is not None:
            raise cancelled
        return job.outcome()

    def close(self) -> None:
        """Let the threads end once idle; no job may follow. Idempotent."""
        self._executor.shutdown(wait=False)
