"""One file on its way to the destination: created or found again, sent, followed, verified.

Laws
- The server's word decides what is sent: what it has, how its chunks are cut, its mode.
- The upload is remembered, with its Idempotency-Key, before it is created, and forgotten when it has ended.
- Success is said only when the destination's checksum equals that of the bytes read here, every one of which was read.
- A file that changes is no file: nothing of it is completed, and what was received is given back.
- Everything runs on one event loop, in tasks that a TaskGroup owns.
"""

from __future__ import annotations

import asyncio
import mimetypes
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Final

from forebay._crc import crc32c_join
from forebay._http import Api
from forebay._meter import Meter
from forebay._plan import held_chunks, missing_chunks
from forebay._resume import Remembered, ResumePlace, Target
from forebay._retry import Patience, Retrier, RetryPolicy, is_transient
from forebay._rounds import ENDED_STATES, Round, first_of
from forebay._source import SourceFile
from forebay.errors import (
    Conflict,
    FileChanged,
    ForebayError,
    IdempotencyConflict,
    NotFound,
    TooLarge,
    UnexpectedAnswer,
    UploadCancelled,
    UploadEnded,
    UploadExpired,
    UploadFailed,
    VerificationFailed,
)
from forebay.events import ProgressCallback
from forebay.models import StoredFile, UploadInfo, UploadProgress, UploadResult

__all__ = ["SINGLE_REQUEST_BYTES", "UploadRun"]

SINGLE_REQUEST_BYTES: Final = 4 * 1024 * 1024
"""Files up to this size go in one request: one round trip instead of three, and nothing worth resuming is lost."""

_FOLLOW_FIRST_S: Final = 0.02
_FOLLOW_LONGEST_S: Final = 2.0
_FOLLOW_GROWTH: Final = 1.2
_LISTEN_FROM_S: Final = 0.2  # before that asking is cheaper than a stream of events
_LISTEN_S: Final = 30.0  # whatever the events say, the server is asked so often
_COMPLETED: Final = "completed"
_TRANSFERRING: Final = "transferring"


def _asking_helps(error: Exception) -> bool:
    """Whether it may pass, or asking the server where it stands may solve it."""
    return is_transient(error) or isinstance(error, Conflict)


