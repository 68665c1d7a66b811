"""The synchronous face: the same client for scripts, on an event loop in a thread of its own.

Works wherever it is called from, also where an event loop runs already (a notebook). An interrupt (Ctrl-C) stops the
upload in a state that can be resumed, and is raised when it has stopped.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import ssl
import threading
from collections.abc import Coroutine
from os import PathLike
from types import TracebackType
from typing import Any, Self, TypeVar

from forebay._client import AsyncClient, OnConflict
from forebay._retry import RetryPolicy
from forebay.events import ProgressCallback
from forebay.models import StoredFile, SystemStatus, UploadInfo, UploadProgress, UploadResult

__all__ = ["Client"]

T = TypeVar("T")


class Client:
    """A Forebay server, seen from a script. Use as a context manager; may be used from several threads."""

    def __init__(
        self,
        server: str,
        *,
        token: str | None = None,
        policy: RetryPolicy | None = None,
        state_dir: str | PathLike[str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """As `AsyncClient`; raises ValueError where an argument can't be used."""
        self._client = AsyncClient(server, token=token, policy=policy, state_dir=state_dir, tls=tls)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start the loop's thread."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), name="forebay-client", daemon=True)
        self._thread.start()
        ready.wait()
        self._run(self._client.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections and end the thread."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        try:
            self._run(self._client.__aexit__(kind, error, trace))
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            self._loop = self._thread = None

    def upload(
        self,
        path: str | PathLike[str],
        *,
        name: str | None = None,
        folder: str = "",
        destination: str | None = None,
        on_conflict: OnConflict = "rename",
        parallel: int | None = None,
        progress: ProgressCallback | None = None,
        resume: bool = True,
        wait_for_lock: bool = True,
    ) -> UploadResult:
        """As `AsyncClient.upload`; `progress` is called in the client's thread."""
        return self._run(
            self._client.upload(
                path,
                name=name,
                folder=folder,
                destination=destination,
                on_conflict=on_conflict,
                parallel=parallel,
                progress=progress,
                resume=resume,
                wait_for_lock=wait_for_lock,
            )
        )

    def download(self, upload_id: str, path: str | PathLike[str]) -> StoredFile:
        """As `AsyncClient.download`."""
        return self._run(self._client.download(upload_id, path))

    def get(self, upload_id: str) -> UploadInfo:
        """As `AsyncClient.get`."""
        return self._run(self._client.get(upload_id))

    def list(self, *, limit: int = 100) -> list[UploadInfo]:
        """As `AsyncClient.list`."""
        return self._run(self._client.list(limit=limit))

    def progress(self, upload_id: str) -> UploadProgress:
        """As `AsyncClient.progress`."""
        return self._run(self._client.progress(upload_id))

    def status(self) -> SystemStatus:
        """As `AsyncClient.status`."""
        return self._run(self._client.status())

    def cancel(self, upload_id: str) -> None:
        """As `AsyncClient.cancel`."""
        self._run(self._client.cancel(upload_id))

    def _serve(self, ready: threading.Event) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._loop.call_soon(ready.set)
            self._loop.run_forever()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise RuntimeError("the client is not open: use it in a `with` block")
        loop, result = self._loop, concurrent.futures.Future[T]()
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            tasks.append(loop.create_task(work))
            tasks[0].add_done_callback(end)

        def end(task: asyncio.Task[T]) -> None:
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            if error is None:
                result.set_result(task.result())
            else:
                result.set_exception(error)

        def stop() -> None:
            if tasks:
                tasks[0].cancel()
            else:
                work.close()
                result.set_exception(asyncio.CancelledError())

        try:
            loop.call_soon_threadsafe(begin)
            return result.result()
        except BaseException:
            if not result.done():  # an interrupt in this thread: stop the work, and leave when it has stopped
                loop.call_soon_threadsafe(stop)
                concurrent.futures.wait([result])
            raise
