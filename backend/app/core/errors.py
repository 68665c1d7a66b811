"""The one tree of errors.

ForebayError
├── InvalidRequest 400
│   ├── InvalidName · InvalidDigest · ChunkOutOfRange · ChunkShort
│   ├── CompletedUpload · InconsistentUploadLength (resumable uploads)
│   └── MalformedRequest (HTTP framing)
├── Unauthenticated 401
├── Forbidden 403
├── NotFound 404
├── RequestTimedOut 408
├── Conflict 409
│   ├── StateConflict · ChunkConflict · ChunkOutOfOrder · OffsetConflict (MismatchingOffset) · ModeChanged · Superseded
│   └── IdempotencyConflict · NameTaken · IncompleteUpload
├── UploadExpired 410
├── LengthRequired 411
├── UnsupportedProtocolVersion 412
├── TooLarge 413
│   └── ChunkTooLong · BodyTooLarge · FileTooLarge
├── UnsupportedMediaType 415
├── RangeNotSatisfiable 416
├── ExpectationFailed 417
├── DigestMismatch 422
│   └── ChecksumMismatch 460 (tus)
├── TooManyPending 429
├── HeadersTooLarge 431
├── InternalError 500
├── UnsupportedTransferCoding 501
├── Unavailable 503 (carries Retry-After)
│   ├── AdmissionRefused
│   │   └── MemoryPressure · LimitReached · MemoryUnknown
│   ├── StagingUnavailable (SyncFailed · RoomLost) · DatabaseUnavailable
│   ├── DestinationUnavailable
│   │   ├── DestinationLoginLost · DestinationQuotaReached · DestinationRefused (concern every upload)
│   │   └── DestinationRefusedUpload · DestinationMismatch (concern one)
│   └── ChunkFailed · PoolExhausted · ShuttingDown · VerificationPending
├── OutOfSpace 507
│   └── UserQuotaExceeded · DestinationFull
└── ClientGone (never answered: nobody is there)

Each class carries a stable `code` (the last part of the problem's `type`), an HTTP `status` and a `title`, and where the
problem is registered elsewhere that `type_uri`; its docstring is the message when none is given, and says what to do. Adapters translate what they catch at their edge
(`raise … from exc`); above them only this tree is seen.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AdmissionRefused",
    "BodyTooLarge",
    "ChecksumMismatch",
    "ChunkConflict",
    "ChunkFailed",
    "ChunkOutOfOrder",
    "ChunkOutOfRange",
    "ChunkShort",
    "ChunkTooLong",
    "ClientGone",
    "CompletedUpload",
    "Conflict",
    "DatabaseUnavailable",
    "DestinationFull",
    "DestinationLoginLost",
    "DestinationMismatch",
    "DestinationQuotaReached",
    "DestinationRefused",
    "DestinationRefusedUpload",
    "DestinationUnavailable",
    "DigestMismatch",
    "ExpectationFailed",
    "FileTooLarge",
    "Forbidden",
    "ForebayError",
    "HeadersTooLarge",
    "IdempotencyConflict",
    "IncompleteUpload",
    "InconsistentUploadLength",
    "InternalError",
    "InvalidDigest",
    "InvalidName",
    "InvalidRequest",
    "LengthRequired",
    "LimitReached",
    "MalformedRequest",
    "MemoryPressure",
    "MemoryUnknown",
    "MismatchingOffset",
    "ModeChanged",
    "NameTaken",
    "NotFound",
    "OffsetConflict",
    "OutOfSpace",
    "PoolExhausted",
    "RangeNotSatisfiable",
    "RequestTimedOut",
    "RoomLost",
    "ShuttingDown",
    "StagingUnavailable",
    "StateConflict",
    "Superseded",
    "SyncFailed",
    "TooLarge",
    "TooManyPending",
    "Unauthenticated",
    "Unavailable",
    "UnsupportedMediaType",
    "UnsupportedProtocolVersion",
    "UnsupportedTransferCoding",
    "UploadExpired",
    "UserQuotaExceeded",
    "VerificationPending",
]


class ForebayError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Error"
    type_uri: ClassVar[str | None] = None
    default_retry_after_s: ClassVar[int | None] = None

    def __init__(self, detail: str | None = None, *, retry_after_s: int | None = None, **extensions: object) -> None:
        """Keep the sentence for the client, and members that go into the problem document beside it.

        Args:
            detail: what happened and what to do; the class's docstring when absent.
            retry_after_s: seconds after which trying again makes sense.
            extensions: further members of the problem document (RFC 9457 section 3.2); JSON values.
        """
        self.detail = detail or " ".join((type(self).__doc__ or self.title).split())
        self.asked_for_s = retry_after_s
        self.retry_after_s = retry_after_s if retry_after_s is not None else self.default_retry_after_s
        self.extensions = extensions
        super().__init__(self.detail)


class InvalidRequest(ForebayError):
    """The request is not valid."""

    code, status, title = "invalid-request", 400, "Invalid request"


class InvalidName(InvalidRequest):
    """The file name or path can't be used. Send a plain relative name without control characters."""

    code, title = "invalid-name", "Name can't be used"


