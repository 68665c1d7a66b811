"""The IETF's resumable uploads; what they mean is in `app.protocols.resumable`, what they do are ordinary uploads."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.routing import APIRoute

from app.api.auth import User
from app.api.context import Context, Ctx, body_of, whole_address
from app.api.files import stored_status
from app.api.interim import inform, progress_told
from app.api.problems import answers, problem_response
from app.api.views import LATER, UploadView, upload_view
from app.core.body import RequestBody
from app.core.errors import (
    BodyTooLarge,
    ChunkFailed,
    ClientGone,
    CompletedUpload,
    DatabaseUnavailable,
    DestinationUnavailable,
    DigestMismatch,
    FileTooLarge,
    ForebayError,
    IncompleteUpload,
    InconsistentUploadLength,
    InvalidDigest,
    InvalidName,
    LimitReached,
    MemoryPressure,
    MismatchingOffset,
    NotFound,
    OffsetConflict,
    OutOfSpace,
    RequestTimedOut,
    ShuttingDown,
    StagingUnavailable,
    StateConflict,
    Superseded,
    TooLarge,
    TooManyPending,
    UnsupportedMediaType,
)
from app.core.media_type import media_type_of
from app.core.upload import Completion, NameConflictPolicy, UploadState
from app.protocols import resumable
from app.protocols.content_disposition import filename_of
from app.protocols.digest import NOTHING_DECLARED, DeclaredDigest, DigestCheck, format_digest, parse_digest_lines
from app.protocols.resumable import Append, Limits, Speech
from app.protocols.structured import format_boolean
from app.services.interruption import abandoned_when_gone, unbroken
from app.services.live import LiveUpload
from app.services.new_upload import NewUpload

__all__ = ["router"]

_NO_NAME: Final = "upload"
_GONE: Final = frozenset({UploadState.CANCELLED, UploadState.EXPIRED, UploadState.FAILED})
_COMPLETE: Final = frozenset({UploadState.TRANSFERRING, UploadState.COMPLETED})
_FIELDS: Final = {
    "Upload-Draft-Interop-Version": "5, 6 or 8; without it no interim response is sent.",
    "Upload-Complete": "?1: the content reaches to the end of the file; ?0: it does not.",
    "Upload-Length": "Of the whole file, in bytes.",
    "Upload-Offset": "Where the content belongs, in bytes.",
    "Content-Disposition": "With the file's name: `inline; filename*=UTF-8''…`.",
    "Content-Digest": "Of the content (RFC 9530): sha-256, crc32c.",
    "Repr-Digest": "Of the whole file (RFC 9530): sha-256, crc32c.",
}


def _described(media_type: str, *fields: str) -> dict[str, Any]:
    """For the OpenAPI document: content of that type, and these header fields."""
    return {
        "requestBody": {"content": {media_type: {"schema": {"type": "string", "format": "binary"}}}},
        "parameters": [
            {"name": name, "in": "header", "description": _FIELDS[name], "schema": {"type": "string"}}
            for name in ("Upload-Draft-Interop-Version", "Upload-Complete", "Upload-Length", "Content-Digest", *fields)
        ],
    }


@dataclass(slots=True)
class _Talk:
    """One request: how its client is answered, and what is said in the answer's header, also in that of a refusal."""

    fields: Mapping[str, str]
    speech: Speech
    said: dict[str, str] = field(default_factory=dict)
    live: LiveUpload | None = None
    processed: bool = False
    """Whether the answer comes from what became of the whole file."""

    def refusal(self, context: Context, error: ForebayError) -> dict[str, str]:
        """What a refusal says beside the problem."""
        fields = {**self.said, "upload-complete": format_boolean(self.processed)}
        if self.live is not None:
            fields["upload-offset"] = str(self.live.position)
        if isinstance(error, TooLarge):
            fields |= self.speech.limits(_limits(context, self.live))
        return fields


