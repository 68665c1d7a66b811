"""The asynchronous client: what programs use."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from forebay import _download
from forebay._http import Api, server_url
from forebay._resume import ResumePlace, Target, state_directory
from forebay._retry import Patience, Retrier, RetryPolicy
from forebay._source import SourceFile
from forebay._upload import UploadRun
from forebay.events import ProgressCallback, UploadEvent, Waiting
from forebay.models import StoredFile, SystemStatus, UploadInfo, UploadProgress, UploadResult

__all__ = ["AsyncClient", "OnConflict"]

OnConflict = Literal["rename", "fail", "replace"]

_FILE_THREADS: Final = 8
_PAGE: Final = 100
_QUESTION_PATIENCE_S: Final = 10.0  # somebody waits for the answer to a mere question


class AsyncClient:
    """A Forebay server, seen from here. Use as an async context manager, on one event loop."""

    def __init__(
        self,
        server: str,
        *,
        token: str | None = None,
        policy: RetryPolicy | None = None,
        state_dir: str | PathLike[str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Check the arguments; nothing is opened yet.

        Args:
            server: address, such as `https://files.example.org`.
            token: bearer token; never stored.
            policy: how patient to be; `RetryPolicy()` when None.
            state_dir: where uploads under way are remembered; the user's state directory, or what
                `FOREBAY_STATE_DIR` says, when None.
            tls: context for https; the system's authorities when None.

        Raises:
            ValueError: an argument can't be used.
        """
        self._server = server_url(server)
        token = (token or "").strip()
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise ValueError("The token can't be used: it has characters that no token has.")
        self._policy = policy or RetryPolicy()
        self._state_dir = Path(state_dir) if state_dir is not None else state_directory()
        self._api = Api(self._server, token or None, stall_s=self._policy.stall_s, tls=tls)
        self._executor: ThreadPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        """Open connections and reading threads."""
        self._executor = ThreadPoolExecutor(_FILE_THREADS, thread_name_prefix="forebay-file")
        await self._api.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them."""
        await self._api.__aexit__(kind, error, trace)
        if self._executor is not None:
            self._executor.shutdown(wait=True)  # every read has ended with its upload
            self._executor = None

    async def upload(
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
        """Bring a file to the destination; returns when it is there, verified.

        An upload of the same file to the same place that was interrupted goes on where it stopped.

        Args:
            path: a regular file.
            name: at the destination; the file's own when None.
            folder: at the destination, relative, "/"-separated.
            destination: one of the server's, by name; its default when None.
            on_conflict: when a file of that name is there.
            parallel: chunks sent at once at most; as many as the server allows when None. With 1, each is answered
                before the next one is sent.
            progress: called with each event, on the event loop's thread.
            resume: remember the upload, and go on with a remembered one.
            wait_for_lock: while another process sends the same file to the same place; else raise AlreadyUploading.

        Raises:
            ForebayError: the file is not (known to be) at the destination. What was received stays on the server
                unless the error is FileChanged or UploadEnded.
            ValueError: an argument can't be used.
        """
        file = Path(path)
        name = file.name if name is None else name
        if name in {"", ".", ".."} or "/" in name or not _encodable(name):
            raise ValueError(f"{name!r} can't be the file's name at the destination: give another with `name`.")
        if parallel is not None and parallel < 1:
            raise ValueError("parallel must be at least 1.")
        threads = self._threads()
        real = await asyncio.get_running_loop().run_in_executor(threads, os.path.realpath, file)
        target = Target(str(self._server), real, name, folder, destination, on_conflict)
        source = await SourceFile.open(file, threads)
        try:
            async with self._place(target, file, progress, wait=wait_for_lock) if resume else _nowhere() as place:
                return await UploadRun(
                    self._api,
                    source,
                    target,
                    place=place,
                    parallel=parallel,
                    policy=self._policy,
                    progress=progress,
                ).run()
        finally:
            await source.aclose()

    async def upload_events(
        self,
        path: str | PathLike[str],
        *,
        name: str | None = None,
        folder: str = "",
        destination: str | None = None,
        on_conflict: OnConflict = "rename",
        parallel: int | None = None,
        resume: bool = True,
        wait_for_lock: bool = True,
    ) -> AsyncGenerator[UploadEvent, None]:
        """As `upload`, as an iterator of events; the last is `Completed`, or the error is raised.

        Closing the iterator (`contextlib.aclosing`) stops the upload; it can be resumed.
        """
        queue: asyncio.Queue[UploadEvent | None] = asyncio.Queue()
        task = asyncio.create_task(
            self.upload(
                path,
                name=name,
                folder=folder,
                destination=destination,
                on_conflict=on_conflict,
                parallel=parallel,
                progress=queue.put_nowait,
                resume=resume,
                wait_for_lock=wait_for_lock,
            )
        )
        task.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (event := await queue.get()) is not None:
                yield event
            task.result()
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def download(self, upload_id: str, path: str | PathLike[str]) -> StoredFile:
        """Fetch a completed upload's file to `path`, which must not exist; goes on with a part left by an earlier run.

        Raises:
            FileUnusable: `path` exists or can't be written.
            VerificationFailed: what came is not what is stored.
            ForebayError: what else went wrong; a repeat goes on from what came.
        """
        return await _download.download(self._api, upload_id, Path(path), policy=self._policy, executor=self._threads())

    async def get(self, upload_id: str) -> UploadInfo:
        """Where an upload stands; NotFound where there is none of mine."""
        async for attempt in self._question().attempts():
            with attempt:
                return UploadInfo.from_json(await self._api.get("uploads", upload_id))
        raise AssertionError("stamina ends with an attempt's result or error")

    async def list(self, *, limit: int = _PAGE) -> list[UploadInfo]:
        """My uploads, newest first, at most `limit`."""
        uploads: list[UploadInfo] = []
        query: dict[str, str | int] = {}
        while len(uploads) < limit:
            query["limit"] = min(_PAGE, limit - len(uploads))
            async for attempt in self._question().attempts():
                with attempt:
                    page = await self._api.get("uploads", **query)
            uploads += [UploadInfo.from_json(item) for item in page.get("uploads") or []]
            if not page.get("next"):
                break
            query["cursor"] = str(page["next"])
        return uploads[:limit]

    async def progress(self, upload_id: str) -> UploadProgress:
        """Progress by chunks and rates, for 24 hours after the end; NotFound where there is none."""
        async for attempt in self._question().attempts():
            with attempt:
                return UploadProgress.from_json(await self._api.get("system", "upload-progress", upload_id))
        raise AssertionError("stamina ends with an attempt's result or error")

    async def status(self) -> SystemStatus:
        """How the server is."""
        async for attempt in self._question().attempts():
            with attempt:
                return SystemStatus.from_json(await self._api.get("system", "upload-status"))
        raise AssertionError("stamina ends with an attempt's result or error")

    async def cancel(self, upload_id: str) -> None:
        """Cancel an upload and give back what it holds; NotFound where there is none of mine."""
        async for attempt in self._question().attempts():
            with attempt:
                await self._api.delete("uploads", upload_id)

    def _question(self) -> Retrier:
        patience_s = min(_QUESTION_PATIENCE_S, self._policy.patience_s)
        return Retrier(self._policy, Patience(patience_s, clock=time.monotonic))

    def _threads(self) -> ThreadPoolExecutor:
        if self._executor is None:
            raise RuntimeError("the client is not open: use it in a `with` block")
        return self._executor

    @asynccontextmanager
    async def _place(
        self, target: Target, file: Path, progress: ProgressCallback | None, *, wait: bool
    ) -> AsyncIterator[ResumePlace]:
        def on_wait() -> None:
            if progress is not None:
                progress(Waiting(file, "locked"))

        place = ResumePlace(self._state_dir, target)
        async with place.locked(wait=wait, on_wait=on_wait):
            yield place


@asynccontextmanager
async def _nowhere() -> AsyncIterator[None]:
    yield None


def _encodable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
