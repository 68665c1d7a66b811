"""multipart/form-data (RFC 7578): bytes in, parts out. No I/O.

What a part says of itself is bounded, and so is what stands before the first and behind the last of them; a part's
content is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header

from app.core.errors import InvalidRequest, UnsupportedMediaType

__all__ = ["MEDIA_TYPE", "Ended", "FormEvent", "FormParser", "Part"]

MEDIA_TYPE: Final = "multipart/form-data"
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046 section 5.1.1
_MAX_PARTS: Final = 1000
_MAX_HEADER_LINE_BYTES: Final = 4096
_MAX_HEADER_LINES: Final = 8
_MAX_AROUND_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """A field or a file begins."""

    name: str
    filename: str | None
    """None: a field; "": a file that was not chosen."""
    media_type: str | None


class Ended:
    """The part that had begun has ended."""


FormEvent = Part | bytes | Ended


class FormParser:
    """Reads one form."""

    def __init__(self, content_type: str) -> None:
        """Begin, by the request's Content-Type.

        Raises:
            UnsupportedMediaType: it is no form.
            InvalidRequest: its boundary is missing or can't be one.
        """
        kind, options = parse_options_header(content_type)
        if kind != MEDIA_TYPE:
            raise UnsupportedMediaType(f"A form is sent as {MEDIA_TYPE}.")
        boundary = options.get("boundary", "")
        if not _BOUNDARY.fullmatch(boundary):
            raise InvalidRequest("The form's boundary is missing, or can't be one.")
        self._parser = PushMultipartParser(
            boundary,
            max_header_size=_MAX_HEADER_LINE_BYTES,
            max_header_count=_MAX_HEADER_LINES,
            max_segment_count=_MAX_PARTS,
        )
        self._around = 0  # bytes in a row that nothing came of

    def feed(self, data: bytes) -> Iterator[FormEvent]:
        """What the next bytes bring; to be consumed to its end.

        Raises:
            InvalidRequest: they are no form, or one beyond the bounds.
        """
        self._around += len(data)
        try:
            for event in self._parser.parse(data):
                self._around = 0
                yield _part(event) if isinstance(event, MultipartSegment) else Ended() if event is None else event
        except ParserLimitReached as exc:
            raise InvalidRequest("The form has too many parts, or one of them says too much of itself.") from exc
        except MultipartError as exc:
            raise InvalidRequest(f"The form can't be read: {exc}.") from exc
        if self._around > _MAX_AROUND_BYTES:
            raise InvalidRequest("The form has more around its parts than there may be.")

    def end(self) -> None:
        """No bytes follow.

        Raises:
            InvalidRequest: there should be more.
        """
        try:
            self._parser.close()
        except MultipartError as exc:
            raise InvalidRequest("The form breaks off before its end.") from exc


def _part(segment: MultipartSegment) -> Part:
    return Part(segment.name or "", segment.filename, segment.header("Content-Type"))
