"""tus 1.0.0 for clients that speak it; what it means is in `app.protocols.tus`, what it does are ordinary uploads."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from posixpath import dirname
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from app.api.auth import User
from app.api.context import Context, Ctx, body_of, whole_address
from app.api.files import get_content
from app.api.problems import answers, problem_response
from app.core.body import RequestBody
from app.core.errors import (
    BodyTooLarge,
    ChecksumMismatch,
    ChunkFailed,
    DatabaseUnavailable,
    DestinationUnavailable,
    FileTooLarge,
    Forbidden,
    ForebayError,
    InconsistentUploadLength,
    InvalidDigest,
    InvalidName,
    InvalidRequest,
    LimitReached,
    MemoryPressure,
    NotFound,
    OffsetConflict,
    OutOfSpace,
    RangeNotSatisfiable,
    RequestTimedOut,
    ShuttingDown,
    StagingUnavailable,
    StateConflict,
    Superseded,
    TooManyPending,
    UnsupportedMediaType,
    UnsupportedProtocolVersion,
    UploadExpired,
)
from app.core.media_type import media_type_of
from app.core.upload import PARTIAL, Completion, UploadState
from app.protocols import tus
from app.protocols.tus_checksum import ChecksumCheck
from app.services.interruption import abandoned_when_gone, unbroken
from app.services.live import LiveUpload
from app.services.new_upload import NewUpload

__all__ = ["router"]

_BODY = {"requestBody": {"content": {tus.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}}
_NO_NAME = "upload"
_GONE = frozenset({UploadState.CANCELLED, UploadState.FAILED})


class _Route(APIRoute):
    """Every answer says the version, refusals too (tus, Tus-Resumable)."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def versioned(request: Request) -> Response:
            try:
                response = await handle(request)
            except ForebayError as exc:
                response = problem_response(request.scope, exc)
                if isinstance(exc, UnsupportedProtocolVersion):
                    response.headers["tus-version"] = tus.VERSION
            if request.method != "OPTIONS":
                response.headers["tus-resumable"] = tus.VERSION
            return response

        return versioned


router = APIRouter(prefix="/api/v1/tus", tags=["tus"], route_class=_Route)


def _fields(request: Request) -> dict[str, str]:
    """The header fields, each that matters here at most once.

    Raises:
        UnsupportedProtocolVersion: not our version.
        InvalidRequest: a field of the protocol is there twice.
    """
    fields = dict(request.headers)
    for name in fields:
        if name.startswith(("upload-", "tus-")) and len(request.headers.getlist(name)) > 1:
            raise InvalidRequest(f"There is more than one {name}.")
    fields["trailer"] = ",".join(request.headers.getlist("trailer"))
    tus.check_version(fields)
    return fields


async def _found(context: Context, user: User, upload_id: str) -> LiveUpload:
    """An upload that can be gone on with, or has completed.

    Raises:
        NotFound: there is none, it was not begun with tus, or it has ended otherwise.
        UploadExpired: nobody has gone on with it.
    """
    live = await context.uploads.find(upload_id, user.user)
    if live.row.tus_metadata is None or live.row.state in _GONE:
        raise NotFound
    if live.row.state is UploadState.EXPIRED:
        raise UploadExpired
    return live


def _standing(context: Context, live: LiveUpload, position: int) -> dict[str, str]:
    """`Upload-Offset`, and `Upload-Expires` where it will expire; nothing of one that is being put together from others."""
    if live.row.parts and position < live.row.size:
        return {}
    fields = {"upload-offset": str(position)}
    expires_in_s = live.row.expires_in_s(context.uploads.limits.expiry_s, context.clock())
    if expires_in_s is not None and not live.row.parts:
        fields["upload-expires"] = tus.expires(time.time() + expires_in_s)
    return fields


def _check_of(said: tus.Creation | tus.Append, body: RequestBody) -> ChecksumCheck | None:
    if said.checksum_follows:  # and with it, by which algorithm
        return ChecksumCheck(tus.Algorithm, lambda: tus.parse_trailer(body.trailer))
    if (checksum := said.checksum) is None:
        return None
    return ChecksumCheck([checksum.algorithm], lambda: checksum)


def _wanted(creation: tus.Creation) -> NewUpload:
    """What is to be made: names and type as tus clients and Uppy call them."""
    said = creation.metadata
    return NewUpload(
        filename=said.first("filename", "name") or _NO_NAME,
        size=creation.length,
        folder=dirname(said.first("relativePath") or "").lstrip("/"),
        media_type=media_type_of(said.first("filetype", "type")),
        destination=said.first("destination") or "default",
        completion=Completion.EXPLICIT if creation.concat == PARTIAL else Completion.AUTO,
        tus_metadata=said.text,
        tus_concat=creation.concat,
    )


@router.options("", status_code=204, response_class=Response)
@router.options("/", status_code=204, response_class=Response, include_in_schema=False)
@router.options("/{upload_id}", status_code=204, response_class=Response, operation_id="tus_options_of_upload")
async def tus_options(context: Ctx) -> Response:
    """What this server can do with tus."""
    return Response(
        status_code=204,
        headers=tus.capabilities(context.uploads.limits.max_file_bytes, relayed=context.uploads.relay is not None),
    )


