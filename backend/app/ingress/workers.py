"""The threads in which sockets are read and sinks run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.posix.threads import run_to_end

__all__ = ["Workers"]

T = TypeVar("T")


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
        """Run `function` in a thread; see `run_to_end`."""
        self._busy += 1
        try:
            return await run_to_end(self._executor, function, on_cancel=on_cancel)
        finally:
            self._busy -= 1

    def close(self) -> None:
        """Let the threads end once idle; no job may follow. Idempotent."""
        self._executor.shutdown(wait=False)
