"""Uploads begin here: whole files in one request, and resumable sessions."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus

from aiohttp import web

from app.testing.drive_emulator.answers import file_answer, json_of, number_of
from app.testing.drive_emulator.call import Call
from app.testing.drive_emulator.content import Content, Intake
from app.testing.drive_emulator.errors import ApiRefusal, invalid_parameter
from app.testing.drive_emulator.events import Kind
from app.testing.drive_emulator.faults import WrongDigest
from app.testing.drive_emulator.filing import check, file_it, intent_of
from app.testing.drive_emulator.metadata import Intent, Metadata
from app.testing.drive_emulator.multipart import BODY_BYTES_AT_MOST, parse_related
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
    total = None if said is None else number_of(said)
    if said is not None and total is None:
        raise invalid_parameter("X-Upload-Content-Length", "Invalid Value")
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
    check(call.world.tree, intent, call.request.content_length or 0, starts=True)
    content = call.world.vault.new()
    intake = Intake(content, lambda: None)
    try:
        async for piece in call.body():
            await intake.feed(piece)
    except BaseException:
        await _drop(intake, content)
        raise
    return await _file(call, intent, intake, content)


async def _multipart(call: Call) -> web.Response:
    whole = bytearray()
    async for piece in call.body():
        whole += piece
        if len(whole) > BODY_BYTES_AT_MOST:
            message = f"The emulator takes {BODY_BYTES_AT_MOST} bytes in a multipart body; Google documents 5 MB."
            raise ApiRefusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "uploadTooLarge", message)
    parts = parse_related(call.request.headers.get("Content-Type", ""), bytes(whole))
    intent = intent_of(call, Metadata.parse(json_of(parts.metadata)), parts.media_type)
    check(call.world.tree, intent, len(parts.media), starts=True)
    content = call.world.vault.new()
    intake = Intake(content, lambda: None)
    await intake.feed(parts.media)
    return await _file(call, intent, intake, content)


async def _file(call: Call, intent: Intent, intake: Intake, content: Content) -> web.Response:
    tree = call.world.tree
    try:
        await intake.finish()
        check(tree, intent, content.held, starts=False)
    except BaseException:
        await _drop(intake, content)
        raise
    content.close()
    file = file_it(call, intent, content, wrong=isinstance(call.fault, WrongDigest))
    return file_answer(tree, file, intent.fields)


async def _drop(intake: Intake, content: Content) -> None:
    with suppress(OSError):
        await intake.settle()
    content.discard()
