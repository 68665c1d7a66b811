"""The way of every request: counted, met by its fault, served, answered late.

Laws: a fault that comes before leaves the body unread; one that comes after finds everything done. Latency is added once,
before the answer. What goes wrong with a request never reaches the next one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from app.testing.drive_emulator import api, listing, media, oauth, resumable, uploads
from app.testing.drive_emulator.answers import json_answer
from app.testing.drive_emulator.call import Call, Cut
from app.testing.drive_emulator.control import control_routes
from app.testing.drive_emulator.errors import ApiRefusal, Refusal, error_body
from app.testing.drive_emulator.events import Kind
from app.testing.drive_emulator.faults import CutAfter, ErrorIn200, Fault, LoseAnswer, Stall, Status
from app.testing.drive_emulator.script import Operation
from app.testing.drive_emulator.world import World

__all__ = ["make_application"]

Served = Callable[[Call], Awaitable[web.StreamResponse]]
Classify = Callable[[web.Request], tuple[Operation, bool]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_METADATA_BYTES_AT_MOST = 4 << 20


async def _upload(call: Call) -> web.StreamResponse:
    return await (uploads.begin if call.operation is Operation.UPLOAD_START else resumable.serve)(call)


async def _get(call: Call) -> web.StreamResponse:
    return await (media.download if call.operation is Operation.FILES_MEDIA else api.get)(call)


def make_application(world: World) -> web.Application:
    """All paths under one root."""

    def route(served: Served, operation: Operation | Classify) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            what, moves = (operation, False) if isinstance(operation, Operation) else operation(request)
            world.requests[what] += 1
            return await _serve(Call(world, request, what, moves_content=moves), served)

        return handler

    upload = route(_upload, uploads.operation_of)
    files = "/drive/v3/files"
    application = web.Application(client_max_size=_METADATA_BYTES_AT_MOST)
    application.on_response_prepare.append(_say_who)
    application.add_routes(
        [
            *(web.route("*", prefix + files, upload) for prefix in ("/upload", "/resumable/upload")),
            *(web.route("*", prefix + files + "/{file_id}", upload) for prefix in ("/upload", "/resumable/upload")),
            web.get(files, route(listing.list_files, Operation.FILES_LIST)),
            web.post(files, route(api.create, Operation.FILES_CREATE)),
            web.get(files + "/generateIds", route(api.generate_ids, Operation.FILES_GENERATE_IDS)),
            web.get(files + "/{file_id}", route(_get, api.operation_of_get)),
            web.patch(files + "/{file_id}", route(api.update, Operation.FILES_UPDATE)),
            web.delete(files + "/{file_id}", route(api.delete, Operation.FILES_DELETE)),
            web.get("/drive/v3/about", route(api.about, Operation.ABOUT)),
            web.get("/drive/v3/drives", route(api.list_drives, Operation.DRIVES)),
            web.get("/drive/v3/drives/{drive_id}", route(api.get_drive, Operation.DRIVES)),
            web.get("/o/oauth2/v2/auth", route(oauth.consent, Operation.CONSENT)),
            web.post("/token", route(oauth.token, Operation.TOKEN)),
            web.post("/revoke", route(oauth.revoke, Operation.REVOKE)),
            *control_routes(world),
        ]
    )
    return application


async def _say_who(_request: web.Request, answer: web.StreamResponse) -> None:
    answer.headers["Server"] = "Forebay Drive emulator (a test double)"


async def _serve(call: Call, served: Served) -> web.StreamResponse:
    call.tell(Kind.REQUEST)
    call.fault = call.decide(call.operation)
    try:
        try:
            answer = await _answer(call, served)
        except Refusal as refusal:
            answer = refusal.response()
        if not answer.prepared:
            await call.pause(call.world.latency_s)
    except (Cut, ConnectionError):
        call.tell(Kind.ANSWER)
        if call.request.transport is not None:
            call.request.transport.abort()
        return web.Response()
    call.tell(Kind.ANSWER, status=answer.status)
    return answer


async def _answer(call: Call, served: Served) -> web.StreamResponse:
    match call.fault:
        case Status(when="before"):
            raise _refusal(call.fault)
        case ErrorIn200(when="before"):
            await call.drain()
            return _lie(call.fault)
        case Stall() if not call.moves_content:
            await call.stall(call.fault)
        case CutAfter() if not call.moves_content:
            raise Cut
    try:
        answer = await served(call)
    except Refusal as refusal:
        answer = refusal.response()
    return await _late(call, call.late_fault or call.fault, answer)


async def _late(call: Call, fault: Fault | None, answer: web.StreamResponse) -> web.StreamResponse:
    match fault:
        case Status(when="after"):
            raise _refusal(fault)
        case LoseAnswer():
            raise Cut
        case ErrorIn200(when="after"):
            return _lie(fault)
        case Stall() if fault is call.late_fault:
            await call.stall(fault)
    return answer


def _refusal(fault: Status) -> ApiRefusal:
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return ApiRefusal(fault.status, fault.reason_given, fault.message_given, headers=headers)


def _lie(fault: ErrorIn200) -> web.Response:
    return json_answer(error_body(HTTPStatus.INTERNAL_SERVER_ERROR, fault.reason, fault.message))
