"""Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload): header fields in, values out, and back. No I/O.

Three iterations are spoken, as the client's `Upload-Draft-Interop-Version` says: 5 (draft -03), 6 (-04 and -05) and
8 (-09 to -11 and the editors' copy). What differs between them is in `_DIALECTS`; why, in
docs/decisions/resumable-upload-versions.md. Requests that name none of them are read as the newest, with lenience, and
get no interim response (the draft, Draft Version Identification).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from app.core.errors import InconsistentUploadLength, InvalidRequest, UnsupportedMediaType
from app.protocols.structured import boolean, format_boolean, whole_number

__all__ = [
    "EXPOSED_FIELDS",
    "MEDIA_TYPE",
    "REQUEST_FIELDS",
    "STATUS",
    "Append",
    "Creation",
    "Field",
    "Interop",
    "Limits",
    "Speech",
    "parse_append",
    "parse_creation",
    "parse_query",
    "speech_of",
    "state",
]

STATUS: Final = 104
"""Upload Resumption Supported."""
MEDIA_TYPE: Final = "application/partial-upload"
REQUEST_FIELDS: Final = (
    "Upload-Draft-Interop-Version", "Upload-Complete", "Upload-Length", "Upload-Offset", "Content-Disposition",
    "Repr-Digest", "Want-Repr-Digest",
)  # fmt: skip
"""What a browser's page from elsewhere must be allowed to send (Fetch, CORS protocol)."""
EXPOSED_FIELDS: Final = (
    "Location", "Upload-Draft-Interop-Version", "Upload-Complete", "Upload-Length", "Upload-Offset", "Upload-Limit",
    "Accept-Patch", "Repr-Digest",
)  # fmt: skip
"""What such a page must be allowed to read."""

_STATE_FIELDS: Final = ("upload-offset", "upload-complete", "upload-length")
_MOST: Final = 10**15 - 1  # of a structured Integer (RFC 9651 section 3.3.1)
Field = tuple[bytes, bytes]


class Interop(IntEnum):
    """Iterations of the draft that clients out there speak."""

    V5 = 5
    V6 = 6
    V8 = 8


@dataclass(frozen=True, slots=True)
class _Dialect:
    """What a server does otherwise in one iteration than in another."""

    lifetime_key: str
    """In `Upload-Limit`; the field itself came with 6."""
    labelled: bool
    """Whether what is appended must be of the media type."""
    says_completeness: bool
    """Whether an append without `Upload-Complete` is refused; before, it was the last one."""
    asks_barely: bool
    """Whether fields about the upload's state are refused where there is nothing to say of it."""
    ends_what_grows_too_long: bool
    """Whether an upload can't be gone on with after more came than its length, and nothing is added to a complete one
    because that would be more; before, bytes beyond the length were refused and that was all."""
    appended_status: int
    """Of the answer to an append that does not complete the upload."""


