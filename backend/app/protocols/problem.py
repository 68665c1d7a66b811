"""An error as the answer the client gets: RFC 9457 problem documents, the one renderer for every room."""

from __future__ import annotations

import json
from typing import Final

from app.core.errors import ForebayError

__all__ = ["PROBLEM_MEDIA_TYPE", "problem_document", "problem_type"]

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"
_TYPE_PREFIX: Final = "urn:forebay:problem:"
"""The stable part of our problems' `type`; the error's code follows. A URN, since it is a name and not a page."""


def problem_type(error: type[ForebayError]) -> str:
    """`type` of the problem document: ours, or the one that is registered for it."""
    return error.type_uri or _TYPE_PREFIX + error.code


def problem_document(error: ForebayError, request_id: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, header fields and body that tell a client about `error`.

    The members of RFC 9457 section 3.1 and our `code` and `request_id` come first and can't be overwritten by the
    error's extensions. Text is escaped to ASCII, so a lone surrogate out of a file name can't break the answer.
    """
    members: dict[str, object] = {
        **error.extensions,
        "type": problem_type(type(error)),
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "request_id": request_id,
    }
    body = json.dumps(members, separators=(",", ":"), allow_nan=False).encode("ascii")
    headers = [
        (b"content-type", PROBLEM_MEDIA_TYPE.encode("ascii")),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    return error.status, headers, body