@router.post("/", status_code=201, response_class=Response, include_in_schema=False)
@router.post(
    "",
    status_code=201,
    response_class=Response,
    openapi_extra=_BODY,
    responses=answers(
        InvalidName,
        InvalidDigest,
        UnsupportedProtocolVersion,
        UnsupportedMediaType,
        FileTooLarge,
        ChecksumMismatch,
        TooManyPending,
        MemoryPressure,
        LimitReached,
        OutOfSpace,
        RequestTimedOut,
        ChunkFailed,
        StateConflict,
        Superseded,
        DatabaseUnavailable,
        ShuttingDown,
    ),
)
async def tus_create(context: Ctx, user: User, request: Request) -> Response:
    """Begin an upload (tus, creation); with a body, its first bytes as well (creation-with-upload)."""
    creation = tus.parse_creation(
        _fields(request),
        max_size=context.uploads.limits.max_file_bytes,
        relayed=context.uploads.relay is not None,
    )
    body = body_of(request)
    if creation.parts:
        live = await context.concatenation.begin(user.user, _wanted(creation), creation.parts)
        try:
            async with abandoned_when_gone(body):
                await context.concatenation.kept(live)
        except ForebayError:  # its client was promised nothing, and will ask again
            with suppress(ForebayError):
                await unbroken(context.uploads.cancel(live))
            raise
    else:
        live = await context.uploads.create(user.user, _wanted(creation), idempotency_key=None)
    position = 0
    if creation.carries_bytes:
        position = await context.appender.append(live, 0, body, _check_of(creation, body))
    location = whole_address(request, context, f"{router.prefix}/{live.row.id}")
    headers = {"location": location, **_standing(context, live, position)}
    if not creation.carries_bytes:
        headers.pop("upload-offset", None)
    return Response(status_code=201, headers=headers)


@router.head(
    "/{upload_id}",
    response_class=Response,
    responses=answers(NotFound, UploadExpired, UnsupportedProtocolVersion, DatabaseUnavailable),
)
async def tus_position(context: Ctx, user: User, request: Request, upload_id: str) -> Response:
    """Where the upload stands. A request that still brings bytes is ended, and what it brought is counted."""
    _fields(request)
    live = await _found(context, user, upload_id)
    position = await context.appender.position(live)
    headers = {**_standing(context, live, position), "cache-control": "no-store"}
    length = context.concatenation.length_of(live)
    if length is None:
        headers["upload-defer-length"] = "1"
    else:
        headers["upload-length"] = str(length)
    if live.row.tus_metadata:
        headers["upload-metadata"] = live.row.tus_metadata
    if live.row.tus_concat is not None:
        headers["upload-concat"] = live.row.tus_concat
    return Response(status_code=200, headers=headers)


@router.patch(
    "/{upload_id}",
    status_code=204,
    response_class=Response,
    openapi_extra=_BODY,
    responses=answers(
        InvalidDigest,
        InconsistentUploadLength,
        NotFound,
        UploadExpired,
        RequestTimedOut,
        OffsetConflict,
        StateConflict,
        Superseded,
        UnsupportedProtocolVersion,
        BodyTooLarge,
        FileTooLarge,
        UnsupportedMediaType,
        ChecksumMismatch,
        LimitReached,
        ChunkFailed,
        StagingUnavailable,
        DestinationUnavailable,
        DatabaseUnavailable,
        ShuttingDown,
        OutOfSpace,
    ),
)
async def tus_append(context: Ctx, user: User, request: Request, upload_id: str) -> Response:
    """Add bytes where the upload stands. What came of a request that breaks off is kept."""
    fields = _fields(request)
    live = await _found(context, user, upload_id)
    if live.row.parts:
        raise Forbidden("A final upload is put together from its parts; nothing can be added to it.")
    wanted = tus.parse_append(fields)
    body = body_of(request)
    position = await context.appender.append(live, wanted.offset, body, _check_of(wanted, body), length=wanted.length)
    return Response(status_code=204, headers=_standing(context, live, position))


@router.delete(
    "/{upload_id}",
    status_code=204,
    response_class=Response,
    responses=answers(NotFound, UploadExpired, UnsupportedProtocolVersion, DatabaseUnavailable),
)
async def tus_terminate(context: Ctx, user: User, request: Request, upload_id: str) -> Response:
    """End an upload for good. A file that is at its destination stays there; its upload is not found any more."""
    _fields(request)
    live = await _found(context, user, upload_id)
    try:
        await context.uploads.cancel(live)
    except StateConflict:
        await context.uploads.leave(live)
    return Response(status_code=204)


@router.get(
    "/{upload_id}",
    response_class=Response,
    responses={
        200: {"description": "The file."},
        **answers(NotFound, UploadExpired, StateConflict, RangeNotSatisfiable),
    },
)
async def tus_content(context: Ctx, user: User, request: Request, upload_id: str) -> Response:
    """The stored file; for those who have nothing but the upload's address."""
    live = await _found(context, user, upload_id)
    return await get_content(
        context=context,
        user=user,
        request=request,
        upload_id=live.row.id,
        range_field=request.headers.get("range"),
        if_range=request.headers.get("if-range"),
    )
