"""Stop a piece of work from outside with an error of ours, as `asyncio.timeout` does with time.

Laws: entered and left by one task; `interrupt` on the event loop's thread; a cancellation by somebody else passes
through as a cancellation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from app.core.body import RequestBody
from app.core.errors import ClientGone, ForebayError

__all__ = ["Interruption", "abandoned_when_gone", "unbroken"]

T = TypeVar("T")


class Interruption:
    """A scope that `interrupt` ends by raising its error there."""

    def __init__(self) -> None:
        """Not active until entered."""
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._error: ForebayError | None = None

    async def __aenter__(self) -> Self:
        """Bind to the running task."""
        self._task = asyncio.current_task()
        if self._task is None:
            raise RuntimeError("an Interruption is used inside a task")
        self._cancelling = self._task.cancelling()
        if self._error is not None:
            raise self._error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Turn our own cancellation into the error it was for."""
        task, self._task = self._task, None
        if self._error is None or task is None:
            return
        ours = task.uncancel() <= self._cancelling
        if kind is not None and issubclass(kind, asyncio.CancelledError) and ours:
            raise self._error from error

    def interrupt(self, error: ForebayError) -> None:
        """Make the scope end with `error`; the first one counts; before entry it is raised at entry."""
        if self._error is None:
            self._error = error
            if self._task is not None:
                self._task.cancel()


@asynccontextmanager
async def abandoned_when_gone(body: RequestBody) -> AsyncIterator[None]:
    """Wait inside for something other than the body; ends with ClientGone when the client leaves meanwhile."""
    interruption = Interruption()
    watcher: asyncio.Task[None] | None = None

    async def watch() -> None:
        await body.wait_gone()
        interruption.interrupt(ClientGone())

    def begin() -> None:
        nonlocal watcher
        watcher = asyncio.create_task(watch(), name="watch-for-client-leaving")

    async with interruption:
        # Mostly there is nothing to wait for; then no task is made, since nobody is seen to leave before the loop runs.
        beginning = asyncio.get_running_loop().call_soon(begin)
        try:
            yield
        finally:
            beginning.cancel()
            if watcher is not None:
                watcher.cancel()
                await asyncio.wait([watcher])


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end even when the caller is cancelled meanwhile; then the cancellation goes on.

    For steps that must not be cut in the middle: a commit with the memory that mirrors it.
    """
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as exc:
            if task.cancelled():
                raise
            cancelled = exc
        except BaseException:  # noqa: BLE001 - raised by `task.result()` below
            break
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # seen: the cancellation takes precedence
        raise cancelled
    return task.result()