class InvalidDigest(InvalidRequest):
    """The digest can't be read. Send Content-Digest as RFC 9530 says, with sha-256 or crc32c."""

    code, title = "invalid-digest", "Digest can't be read"


class CompletedUpload(InvalidRequest):
    """The upload is complete. Nothing can be added."""

    code, title = "completed-upload", "Upload is already completed"
    type_uri = "https://iana.org/assignments/http-problem-types#completed-upload"


class InconsistentUploadLength(InvalidRequest):
    """The upload's length was said differently before, or is less than what has come."""

    code, title = "inconsistent-upload-length", "Inconsistent length values for upload"
    type_uri = "https://iana.org/assignments/http-problem-types#inconsistent-upload-length"


class ChunkOutOfRange(InvalidRequest):
    """There is no chunk of that number in this upload."""

    code, title = "chunk-out-of-range", "No such chunk"


class ChunkShort(InvalidRequest):
    """The body ended before the chunk was whole. Send the chunk again."""

    code, title = "chunk-short", "Chunk too short"


class MalformedRequest(InvalidRequest):
    """The request breaks the rules of HTTP/1.1. The connection is closed."""

    code, title = "malformed-request", "Malformed HTTP"


class Unauthenticated(ForebayError):
    """A valid token is needed. Send it as `Authorization: Bearer …`, or sign in."""

    code, status, title = "unauthenticated", 401, "Not signed in"


class Forbidden(ForebayError):
    """This is not allowed."""

    code, status, title = "forbidden", 403, "Not allowed"


class NotFound(ForebayError):
    """There is nothing here, or it is not yours."""

    code, status, title = "not-found", 404, "Not found"


class RequestTimedOut(ForebayError):
    """The request came too slowly. Continue from what the server has."""

    code, status, title = "request-timeout", 408, "Request too slow"


class Conflict(ForebayError):
    """The request does not fit the present state."""

    code, status, title = "conflict", 409, "Conflict"


class StateConflict(Conflict):
    """The upload is not in a state in which this can be done."""

    code, title = "state-conflict", "Wrong state"


class ChunkConflict(Conflict):
    """Other bytes are recorded for this chunk already. Start a new upload for the changed file."""

    code, title = "chunk-conflict", "Different bytes for a recorded chunk"


class ChunkOutOfOrder(Conflict):
    """This server takes chunks in order, one at a time. Send the next one first."""

    code, title = "chunk-out-of-order", "Chunk out of order"


class OffsetConflict(Conflict):
    """The upload does not stand where this begins. Ask where it stands and go on from there."""

    code, title = "offset-conflict", "The upload stands elsewhere"


class MismatchingOffset(OffsetConflict):
    """The upload stands elsewhere. Go on from `expected-offset`."""

    code, title = "mismatching-upload-offset", "Offset from request does not match offset of resource"
    type_uri = "https://iana.org/assignments/http-problem-types#mismatching-upload-offset"


