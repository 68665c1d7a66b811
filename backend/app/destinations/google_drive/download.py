"""A stored file's bytes, as they come from Drive.

Laws: a range is whole or ends in an error; nothing is given out before Drive has said that it sends this part of a file
of the size that was stored; what aiohttp raises is translated as in `api`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import aiohttp

from app.core.errors import DestinationUnavailable, ForebayError, NotFound
from app.core.upload import KIB
from app.destinations.google_drive.api import BROKEN, Answer, DriveApi
from app.destinations.google_drive.faults import of_a_download, unreachable
from app.destinations.google_drive.files import is_id

__all__ = ["open_content"]

_PIECE_BYTES: Final = 256 * KIB
_ERROR_BYTES: Final = 64 * KIB  # an error object is far below
_PART: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")
_NO_PART: Final = re.compile(r"bytes \*/(\d{1,19})")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """`[start, end)` of a file of `size` bytes."""

    start: int
    end: int
    size: int

    @property
    def last(self) -> int:
        """Of an empty range (which HTTP does not have) a byte is asked for: whether there is one, the answer is the same."""
        return max(self.start, self.end - 1)


@asynccontextmanager
async def open_content(
    api: DriveApi, file_id: str, start: int, end: int, *, size: int
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Pieces of `[start, end)`, of at most 256 KiB.

    Raises:
        NotFound: there is no such file any more.
        DestinationUnavailable: not now, also while it is read; or the file does not have `size` bytes.
    """
    if not is_id(file_id):
        raise NotFound
    wanted = _Wanted(start, end, size)
    refused: ForebayError | None = None
    try:
        response, head = await _begin(api, file_id, wanted)
    except ForebayError as exc:
        refused = of_a_download(exc)
    if refused is not None:
        raise refused
    pieces = _pieces(response, head, wanted)
    try:
        yield pieces
    finally:
        await pieces.aclose()
        response.close()


async def _begin(api: DriveApi, file_id: str, wanted: _Wanted) -> tuple[aiohttp.ClientResponse, bytes]:
    """The response whose body is what is wanted, and what was read of that body already."""
    path, params = f"/files/{file_id}", {"alt": "media", "supportsAllDrives": "true"}
    headers = {"Range": f"bytes={wanted.start}-{wanted.last}"}
    response: aiohttp.ClientResponse | None = None
    begun = False
    try:
        response = await api.download(path, params, headers)
        head = await _head(api, response, wanted)
        begun = True
    except BROKEN as exc:
        broken = unreachable(exc)
    else:
        return response, head
    finally:
        if response is not None and not begun:
            response.close()
    raise broken


async def _head(api: DriveApi, response: aiohttp.ClientResponse, wanted: _Wanted) -> bytes:
    """What was read of the body to see that it is the one wanted; raises as `open_content`, and what aiohttp raises."""
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        _check_part(response.headers.get("Content-Range", ""), wanted)
        return b""
    length = response.content_length
    if response.status == HTTPStatus.OK and (length is None or length > _ERROR_BYTES):
        _check_whole(length, wanted)
        return b""
    answer = await api.read_answer(response)
    if answer.status == HTTPStatus.NOT_FOUND:
        raise NotFound
    if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        _check_no_part(answer, wanted)
        return b""
    # A file may look like an error object; Drive sends files that are not empty as parts, and never gets here with one.
    api.judge(answer)
    _check_whole(len(answer.body), wanted)
    return answer.body


def _check_part(header: str, wanted: _Wanted) -> None:
    """Whether it is the part that was asked for (RFC 9110 section 14.4); a part that does not say what it is is none."""
    said = _PART.fullmatch(header)
    first, last, size = map(int, said.groups()) if said is not None else (-1, -1, -1)
    if said is not None and size != wanted.size:
        raise _other_size()
    if (first, last) != (wanted.start, wanted.last):
        raise DestinationUnavailable("Google Drive sent another part of the file than was asked for.")


def _check_whole(size: int | None, wanted: _Wanted) -> None:
    """Of a server that knows no ranges, or of an empty file, which has none."""
    if size is None or wanted.start:
        raise DestinationUnavailable("Google Drive sent something else than the part of the file that was asked for.")
    if size != wanted.size:
        raise _other_size()


def _check_no_part(answer: Answer, wanted: _Wanted) -> None:
    said = _NO_PART.fullmatch(answer.headers.get("Content-Range", ""))
    if wanted.start < wanted.size or (said is not None and int(said[1]) != wanted.size):
        raise _other_size()


def _other_size() -> DestinationUnavailable:
    return DestinationUnavailable("The file at Google Drive has another size than the one that was stored.")


async def _pieces(response: aiohttp.ClientResponse, head: bytes, wanted: _Wanted) -> AsyncGenerator[bytes]:
    left = wanted.end - wanted.start
    broken: DestinationUnavailable | None = None
    try:
        while left:
            piece = head[:left] if head else await response.content.read(min(_PIECE_BYTES, left))
            head = b""
            if not piece:
                break
            left -= len(piece)
            yield piece
    except BROKEN as exc:
        broken = unreachable(exc)
    if broken is not None:
        raise of_a_download(broken)
    if left:
        raise DestinationUnavailable("The stored file is shorter than it was.")
