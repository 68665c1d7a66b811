"""Blocking calls from coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

__all__ = ["run_or_undo", "run_to_end"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def run_to_end(executor: Executor, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run `function` in a thread; when this returns or raises, also by cancellation, the thread has left it.

    So a cancelled caller may close descriptors and reuse buffers at once. The function always runs, and to its end;
    after a cancellation its outcome is dropped: the caller undoes what must not stay.
    """
    future = asyncio.wrap_future(executor.submit(function, *args, **kwargs))
    cancellation: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])  # unlike awaiting it, leaves it alone when we are cancelled
        except asyncio.CancelledError as exc:
            cancellation = exc
    if cancellation is not None:
        future.exception()  # looked at, so that asyncio does not report it as forgotten
        raise cancellation
    return future.result()


async def run_or_undo(
    executor: Executor, undo: Callable[[_T], None], function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    """As `run_to_end`; when a cancellation drops the outcome, `undo` gets it first (on the event loop: brief)."""
    kept: list[_T] = []

    def keep() -> None:
        kept.append(function(*args, **kwargs))

    try:
        await run_to_end(executor, keep)
    except asyncio.CancelledError:
        for outcome in kept:
            undo(outcome)
        raise
    return kept[0]