class ModeChanged(Conflict):
    """The server's mode has changed. Ask for the upload and go on as it says."""

    code, title = "mode-changed", "Mode changed"


class Superseded(Conflict):
    """A newer connection sends this chunk; this one was stopped."""

    code, title = "superseded", "Superseded by a newer connection"


class IdempotencyConflict(Conflict):
    """This Idempotency-Key was used for another request. Choose a new key."""

    code, title = "idempotency-conflict", "Idempotency-Key used before"


class NameTaken(Conflict):
    """A file of that name exists at the destination. Choose another name, or on_conflict `rename` or `replace`."""

    code, title = "name-taken", "Name taken"


class IncompleteUpload(Conflict):
    """Bytes are missing. Send the missing ranges, then complete again."""

    code, title = "incomplete", "Bytes are missing"


class UploadExpired(ForebayError):
    """The upload has expired, and what had come of it is removed. Begin a new one."""

    code, status, title = "upload-expired", 410, "Upload expired"


class LengthRequired(ForebayError):
    """This call needs a Content-Length. Use POST /api/v1/uploads and chunks where the length is not known."""

    code, status, title = "length-required", 411, "Content-Length required"


class UnsupportedProtocolVersion(ForebayError):
    """This version of the protocol is not spoken here."""

    code, status, title = "unsupported-protocol-version", 412, "Protocol version not supported"


class TooLarge(ForebayError):
    """The content is too large."""

    code, status, title = "too-large", 413, "Too large"


class ChunkTooLong(TooLarge):
    """The body is longer than the chunk. Cut the file as the upload's chunk_size says."""

    code, title = "chunk-long", "Chunk too long"


class BodyTooLarge(TooLarge):
    """The request body is larger than this call takes."""

    code, title = "body-too-large", "Body too large"


class FileTooLarge(TooLarge):
    """The file is larger than this server takes."""

    code, title = "file-too-large", "File too large"


class UnsupportedMediaType(ForebayError):
    """A body of this media type is not taken here."""

    code, status, title = "unsupported-media-type", 415, "Media type not supported"


class RangeNotSatisfiable(ForebayError):
    """The range lies outside the file."""

    code, status, title = "range-not-satisfiable", 416, "Range not satisfiable"


class ExpectationFailed(ForebayError):
    """The only expectation understood is `Expect: 100-continue`."""

    code, status, title = "expectation-failed", 417, "Expectation can't be met"


class DigestMismatch(ForebayError):
    """The bytes received don't have the digest that was sent. Send them again."""

    code, status, title = "digest-mismatch", 422, "Digest mismatch"


class ChecksumMismatch(DigestMismatch):
    """The bytes are not those that the checksum was made of. None of them were kept; send them again."""

    code, status, title = "checksum-mismatch", 460, "The checksum does not match"  # tus 1.0.0, checksum extension


class TooManyPending(ForebayError):
    """You have too many unfinished uploads. Finish or cancel some first."""

    code, status, title = "too-many-pending", 429, "Too many unfinished uploads"
    default_retry_after_s = 60


class HeadersTooLarge(ForebayError):
    """The request's headers are too large or too many."""

    code, status, title = "headers-too-large", 431, "Headers too large"


class InternalError(ForebayError):
    """The server failed. Try again; the operator finds the cause under the request id in the log."""

    code, status, title = "internal-error", 500, "Server error"


class UnsupportedTransferCoding(ForebayError):
    """Only `Transfer-Encoding: chunked` is understood."""

    code, status, title = "transfer-coding", 501, "Transfer coding not supported"


class Unavailable(ForebayError):
    """The server can't do this now. Try again later."""

    code, status, title = "unavailable", 503, "Not available now"
    default_retry_after_s = 5


class AdmissionRefused(Unavailable):
    """The server takes no new uploads now. Try again later."""

    code, title = "admission-refused", "No new uploads now"


class MemoryPressure(AdmissionRefused):
    """Memory usage too high."""

    code, title = "memory-pressure", "Memory usage too high"
    default_retry_after_s = 10


