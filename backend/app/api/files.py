"""Files: one in a single request, and the content of a stored one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.responses import StreamingResponse

from app.api.auth import User
from app.api.chunks import BINARY_BODY
from app.api.context import Ctx, body_of
from app.api.problems import answers
from app.api.uploads import IdempotencyKey, checked_key
from app.api.views import LATER, UploadView, upload_view
from app.core.errors import (
    BodyTooLarge,
    DatabaseUnavailable,
    DestinationUnavailable,
    DigestMismatch,
    IdempotencyConflict,
    InvalidDigest,
    InvalidName,
    InvalidRequest,
    LengthRequired,
    LimitReached,
    MemoryPressure,
    NameTaken,
    NotFound,
    OutOfSpace,
    RangeNotSatisfiable,
    StateConflict,
)
from app.core.media_type import MAX_MEDIA_TYPE, MEDIA_TYPE
from app.core.upload import NameConflictPolicy, UploadState
from app.destinations.port import ServesFiles
from app.protocols.content_coding import is_unchanged
from app.protocols.digest import parse_digest_lines
from app.protocols.download import attachment, requested_range
from app.services.interruption import abandoned_when_gone
from app.services.live import LiveUpload
from app.services.new_upload import NewUpload

__all__ = ["router", "stored_status"]

router = APIRouter(prefix="/api/v1/files", tags=["files"])


@router.put(
    "/{filename}",
    status_code=201,
    openapi_extra=BINARY_BODY,
    responses={
        **LATER,
        **answers(
            InvalidName,
            InvalidDigest,
            LengthRequired,
            BodyTooLarge,
            DigestMismatch,
            NameTaken,
            IdempotencyConflict,
            StateConflict,
            MemoryPressure,
            LimitReached,
            OutOfSpace,
            DatabaseUnavailable,
        ),
    },
)
async def put_file(
    *,
    context: Ctx,
    user: User,
    request: Request,
    response: Response,
    filename: str,
    path: Annotated[str, Query(max_length=4096, description="Relative folder at the destination.")] = "",
    on_conflict: NameConflictPolicy = NameConflictPolicy.RENAME,
    destination: Annotated[str, Query(max_length=255)] = "default",
    content_type: Annotated[str, Header(max_length=MAX_MEDIA_TYPE, pattern=MEDIA_TYPE)] = "application/octet-stream",
    content_digest: Annotated[list[str] | None, Header(description="Of the file (RFC 9530): sha-256, crc32c.")] = None,
    idempotency_key: IdempotencyKey = None,
) -> UploadView:
    """Store a file; answers when it is at its destination, with 202 where that takes long.

    With an Idempotency-Key, files have a Content-Length, and one chunk at most.
    """
    _check_address(request)
    if "content-range" in request.headers:  # RFC 9110 section 14.5: a part must not become the whole
        raise InvalidRequest("A single request carries a whole file. Use POST /api/v1/uploads and chunks for parts.")
    body = body_of(request)
    # A key is compared with the content, so that has to be one chunk.
    streamed = idempotency_key is None and not context.small_files.takes(body)
    wanted = NewUpload(
        filename=filename,
        size=body.length if streamed else context.small_files.length_of(body),
        folder=path,
        media_type=content_type,
        digest=parse_digest_lines(content_digest),
        destination=destination,
        on_conflict=on_conflict,
    )
    if streamed:
        live = await context.whole_files.receive(user.user, wanted, body)
        async with abandoned_when_gone(body):
            await context.uploads.arrived(live)
    else:
        live = await context.small_files.store(user.user, wanted, body, idempotency_key=checked_key(idempotency_key))
    response.status_code = stored_status(live)
    response.headers["location"] = f"/api/v1/uploads/{live.row.id}"
    return upload_view(context, live)


def stored_status(live: LiveUpload) -> int:
    """201 for a file that is at its destination, 202 for one on its way.

    Raises:
        What `Upload.ending` is: it has ended otherwise.
    """
    row = live.row
    if not row.ended:
        return 202
    if row.state is UploadState.COMPLETED:
        return 201
    raise row.ending


def _check_address(request: Request) -> None:
    """Names are data: the decoders before us replace octets that are no UTF-8, and the file would get another name.

    Raises:
        InvalidName: the address has such octets.
    """
    try:
        unquote_to_bytes(request.scope.get("raw_path", b"") + b"?" + request.scope["query_string"]).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise InvalidName("A name in an address must be UTF-8, percent-encoded.") from exc


_CONTENT_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"application/octet-stream": {}}},
    206: {"description": "The range.", "content": {"application/octet-stream": {}}},
    304: {"description": "It is what If-None-Match names."},
    **answers(NotFound, StateConflict, RangeNotSatisfiable, DestinationUnavailable),
}


@router.get("/{upload_id}/content", response_class=StreamingResponse, responses=_CONTENT_ANSWERS)
@router.head(
    "/{upload_id}/content", operation_id="head_content", response_class=StreamingResponse, responses=_CONTENT_ANSWERS
)
async def get_content(
    *,
    context: Ctx,
    user: User,
    request: Request,
    upload_id: str,
    range_field: Annotated[str | None, Header(alias="range", description="One range of bytes (RFC 9110).")] = None,
    if_range: Annotated[str | None, Header()] = None,
    if_none_match: Annotated[str | None, Header(description="ETags of what is there already (RFC 9110).")] = None,
) -> Response:
    """The stored file, always as an attachment; `Range` is honoured."""
    row = (await context.uploads.find(upload_id, user.user)).row
    destination = context.destinations.get(row.destination)
    if row.state is not UploadState.COMPLETED:
        raise StateConflict(f"The upload is {row.state}; it has no content yet.", state=row.state.value)
    if row.stored_id is None:
        raise NotFound("The file was replaced by a later upload.")
    if not isinstance(destination, ServesFiles):
        raise NotFound("This destination does not give files back.")
    etag = f'"sha256-{row.sha256}"'
    if is_unchanged(if_none_match, etag):  # before Range, RFC 9110 section 13.2.2
        return Response(status_code=304, headers={"etag": etag})
    # RFC 9110 section 14.2: a Range means something with GET only.
    wanted = requested_range(range_field, row.size) if request.method == "GET" and if_range in {None, etag} else None
    start, end = wanted or (0, row.size)
    headers = {
        "content-length": str(end - start),
        "content-disposition": attachment(row.stored_name or row.filename),
        "accept-ranges": "bytes",
        "etag": etag,
        # Whatever was uploaded is data: never sniffed, never run in our origin.
        "content-security-policy": "sandbox; default-src 'none'",
    }
    if wanted is not None:
        headers["content-range"] = f"bytes {start}-{end - 1}/{row.size}"
    status = 200 if wanted is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=row.media_type)
    pieces = destination.open_range(row.stored_id, start, end, size=row.size)
    stream = await pieces.__aenter__()  # errors come before the first header is sent

    async def content() -> AsyncIterator[bytes]:
        try:
            async for piece in stream:
                yield piece
        finally:
            await pieces.__aexit__(None, None, None)

    return StreamingResponse(content(), status_code=status, headers=headers, media_type=row.media_type)