class UploadRun:
    """Brings one open file to the destination. Used once."""

    def __init__(
        self,
        api: Api,
        source: SourceFile,
        target: Target,
        *,
        place: ResumePlace | None,
        parallel: int | None,
        policy: RetryPolicy,
        progress: ProgressCallback | None,
    ) -> None:
        """Bind what is needed.

        Args:
            api: open.
            source: open; stays the caller's.
            target: what goes where.
            place: where the upload is remembered, locked by the caller; None to remember nothing.
            parallel: chunks sent at once at most; None for as many as the server allows.
            policy: patience.
            progress: told what happens.
        """
        self._api = api
        self._source = source
        self._target = target
        self._place = place
        self._parallel = parallel
        self._policy = policy
        self._patience = Patience(policy.patience_s)
        self._meter = Meter(source.path, source.size, progress)
        self._chunk_size = max(1, source.size)
        self._crcs: dict[int, int] = {}  # by chunk number: of each chunk that was read here
        self._info: UploadInfo | None = None
        self._started_at = time.monotonic()

    async def run(self) -> UploadResult:
        """Bring the file to the destination and verify it.

        Raises:
            FileChanged: the file changed meanwhile; what was received of it is given up.
            UploadEnded: the server gave it up, or somebody cancelled it.
            VerificationFailed: the destination holds something else.
            ForebayError: any other; what was received stays, and the next run goes on from there.
        """
        try:
            info = await self._bring()
            result = await self._verified(info)
        except FileChanged:
            await self._give_up()
            raise
        except (UploadEnded, VerificationFailed):
            self._forget()
            raise
        self._forget()
        self._meter.completed(result)
        return result

    async def _bring(self) -> UploadInfo:
        info = await self._find() or await self._begin()
        try:
            return await self._drive(info)
        except (NotFound, UploadExpired):  # the server lost or dropped it under way: once more, from the beginning
            self._forget()
            return await self._drive(await self._begin())

    # -- finding and creating ------------------------------------------------------------------------------------

    async def _find(self) -> UploadInfo | None:
        """The remembered upload, if it is of this very file and can go on."""
        remembered = self._place.load() if self._place is not None else None
        if remembered is None or remembered.upload_id is None:
            return None
        if remembered.fingerprint != self._source.fingerprint:
            self._forget()
            with suppress(ForebayError):  # of an older content: it would hold room until it expires
                await self._api.delete("uploads", remembered.upload_id)
            return None
        try:
            info = await self._ask(remembered.upload_id)
        except NotFound:
            info = None
        if info is None or info.size != self._source.size or info.state in ENDED_STATES - {_COMPLETED}:
            self._forget()
            return None
        self._adopt(info, resumed=info.bytes_received)
        return info

    async def _begin(self) -> UploadInfo:
        if self._source.size <= SINGLE_REQUEST_BYTES:
            with suppress(TooLarge):  # a server that cuts finer than that gets chunks
                return await self._with_key(self._send_whole, resumes=False)
        return await self._with_key(self._create, resumes=True)

    async def _with_key(self, send: Callable[[str], Awaitable[UploadInfo]], *, resumes: bool) -> UploadInfo:
        """Create with the remembered key, or with a new one where that is used up.

        Args:
            send: creates, given the key.
            resumes: what the server has after that was there before this run.
        """
        remembered = self._place.load() if self._place is not None else None
        key = str(uuid.uuid4())
        if remembered is not None and remembered.upload_id is None:
            with suppress(IdempotencyConflict):
                if remembered.fingerprint == self._source.fingerprint:
                    info = await send(remembered.idempotency_key)
                    if info.state not in ENDED_STATES - {_COMPLETED}:
                        return self._adopted(info, remembered.idempotency_key, resumes=resumes)
        self._remember(Remembered(key, self._source.fingerprint))
        return self._adopted(await send(key), key, resumes=resumes)

    async def _create(self, key: str) -> UploadInfo:
        target = self._target
        body: dict[str, object] = {
            "filename": target.name,
            "size": self._source.size,
            "path": target.folder,
            "media_type": _media_type(target.name),
            "on_conflict": target.on_conflict,
        }
        if target.destination is not None:
            body["destination"] = target.destination
        async for attempt in self._retrier().attempts():
            with attempt:
                return UploadInfo.from_json(await self._api.post("uploads", body=body, key=key))
        raise AssertionError("stamina ends with an attempt's result or error")

    async def _send_whole(self, key: str) -> UploadInfo:
        """The file in one request; a lost answer is repeated with the same key, so it is stored once."""
        target, source = self._target, self._source
        query = {"path": target.folder, "on_conflict": target.on_conflict}
        if target.destination is not None:
            query["destination"] = target.destination
        async for attempt in self._retrier().attempts():
            with attempt, self._meter.flight() as flight:
                crc32c = await source.crc32c(0, source.size)
                source.check_unchanged()
                answer = await self._api.put_range(
                    "files",
                    target.name,
                    source=source,
                    offset=0,
                    length=source.size,
                    crc32c=crc32c,
                    media_type=_media_type(target.name),
                    on_piece=lambda count, flight=flight: self._meter.moved(flight, count),  # type: ignore[misc]
                    query=query,
                    key=key,
                )
                return UploadInfo.from_json(answer or {})
        raise AssertionError("stamina ends with an attempt's result or error")

    def _adopted(self, info: UploadInfo, key: str, *, resumes: bool) -> UploadInfo:
        self._remember(Remembered(key, self._source.fingerprint, info.id))
        self._adopt(info, resumed=info.bytes_received if resumes else 0)
        return info

    def _adopt(self, info: UploadInfo, *, resumed: int) -> None:
        """This is the upload we work on: its grid is ours."""
        if info.size != self._source.size:
            raise UnexpectedAnswer(f"The server expects {info.size} bytes of a file of {self._source.size}.")
        if info.chunk_size != self._chunk_size:
            self._chunk_size = max(1, info.chunk_size)
            self._crcs.clear()
        self._info = info
        self._meter.started(info, resumed=resumed)

    # -- sending and following -----------------------------------------------------------------------------------

    async def _drive(self, info: UploadInfo) -> UploadInfo:
        """Until completed; meanwhile what the server had before is read here, for the checksum."""
        try:
            async with asyncio.TaskGroup() as group:
                held = held_chunks(self._source.size, self._chunk_size, info.missing)
                group.create_task(self._read([chunk.number for chunk in held]))
                return await self._drive_on(info)
        except ExceptionGroup as errors:
            raise first_of(errors) from errors

    async def _drive_on(self, info: UploadInfo) -> UploadInfo:
        pause_s = _FOLLOW_FIRST_S
        while True:
            self._look(info)
            if info.state == _COMPLETED:
                return info
            chunks = missing_chunks(self._source.size, self._chunk_size, info.missing)
            if chunks:
                await self._send(info)
                pause_s = _FOLLOW_FIRST_S
            else:
                if self._patience.left_s <= 0:
                    raise UnexpectedAnswer(
                        f"The server has every byte, and leaves the upload {info.state} ({info.id})."
                    )
                await self._news(info, pause_s)
                pause_s = min(pause_s * _FOLLOW_GROWTH, _FOLLOW_LONGEST_S)
            info = await self._ask(info.id)

    async def _news(self, info: UploadInfo, pause_s: float) -> None:
        """Return when the server tells of another state of the upload; where it tells nothing, after `pause_s`."""
        if pause_s >= _LISTEN_FROM_S:
            until = asyncio.get_running_loop().time() + _LISTEN_S
            stream = self._api.events("uploads", info.id, "events")
            try:
                async with asyncio.timeout(_FOLLOW_LONGEST_S) as silence, aclosing(stream) as events:
                    async for name, data in events:
                        silence.reschedule(until)  # no proxy keeps them back
                        if name == "progress":
                            self._meter.stored(UploadProgress.from_json(data).bytes_transferred)
                        elif data.get("state") != info.state:
                            return
            except TimeoutError:
                return
            except ForebayError:
                pass  # no events here, or no more of them; whoever asks next meets the reason
        await asyncio.sleep(pause_s)

    async def _send(self, info: UploadInfo) -> None:
        """Rounds until one achieves something; between fruitless ones, backoff."""
        async for attempt in self._retrier(transient=_asking_helps).attempts():
            with attempt:
                if attempt.num > 1:
                    info = await self._ask(info.id)
                    self._look(info)
                chunks = missing_chunks(self._source.size, self._chunk_size, info.missing)
                if chunks:
                    await Round(
                        self._api,
                        self._source,
                        info,
                        chunks,
                        parallel=self._parallel,
                        meter=self._meter,
                        patience=self._patience,
                        retrier=self._retrier,
                        crcs=self._crcs,
                    ).run()

    async def _ask(self, upload_id: str) -> UploadInfo:
        async for attempt in self._retrier().attempts():
            with attempt:
                return UploadInfo.from_json(await self._api.get("uploads", upload_id))
        raise AssertionError("stamina ends with an attempt's result or error")

    def _look(self, info: UploadInfo) -> None:
        """Take in where the upload stands.

        Raises:
            UploadEnded: it will not complete.
        """
        if info.state == _TRANSFERRING:
            self._patience.renew()  # every byte is there, and the server is at work: that takes as long as it takes
        self._info = info
        self._meter.asked(info)
        reason = f": {info.error_detail}" if info.error_detail else "."
        if info.state == "failed":
            raise UploadFailed(f"The server could not store {self._target.name}{reason}", code=info.error_code)
        if info.state == "cancelled":
            raise UploadCancelled(f"The upload of {self._target.name} was cancelled{reason}", code=info.error_code)
        if info.state == "expired":
            raise UploadExpired(f"The upload of {self._target.name} was left alone for too long and removed{reason}")

    # -- verifying -----------------------------------------------------------------------------------------------

    async def _read(self, numbers: list[int]) -> None:
        """CRC32C of chunks that were not sent in this run."""
        size = self._source.size
        for number in numbers:
            if number not in self._crcs:
                offset = number * self._chunk_size
                self._crcs[number] = await self._source.crc32c(offset, min(self._chunk_size, size - offset))

    async def _verified(self, info: UploadInfo) -> UploadResult:
        """Compare the destination's word with what was read here.

        Raises:
            FileChanged: the file is another by now.
            VerificationFailed: size or checksum differ, or there is none to compare.
        """
        whole = held_chunks(self._source.size, self._chunk_size, ())
        await self._read([chunk.number for chunk in whole])
        self._source.check_in_place()
        crc32c = await asyncio.to_thread(crc32c_join, [(self._crcs[chunk.number], chunk.length) for chunk in whole])
        stored = info.result
        if stored is None or not await self._same(stored, crc32c):
            raise VerificationFailed(
                f"What is stored as {stored.name if stored else self._target.name} can't be shown to be "
                f"{self._source.path}: sent {self._source.size} bytes with CRC32C {crc32c:08x}, the server reports "
                f"{_reported(stored)}. Don't rely on it; upload the file again, and tell the operator (upload {info.id})."
            )
        return UploadResult(
            upload_id=info.id,
            path=self._source.path,
            stored=stored,
            crc32c=crc32c,
            resumed_bytes=self._meter.resumed,
            retries=self._meter.retries,
            elapsed_s=time.monotonic() - self._started_at,
        )

    async def _same(self, stored: StoredFile, crc32c: int) -> bool:
        if stored.size != self._source.size:
            return False
        if stored.crc32c is not None:
            return stored.crc32c == crc32c
        return stored.sha256 is not None and stored.sha256 == await self._source.sha256()

    # -- bookkeeping ---------------------------------------------------------------------------------------------

    def _retrier(self, chunk: int | None = None, *, transient: Callable[[Exception], bool] = is_transient) -> Retrier:
        def told(error: ForebayError, delay_s: float | None) -> None:
            self._meter.retrying(chunk, error, delay_s)

        return Retrier(self._policy, self._patience, on_retry=told, transient=transient)

    def _remember(self, remembered: Remembered) -> None:
        if self._place is not None:
            self._place.save(remembered)

    def _forget(self) -> None:
        if self._place is not None:
            self._place.forget()

    async def _give_up(self) -> None:
        """The file is another now: nobody will ever send the rest of the old one."""
        self._forget()
        if self._info is not None and self._info.state not in ENDED_STATES:
            with suppress(ForebayError):
                await self._api.delete("uploads", self._info.id)


def _media_type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _reported(stored: StoredFile | None) -> str:
    if stored is None:
        return "nothing"
    if stored.crc32c is not None:
        return f"{stored.size} bytes with CRC32C {stored.crc32c:08x}"
    return f"{stored.size} bytes with SHA-256 {stored.sha256}" if stored.sha256 else f"{stored.size} bytes, no checksum"