class MemoryUnknown(AdmissionRefused):
    """The server can't measure its memory, so it takes no new uploads. The operator finds the cause in the log."""

    code, title = "memory-unknown", "Memory can't be measured"
    default_retry_after_s = 10


class LimitReached(AdmissionRefused):
    """Upload limit exceeded or insufficient resources"""  # noqa: D415 - the guide's message, to the letter

    code, title = "limit-reached", "Upload limit reached"
    default_retry_after_s = 10


class StagingUnavailable(Unavailable):
    """The staging area can't be written now. Nothing acknowledged is lost; try again later."""

    code, title = "staging-unavailable", "Staging not available"


class SyncFailed(StagingUnavailable):
    """The disk failed to keep bytes of this upload. They can't be trusted any more; send the file again."""

    code, title = "sync-failed", "Bytes lost by the disk"


class RoomLost(StagingUnavailable):
    """What had come of this was lost, or given up before it was acknowledged. Send it again."""

    code, title = "room-lost", "Bytes are lost"
    default_retry_after_s = 1


class DatabaseUnavailable(Unavailable):
    """The database does not answer now. Nothing acknowledged is lost; try again later."""

    code, title = "database-unavailable", "Database not available"


class DestinationUnavailable(Unavailable):
    """The destination does not answer now. What was received is kept."""

    code, title = "destination-unavailable", "Destination not available"


class DestinationLoginLost(DestinationUnavailable):
    """The server's login to the destination does not hold any more. What was received is kept; the operator must log in again."""

    code, title = "destination-login-lost", "Login to the destination lost"
    default_retry_after_s = 60


class DestinationQuotaReached(DestinationUnavailable):
    """The destination takes no more for some time. What was received is kept and goes there when it does again."""

    code, title = "destination-quota", "Destination's quota reached"
    default_retry_after_s = 3600


class DestinationRefused(DestinationUnavailable):
    """The destination does not take files as it is set up. What was received is kept; the operator must see to it."""

    code, title = "destination-refused", "Refused by the destination"
    default_retry_after_s = 300


class DestinationRefusedUpload(DestinationUnavailable):
    """The destination does not take this file as it is. What was received is kept; cancel it, or ask the operator."""

    code, title = "destination-refused-upload", "This file is refused by the destination"
    default_retry_after_s = 300


class DestinationMismatch(DestinationUnavailable):
    """The destination holds other bytes than were sent. They were removed there and are sent again."""

    code, title = "destination-mismatch", "Stored differently"


class ChunkFailed(Unavailable):
    """The chunk could not be stored."""

    code, title = "chunk-failed", "Chunk failed"

    def __init__(self, number: int, attempts: int) -> None:
        """State the guide's message, to the letter."""
        super().__init__(f"Chunk {number} failed after {attempts} attempts", chunk=number)


class PoolExhausted(Unavailable):
    """No buffer became free in time. Try again later."""

    code, title = "pool-exhausted", "No buffer free"


class ShuttingDown(Unavailable):
    """The server is stopping. What was acknowledged is kept; go on when it is back."""

    code, title = "shutting-down", "Server is stopping"


class VerificationPending(Unavailable):
    """After a power failure the server is looking at what survived of this upload. Ask again shortly."""

    code, title = "verification-pending", "Being verified"


class OutOfSpace(ForebayError):
    """There is not enough room for this. Try again when other uploads have ended, or ask the operator for space."""

    code, status, title = "out-of-space", 507, "Not enough room"
    default_retry_after_s = 60


class UserQuotaExceeded(OutOfSpace):
    """Your uploads under way hold all the room that one user may reserve. Finish or cancel one first."""

    code, title = "user-quota", "Your room is used up"


class DestinationFull(OutOfSpace):
    """The destination is full. What was received is kept and goes there when the operator has made room."""

    code, title = "destination-full", "Destination full"
    default_retry_after_s = 300


class ClientGone(ForebayError):
    """The client left before the request was whole."""

    code, status, title = "client-gone", 499, "Client left"
