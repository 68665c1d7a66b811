"""The one tree of errors of the client.

ForebayError
├── Refused: the server answered, and the answer is no (mirrors its problem document, RFC 9457)
│   ├── InvalidRequest 400, 422 · ChunkShort 400 · DigestMismatch 422
│   ├── Unauthenticated 401 · Forbidden 403 · NotFound 404 · TooLarge 413
│   ├── Conflict 409
│   │   ├── ChunkConflict · StateConflict · IdempotencyConflict · NameTaken
│   │   └── ModeChanged (also: chunk out of order) · Superseded
│   └── Unavailable 408, 425, 429, 5xx (trying again may help)
│       └── OutOfSpace 507
├── ConnectionFailed: no answer (refused, dropped, silent; trying again may help)
├── Untrusted: the server's certificate can't be verified
├── UnexpectedAnswer: an answer that no Forebay server gives
├── FileUnusable: the local file can't be read
│   └── FileChanged
├── UploadEnded: the upload will never complete
│   └── UploadFailed · UploadCancelled · UploadExpired
├── VerificationFailed: what is stored is not what was sent
├── AlreadyUploading: another process is sending this very file
└── StateUnusable: the directory that remembers uploads can't be used

Every message is a sentence for the user that says what to do; no message holds a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

__all__ = [
    "AlreadyUploading",
    "ChunkConflict",
    "ChunkShort",
    "Conflict",
    "ConnectionFailed",
    "DigestMismatch",
    "FileChanged",
    "FileUnusable",
    "Forbidden",
    "ForebayError",
    "IdempotencyConflict",
    "InvalidRequest",
    "ModeChanged",
    "NameTaken",
    "NotFound",
    "OutOfSpace",
    "Refused",
    "StateConflict",
    "StateUnusable",
    "Superseded",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "UnexpectedAnswer",
    "Untrusted",
    "UploadCancelled",
    "UploadEnded",
    "UploadExpired",
    "UploadFailed",
    "VerificationFailed",
    "refusal",
]


class ForebayError(Exception):
    """Something went wrong.

    Attributes:
        detail: what happened and what to do.
        code: stable name of the kind of error; the server's own where it comes from there.
        status: HTTP status of the answer; None when there was none.
        request_id: under which the operator finds the request in the server's log.
        retry_after: seconds after which the server asked to be tried again.
        extensions: further members of the problem document.
    """

    default_code: ClassVar[str] = "error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        extensions: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.extensions = dict(extensions or {})


class Refused(ForebayError):
    """The server said no."""

    default_code = "refused"


class InvalidRequest(Refused):
    """The server can't use the request as it was made."""

    default_code = "invalid-request"


class ChunkShort(Refused):
    """The body ended before the chunk was whole."""

    default_code = "chunk-short"


class DigestMismatch(Refused):
    """The bytes that arrived are not those whose digest was sent."""

    default_code = "digest-mismatch"


class Unauthenticated(Refused):
    """The server wants a (valid) token."""

    default_code = "unauthenticated"


class Forbidden(Refused):
    """The server knows the user and does not allow this."""

    default_code = "forbidden"


class NotFound(Refused):
    """There is nothing of that id, or it is another user's."""

    default_code = "not-found"


class TooLarge(Refused):
    """The server does not take that much."""

    default_code = "too-large"


class Conflict(Refused):
    """The request does not fit the present state."""

    default_code = "conflict"


class ChunkConflict(Conflict):
    """The server holds other bytes for this chunk."""

    default_code = "chunk-conflict"


class StateConflict(Conflict):
    """The upload is in a state in which this can't be done."""

    default_code = "state-conflict"


class IdempotencyConflict(Conflict):
    """The Idempotency-Key was used for another request."""

    default_code = "idempotency-conflict"


class NameTaken(Conflict):
    """A file of that name exists at the destination."""

    default_code = "name-taken"


class ModeChanged(Conflict):
    """The server takes chunks in another way now."""

    default_code = "mode-changed"


class Superseded(Conflict):
    """A newer connection sends this chunk."""

    default_code = "superseded"


class Unavailable(Refused):
    """The server can't do this now."""

    default_code = "unavailable"


class OutOfSpace(Unavailable):
    """The server has no room for this now."""

    default_code = "out-of-space"


class ConnectionFailed(ForebayError):
    """There was no answer."""

    default_code = "connection-failed"


class Untrusted(ForebayError):
    """The server's certificate can't be verified."""

    default_code = "untrusted"


class UnexpectedAnswer(ForebayError):
    """The answer is none that a Forebay server gives."""

    default_code = "unexpected-answer"


class FileUnusable(ForebayError):
    """The local file can't be used."""

    default_code = "file-unusable"


class FileChanged(FileUnusable):
    """The local file was changed while it was being sent."""

    default_code = "file-changed"


class UploadEnded(ForebayError):
    """The upload has ended and its file is not at the destination."""

    default_code = "upload-ended"


class UploadFailed(UploadEnded):
    """The server gave the upload up."""

    default_code = "upload-failed"


class UploadCancelled(UploadEnded):
    """Somebody cancelled the upload."""

    default_code = "upload-cancelled"


class UploadExpired(UploadEnded):
    """The upload was left alone for too long."""

    default_code = "upload-expired"


class VerificationFailed(ForebayError):
    """What the destination holds is not what was sent."""

    default_code = "verification-failed"


class AlreadyUploading(ForebayError):
    """Another process on this machine is sending this very file to the same place."""

    default_code = "already-uploading"


class StateUnusable(ForebayError):
    """The directory in which uploads are remembered can't be used."""

    default_code = "state-unusable"


_BY_CODE: dict[str, type[Refused]] = {
    "chunk-out-of-order": ModeChanged,
    "user-quota": OutOfSpace,
    **{
        kind.default_code: kind
        for kind in (
            ChunkShort,
            DigestMismatch,
            ChunkConflict,
            StateConflict,
            IdempotencyConflict,
            NameTaken,
            ModeChanged,
            Superseded,
            OutOfSpace,
        )
    },
}
_BY_STATUS: dict[int, type[Refused]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    408: Unavailable,
    409: Conflict,
    413: TooLarge,
    422: InvalidRequest,
    425: Unavailable,
    429: Unavailable,
    501: Refused,
    507: OutOfSpace,
}
_SERVER_ERROR = 500
_KNOWN_MEMBERS = frozenset({"type", "title", "status", "detail", "code", "request_id", "instance"})


def refusal(status: int, document: Mapping[str, object], *, retry_after: float | None = None) -> Refused:
    """The error for a problem document.

    Args:
        status: of the answer; believed rather than the document's copy of it.
        document: the members of the problem document; empty where the answer had none (a proxy's).
        retry_after: seconds, from the header of that name.
    """
    code = str(document.get("code") or "")
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if kind is None:
        kind = Unavailable if status >= _SERVER_ERROR else Refused
    detail = document.get("detail") or document.get("title") or f"The server answered {status}."
    request_id = document.get("request_id")
    return kind(
        str(detail),
        code=code or None,
        status=status,
        request_id=None if request_id is None else str(request_id),
        retry_after=retry_after,
        extensions={name: value for name, value in document.items() if name not in _KNOWN_MEMBERS},
    )