class _Route(APIRoute):
    """Every answer is one of the protocol, refusals too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            fields = {name: ", ".join(request.headers.getlist(name)) for name in set(request.headers)}
            talk = request.state.talk = _Talk(fields, resumable.speech_of(fields))
            try:
                response = await handle(request)
            except ForebayError as exc:
                response = problem_response(request.scope, exc)
                response.headers.update(talk.refusal(request.app.state.context, exc))
            response.headers.update(talk.speech.name)
            return response

        return answer


router = APIRouter(prefix="/api/v1/resumable", tags=["resumable uploads"], route_class=_Route)


async def _talk(request: Request) -> _Talk:
    talk: _Talk = request.state.talk
    return talk


Talk = Annotated[_Talk, Depends(_talk)]


def _declared(request: Request, name: str) -> DeclaredDigest:
    return parse_digest_lines(request.headers.getlist(name) or None)


def _limits(context: Context, live: LiveUpload | None) -> Limits:
    """Of an upload; of one that begins now where there is none yet."""
    limits = context.uploads.limits
    left_s = limits.expiry_s if live is None else live.row.expires_in_s(limits.expiry_s, context.clock())
    largest = live.row.size if live is not None and live.row.length_deferred else limits.max_file_bytes
    return Limits(largest, left_s)


async def _found(context: Context, user: User, upload_id: str) -> LiveUpload:
    """An upload that can be gone on with, or is complete.

    Raises:
        NotFound: there is none, it was not begun here, or it has ended otherwise.
    """
    live = await context.uploads.find(upload_id, user.user)
    _check_is_here(live)
    return live


def _check_is_here(live: LiveUpload) -> None:
    if not live.row.resumable or live.row.state in _GONE:
        raise NotFound


async def _add(context: Context, request: Request, talk: _Talk, live: LiveUpload, wanted: Append) -> None:
    """Append a request's content.

    Raises:
        MismatchingOffset: the upload stands elsewhere.
        InconsistentUploadLength: that would be more than its length.
        What `Appender.append` raises.
    """
    declared = _declared(request, "content-digest")
    body = body_of(request)
    try:
        async with progress_told(request, talk.speech, live, body):
            await context.appender.append(
                live,
                wanted.offset,
                body,
                DigestCheck(declared) if declared else None,
                length=wanted.length,
                last=wanted.complete,
            )
    except OffsetConflict as exc:
        raise _mismatch(live, wanted) from exc
    except BodyTooLarge as exc:
        taken = exc.extensions.get("limit")
        # With a digest, staging in memory takes less at once.
        fits = isinstance(taken, int) and taken < live.row.size - wanted.offset
        if live.row.length_deferred or fits:
            raise
        error = InconsistentUploadLength(exc.detail)
        if body.length is None and talk.speech.dialect.ends_what_grows_too_long:
            await unbroken(context.uploads.fail(live, error))
        raise error from exc


def _mismatch(live: LiveUpload, wanted: Append) -> MismatchingOffset:
    expected = live.position
    return MismatchingOffset(
        f"The upload stands at {expected}; this begins at {wanted.offset}.",
        **{"expected-offset": expected, "provided-offset": wanted.offset},
    )


async def _whole(context: Context, talk: _Talk, live: LiveUpload, body: RequestBody) -> Response:
    """The client has sent everything: the answer is what becomes of the file.

    Raises:
        InconsistentUploadLength: that was less than its length.
        What `Uploads.complete` raises.
    """
    try:
        async with abandoned_when_gone(body):
            live = await context.uploads.complete(live, NOTHING_DECLARED)
    except IncompleteUpload as exc:
        raise InconsistentUploadLength(f"Of {live.row.size} bytes {live.position} have come.") from exc
    finally:
        talk.processed = live.row.ended
    fields = {**talk.said, **resumable.state(offset=live.row.size, complete=True)}
    return _stored(context, live, fields)


def _stored(context: Context, live: LiveUpload, fields: Mapping[str, str]) -> Response:
    """What became of a whole file, in its upload's words."""
    digest = format_digest(live.row.sha256, live.row.crc32c)
    return Response(
        upload_view(context, live).model_dump_json(),
        status_code=stored_status(live),
        media_type="application/json",
        headers={**fields, **({} if digest is None else {"repr-digest": digest})},
    )


@router.options("", status_code=204, response_class=Response)
@router.options("/{upload_id}", status_code=204, response_class=Response, operation_id="resumable_options_of_upload")
async def resumable_options(context: Ctx, talk: Talk) -> Response:
    """What may be uploaded."""
    fields = {**talk.speech.limits(_limits(context, None)), "accept-patch": resumable.MEDIA_TYPE}
    return Response(status_code=204, headers=fields)


@router.post(
    "",
    status_code=201,
    response_class=Response,
    openapi_extra=_described("application/octet-stream", "Content-Disposition", "Repr-Digest"),
    responses={
        201: {"description": "The file is stored, or (without content) its upload begun.", "model": UploadView},
        **LATER,
        **answers(
            InvalidName,
            InvalidDigest,
            InconsistentUploadLength,
            RequestTimedOut,
            StateConflict,
            Superseded,
            FileTooLarge,
            DigestMismatch,
            TooManyPending,
            MemoryPressure,
            LimitReached,
            ChunkFailed,
            StagingUnavailable,
            DestinationUnavailable,
            DatabaseUnavailable,
            ShuttingDown,
            OutOfSpace,
        ),
    },
)
async def resumable_create(
    *,
    context: Ctx,
    user: User,
    request: Request,
    talk: Talk,
    path: Annotated[str, Query(max_length=4096, description="Relative folder at the destination.")] = "",
    on_conflict: NameConflictPolicy = NameConflictPolicy.RENAME,
    destination: Annotated[str, Query(max_length=255)] = "default",
) -> Response:
    """Begin an upload; its content is the file, or the beginning of it, or nothing yet.

    Without Upload-Complete it is an ordinary request that stores a file.
    """
    body = body_of(request)
    creation = resumable.parse_creation(talk.fields, content_length=body.length)
    wanted = NewUpload(
        filename=filename_of(talk.fields.get("content-disposition")) or _NO_NAME,
        size=creation.length,
        folder=path,
        media_type=media_type_of(talk.fields.get("content-type")),
        digest=_declared(request, "repr-digest"),
        destination=destination,
        on_conflict=on_conflict,
    )
    if creation.complete is None:
        return await _at_once(context, user, request, wanted, body)
    wanted = replace(wanted, completion=Completion.EXPLICIT, resumable=True)
    live = talk.live = await context.uploads.create(user.user, wanted, idempotency_key=None)
    talk.said["location"] = whole_address(request, context, f"{router.prefix}/{live.row.id}")
    limits = _limits(context, live)
    talk.said |= talk.speech.limits(limits)
    known = inform(request, talk.speech.announcement(talk.said["location"], limits))
    try:
        if body.length != 0:
            await _add(context, request, talk, live, Append(0, complete=creation.complete, length=None))
    except ClientGone:
        if not known:  # nobody can ever go on with it
            await unbroken(context.uploads.cancel(live))
        raise
    if creation.complete:
        return await _whole(context, talk, live, body)
    fields = {**talk.said, **resumable.state(offset=live.position, complete=False)}
    return Response(status_code=201, headers=fields)


