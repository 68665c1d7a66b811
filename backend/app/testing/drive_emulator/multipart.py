"""multipart/related bodies: metadata, then content. Sans-IO.

Google allows 5 MB in this way of uploading, so a body is taken whole. Its own Python client ends lines with LF alone,
which is why this is not left to a parser that wants CRLF.
"""

from __future__ import annotations

import base64
import binascii
import re
from email.message import Message
from email.parser import BytesHeaderParser
from http import HTTPStatus
from itertools import pairwise
from typing import NamedTuple

from app.testing.drive_emulator.errors import ApiRefusal

__all__ = ["BODY_BYTES_AT_MOST", "Parts", "parse_related"]

BODY_BYTES_AT_MOST = 64 << 20
_PARTS = 2


class Parts(NamedTuple):
    """What is in a body."""

    metadata: bytes
    media_type: str | None
    media: bytes


def _malformed(message: str) -> ApiRefusal:
    return ApiRefusal(HTTPStatus.BAD_REQUEST, "badRequest", message)


def parse_related(content_type: str, body: bytes) -> Parts:
    """The two parts.

    Raises:
        ApiRefusal: there are not exactly two, or one can't be read.
    """
    head = Message()
    head["Content-Type"] = content_type
    boundary = head.get_boundary()
    if head.get_content_maintype() != "multipart" or not boundary:
        raise _malformed("Missing multipart boundary.")
    delimiter = re.compile(rb"(?:\A|\r?\n)--" + re.escape(boundary.encode()) + rb"(--)?[ \t]*(?:\r?\n|\Z)")
    marks = list(delimiter.finditer(body))
    if not marks or marks[-1][1] is None:
        raise _malformed("Missing end boundary in multipart body.")
    parts = [body[one.end() : other.start()] for one, other in pairwise(marks)]
    if len(parts) != _PARTS:
        raise _malformed("Multipart body must have exactly two parts.")
    (_, metadata), (headers, media) = map(_part, parts)
    return Parts(metadata, headers.get("Content-Type"), media)


def _part(part: bytes) -> tuple[Message, bytes]:
    # The first blank line ends the headers; there may be none before it.
    blank = re.search(rb"(?:\A|\r?\n)\r?\n", part)
    head, body = (part, b"") if blank is None else (part[: blank.start()], part[blank.end() :])
    headers = BytesHeaderParser().parsebytes(head)
    if headers.get("Content-Transfer-Encoding", "").lower() != "base64":
        return headers, body
    try:
        return headers, base64.b64decode(body)
    except binascii.Error:
        raise _malformed("Bad base64 in multipart body.") from None