_DIALECTS: Final = {
    # Of the RFC to come; or any, behind a proxy that removes the version since it does not pass interim responses on.
    None: _Dialect(
        lifetime_key="max-age",
        labelled=False,
        says_completeness=True,
        asks_barely=False,
        ends_what_grows_too_long=True,
        appended_status=204,
    ),
    Interop.V5: _Dialect(
        lifetime_key="max-age",
        labelled=False,
        says_completeness=False,
        asks_barely=True,
        ends_what_grows_too_long=False,
        appended_status=201,
    ),
    Interop.V6: _Dialect(
        lifetime_key="expires",
        labelled=True,
        says_completeness=False,
        asks_barely=True,
        ends_what_grows_too_long=False,
        appended_status=201,
    ),
    Interop.V8: _Dialect(
        lifetime_key="max-age",
        labelled=True,
        says_completeness=True,
        asks_barely=False,
        ends_what_grows_too_long=True,
        appended_status=204,
    ),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Of an upload, or of those that may be created; sizes in bytes."""

    max_size: int
    lifetime_s: float | None
    """From now on; None: it does not end."""


@dataclass(frozen=True, slots=True)
class Speech:
    """How a client is answered."""

    dialect: _Dialect
    version: Interop | None
    """As the client named it; None: it named none of ours, and is sent no interim response."""

    @property
    def name(self) -> dict[str, str]:
        """`Upload-Draft-Interop-Version`, for clients that named theirs."""
        return {} if self.version is None else {"upload-draft-interop-version": str(self.version.value)}

    def limits(self, limits: Limits) -> dict[str, str]:
        """`Upload-Limit`."""
        members = [f"max-size={min(limits.max_size, _MOST)}"]
        if limits.lifetime_s is not None:
            members.append(f"{self.dialect.lifetime_key}={int(limits.lifetime_s)}")
        return {"upload-limit": ", ".join(members)}

    def announcement(self, location: str, limits: Limits) -> list[Field] | None:
        """The interim response that tells where the upload is; None: this client gets none."""
        return self._interim({"location": location, **self.limits(limits)})

    def progress(self, offset: int) -> list[Field] | None:
        """An interim response on the way; None: this client gets none."""
        return self._interim({"upload-offset": str(offset)})

    def _interim(self, fields: dict[str, str]) -> list[Field] | None:
        if self.version is None:
            return None
        said = {**self.name, **fields}
        return [(name.encode("ascii"), value.encode("ascii")) for name, value in said.items()]


@dataclass(frozen=True, slots=True)
class Creation:
    """A request that makes an upload."""

    complete: bool | None
    """Whether its content reaches to the end of the file; None: it does, and the request says nothing of resuming."""
    length: int | None
    """Of the file; None: not said."""


@dataclass(frozen=True, slots=True)
class Append:
    """A request that adds to one."""

    offset: int
    complete: bool
    length: int | None
    """Of the file; None: not said here."""


def speech_of(fields: Mapping[str, str]) -> Speech:
    """How to answer a request with these header fields (names in lower case)."""
    number = whole_number(fields.get("upload-draft-interop-version"))
    version = Interop(number) if number in set(Interop) else None
    return Speech(_DIALECTS[version], version)


def parse_creation(fields: Mapping[str, str], *, content_length: int | None) -> Creation:
    """Read a POST.

    Args:
        fields: header fields, names in lower case.
        content_length: of its body, in bytes; None: not declared.

    Raises:
        InconsistentUploadLength: it says two lengths.
    """
    complete = boolean(fields.get("upload-complete"))
    length = _length(fields, 0, content_length if complete is not False else None)
    return Creation(complete, length)


def parse_append(fields: Mapping[str, str], speech: Speech, *, content_length: int | None) -> Append:
    """Read a PATCH.

    Raises:
        UnsupportedMediaType: the body is not said to be `application/partial-upload`.
        InvalidRequest: it does not say where its content belongs, or whether that is the end.
        InconsistentUploadLength: it says two lengths.
    """
    media_type = fields.get("content-type", "").partition(";")[0].strip().lower()
    if speech.dialect.labelled and media_type != MEDIA_TYPE:
        raise UnsupportedMediaType(f"What is appended is sent as {MEDIA_TYPE}.")
    offset = whole_number(fields.get("upload-offset"))
    if offset is None:
        raise InvalidRequest("Upload-Offset is missing, or is no whole number.")
    complete = boolean(fields.get("upload-complete"))
    if complete is None:
        if speech.dialect.says_completeness:
            raise InvalidRequest("Upload-Complete is missing, or is neither ?0 nor ?1.")
        complete = True
    return Append(offset, complete, _length(fields, offset, content_length if complete else None))


def parse_query(fields: Mapping[str, str], speech: Speech) -> None:
    """Read a HEAD, GET or DELETE.

    Raises:
        InvalidRequest: it has fields that belong to requests with content.
    """
    if speech.dialect.asks_barely and any(name in fields for name in _STATE_FIELDS):
        raise InvalidRequest("Upload-Offset, Upload-Complete and Upload-Length have no place in this request.")


def state(*, offset: int, complete: bool) -> dict[str, str]:
    """The fields that tell how an upload stands."""
    return {"upload-offset": str(offset), "upload-complete": format_boolean(complete)}


def _length(fields: Mapping[str, str], offset: int, rest: int | None) -> int | None:
    """The file's length by either of its two indicators; `rest`: of the content, where that reaches to the end."""
    said = whole_number(fields.get("upload-length"))
    if rest is None:
        return said
    if said not in {None, offset + rest}:
        raise InconsistentUploadLength(
            f"Upload-Length is {said}, and this content ends the file at {offset + rest} bytes."
        )
    return offset + rest