async def _at_once(context: Context, user: User, request: Request, wanted: NewUpload, body: RequestBody) -> Response:
    """A request that knows nothing of resuming."""
    wanted = replace(wanted, digest=wanted.digest or _declared(request, "content-digest"))
    live = await context.whole_files.receive(user.user, wanted, body)
    async with abandoned_when_gone(body):
        await context.uploads.arrived(live)
    return _stored(context, live, {"location": f"/api/v1/uploads/{live.row.id}"})


@router.get("/{upload_id}", status_code=204, response_class=Response, responses=answers(NotFound, DatabaseUnavailable))
@router.head(
    "/{upload_id}",
    status_code=204,
    response_class=Response,
    operation_id="resumable_position",
    responses=answers(NotFound, DatabaseUnavailable),
)
async def resumable_state(context: Ctx, user: User, talk: Talk, upload_id: str) -> Response:
    """Where the upload stands. A request that still brings bytes is ended, and what it brought is counted."""
    resumable.parse_query(talk.fields, talk.speech)
    live = await _found(context, user, upload_id)
    position = await context.appender.position(live)
    _check_is_here(live)  # still
    fields = {
        **resumable.state(offset=position, complete=live.row.state in _COMPLETE),
        **talk.speech.limits(_limits(context, live)),
        "cache-control": "no-store",
    }
    if not live.row.length_deferred:
        fields["upload-length"] = str(live.row.size)
    return Response(status_code=204, headers=fields)


@router.patch(
    "/{upload_id}",
    status_code=201,
    response_class=Response,
    openapi_extra=_described(resumable.MEDIA_TYPE, "Upload-Offset"),
    responses={
        201: {"description": "The file is stored, or (without content) its upload goes on.", "model": UploadView},
        **LATER,
        204: {"description": "The upload goes on."},
        **answers(
            InvalidDigest,
            InconsistentUploadLength,
            CompletedUpload,
            NotFound,
            RequestTimedOut,
            MismatchingOffset,
            StateConflict,
            Superseded,
            BodyTooLarge,
            FileTooLarge,
            UnsupportedMediaType,
            DigestMismatch,
            LimitReached,
            ChunkFailed,
            StagingUnavailable,
            DestinationUnavailable,
            DatabaseUnavailable,
            ShuttingDown,
            OutOfSpace,
        ),
    },
)
async def resumable_append(context: Ctx, user: User, request: Request, talk: Talk, upload_id: str) -> Response:
    """Add bytes where the upload stands, or say that it is complete. What came of a request that breaks off is kept."""
    body = body_of(request)
    wanted = resumable.parse_append(talk.fields, talk.speech, content_length=body.length)
    live = talk.live = await _found(context, user, upload_id)
    if live.row.state in _COMPLETE:
        if wanted.offset != live.row.size:
            raise _mismatch(live, wanted)
        if talk.speech.dialect.ends_what_grows_too_long and body.length != 0:
            raise InconsistentUploadLength("The upload is complete. Nothing can be added.")
        raise CompletedUpload
    await _add(context, request, talk, live, wanted)
    if wanted.complete:
        return await _whole(context, talk, live, body)
    fields = resumable.state(offset=live.position, complete=False)
    return Response(status_code=talk.speech.dialect.appended_status, headers=fields)


@router.delete(
    "/{upload_id}", status_code=204, response_class=Response, responses=answers(NotFound, DatabaseUnavailable)
)
async def resumable_cancel(context: Ctx, user: User, talk: Talk, upload_id: str) -> Response:
    """End an upload for good. A file that is at its destination stays there; its upload is not found any more."""
    resumable.parse_query(talk.fields, talk.speech)
    live = await _found(context, user, upload_id)
    try:
        await context.uploads.cancel(live)
    except StateConflict:
        await context.uploads.leave(live)
    return Response(status_code=204)
