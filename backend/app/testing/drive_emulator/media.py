"""Downloads: `alt=media`, whole or a range."""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus

from aiohttp import web

from app.testing.drive_emulator.call import Call, Cut, Pace
from app.testing.drive_emulator.errors import ApiRefusal

__all__ = ["download"]

_PIECE_BYTES = 262_144
_DIGITS = 18
_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None: all. Forms that are not served are ignored, as RFC 9110 allows."""
    form = _RANGE.fullmatch((header or "").replace(" ", ""))
    if form is None or form.groups() == ("", ""):
        return None
    first, last = form.groups()
    if not first:
        return max(0, size - _position(last)), size
    start, end = _position(first), min(size, _position(last) + 1) if last else size
    return (start, end) if start < size and start < end else (size, size)


def _position(digits: str) -> int:
    """The number, or one beyond every file."""
    return int(digits) if len(digits) <= _DIGITS else 10**_DIGITS


async def download(call: Call) -> web.StreamResponse:
    """A file's content."""
    world = call.world
    file = world.tree.see(call.request.match_info["file_id"], call.caller(), all_drives=call.all_drives)
    if file.content is None:
        message = "Only files with binary content can be downloaded. Use Export with Docs Editors files."
        raise ApiRefusal(HTTPStatus.FORBIDDEN, "fileNotDownloadable", message, location="alt")
    if file.path is None:
        message = "The emulator was told to discard contents."
        raise ApiRefusal(HTTPStatus.NOT_IMPLEMENTED, "notImplemented", message)
    wanted = _range(call.request.headers.get("Range"), file.size)
    if wanted is not None and wanted[0] >= wanted[1]:
        unsatisfiable = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        refusal = ApiRefusal(unsatisfiable, "requestedRangeNotSatisfiable", "Request range not satisfiable")
        response = refusal.response()
        response.headers["Content-Range"] = f"bytes */{file.size}"
        return response
    start, end = wanted or (0, file.size)
    answer = web.StreamResponse(status=HTTPStatus.OK if wanted is None else HTTPStatus.PARTIAL_CONTENT)
    answer.content_type = file.mime_type.partition(";")[0]
    answer.content_length = end - start
    if wanted is not None:
        answer.headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    pace = Pace(call)
    await pace.before()
    await call.pause(world.latency_s)
    await answer.prepare(call.request)
    loop = asyncio.get_running_loop()
    with file.path.open("rb") as source:
        source.seek(start)
        while start < end:
            data = await loop.run_in_executor(world.vault.workers, source.read, min(_PIECE_BYTES, end - start))
            if not data:
                raise Cut
            start += len(data)
            for part in pace.parts(data):
                await pace.pay(len(part))
                await answer.write(part)
                await pace.moved(len(part))
    await answer.write_eof()
    return answer
