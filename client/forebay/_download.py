"""A file back from the server: in one stream, resumed by Range, published under its name only when it is whole and right.

The bytes collect in `NAME.forebay-part` beside the final name; what a killed run left there is kept, read once for its
checksum, and continued.
"""

from __future__ import annotations

import asyncio
import errno
import os
from concurrent.futures import Executor
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, Final

import aiohttp
import crc32c

from forebay._http import Api
from forebay._retry import Patience, Retrier, RetryPolicy
from forebay.errors import FileUnusable, StateConflict, UnexpectedAnswer, VerificationFailed
from forebay.models import StoredFile, UploadInfo

__all__ = ["download"]

_PIECE_BYTES: Final = 256 * 1024
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})  # exFAT, some network mounts


async def download(api: Api, upload_id: str, path: Path, *, policy: RetryPolicy, executor: Executor) -> StoredFile:
    """Fetch the file of a completed upload to `path`, which must not exist.

    Raises:
        FileUnusable: `path` exists or can't be written.
        StateConflict: the upload is not completed.
        VerificationFailed: what came is not what the server says it stored.
        ForebayError: what the server or the connection says; the part is kept, and a repeat goes on from there.
    """
    patience = Patience(policy.patience_s)
    retrier = Retrier(policy, patience)
    info = UploadInfo.from_json(await api.get("uploads", upload_id))
    if info.result is None:
        raise StateConflict(f"The upload is {info.state}: there is no file to fetch yet.", code="state-conflict")
    loop = asyncio.get_running_loop()
    if await loop.run_in_executor(executor, os.path.lexists, path):
        raise FileUnusable(f"{path} exists. Choose another name, or move it away.")
    part = path.with_name(f"{path.name}.forebay-part")
    async for attempt in retrier.attempts():
        with attempt:
            try:
                with await loop.run_in_executor(executor, part.open, "ab") as file:
                    await _fetch(api, info, file, patience, executor)
            except OSError as exc:
                raise FileUnusable(f"{part} can't be written: {exc.strerror}.") from exc
    await loop.run_in_executor(executor, _publish, part, path, info.result)
    return info.result


async def _fetch(api: Api, info: UploadInfo, file: BinaryIO, patience: Patience, executor: Executor) -> None:
    """Append what is missing to the part."""
    have = file.tell()
    if info.size is not None and have >= info.size:
        return
    loop = asyncio.get_running_loop()
    async with api.request("GET", "files", info.id, "content", headers={"Range": f"bytes={have}-"}) as answer:
        if answer.status == HTTPStatus.OK and have:
            file.truncate(0)  # the server gives no ranges: from the beginning
        elif answer.status == HTTPStatus.PARTIAL_CONTENT and not _starts_at(answer, have):
            raise UnexpectedAnswer("The server sent another range than was asked for.")
        async for piece in answer.content.iter_chunked(_PIECE_BYTES):
            try:
                await loop.run_in_executor(executor, file.write, piece)
            except OSError as exc:  # here, or it would pass for the connection's
                raise FileUnusable(f"{file.name} can't be written: {exc.strerror}.") from exc
            patience.renew()


def _starts_at(answer: aiohttp.ClientResponse, offset: int) -> bool:
    return answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-")


def _publish(part: Path, path: Path, stored: StoredFile) -> None:
    """Check the whole, then give it its name, never over another file."""
    value = 0
    try:
        with part.open("rb") as file:
            while piece := file.read(1024 * 1024):
                value = crc32c.crc32c(piece, value)
            size = file.tell()
        if size != stored.size or (stored.crc32c is not None and stored.crc32c != value):
            part.unlink()
            raise VerificationFailed(f"What came is not what the server stored as {stored.name}. Fetch it again.")
        _name(part, path)
    except FileExistsError as exc:
        raise FileUnusable(f"{path} exists. Choose another name, or move it away.") from exc
    except OSError as exc:
        raise FileUnusable(f"{path} can't be written: {exc.strerror}.") from exc


def _name(part: Path, path: Path) -> None:
    """Give the part its final name, which must be free."""
    try:
        os.link(part, path)
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        path.touch(exist_ok=False)  # takes the name; what is replaced then is ours
        part.replace(path)
    else:
        part.unlink()
