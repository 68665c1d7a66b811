"""Uploads begin here: whole files in one request, and resumable sessions."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import BodyPartReader, MultipartReader, web

from app.testing.drive_emulator.answers import file_answer, json_of
from app.testing.drive_emulator.call import Call, Cut
from app.testing.drive_emulator.content import Intake
from app.testing.drive_emulator.errors import ApiRefusal, invalid_parameter
from app.testing.drive_emulator.events import Kind
from app.testing.drive_emulator.faults import WrongDigest
from app.testing.drive_emulator.filing import check, file_it, intent_of
from app.testing.drive_emulator.metadata import Intent, Metadata
from app.testing.drive_emulator.protocol import Query, RangeRefusal, parse_content_range
from app.testing.drive_emulator.script import Operation
from app.testing.drive_emulator.sessions import Session

__all__ = ["UPLOADER", "begin", "operation_of"]

UPLOADER = "X-GUploader-UploadID"


def operation_of(request: web.Request) -> tuple[Operation, bool]:
    """What a request to the upload path is, and whether content comes with it."""
    if "upload_id" not in request.query:
        return Operation.UPLOAD_START, request.query.get("uploadType") != "resumable"
    if request.method == "DELETE":
        return Operation.UPLOAD_CANCEL, False
    try:
        said = parse_content_range(request.headers.get("Content-Range"))
    except RangeRefusal:
        return Operation.UPLOAD_PUT, True
    return (Operation.UPLOAD_QUERY, False) if isinstance(said, Query) else (Operation.UPLOAD_PUT, True)


async def begin(call: Call) -> web.Response:
    """A request without an upload id."""
    call.caller()
    match call.request.query.get("uploadType", "media"):
        case "resumable":
            return await _session(call)
        case "media":
            return await _media(call)
        case "multipart":
            return await _multipart(call)
        case other:
            raise invalid_parameter("uploadType", f"Invalid upload type: {other}")


async def _session(call: Call) -> web.Response:
    world, headers = call.world, call.request.headers
    said = headers.get("X-Upload-Content-Length")
    if said is not None and not said.isdecimal():
        raise invalid_parameter("X-Upload-Content-Length", "Invalid Value")
    total = None if said is None else int(said)
    intent = intent_of(call, Metadata.parse(await call.json()), headers.get("X-Upload-Content-Type"))
    check(world.tree, intent, total or 0, starts=True)
    session = Session(len(world.sessions) + 1, intent, world.vault.new(), total)
    world.sessions[session.upload_id] = session
    call.session = session.number
    call.tell(Kind.SESSION_STARTED, size=total, detail=session.name)
    location = call.request.url.update_query(upload_id=session.upload_id)
    return web.Response(headers={"Location": str(location), UPLOADER: session.upload_id})


async def _media(call: Call) -> web.Response:
    intent = intent_of(call, Metadata(), call.request.headers.get("Content-Type"))
    return await _whole(call, intent, None)


async def _multipart(call: Call) -> web.Response:
    try:
        reader = MultipartReader(call.request.headers, call.request.content)
        first = await reader.next()
        data = Metadata.parse(json_of(await first.read(decode=True) if isinstance(first, BodyPartReader) else b"?"))
        media = await reader.next()
    except (ValueError, AssertionError):
        raise ApiRefusal(HTTPStatus.BAD_REQUEST, "badRequest", "Malformed multipart body.") from None
    if not isinstance(media, BodyPartReader):
        raise ApiRefusal(HTTPStatus.BAD_REQUEST, "badRequest", "Missing end boundary in multipart body.")
    intent = intent_of(call, data, media.headers.get("Content-Type"))
    return await _whole(call, intent, media)


async def _whole(call: Call, intent: Intent, part: BodyPartReader | None) -> web.Response:
    tree = call.world.tree
    check(tree, intent, (call.request.content_length or 0) if part is None else 0, starts=True)
    content = call.world.vault.new()
    intake = Intake(content, lambda: None)
    try:
        if part is None:
            async for piece in call.body():
                await intake.feed(piece)
        else:
            # Google allows 5 MB in this way of uploading, so the part may be read whole.
            await intake.feed(bytes(await part.read(decode=True)))
        await intake.finish()
        check(tree, intent, content.held, starts=False)
    except (Cut, ApiRefusal, OSError):
        content.discard()
        raise
    content.close()
    file = file_it(call, intent, content, wrong=isinstance(call.fault, WrongDigest))
    return file_answer(tree, file, intent.fields)
