"""A stored file's bytes, as they come from Drive.

Laws: a range is whole or ends in an error; what aiohttp raises is translated as in `api`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

import aiohttp

from app.core.errors import DestinationUnavailable, NotFound
from app.core.upload import KIB
from app.destinations.google_drive.api import BROKEN, DriveApi
from app.destinations.google_drive.faults import unreachable
from app.destinations.google_drive.files import is_id

__all__ = ["open_content"]

_PIECE_BYTES: Final = 256 * KIB
_GONE: Final = frozenset({HTTPStatus.NOT_FOUND.value})


@asynccontextmanager
async def open_content(api: DriveApi, file_id: str, start: int, end: int) -> AsyncIterator[AsyncIterator[bytes]]:
    """Pieces of `[start, end)`, of at most 256 KiB.

    Raises:
        NotFound: there is no such file any more.
        DestinationUnavailable: not now; also while it is read.
    """
    if not is_id(file_id):
        raise NotFound
    response = await _begin(api, file_id, start, end)
    pieces = _pieces(response, start, end)
    try:
        yield pieces
    finally:
        await pieces.aclose()
        response.close()


async def _begin(api: DriveApi, file_id: str, start: int, end: int) -> aiohttp.ClientResponse:
    path, params = f"/files/{file_id}", {"alt": "media", "supportsAllDrives": "true"}
    # Of an empty range (which HTTP does not have) a byte is asked for: whether there is one, the answer is the same.
    headers = {"Range": f"bytes={start}-{max(start, end - 1)}"}
    try:
        response = await api.download(path, params, headers)
        if response.status == HTTPStatus.OK or _begins_at(start, response):
            return response
        if response.status == HTTPStatus.PARTIAL_CONTENT:
            response.close()
            raise DestinationUnavailable("Google Drive sent another part of the file than was asked for.")
        try:
            answer = await api.read_answer(response)
        finally:
            response.close()
    except BROKEN as exc:
        broken = unreachable(exc)
    else:
        if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start == end:
            return response
        if answer.status == HTTPStatus.NOT_FOUND:
            raise NotFound
        api.judge(answer)
        raise DestinationUnavailable("The stored file is shorter than it was.")
    raise broken


def _begins_at(start: int, response: aiohttp.ClientResponse) -> bool:
    """Whether it is the part that was asked for (RFC 9110 section 14.4); a part that does not say where it begins is none."""
    if response.status != HTTPStatus.PARTIAL_CONTENT:
        return False
    return response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


async def _pieces(response: aiohttp.ClientResponse, start: int, end: int) -> AsyncGenerator[bytes]:
    # A server that knows no ranges begins at the beginning.
    position = start if response.status == HTTPStatus.PARTIAL_CONTENT else 0
    broken: DestinationUnavailable | None = None
    if start == end:
        return
    try:
        while position < end:
            piece = await response.content.read(_PIECE_BYTES)
            if not piece:
                break
            wanted = piece[max(0, start - position) : end - position]
            position += len(piece)
            if wanted:
                yield wanted
    except BROKEN as exc:
        broken = unreachable(exc)
    if broken is not None:
        raise broken
    if position < end:
        raise DestinationUnavailable("The stored file is shorter than it was.")
